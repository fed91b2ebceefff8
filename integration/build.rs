//! `dhow build`: recipes to images, the cache, the plan, what is refused. Files and hostile input have rooms of
//! their own. Each claim builds on a base of static busybox, in a store of its own.

mod adding;
pub(crate) mod alike;
mod attested;
mod caches;
mod carrying;
mod checking;
mod contexts;
mod course;
mod files;
mod hostile;
mod keys;
mod leaving;
mod lending;
mod limits;
mod memory;
mod mounts;
mod named;
mod network;
mod outputs;
mod owners;
mod platforms;
mod progress;
mod registries;
mod remote;
mod rights;
mod rootless;
mod scarce;
pub(crate) mod servers;
mod site;

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use self::site::Site;
use crate::support::claim::Claim;
use crate::support::{Output, claims, run};

mod here {
    use super::*;

    claims![
        a_recipe_becomes_an_image_that_runs: [Root, Cgroup2, Overlay, Dhow],
        a_second_build_does_nothing_and_gives_the_same_image: [Root, Cgroup2, Overlay, Dhow],
        a_changed_file_redoes_what_reads_it_and_no_more: [Root, Cgroup2, Overlay, Dhow],
        two_stores_give_the_same_image: [Root, Cgroup2, Overlay, Dhow],
        stages_that_nobody_needs_do_not_run: [Root, Cgroup2, Overlay, Dhow],
        a_fault_anywhere_stops_the_build_before_any_step: [Root, Overlay, Dhow],
        what_is_not_supported_is_refused_with_its_line: [Root, Overlay, Dhow],
        a_failing_command_shows_its_status_and_last_output: [Root, Cgroup2, Overlay, Dhow],
        what_a_killed_build_left_is_cleared_by_the_next: [Root, Cgroup2, Overlay, Dhow],
        an_archive_serves_as_base_by_its_path: [Root, Cgroup2, Overlay, Dhow],
        each_recipe_has_its_plan: [Root, Cgroup2, Overlay, Dhow],
        each_recipe_builds_and_runs: [Root, Cgroup2, Overlay, Dhow],
        a_plan_needs_no_store_and_no_sources: [Dhow],
    ];
}

/// The claims of this room and its inner ones.
pub(crate) fn claims() -> Vec<Claim> {
    [
        here::claims(),
        adding::claims(),
        alike::claims(),
        caches::claims(),
        attested::claims(),
        carrying::claims(),
        checking::claims(),
        contexts::claims(),
        course::claims(),
        files::claims(),
        hostile::claims(),
        leaving::claims(),
        lending::claims(),
        keys::claims(),
        limits::claims(),
        memory::claims(),
        network::claims(),
        outputs::claims(),
        owners::claims(),
        mounts::claims(),
        named::claims(),
        scarce::claims(),
        platforms::claims(),
        progress::claims(),
        registries::claims(),
        rootless::claims(),
        remote::claims(),
        rights::claims(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How many steps were cached.
fn cached(output: &Output) -> usize {
    output.stderr.matches(" CACHED\n").count()
}

fn a_recipe_becomes_an_image_that_runs() {
    let site = Site::new();
    // The state root is made when it is first needed.
    std::fs::remove_dir_all(site.sandbox.state_root()).unwrap();
    site.image(
        "two",
        "FROM base AS work\nWORKDIR /work\nRUN echo made > file\n\
         FROM base\nCOPY --from=work /work/file /file\nENV A=b\nCMD [\"sh\", \"-c\", \"cat /file; echo $A\"]\n",
    );
    let output = run(site.dhow().args(["run", "--rm", "two"])).success();
    assert_eq!(output.stdout, "made\nb\n");
}

const CACHED: &str = "FROM base\nRUN date +%N > /time\nCOPY data /data\nRUN cat /data > /copy\n";

fn a_second_build_does_nothing_and_gives_the_same_image() {
    let site = Site::new();
    let context = site.context("c", CACHED);
    std::fs::write(context.join("data"), "1").unwrap();
    let first = site.build(&["c"]).success();
    assert_eq!(cached(&first), 0, "{}", first.stderr);
    // Neither times nor the folder's place are part of what a step reads.
    std::fs::rename(&context, site.folder().join("d")).unwrap();
    std::fs::write(site.folder().join("d/data"), "1").unwrap();
    let second = site.build(&["d"]).success();
    assert_eq!(cached(&second), 3, "{}", second.stderr);
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(cached(&site.build(&["--no-cache", "d"]).success()), 0);
}

fn a_changed_file_redoes_what_reads_it_and_no_more() {
    let site = Site::new();
    let context = site.context("c", CACHED);
    std::fs::write(context.join("data"), "1").unwrap();
    std::fs::write(context.join("other"), "1").unwrap();
    site.build(&["c"]).success();
    std::fs::write(context.join("other"), "2").unwrap();
    assert_eq!(cached(&site.build(&["c"]).success()), 3);
    std::fs::write(context.join("data"), "2").unwrap();
    assert_eq!(cached(&site.build(&["-t", "c", "c"]).success()), 1);
    assert_eq!(site.inside("c", "cat /copy"), "2");
    // A mode is read too.
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(context.join("data"), mode).unwrap();
    assert_eq!(cached(&site.build(&["c"]).success()), 1);
}

fn two_stores_give_the_same_image() {
    let recipe =
        "FROM base\nWORKDIR /a/b\nRUN mkdir c; echo x > c/d\nCOPY . /e/\nCOPY <<f /\nx\nf\n";
    let build = || {
        let site = Site::new();
        let context = site.context("c", recipe);
        std::fs::write(context.join("data"), "1").unwrap();
        site.build(&["-q", "c"]).success().stdout
    };
    let first = build();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(first, build());
}

fn stages_that_nobody_needs_do_not_run() {
    let site = Site::new();
    site.context(
        "c",
        "FROM base AS no\nRUN exit 1\nFROM base AS yes\nRUN echo x\nFROM base\n",
    );
    site.build(&["c"]).success();
    site.build(&["--target", "yes", "c"]).success();
    let failed = site.build(&["--target", "no", "c"]);
    failed.ends_with(1);
    let mistyped = site.build(&["--target", "yess", "c"]).ends_with(1);
    assert_eq!(
        mistyped.stderr,
        "dhow: target stage \"yess\" could not be found (did you mean yes?)\n"
    );
}

fn a_fault_anywhere_stops_the_build_before_any_step() {
    let site = Site::bare();
    site.context("c", "FROM scratch\nCOPY Dockerfile /\nRNU x\n");
    let output = site.build(&["c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: Dockerfile:3: unknown instruction: RNU (did you mean RUN?)\n  |\n3 | RNU x\n  | ^^^\n"
    );
    assert_eq!(output.stdout, "");
}

fn what_is_not_supported_is_refused_with_its_line() {
    let site = Site::bare();
    site.context(
        "c",
        "FROM scratch\nCOPY Dockerfile /\nRUN --device=a.b/c=d x\n",
    );
    let output = site.build(&["c"]).ends_with(1);
    let first = output.stderr.lines().next().unwrap_or("");
    let words = "RUN --device=a.b/c=d: not supported";
    assert_eq!(first, format!("dhow: Dockerfile:3: {words}"));
}

fn a_failing_command_shows_its_status_and_last_output() {
    let site = Site::new();
    site.context("c", "FROM base\nRUN echo one; echo two >&2; exit 3\n");
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: Dockerfile:2: RUN echo one; echo two >&2; exit 3: exit status 3\n  | one\n  | two\n"
    );
    assert_eq!(site.sandbox.left_behind(), Vec::<String>::new());
}

fn what_a_killed_build_left_is_cleared_by_the_next() {
    let site = Site::new();
    site.context("c", "FROM base\nRUN echo x; sleep 1000\n");
    let mut build = site.dhow().args(["build", "-q", "c"]).spawn().unwrap();
    let list = || run(site.dhow().args(["list"])).success().stdout;
    crate::support::command::wait_for("the command", std::time::Duration::from_secs(10), || {
        list().contains("running").then_some(())
    });
    // A living build is left alone by another one.
    site.image("d", "FROM base\nRUN true\n");
    assert!(list().contains("running"));
    // With it the step's process, which would end the command by itself.
    let id = build.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    run(Command::new("kill").arg("-STOP").arg(id.to_string())).success();
    for step in children.split_whitespace() {
        run(Command::new("kill").args(["-KILL", step])).success();
    }
    build.kill().unwrap();
    build.wait().unwrap();
    assert!(list().contains("running"));
    // And one was killed when it had made its container's folder and nothing else.
    std::fs::create_dir(site.sandbox.state_root().join("build-1-0")).unwrap();
    site.image("e", "FROM base\nRUN true\n");
    assert_eq!(site.sandbox.left_behind(), Vec::<String>::new());
    let work = std::fs::read_dir(site.folder().join("store/work")).unwrap();
    assert_eq!(work.count(), 0);
}

fn an_archive_serves_as_base_by_its_path() {
    let site = Site::new();
    for (format, scheme) in [("oci-archive", "oci-archive:"), ("docker-archive", "")] {
        let archive = site.folder().join(format);
        let path = archive.to_str().unwrap();
        run(site
            .dhow()
            .args(["save", "--format", format, "-o", path, "base"]))
        .success();
        // A store that does not know the image.
        let other = Site::bare();
        other.image("c", &format!("FROM {scheme}{path}\nRUN echo y > /x\n"));
        assert_eq!(other.inside("c", "cat /x"), "y\n");
    }
}

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/recipes")
}

/// `expected.json` beside each recipe holds the image's config and what RUN runs, on a base made FROM scratch.
/// `DHOW_TEST_WRITE=1` writes them anew, for the eye to judge.
fn each_recipe_has_its_plan() {
    let site = Site::new();
    run(site.dhow().args(["tag", "base", "debian:demo"])).success();
    for name in ["hello", "multi-stage", "heredoc", "cache"] {
        let folder = recipes().join(name);
        let plan = site
            .build(&["--plan", "--format", "json", folder.to_str().unwrap()])
            .success();
        let path = folder.join("expected.json");
        if std::env::var_os("DHOW_TEST_WRITE").is_some() {
            std::fs::write(&path, &plan.stdout).unwrap();
        }
        let expected = std::fs::read_to_string(path).unwrap();
        assert_eq!(plan.stdout, expected, "{name}");
    }
}

fn each_recipe_builds_and_runs() {
    let site = Site::new();
    run(site.dhow().args(["tag", "base", "debian:demo"])).success();
    for (name, prints) in [
        ("hello", "hello from a recipe\n"),
        ("heredoc", "hello, world\nmade by awk\nworld\n$WHO\n"),
        ("cache", "this takes long\n10\n1\n"),
    ] {
        let folder = recipes().join(name);
        site.build(&["-q", "-t", name, folder.to_str().unwrap()])
            .success();
        assert_eq!(
            run(site.dhow().args(["run", "--rm", name]))
                .success()
                .stdout,
            prints
        );
    }
}

fn a_plan_needs_no_store_and_no_sources() {
    let site = Site::bare();
    site.context("c", "FROM scratch\nCOPY nothing /\nRUN x\n");
    let plan = site.build(&["--plan", "--format", "json", "c"]).success();
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["run"][0]["args"][2], "x");
    assert!(!site.folder().join("store").exists());
}
