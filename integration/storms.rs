//! Many at once, and hard times: one id for many callers, many containers, a first process that is stopped, a frozen
//! cgroup, a state folder that takes no writes or is gone, signals without end.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::command::wait_for;
use crate::support::{Sandbox, claims, run};

claims![
    of_many_creates_with_one_id_one_wins: [Root, Cgroup2, FullSpeed],
    of_many_starts_one_wins: [Root, Cgroup2, FullSpeed],
    many_kills_and_deletes_at_once_leave_nothing: [Root, Cgroup2, FullSpeed],
    many_containers_at_once_are_all_whole: [Root, Cgroup2, FullSpeed],
    a_stopped_first_process_can_be_deleted: [Root, Cgroup2],
    a_frozen_cgroup_can_be_killed_and_deleted: [Root, Cgroup2],
    a_read_only_state_folder_is_told: [Root, Cgroup2, Dhow],
    a_state_folder_that_is_gone_is_told: [Root, Cgroup2, Dhow],
    interruptions_without_end_change_nothing: [Root, Cgroup2, FullSpeed, Tool("bash")],
];

/// How many there are at once.
const MANY: usize = 64;

/// Begins that many, each with its words, and gives how each ended.
fn at_once(sandbox: &Sandbox, words: impl Fn(usize) -> Vec<String>) -> Vec<bool> {
    let children: Vec<Child> = (0..MANY)
        .map(|number| {
            let mut command = sandbox.command();
            command
                .args(words(number))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let ended = children.into_iter().map(|mut child| {
        wait_for("its end", Duration::from_secs(60), || {
            child.try_wait().unwrap()
        })
        .success()
    });
    ended.collect()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn winners(ended: &[bool]) -> usize {
    ended.iter().filter(|won| **won).count()
}

fn of_many_creates_with_one_id_one_wins() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let create = words(&["create", "--bundle", bundle.argument(), "c"]);
    for _ in 0..3 {
        let ended = at_once(&sandbox, |_| create.clone());
        assert_eq!(winners(&ended), 1);
        assert_eq!(sandbox.state("c")["status"], "created");
        assert_eq!(sandbox.cgroup_folder().processes().len(), 1);
        sandbox.runtime(&["delete", "--force", "c"]).success();
        assert_eq!(sandbox.left_behind(), Vec::<String>::new());
    }
}

fn of_many_starts_one_wins() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    for _ in 0..3 {
        sandbox
            .runtime(&["create", "--bundle", bundle.argument(), "c"])
            .success();
        let ended = at_once(&sandbox, |_| words(&["start", "c"]));
        assert_eq!(winners(&ended), 1);
        assert_eq!(sandbox.state("c")["status"], "running");
        sandbox.runtime(&["delete", "--force", "c"]).success();
    }
}

fn many_kills_and_deletes_at_once_leave_nothing() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    for _ in 0..3 {
        sandbox
            .runtime(&["create", "--bundle", bundle.argument(), "c"])
            .success();
        sandbox.runtime(&["start", "c"]).success();
        let ended = at_once(&sandbox, |number| match number % 2 {
            0 => words(&["delete", "--force", "c"]),
            _ => words(&["kill", "c", "KILL"]),
        });
        // With force, what is deleted already is deleted.
        assert!(ended.iter().step_by(2).all(|won| *won), "{ended:?}");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new());
    }
}

fn many_containers_at_once_are_all_whole() {
    let sandbox = Sandbox::new();
    let bundles: Vec<_> = (0..MANY)
        .map(|number| {
            sandbox
                .bundle(&format!("c{number}"))
                .script("test $(cat /proc/1/comm) = sh && exit 0")
        })
        .collect();
    let ended = at_once(&sandbox, |number| {
        words(&[
            "run",
            "--bundle",
            bundles[number].argument(),
            &format!("c{number}"),
        ])
    });
    assert_eq!(winners(&ended), MANY);
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

fn running(sandbox: &Sandbox) -> u64 {
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    sandbox.state("c")["pid"].as_u64().unwrap()
}

fn a_stopped_first_process_can_be_deleted() {
    let sandbox = Sandbox::new();
    let pid = running(&sandbox);
    run(Command::new("kill").args(["-STOP", &pid.to_string()])).success();
    assert_eq!(sandbox.state("c")["status"], "running");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// As a dhow leaves it that was killed between the freeze and the thaw.
fn a_frozen_cgroup_can_be_killed_and_deleted() {
    let sandbox = Sandbox::new();
    for by in ["kill", "delete"] {
        running(&sandbox);
        std::fs::write(sandbox.cgroup("c").join("cgroup.freeze"), "1").unwrap();
        if by == "kill" {
            sandbox.runtime(&["kill", "c", "KILL"]).success();
            wait_for("the end", Duration::from_secs(5), || {
                (sandbox.state("c")["status"] == "stopped").then_some(())
            });
        }
        sandbox.runtime(&["delete", "--force", "c"]).success();
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{by}");
        std::fs::remove_dir_all(sandbox.path().join("c")).unwrap();
    }
}

fn a_read_only_state_folder_is_told() {
    let sandbox = Sandbox::new();
    running(&sandbox);
    let script = "mount --bind \"$STATE\" \"$STATE\" && mount -o remount,ro,bind \"$STATE\" || exit 9
        for words in 'state c' 'list' 'kill c WINCH'; do \"$RUNTIME\" --root \"$STATE\" $words > /dev/null || exit 8; done
        \"$RUNTIME\" --root \"$STATE\" delete --force c";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .env("RUNTIME", crate::support::sandbox::runtime())
        .env("STATE", sandbox.state_root());
    let output = run(&mut command).ends_with(1);
    assert!(
        output.stderr.contains("read-only file system"),
        "{output:?}"
    );
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// Somebody emptied /run: what was the container's is then nobody's, and a new one of its name says what is in its way.
fn a_state_folder_that_is_gone_is_told() {
    let sandbox = Sandbox::new();
    running(&sandbox);
    std::fs::remove_dir_all(sandbox.state_root().join("c")).unwrap();
    for words in [
        &["state", "c"][..],
        &["kill", "c", "KILL"],
        &["delete", "c"],
    ] {
        let output = sandbox.runtime(words).ends_with(1);
        assert!(output.stderr.contains("does not exist"), "{output:?}");
    }
    let bundle = sandbox.path().join("c");
    let again = sandbox.runtime(&["create", "--bundle", bundle.to_str().unwrap(), "c"]);
    let again = again.ends_with(1);
    assert!(again.stderr.contains("cgroup"), "{again:?}");
    // Its processes are the test's to end now.
    std::fs::write(sandbox.cgroup("c").join("cgroup.kill"), "1").unwrap();
    wait_for("its end", Duration::from_secs(5), || {
        std::fs::remove_dir(sandbox.cgroup("c")).ok()
    });
}

/// A stop and a go, a thousand times a second: every wait of dhow's ends early, again and again.
/// A millisecond lies between two: the kernel's verifier of device filters starts again for each (EAGAIN), and with one
/// every few microseconds it would never end.
fn interruptions_without_end_change_nothing() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("sleep 0.3; echo done");
    let script = "\"$@\" & pid=$!; while kill -STOP $pid 2>/dev/null && kill -CONT $pid 2>/dev/null; do sleep 0.001; done; wait $pid";
    for _ in 0..5 {
        let mut command = Command::new("bash");
        command
            .args(["-c", script, "bash"])
            .arg(crate::support::sandbox::runtime())
            .arg("--root")
            .arg(sandbox.state_root())
            .args(["run", "--bundle", bundle.argument(), "c"]);
        assert_eq!(run(&mut command).success().stdout, "done\n");
    }
}
