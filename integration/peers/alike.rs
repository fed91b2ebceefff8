//! The cases of build/alike, built by the engines they were written down from: BuildKit (in Docker's daemon) and
//! buildah. Not its job: what dhow makes of them (build).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::buildah::Buildah;
use super::docker::{Docker, socket};
use super::engine::Engine as _;
use crate::build::alike::{Case, Ground, cases, difference, expect_none};
use crate::support::{Output, claims, run};

claims![
    buildkit_makes_the_trees_of_the_cases: [Root, Brisk, Cgroup2, Overlay, Dhow, Tool("dockerd"), Tool("runc"), Tool(CLIENT)],
    buildah_makes_the_trees_of_the_cases: [Root, Brisk, Cgroup2, Overlay, Dhow, Tool("buildah")],
];

/// Debian's own: newer clients leave BuildKit to a plug-in.
const CLIENT: &str = "/usr/bin/docker";

/// The cases that this judge is asked: every tenth, or all of them in a sweep.
fn asked(judge: &str) -> Vec<Case> {
    let every = match std::env::var_os("DHOW_TEST_SWEEP") {
        Some(_) => 1,
        None => 10,
    };
    let all = cases().into_iter();
    let ours = all.filter(|case| case.judges.split_whitespace().any(|word| word == judge));
    ours.step_by(every).collect()
}

/// Builds each of them on the base, and compares what dhow finds in the archive of it.
fn compare(
    judge: &str,
    ground: &Ground,
    mut build: impl FnMut(&Case, &Path, &Path) -> Option<&'static str>,
) {
    let mut differences = Vec::new();
    for case in asked(judge) {
        let context = case.context(ground.sandbox.path());
        let archive = ground.sandbox.path().join("theirs.tar");
        let listing = match build(&case, &context, &archive) {
            None => "refused\n".to_owned(),
            Some(name) => {
                run(ground.dhow().arg("load").arg(&archive)).success();
                let listing = ground.listing(name);
                run(ground.dhow().args(["rmi", name])).success();
                std::fs::remove_file(&archive).unwrap();
                listing
            }
        };
        // This old BuildKit gives copied folders the time of the build; newer ones keep them, as buildah does.
        let told = |text: &str| match judge {
            "buildkit" => without_folder_times(text),
            _ => text.to_owned(),
        };
        let (wanted, listing) = (told(&case.wanted), told(&listing));
        differences.extend(difference(&case.name, &wanted, judge, &listing));
    }
    expect_none(&differences);
}

fn without_folder_times(listing: &str) -> String {
    let line = |line: &str| -> String {
        let mut words: Vec<&str> = line.split(' ').collect();
        // `+ NAME dir MODE OWNER TIME`, and names may have blanks.
        if let Some(at) = words.iter().position(|word| *word == "dir")
            && words.len() > at + 3
        {
            words.remove(at + 3);
        }
        words.join(" ") + "\n"
    };
    listing.lines().map(line).collect()
}

/// The base, as an archive that the engines load.
fn base(ground: &Ground) -> PathBuf {
    let archive = ground.sandbox.path().join("box.tar");
    run(ground.dhow().args(["save", "box", "-o"]).arg(&archive)).success();
    archive
}

fn buildkit_makes_the_trees_of_the_cases() {
    let docker = Docker::new();
    let ground = Ground::new();
    docker.ok(&format!("load -qi {}", base(&ground).display()));
    let build = |case: &Case, context: &Path| -> Output {
        let mut command = Command::new(CLIENT);
        command.env("DOCKER_CONFIG", &docker.home.folder);
        command.env("DOCKER_BUILDKIT", "1");
        command.arg("--host").arg(socket(&docker.home));
        command.args(["build", "-q", "--network=none", "-t", "theirs:1"]);
        run(command.args(&case.arguments).arg(context))
    };
    compare("buildkit", &ground, |case, context, archive| {
        let built = build(case, context);
        if built.status != 0 {
            return None;
        }
        docker.ok(&format!("save -o {} theirs:1", archive.display()));
        Some("theirs:1")
    });
}

fn buildah_makes_the_trees_of_the_cases() {
    let buildah = Buildah::new();
    let ground = Ground::new();
    let base = base(&ground);
    let pulled = format!("pull -q docker-archive:{}", base.display());
    buildah.run(&pulled).success();
    compare("buildah", &ground, |case, context, archive| {
        let built = buildah.run(&format!(
            "build -q --layers --identity-label=false --isolation chroot -t localhost/theirs:1 {} {}",
            case.arguments.join(" "),
            context.display()
        ));
        if built.status != 0 {
            return None;
        }
        let to = format!("docker-archive:{}:localhost/theirs:1", archive.display());
        buildah
            .run(&format!("push -q localhost/theirs:1 {to}"))
            .success();
        Some("localhost/theirs:1")
    });
}
