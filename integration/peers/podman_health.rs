//! podman's health checks at an interval: a timer of systemd runs `podman healthcheck run`, which sees no flag and no
//! variable of the test. So podman is told of everything in /etc, which only the rig can spare.
//! Not its job: health checks that are asked for (podman).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::engine::{Engine, Home, archive, words};
use super::podman::configuration;
use super::view::Place;
use crate::support::claims;
use crate::support::command::wait_for;
use crate::support::needs::program;
use crate::support::sandbox::runtime;

claims![
    podman_checks_health_at_an_interval: [Root, Cgroup2, Overlay, Systemd, Rig, Tool("podman"), Tool("conmon")],
];

const FILES: [&str; 2] = [
    "/etc/containers/containers.conf",
    "/etc/containers/storage.conf",
];

/// podman as the machine has it, with dhow in its configuration.
struct Configured {
    home: Home,
}

impl Configured {
    fn new() -> Self {
        let home = Home::new(Place::Machine, "podman");
        let folder = home.folder.display();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{folder}/root\"\nrunroot = \"{folder}/run\"\n"
        );
        for (path, text) in FILES.iter().zip([configuration(&runtime()), storage]) {
            assert!(!Path::new(path).exists(), "{path} is there already");
            std::fs::write(path, text).unwrap();
        }
        let podman = Self { home };
        let archive = archive(&podman.home.sandbox);
        podman.ok(&format!("load -qi {}", archive.display()));
        podman
    }
}

impl Engine for Configured {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(program("podman").unwrap());
        command.args(words(line));
        command
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let removed = self.run("rm -af -t 0");
        for path in FILES {
            let _ = std::fs::remove_file(path);
        }
        if !std::thread::panicking() {
            removed.success();
            let folder = &self.home.folder;
            self.home
                .place
                .expect_clean(&folder.join("root/overlay-containers"));
        }
    }
}

fn podman_checks_health_at_an_interval() {
    let podman = Configured::new();
    podman.ok("run -d --name one --health-cmd 'test -e /tmp/well' --health-interval 2s --health-retries 1 box sleep 1000");
    let becomes = |word: &str| {
        wait_for(word, Duration::from_secs(10), || {
            (podman.inspect("one", ".State.Health.Status") == word).then_some(())
        });
    };
    becomes("unhealthy");
    podman.ok("exec one touch /tmp/well");
    becomes("healthy");
}
