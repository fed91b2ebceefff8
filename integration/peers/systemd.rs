//! Engines that leave cgroups to systemd: a container is a scope there.
//! Not its job: the dialogue with systemd itself (cgroups).

use std::process::Command;

use super::containerd::Containerd;
use super::docker::{Docker, UNCONFINED};
use super::engine::{Engine, archive};
use super::podman::Podman;
use super::view::Place;
use crate::support::{claims, run};

claims![
    podman_containers_are_scopes_of_systemd: [Root, Cgroup2, Overlay, Systemd, Controller("memory"), Tool("podman"), Tool("conmon")],
    docker_containers_are_scopes_of_systemd: [Root, Cgroup2, Overlay, Systemd, Controller("memory"), Tool("dockerd"), Tool("docker")],
    ctr_tasks_are_scopes_of_systemd: [Root, Cgroup2, Overlay, Systemd, Controller("memory"), Tool("containerd"), Tool("ctr")],
];

/// A property of a unit.
#[track_caller]
fn property(unit: &str, name: &str) -> String {
    let show = ["show", "--value", "--property", name, unit];
    let output = run(Command::new("systemctl").args(show)).success();
    output.stdout.trim().to_owned()
}

fn podman_containers_are_scopes_of_systemd() {
    let podman = Podman::by_systemd();
    podman.ok("run -d --name one --memory 64m box sleep 1000");
    let unit = format!("libpod-{}.scope", podman.inspect("one", ".Id"));
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "MemoryMax"), "67108864");
    assert_eq!(podman.ok("exec one cat /proc/self/cgroup"), "0::/");
    podman.ok("update --memory 128m one");
    assert_eq!(property(&unit, "MemoryMax"), "134217728");
    podman.ok("pause one");
    podman.ok("unpause one");
    podman.ok("restart -t 0 one");
    assert_eq!(property(&unit, "ActiveState"), "active");
    podman.ok("rm -f -t 0 one");
    assert_eq!(property(&unit, "ActiveState"), "inactive");
}

fn docker_containers_are_scopes_of_systemd() {
    let docker = Docker::by_systemd();
    docker.ok(&format!(
        "run -d --name one --network none --memory 64m {UNCONFINED} box sleep 1000"
    ));
    let unit = format!("docker-{}.scope", docker.inspect("one", ".Id"));
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "MemoryMax"), "67108864");
    assert_eq!(docker.ok("exec one cat /proc/self/cgroup"), "0::/");
    docker.ok("update --memory 128m --memory-swap 128m one");
    assert_eq!(property(&unit, "MemoryMax"), "134217728");
    docker.ok("pause one");
    docker.ok("unpause one");
    docker.ok("rm -f one");
    assert_eq!(property(&unit, "ActiveState"), "inactive");
}

fn ctr_tasks_are_scopes_of_systemd() {
    let ctr = Containerd::at(Place::Machine);
    let archive = archive(&ctr.home.sandbox);
    ctr.ok(&format!("image import {}", archive.display()));
    let words = format!("{} --runc-systemd-cgroup", ctr.binary());
    ctr.ok(&format!(
        "run -d {words} --cgroup system.slice:ctr:one --memory-limit 67108864 box one sleep 1000"
    ));
    assert_eq!(property("ctr-one.scope", "ActiveState"), "active");
    assert_eq!(property("ctr-one.scope", "MemoryMax"), "67108864");
    ctr.ok("task exec --exec-id a one true");
    ctr.ok("task pause one");
    ctr.ok("task resume one");
    ctr.ok("task rm -f one");
    assert_eq!(property("ctr-one.scope", "ActiveState"), "inactive");
}
