//! podman: pods, whose containers share namespaces. Not its job: single containers (podman).

use super::engine::Engine;
use super::podman::Podman;
use crate::support::claims;

claims![
    podman_pods_share_their_namespaces: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_pods_are_paused_and_stopped_whole: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
];

/// Two containers in a pod. Its cgroup is not their parent: podman 4.3 forbids all devices there on cgroupfs.
fn pod() -> Podman {
    let podman = Podman::new();
    podman.ok("pod create --name both --share-parent=false --share pid,ipc,net,uts --infra-image box --infra-command '/bin/sleep 1000'");
    podman.ok("run -d --pod both --name one box sleep 1000");
    podman.ok("run -d --pod both --name two box sleep 1000");
    podman
}

fn podman_pods_share_their_namespaces() {
    let podman = pod();
    for kind in ["pid", "ipc", "net", "uts"] {
        let see = |name: &str| podman.ok(&format!("exec {name} readlink /proc/self/ns/{kind}"));
        assert_eq!(see("one"), see("two"), "{kind}");
    }
    for kind in ["mnt", "cgroup"] {
        let see = |name: &str| podman.ok(&format!("exec {name} readlink /proc/self/ns/{kind}"));
        assert_ne!(see("one"), see("two"), "{kind}");
    }
    // One pid namespace: each sees the other's program.
    assert_eq!(
        podman
            .ok("exec one ps -o args")
            .matches("sleep 1000")
            .count(),
        3
    );
}

fn podman_pods_are_paused_and_stopped_whole() {
    let podman = pod();
    podman.ok("pod pause both");
    assert_eq!(podman.inspect("two", ".State.Status"), "paused");
    podman.ok("pod unpause both");
    assert_eq!(podman.inspect("two", ".State.Status"), "running");
    assert!(podman.ok("pod top both args").contains("sleep 1000"));
    podman.ok("pod stop -t 0 both");
    podman.ok("pod start both");
    podman.ok("exec one true");
    podman.ok("pod rm -f -t 0 both");
    assert_eq!(podman.ok("ps -aq"), "");
}
