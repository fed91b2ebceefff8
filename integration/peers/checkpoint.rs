//! Checkpoint and restore through an engine. CRIU needs a kernel that it knows: the rig's.
//! Not its job: what a checkpoint holds (the module checkpoint).

use std::time::Duration;

use super::engine::Engine;
use super::podman::Podman;
use crate::support::claims;
use crate::support::command::wait_for;

claims![
    podman_checkpoints_and_restores: [Root, Cgroup2, Overlay, Systemd, Criu, Tool("podman"), Tool("conmon")],
];

/// Counts in a file, with the stdio that its engine gave it.
const COUNT: &str =
    "run -d --name one box sh -c 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.1; done'";

/// Waits until the count is above `last`, and gives it.
#[track_caller]
fn counts_beyond(engine: &impl Engine, last: u64) -> u64 {
    wait_for("the count", Duration::from_secs(10), || {
        let count = engine.run("exec one cat /count").stdout;
        count.trim().parse().ok().filter(|count| *count > last)
    })
}

fn podman_checkpoints_and_restores() {
    let podman = Podman::by_systemd();
    podman.ok(COUNT);
    let last = counts_beyond(&podman, 0);
    podman.ok("container checkpoint one");
    assert_eq!(podman.inspect("one", ".State.Checkpointed"), "true");
    assert_eq!(podman.inspect("one", ".State.Status"), "exited");
    podman.ok("container restore one");
    let last = counts_beyond(&podman, last);
    let file = podman.home.folder.join("one.tar.gz");
    let file = file.display();
    // --keep and --leave-running both: podman hands on --leave-running twice.
    podman.ok(&format!(
        "container checkpoint --keep --leave-running -e {file} one"
    ));
    podman.ok("rm -f -t 0 one");
    podman.ok(&format!("container restore -i {file}"));
    counts_beyond(&podman, last);
    podman.ok("rm -f -t 0 one");
}
