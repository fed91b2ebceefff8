//! Something else in the place of names: `--build-context`. Not its job: contexts without a name (contexts).

use std::path::Path;
use std::process::Command;

use super::{Site, cached};
use crate::support::{claims, run};

claims![
    named_contexts_take_the_place_of_names: [Root, Cgroup2, Overlay, Dhow],
    a_folder_serves_as_base: [Root, Cgroup2, Overlay, Dhow],
    a_named_context_is_an_image_or_a_stage_of_the_recipe: [Root, Cgroup2, Overlay, Dhow],
    a_named_context_that_is_none_is_told: [Root, Overlay, Dhow],
];

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn named_contexts_take_the_place_of_names() {
    let site = Site::new();
    let other = site.folder().join("other");
    write(&other.join("f"), "f");
    write(&other.join("out"), "out");
    write(&other.join("d/g"), "g");
    // An ignore file of its own counts; one that goes by the recipe's name is the other context's.
    write(&other.join(".dockerignore"), "out\n");
    write(&other.join("Dockerfile.dockerignore"), "f\n");
    std::os::unix::fs::chown(other.join("f"), Some(7), Some(7)).unwrap();
    let context = site.context(
        "c",
        "FROM nowhere.invalid/x AS stage\nRUN false\nFROM debian:latest AS last\nCOPY --from=files . /a/\n\
         COPY --from=stage d/g /b\nRUN --mount=from=files,target=/m cat /m/f > /c\nCOPY here /\n",
    );
    write(&context.join("here"), "here");
    write(&context.join(".dockerignore"), "d\n");
    let arguments = [
        "-t",
        "c",
        "--build-context=files=other",
        "--build-context=stage=other",
        "--build-context=docker.io/library/debian=docker-image://base",
        "c",
    ];
    site.build(&arguments).success();
    let seen = site.inside(
        "c",
        "cd /a; find . -type f | sort; stat -c %u f; cat /b /c /here",
    );
    let whole = "./.dockerignore\n./Dockerfile.dockerignore\n./d/g\n./f\n0\ngfhere";
    assert_eq!(seen, whole);
    assert_eq!(cached(&site.build(&arguments).success()), 5);
    write(&other.join("d/g"), "G");
    let changed = site.build(&arguments).success();
    assert_eq!(cached(&changed), 0, "{changed:?}");
    assert_eq!(site.inside("c", "cat /b"), "G");
}

fn a_folder_serves_as_base() {
    let site = Site::new();
    write(&site.folder().join("root/etc/f"), "f");
    site.context(
        "c",
        "FROM root\nCOPY --from=base /bin/busybox /bin/sh\nRUN [\"/bin/sh\", \"-c\", \"cat /etc/f > /g\"]\n",
    );
    let arguments = ["-q", "-t", "c", "--build-context", "root=root", "c"];
    let first = site.build(&arguments).success().stdout;
    assert_eq!(site.inside("c", "cat /g"), "f");
    // As many lines of history as layers.
    let history = run(site.dhow().args(["history", "-q", "c"]))
        .success()
        .stdout;
    assert_eq!(history.lines().count(), 3, "{history}");
    // An archive of the same files is the same.
    run(Command::new("tar")
        .current_dir(site.folder().join("root"))
        .args(["--owner=0", "--group=0", "-cf", "../root.tar", "etc"]))
    .success();
    let archive = ["-q", "-t", "c", "--build-context", "root=root.tar", "c"];
    assert_eq!(site.build(&archive).success().stdout, first);
}

fn a_named_context_is_an_image_or_a_stage_of_the_recipe() {
    let site = Site::new();
    site.image("small", "FROM scratch\nCOPY <<f /f\nof the layout\nf\n");
    let saved = ["save", "--format", "oci-dir", "-o", "layout", "small"];
    run(site.dhow().args(saved)).success();
    run(site.dhow().args(["rmi", "small"])).success();
    site.context(
        "c",
        "FROM base AS one\nRUN echo one > /one\nFROM elsewhere AS two\nRUN cat /one > /two\nCOPY --from=image /f /f\n",
    );
    let index = std::fs::read_to_string(site.folder().join("layout/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    for which in ["", ":latest", &format!("@{digest}")] {
        let image = format!("--build-context=image=oci-layout://layout{which}");
        let stage = "--build-context=elsewhere=target:one";
        site.build(&["-q", "-t", "c", &image, stage, "c"]).success();
        assert_eq!(site.inside("c", "cat /two /f"), "one\nof the layout\n");
    }
}

fn a_named_context_that_is_none_is_told() {
    let site = Site::bare();
    site.context("c", "FROM a\n");
    for (context, told) in [
        ("x", "dhow: --build-context x: it must be NAME=WHAT\n"),
        ("=x", "dhow: --build-context =x: it must be NAME=WHAT\n"),
        (
            "a=-",
            "dhow: --build-context a=-: standard input is the context without a name alone\n",
        ),
        (
            "a=target:b",
            "--build-context a=target:b: no earlier stage has this name",
        ),
        ("a=nothing", "no such file or directory"),
        ("a=oci-layout://nothing", "no such file or directory"),
    ] {
        let output = site.build(&["--build-context", context, "c"]).ends_with(1);
        assert!(output.stderr.contains(told), "{context}: {output:?}");
    }
}
