//! `--output`: files in a folder, a tar, archives; what is written and what never is. Not its job: registries.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::Site;
use crate::support::{claims, run};

claims![
    a_folder_gets_the_files_and_none_of_their_rights: [Root, Overlay, Dhow],
    a_link_in_the_folder_leads_nothing_out_of_it: [Root, Overlay, Dhow],
    an_archive_is_the_image_that_the_store_would_have: [Root, Overlay, Dhow],
    results_are_the_same_bytes_wherever_they_are_made: [Root, Cgroup2, Overlay, Dhow, Tool("tar")],
    what_an_output_cannot_mean_stops_the_build_before_any_step: [Root, Overlay, Dhow],
];

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o7777
}

fn a_folder_gets_the_files_and_none_of_their_rights() {
    let site = Site::bare();
    let context = site.context(
        "c",
        "FROM scratch\nCOPY --chown=1234:5678 --chmod=6755 Dockerfile /dir/tool\nCOPY --chmod=640 Dockerfile /plain\n\
         COPY links /\nFROM scratch\nCOPY --from=0 / /\n",
    );
    std::fs::create_dir(context.join("links")).unwrap();
    symlink("/etc/passwd", context.join("links/link")).unwrap();
    let out = site.folder().join("out");
    std::fs::create_dir(&out).unwrap();
    for name in ["mine", "plain"] {
        std::fs::write(out.join(name), "mine\n").unwrap();
    }
    let built = site.build(&["-o", "out", "c"]).success();
    assert_eq!(built.stdout, "", "no image came of it");
    assert_eq!(run(site.dhow().args(["images", "-q"])).success().stdout, "");
    let recipe = std::fs::read(context.join("Dockerfile")).unwrap();
    for name in ["dir/tool", "plain"] {
        assert_eq!(std::fs::read(out.join(name)).unwrap(), recipe);
        let found = std::fs::metadata(out.join(name)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mtime()), (0, 0, 0));
    }
    assert_eq!(
        (mode(&out.join("dir/tool")), mode(&out.join("plain"))),
        (0o755, 0o640)
    );
    assert_eq!(
        std::fs::read_link(out.join("link")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(std::fs::read_to_string(out.join("mine")).unwrap(), "mine\n");
    // Once more, onto itself.
    site.build(&["-o", "type=local,dest=out", "c"]).success();
    assert_eq!(std::fs::read(out.join("plain")).unwrap(), recipe);
}

fn a_link_in_the_folder_leads_nothing_out_of_it() {
    let site = Site::bare();
    site.context(
        "c",
        "FROM scratch\nCOPY Dockerfile /a/file\nCOPY Dockerfile /z\n",
    );
    let (out, canary) = (site.folder().join("out"), site.folder().join("canary"));
    std::fs::create_dir_all(&canary).unwrap();
    std::fs::create_dir(&out).unwrap();
    std::fs::write(canary.join("file"), "canary\n").unwrap();
    // In the place of a file it is replaced, whatever it leads to.
    symlink(canary.join("file"), out.join("z")).unwrap();
    site.build(&["-o", "out", "c"]).success();
    assert!(std::fs::symlink_metadata(out.join("z")).unwrap().is_file());
    // In the place of a folder it ends the build.
    std::fs::remove_dir_all(out.join("a")).unwrap();
    symlink(&canary, out.join("a")).unwrap();
    let refused = site.build(&["-o", "out", "c"]).ends_with(1);
    assert!(
        refused
            .stderr
            .ends_with("dhow: write a: mkdir a: no folder has this name there (file exists)\n"),
        "{refused:?}"
    );
    assert_eq!(
        std::fs::read_to_string(canary.join("file")).unwrap(),
        "canary\n"
    );
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 1);
}

fn an_archive_is_the_image_that_the_store_would_have() {
    let site = Site::bare();
    site.context("c", "FROM scratch\nCOPY Dockerfile /\nENV A=1\n");
    let id = site.build(&["-q", "c"]).success().stdout;
    for (form, name) in [
        ("type=docker,dest=x", "x"),
        ("type=oci,dest=y", "y"),
        ("type=oci,tar=false,dest=z", "z"),
    ] {
        let built = site
            .build(&["-q", "-t", "named:1", "-o", form, "c"])
            .success();
        assert_eq!(built.stdout, id);
        let mut load = site.dhow();
        run(load
            .arg("--store")
            .arg(site.folder().join(format!("{name}.store")))
            .args(["load", name]))
        .success();
        let mut images = site.dhow();
        images
            .arg("--store")
            .arg(site.folder().join(format!("{name}.store")));
        let found = run(images.args(["inspect", "named:1"])).success().stdout;
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found[0]["Id"], id.trim_end());
    }
    // A stream has nothing else on it.
    let stream = run(site
        .dhow()
        .args(["build", "-t", "named:1", "-o", "type=docker,dest=-", "c"]))
    .success();
    assert_eq!(
        stream.stdout.as_bytes(),
        std::fs::read(site.folder().join("x")).unwrap()
    );
}

fn results_are_the_same_bytes_wherever_they_are_made() {
    let site = Site::new();
    let recipe = "FROM base AS made\nRUN mkdir /m && echo b > /m/b && ln /m/b /m/a && ls / > /m/c\nCOPY . /copied\n\
                  FROM base\nWORKDIR /w\nCOPY --from=made /m /copied /w/\nRUN --network=none id > /id\n";
    let mut all = Vec::new();
    for (name, umask) in [("one", "022"), ("a-folder-of-another-name", "077")] {
        let context = site.context(name, recipe);
        for n in ["3", "1", "2"] {
            std::fs::write(context.join(n), n).unwrap();
            std::fs::set_permissions(context.join(n), PermissionsExt::from_mode(0o644)).unwrap();
        }
        std::fs::set_permissions(context.join("Dockerfile"), PermissionsExt::from_mode(0o644))
            .unwrap();
        let age = if name == "one" {
            "1999-12-31"
        } else {
            "2020-02-29"
        };
        run(Command::new("find")
            .arg(&context)
            .args(["-exec", "touch", "-d", age, "{}", "+"]))
        .success();
        let dhow = crate::support::sandbox::dhow();
        let script = format!(
            "umask {umask}; exec {} --root \"$1\" --store \"$2\" build -q --no-cache -t same:1 \
             -o \"type=tar,dest=$2.tar\" -o \"type=oci,dest=$2.oci\" -o \"type=docker,dest=$2.docker\" \"$3\"",
            dhow.display()
        );
        let store = site.folder().join("store");
        let results = site.folder().join(format!("{name}.out"));
        // The base is the same, the rest is made anew.
        let mut build = Command::new("sh");
        build.args(["-c", &script.replacen("$2", "$4", 1), "sh"]);
        build
            .arg(site.sandbox.state_root())
            .arg(&results)
            .arg(&context)
            .arg(&store);
        build.env("TZ", if name == "one" { "UTC" } else { "Asia/Tokyo" });
        run(build.env_remove("SOURCE_DATE_EPOCH")).success();
        all.push(["tar", "oci", "docker"].map(|kind| {
            let path = site.folder().join(format!("{name}.out.{kind}"));
            (kind, std::fs::read(path).unwrap())
        }));
    }
    for (one, other) in all[0].iter().zip(&all[1]) {
        assert!(one.1 == other.1, "the two of form {} differ", one.0);
    }
    let listed = run(Command::new("tar")
        .arg("-tvf")
        .arg(site.folder().join("one.out.tar")))
    .success();
    let fits = |line: &&str| line.ends_with(" w/b") || line.ends_with(" w/b link to w/a");
    assert_eq!(
        listed.stdout.lines().filter(fits).count(),
        1,
        "{}",
        listed.stdout
    );
}

fn what_an_output_cannot_mean_stops_the_build_before_any_step() {
    let site = Site::bare();
    site.context("c", "FROM scratch\nCOPY Dockerfile /\n");
    for (output, why) in [
        (
            "type=local",
            "--output type=local: type=local needs dest=FOLDER",
        ),
        (
            "type=image,unpack=false",
            "--output type=image,unpack=false: unpack=false is not supported",
        ),
        (
            "type=registry",
            "--push: the image has no name; give one by -t",
        ),
    ] {
        let refused = site.build(&["-o", output, "c"]).ends_with(1);
        assert_eq!(refused.stderr, format!("dhow: {why}\n"));
    }
    let refused = site.build(&["-o", "-", "-o", "type=oci", "c"]).ends_with(1);
    assert_eq!(
        refused.stderr,
        "dhow: --output: only one can go to stdout\n"
    );
    assert!(!site.folder().join("store").exists());
}
