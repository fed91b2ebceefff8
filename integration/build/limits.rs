//! What a step is held to, seen from outside: its cgroup's files, its first process' limits and mounts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Site;
use crate::support::command::wait_for;
use crate::support::{claims, run};

claims![
    a_step_lies_in_the_cgroup_and_has_the_limits_that_were_asked_for: [Root, Cgroup2, Overlay, Dhow],
    a_steps_limits_stand_in_its_cgroup: [Root, Controller("memory"), Controller("cpu"), Controller("pids"), Overlay, Dhow],
];

/// A step that goes on.
struct Step {
    cgroup: PathBuf,
    /// Its first process.
    pid: u64,
}

impl Step {
    fn cgroup_says(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.cgroup.join(file)).unwrap();
        text.trim_end().to_owned()
    }

    fn process_says(&self, file: &str) -> String {
        let path = Path::new("/proc").join(self.pid.to_string()).join(file);
        std::fs::read_to_string(path).unwrap()
    }
}

/// Lets a build below the site's cgroup come to a command that has no end, has a look, and ends it.
fn during(flags: &[&str], look: impl FnOnce(&Step)) {
    let site = Site::new();
    site.context("c", "FROM base\nRUN --network=none sleep 1000\n");
    let below = site.sandbox.cgroups_path("");
    let mut build = site
        .dhow()
        .args([
            "build",
            "-q",
            "--cgroup-parent",
            below.trim_end_matches('/'),
        ])
        .args(flags)
        .arg("c")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = || {
        let listed = run(site.dhow().args(["list", "--format", "json"]));
        let listed: serde_json::Value = serde_json::from_str(&listed.success().stdout).ok()?;
        let one = listed.get(0).filter(|one| one["status"] == "running")?;
        Some((one["id"].as_str()?.to_owned(), one["pid"].as_u64()?))
    };
    let (id, pid) = wait_for("the command", Duration::from_secs(20), running);
    look(&Step {
        cgroup: site.sandbox.cgroup(&id),
        pid,
    });
    run(Command::new("kill").arg(build.id().to_string())).success();
    assert!(!build.wait().unwrap().success());
}

fn a_step_lies_in_the_cgroup_and_has_the_limits_that_were_asked_for() {
    let flags = ["--ulimit", "nofile=77:88", "--shm-size", "1m"];
    during(&flags, |step| {
        let all = step.cgroup_says("cgroup.procs");
        assert!(all.lines().any(|pid| pid == step.pid.to_string()), "{all}");
        let limits = step.process_says("limits");
        let files = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let words: Vec<&str> = files.unwrap_or("").split_whitespace().collect();
        assert_eq!(words[3..], ["77", "88", "files"]);
        let mounts = step.process_says("mountinfo");
        let shm = mounts.lines().find(|line| line.contains(" /dev/shm "));
        assert!(
            shm.is_some_and(|line| line.contains("size=1024k")),
            "{mounts}"
        );
    });
}

fn a_steps_limits_stand_in_its_cgroup() {
    let flags = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "77"];
    during(&flags, |step| {
        for (file, value) in [
            ("memory.max", "67108864"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "77"),
        ] {
            assert_eq!(step.cgroup_says(file), value, "{file}");
        }
    });
}
