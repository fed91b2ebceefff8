//! Little is left: few descriptors, no processes, a full file system under the state. A command then ends with a line,
//! and takes all back; or it does its work whole. Not here: calls that fail one by one (killpoint/errnos).

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Output, Sandbox, claims, run};

claims![
    with_few_descriptors_a_command_works_or_says_so: [Root, Cgroup2, Dhow, FullSpeed, Tool("bash")],
    a_full_file_system_under_the_state_is_told: [Root, Cgroup2, Dhow],
    without_a_process_left_a_start_is_refused_and_taken_back: [Root, Controller("pids"), Dhow],
];

/// What is left but for mounts, which are the test's own here.
fn left(sandbox: &Sandbox) -> Vec<String> {
    let mut left = sandbox.left_behind();
    left.retain(|line| !line.starts_with("mount "));
    left
}

/// It failed and said what lacks.
#[track_caller]
fn is_told(output: &Output, reason: &str) {
    assert_ne!(output.status, 0, "{output:?}");
    let told = output.stderr.to_lowercase();
    assert!(told.contains(reason), "{output:?}");
}

/// dhow under a limit of open files.
fn with_files(sandbox: &Sandbox, count: u32, words: &[&str]) -> Output {
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -S -n $0 && exec \"$@\"", &count.to_string()])
        .arg(crate::support::sandbox::runtime())
        .arg("--root")
        .arg(sandbox.state_root());
    run(command.args(words))
}

fn with_few_descriptors_a_command_works_or_says_so() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let create = ["create", "--bundle", bundle.argument(), "c"];
    let reason = "too many open files";
    let mut worked = [0; 4];
    for count in 3..40 {
        let created = with_files(&sandbox, count, &create);
        if created.status == 0 {
            worked[0] += 1;
            assert_eq!(sandbox.state("c")["status"], "created", "{count}");
        } else {
            is_told(&created, reason);
            assert_eq!(left(&sandbox), Vec::<String>::new(), "{count}");
            sandbox.runtime(&create).success();
        }
        let verbs: [(&[&str], &str); 3] = [
            (&["start", "c"], "running"),
            (&["exec", "c", "true"], "running"),
            (&["delete", "--force", "c"], ""),
        ];
        for (number, (words, after)) in (1..).zip(verbs) {
            let output = with_files(&sandbox, count, words);
            if output.status == 0 {
                worked[number] += 1;
            } else {
                is_told(&output, reason);
                // What it could not do, it can have done by half only where it is done again.
                if words[0] != "exec" && sandbox.state("c")["status"] != after {
                    sandbox.runtime(words).success();
                }
            }
            if after == "running" {
                assert_eq!(sandbox.state("c")["status"], after, "{count}: {output:?}");
            }
        }
        assert_eq!(left(&sandbox), Vec::<String>::new(), "{count}");
    }
    assert!(worked.iter().all(|count| *count > 5), "{worked:?}");
}

/// A tmpfs for the state alone, with room for so many files or pages.
fn small(place: &Path, room: &str) {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", room, "dhow-test"]);
    run(command.arg(place)).success();
}

fn a_full_file_system_under_the_state_is_told() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let create = ["create", "--bundle", bundle.argument(), "c"];
    let rooms = (1..12).map(|inodes| format!("nr_inodes={inodes}"));
    let rooms = rooms.chain((1..8).map(|pages| format!("size={}", pages * 4096)));
    let (mut worked, mut refused) = (0, 0);
    for room in rooms {
        small(&sandbox.state_root(), &room);
        let output = sandbox.runtime(&create);
        if output.status == 0 {
            worked += 1;
            sandbox.runtime(&["start", "c"]).success();
            sandbox.runtime(&["delete", "--force", "c"]).success();
        } else {
            refused += 1;
            is_told(&output, "no space left on device");
            assert_eq!(output.stderr.lines().count(), 1, "{room}: {output:?}");
        }
        assert_eq!(left(&sandbox), Vec::<String>::new(), "{room}: {output:?}");
        run(Command::new("umount").arg(sandbox.state_root())).success();
    }
    assert!(worked > 0 && refused > 2, "{worked} {refused}");
}

fn without_a_process_left_a_start_is_refused_and_taken_back() {
    let sandbox = Sandbox::new();
    let folder = sandbox.cgroup_folder().path().to_owned();
    let above = folder.parent().unwrap().join("cgroup.subtree_control");
    std::fs::write(above, "+pids").unwrap();
    let limit = |count: &str| std::fs::write(folder.join("pids.max"), count).unwrap();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let bundle = bundle.edit(|spec| spec["linux"]["resources"] = json!({}));
    let create = ["create", "--bundle", bundle.argument(), "c"];
    let reason = "resource temporarily unavailable";
    limit("0");
    is_told(&sandbox.runtime(&create), reason);
    assert_eq!(left(&sandbox), Vec::<String>::new());
    limit("1");
    sandbox.runtime(&create).success();
    sandbox.runtime(&["start", "c"]).success();
    is_told(&sandbox.runtime(&["exec", "c", "true"]), reason);
    assert_eq!(sandbox.state("c")["status"], "running");
    limit("max");
    sandbox.runtime(&["exec", "c", "true"]).success();
    sandbox.runtime(&["delete", "--force", "c"]).success();
}
