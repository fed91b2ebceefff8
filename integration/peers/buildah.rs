//! buildah: RUN steps and `buildah run` with dhow. Not its job: our own builder (build).

use std::process::Command;

use super::engine::{Engine, Home, archive, words};
use super::view::Place;
use crate::support::needs::program;
use crate::support::sandbox::runtime;
use crate::support::{Output, claims};

claims![
    buildah_runs_commands_in_a_container: [Root, Brisk, Cgroup2, Overlay, Tool("buildah")],
    buildah_run_options_hold: [Root, Brisk, Cgroup2, Overlay, Tool("buildah")],
    buildah_builds_recipes: [Root, Brisk, Cgroup2, Overlay, Tool("buildah")],
];

/// buildah with a storage and a view of its own.
pub(super) struct Buildah {
    pub(super) home: Home,
}

impl Engine for Buildah {
    fn command(&self, line: &str) -> Command {
        let folder = &self.home.folder;
        let mut command = self.home.place.command(&program("buildah").unwrap());
        command.arg("--root").arg(folder.join("root"));
        command.arg("--runroot").arg(folder.join("run"));
        command.env("TMPDIR", folder);
        command.args(["--storage-driver", "overlay"]);
        command.args(words(line));
        command
    }
}

impl Buildah {
    /// Sets it up with a working container called `work`.
    pub(super) fn new() -> Self {
        let buildah = Self {
            home: Home::new(Place::view(), "buildah"),
        };
        let archive = archive(&buildah.home.sandbox);
        let from = format!("from -q --name work docker-archive:{}", archive.display());
        buildah.run(&from).success();
        buildah
    }

    /// `buildah run` with our runtime; standard output without the last line's end.
    #[track_caller]
    fn inside(&self, line: &str) -> Output {
        let runtime = runtime();
        self.run(&format!(
            "run --isolation oci --runtime {} --runtime-flag root={} {line}",
            runtime.display(),
            self.home.sandbox.state_root().display()
        ))
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run("rm -a").success();
            let folder = self.home.folder.join("root/overlay-containers");
            self.home.place.expect_clean(&folder);
        }
    }
}

fn buildah_runs_commands_in_a_container() {
    let buildah = Buildah::new();
    let output =
        buildah.inside("work -- sh -c 'echo out; echo err >&2; echo $GREETING > /srv/kept'");
    let output = output.success();
    assert_eq!(output.stdout, "out\n");
    assert!(output.stderr.contains("err\n"), "{}", output.stderr);
    assert_eq!(
        buildah.inside("work -- cat /srv/kept").success().stdout,
        "hello\n"
    );
    buildah.inside("work -- sh -c 'exit 42'").ends_with(42);
    assert_ne!(buildah.inside("work -- no-such-program").status, 0);
}

fn buildah_run_options_hold() {
    let buildah = Buildah::new();
    let ids = buildah.inside("--user web --workingdir /srv work -- sh -c 'id -u; pwd'");
    assert_eq!(ids.success().stdout, "101\n/srv\n");
    let name = buildah.inside("--hostname ship --env A=b work -- sh -c 'hostname; echo $A'");
    assert_eq!(name.success().stdout, "ship\nb\n");
    let rights = buildah.inside("--cap-drop CAP_CHOWN work -- chown 1 /srv");
    assert_ne!(rights.status, 0);
    let folder = buildah.home.sandbox.path().join("volume");
    std::fs::create_dir(&folder).unwrap();
    let volume = format!("--volume {}:/v work -- touch /v/x", folder.display());
    buildah.inside(&volume).success();
    assert!(folder.join("x").exists());
}

fn buildah_builds_recipes() {
    let buildah = Buildah::new();
    let context = buildah.home.sandbox.path().join("recipe");
    std::fs::create_dir(&context).unwrap();
    buildah.run("commit -q work localhost/base").success();
    let recipe = "FROM localhost/base\nRUN echo one > /srv/one && id -u >> /srv/one\nUSER web\nWORKDIR /srv\n\
        RUN id -u > /tmp/two && pwd >> /tmp/two\n";
    std::fs::write(context.join("Dockerfile"), recipe).unwrap();
    let build = |shown: &str| {
        buildah.run(&format!(
            "build --isolation oci --runtime {} --runtime-flag root={} --network none -t localhost/made {shown}",
            runtime().display(),
            buildah.home.sandbox.state_root().display()
        ))
    };
    build(&context.display().to_string()).success();
    buildah
        .run("from -q --name made --pull-never localhost/made")
        .success();
    let seen = buildah.inside("made -- cat /srv/one /tmp/two").success();
    assert_eq!(seen.stdout, "one\n0\n101\n/srv\n");
    std::fs::write(
        context.join("Dockerfile"),
        "FROM localhost/base\nRUN exit 3\n",
    )
    .unwrap();
    let failed = build(&context.display().to_string());
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.contains("exit status 3"), "{}", failed.stderr);
}
