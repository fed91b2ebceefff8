//! Builds that stand on images of a registry (Debian's docker-registry, on this machine), and bring theirs there.
//! Not its job: pulling and pushing by themselves.

use super::Site;
use crate::registry::server::Registry;
use crate::support::{claims, run};

claims![
    a_name_that_no_image_can_have_is_told_before_anything_is_asked: [Root, Overlay, Dhow],
    a_name_of_no_image_has_its_line_and_the_stage_that_is_meant: [Root, Overlay, Dhow],
    a_recipe_stands_on_images_of_a_registry_and_needs_it_once: [Root, Overlay, Dhow, Tool("docker-registry")],
    pull_asks_for_a_name_again: [Root, Overlay, Dhow, Tool("docker-registry")],
    what_is_pushed_is_what_the_files_say: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    nothing_is_done_for_a_push_without_a_name: [Root, Overlay, Dhow],
];

/// An image of one file in the registry, made in a store that is not the site's. Gives its id.
fn push(site: &Site, name: &str, content: &str) -> String {
    let recipe = format!("FROM scratch\nCOPY <<file /file\n{content}\nfile\nENV A={content}\n");
    site.context("other", &recipe);
    let mut build = site.dhow();
    build.args([
        "--store",
        "elsewhere",
        "build",
        "-q",
        "--push",
        "--metadata-file",
        "said.json",
        "-t",
        name,
        "other",
    ]);
    run(&mut build).success().stdout.trim_end().to_owned()
}

fn a_recipe_stands_on_images_of_a_registry_and_needs_it_once() {
    let (site, registry) = (Site::bare(), Registry::plain());
    let (base, other) = (registry.name("a/base:1"), registry.name("b/other:2"));
    push(&site, &base, "base");
    push(&site, &other, "other");
    let said = std::fs::read(site.folder().join("said.json")).unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    let digest = said["containerimage.digest"].as_str().unwrap();
    let (by_digest, _) = other.rsplit_once(':').unwrap();
    let recipe = format!("FROM {base}\nCOPY --from={by_digest}@{digest} /file /copy\nLABEL a=$A\n");
    site.context("c", &recipe);
    // A plan asks for the config alone.
    let plan = site.build(&["--plan", "c"]).success();
    assert!(plan.stdout.contains("\"A=base\""), "{plan:?}");
    assert_eq!(run(site.dhow().args(["images", "-q"])).success().stdout, "");
    let first = site.build(&["-t", "c", "c"]).success();
    for name in [&base, &format!("{by_digest}@{digest}")] {
        assert!(
            first.stderr.contains(&format!("pull {name}\n")),
            "{first:?}"
        );
    }
    drop(registry);
    let second = site.build(&["--no-cache", "c"]).success();
    assert_eq!(first.stdout, second.stdout);
    assert!(!second.stderr.contains("pull "), "{second:?}");
    let unpacked = site.folder().join("unpacked");
    run(site.dhow().arg("unpack").arg("c").arg(&unpacked)).success();
    let read = |name: &str| std::fs::read_to_string(unpacked.join("rootfs").join(name)).unwrap();
    assert_eq!(
        (read("file"), read("copy")),
        ("base\n".into(), "other\n".into())
    );
}

fn pull_asks_for_a_name_again() {
    let (site, registry) = (Site::bare(), Registry::plain());
    let base = registry.name("base");
    push(&site, &base, "old");
    site.context("c", &format!("FROM {base}\n"));
    let label = |arguments: &[&str]| {
        let id = site.build(arguments).success().stdout;
        run(site.dhow().args(["inspect", id.trim_end()]))
            .success()
            .stdout
    };
    assert!(label(&["-q", "c"]).contains("\"A=old\""));
    push(&site, &base, "new");
    assert!(label(&["-q", "c"]).contains("\"A=old\""));
    assert!(label(&["-q", "--pull", "c"]).contains("\"A=new\""));
    drop(registry);
    let refused = site.build(&["-q", "--pull", "c"]).ends_with(1);
    assert!(
        refused
            .stderr
            .starts_with(&format!("dhow: Dockerfile:1: base image {base}: pull ")),
        "{refused:?}"
    );
    let fresh = site
        .dhow()
        .args(["--store", "empty", "build", "c"])
        .output()
        .unwrap();
    assert!(!fresh.status.success());
}

fn what_is_pushed_is_what_the_files_say() {
    let (site, registry) = (Site::bare(), Registry::plain());
    let names = [registry.name("a/one:1"), registry.name("two")];
    site.context(
        "c",
        "FROM scratch\nCOPY Dockerfile /\nLABEL a=recipe b=recipe\n",
    );
    let mut arguments = vec!["--push", "--iidfile", "id", "--metadata-file", "said.json"];
    arguments.extend(["--label", "b=flag", "--label", "c=flag"]);
    for name in &names {
        arguments.extend(["-t", name]);
    }
    arguments.push("c");
    let built = site.build(&arguments).success();
    let read = |name: &str| std::fs::read_to_string(site.folder().join(name)).unwrap();
    let id = read("id");
    assert_eq!(built.stdout, format!("{id}\n"));
    let said: serde_json::Value = serde_json::from_str(&read("said.json")).unwrap();
    assert_eq!(said["containerimage.config.digest"], id);
    assert_eq!(
        said["image.name"],
        names
            .clone()
            .map(|n| match n.ends_with(":1") {
                true => n,
                false => format!("{n}:latest"),
            })
            .join(",")
    );
    for name in &names {
        let name = format!("docker://{name}");
        let found = run(std::process::Command::new("skopeo").args([
            "inspect",
            "--tls-verify=false",
            &name,
        ]));
        let found: serde_json::Value = serde_json::from_str(&found.success().stdout).unwrap();
        assert_eq!(found["Digest"], said["containerimage.digest"]);
        let labels = serde_json::json!({"a": "recipe", "b": "flag", "c": "flag"});
        assert_eq!(found["Labels"], labels);
    }
    // What fails has no id.
    site.context("c", "FROM scratch\nCOPY nowhere /\n");
    site.build(&arguments).ends_with(1);
    assert!(!site.folder().join("id").exists());
    assert!(!site.folder().join("said.json").exists());
}

fn nothing_is_done_for_a_push_without_a_name() {
    let site = Site::bare();
    site.context("c", "FROM scratch\nCOPY Dockerfile /\n");
    let refused = site.build(&["--push", "c"]).ends_with(1);
    assert_eq!(
        refused.stderr,
        "dhow: --push: the image has no name; give one by -t\n"
    );
    assert!(!site.folder().join("store").exists());
}

fn a_name_of_no_image_has_its_line_and_the_stage_that_is_meant() {
    let site = Site::bare();
    for (line, told) in [
        ("FROM ./tools", "base image"),
        ("FROM scratch\nCOPY --from=./tools /a /b", "image"),
        (
            "FROM scratch\nRUN --mount=from=./tools,target=/t x",
            "image",
        ),
    ] {
        site.context("c", &format!("FROM scratch AS tools\n{line}\n"));
        let output = site.build(&["-q", "c"]).ends_with(1);
        let number = 1 + line.lines().count();
        let begin =
            format!("dhow: Dockerfile:{number}: {told} ./tools (did you mean the stage tools?): ");
        assert!(output.stderr.starts_with(&begin), "{}", output.stderr);
        let shown = format!("\n{number} | {}\n", line.lines().last().unwrap());
        assert!(output.stderr.contains(&shown), "{}", output.stderr);
    }
}

fn a_name_that_no_image_can_have_is_told_before_anything_is_asked() {
    let site = Site::bare();
    for (name, why) in [
        ("box:", "a tag"),
        ("BOX", "lower"),
        ("box@sha256:abc", "after @ there must be sha256:"),
    ] {
        site.context("c", &format!("FROM {name}\n"));
        let said = format!("Dockerfile:1: base image {name}: ");
        for flag in ["--plan", "--check", "-q"] {
            let output = site.build(&[flag, "c"]).ends_with(1);
            assert!(output.stderr.contains(&said), "{}", output.stderr);
            assert!(output.stderr.contains(why), "{}", output.stderr);
            assert!(output.stderr.ends_with("^\n"), "{}", output.stderr);
        }
    }
}
