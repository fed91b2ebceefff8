//! `pause` and `resume`: a paused container stands still, can be ended, and goes on where it was.

use std::time::Duration;

use crate::support::command::wait_for;
use crate::support::{Sandbox, claims};

claims![
    a_paused_container_stands_still_and_goes_on: [Root, Cgroup2],
    a_container_is_paused_once_and_resumed_once: [Root, Cgroup2],
    a_created_container_can_be_paused: [Root, Cgroup2],
    a_stopped_container_is_not_paused: [Root, Cgroup2],
    a_paused_container_can_be_killed: [Root, Cgroup2],
    a_paused_container_can_be_deleted_by_force: [Root, Cgroup2],
    what_a_killed_pause_left_is_resumed: [Root, Cgroup2],
    a_frozen_cgroup_below_is_no_pause: [Root, Cgroup2, Dhow],
];

/// A running container that counts in the file `count` of its root.
fn counting(sandbox: &Sandbox) -> impl Fn() -> u64 {
    let script = "i=0; while true; do i=$((i+1)); echo $i > /count; done";
    let bundle = sandbox
        .bundle("c")
        .script(script)
        .edit(|spec| spec["root"]["readonly"] = false.into());
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    let file = bundle.rootfs().join("count");
    // The file is empty for a moment of each turn.
    let count = move || {
        wait_for("a count", Duration::from_secs(5), || {
            std::fs::read_to_string(&file).ok()?.trim().parse().ok()
        })
    };
    count();
    count
}

/// A container that sleeps, running.
fn sleeping(sandbox: &Sandbox) {
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
}

fn status(sandbox: &Sandbox) -> String {
    sandbox.state("c")["status"].as_str().unwrap().to_owned()
}

fn delete(sandbox: &Sandbox) {
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_paused_container_stands_still_and_goes_on() {
    let sandbox = Sandbox::new();
    let count = counting(&sandbox);
    sandbox.runtime(&["pause", "c"]).success();
    assert_eq!(status(&sandbox), "paused");
    let events = std::fs::read_to_string(sandbox.cgroup("c").join("cgroup.events")).unwrap();
    assert!(events.contains("frozen 1"), "{events}");
    // It may stand between the opening of the file and its writing: then there is nothing to be read.
    let file = sandbox.path().join("c/rootfs/count");
    let before = std::fs::read(&file).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    sandbox.runtime(&["resume", "c"]).success();
    assert_eq!(status(&sandbox), "running");
    let now = count();
    wait_for("it to go on", Duration::from_secs(5), || {
        (count() > now).then_some(())
    });
    delete(&sandbox);
}

fn a_container_is_paused_once_and_resumed_once() {
    let sandbox = Sandbox::new();
    sleeping(&sandbox);
    let output = sandbox.runtime(&["resume", "c"]).ends_with(1);
    assert!(output.stderr.contains("container not paused"), "{output:?}");
    sandbox.runtime(&["pause", "c"]).success();
    let output = sandbox.runtime(&["pause", "c"]).ends_with(1);
    assert!(
        output.stderr.contains("container not running"),
        "{output:?}"
    );
    assert_eq!(status(&sandbox), "paused");
    sandbox.runtime(&["resume", "c"]).success();
    sandbox.runtime(&["resume", "c"]).ends_with(1);
    delete(&sandbox);
}

fn a_created_container_can_be_paused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["pause", "c"]).success();
    assert_eq!(status(&sandbox), "paused");
    sandbox.runtime(&["resume", "c"]).success();
    assert_eq!(status(&sandbox), "created");
    sandbox.runtime(&["start", "c"]).success();
    assert_eq!(status(&sandbox), "running");
    delete(&sandbox);
}

fn a_stopped_container_is_not_paused() {
    let sandbox = Sandbox::new();
    sleeping(&sandbox);
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    wait_for("the container to stop", Duration::from_secs(5), || {
        (status(&sandbox) == "stopped").then_some(())
    });
    let output = sandbox.runtime(&["pause", "c"]).ends_with(1);
    assert!(
        output.stderr.contains("container not running"),
        "{output:?}"
    );
    let output = sandbox.runtime(&["resume", "c"]).ends_with(1);
    assert!(output.stderr.contains("container not paused"), "{output:?}");
    delete(&sandbox);
}

fn a_paused_container_can_be_killed() {
    let sandbox = Sandbox::new();
    sleeping(&sandbox);
    sandbox.runtime(&["pause", "c"]).success();
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    wait_for("the container to stop", Duration::from_secs(5), || {
        (status(&sandbox) == "stopped").then_some(())
    });
    sandbox.runtime(&["delete", "c"]).success();
}

fn a_paused_container_can_be_deleted_by_force() {
    let sandbox = Sandbox::new();
    let _count = counting(&sandbox);
    sandbox.runtime(&["pause", "c"]).success();
    delete(&sandbox);
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

/// The freezer without the verb: what a `pause` has done when it is killed right after its write.
fn what_a_killed_pause_left_is_resumed() {
    let sandbox = Sandbox::new();
    sleeping(&sandbox);
    std::fs::write(sandbox.cgroup("c").join("cgroup.freeze"), "1").unwrap();
    wait_for("it to stand", Duration::from_secs(5), || {
        (status(&sandbox) == "paused").then_some(())
    });
    sandbox.runtime(&["resume", "c"]).success();
    assert_eq!(status(&sandbox), "running");
    delete(&sandbox);
}

/// What a container does with cgroups of its own is its own: only all of it standing still is a pause.
fn a_frozen_cgroup_below_is_no_pause() {
    let sandbox = Sandbox::new();
    sleeping(&sandbox);
    let below = sandbox.cgroup("c").join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("cgroup.freeze"), "1").unwrap();
    assert_eq!(status(&sandbox), "running");
    delete(&sandbox);
}
