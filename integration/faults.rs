//! The build for tests alone: old kernels are played by name, and a guard that is left out shows.
//! And the release: nothing of that is in it.

use std::path::PathBuf;

use serde_json::json;

use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, claims, run};

claims![
    containers_live_and_die_without_openat2: [Root, Cgroup2, FaultBuild],
    containers_live_and_die_without_clone_into_cgroup: [Root, Cgroup2, FaultBuild],
    without_clone3_a_time_namespace_is_made_all_the_same: [Root, Cgroup2, FaultBuild],
    containers_live_and_die_without_close_range: [Root, Cgroup2, FaultBuild],
    containers_live_and_die_without_the_mount_api: [Root, Cgroup2, FaultBuild],
    without_the_mount_api_ids_are_refused_by_name: [Root, Cgroup2, FaultBuild],
    containers_live_and_die_without_cgroup_kill: [Root, Cgroup2, FaultBuild],
    without_the_guard_new_privileges_can_be_had: [Root, Cgroup2, FaultBuild],
    a_release_cannot_be_broken_by_name: [Release],
    a_release_stands_alone: [Release],
];

/// The release that `make test` built.
fn release() -> PathBuf {
    PathBuf::from(std::env::var_os("DHOW_TEST_RELEASE").expect("the claim needs Release"))
}

/// A whole life under a fault: create, start, a look, a forced end; then a run.
fn lives_and_dies(fault: &str) {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("sleep 1000 & wait");
    let step = |arguments: &[&str]| -> Output {
        let mut command = sandbox.command();
        run(command.args(arguments).env("DHOW_FAULT", fault)).success()
    };
    step(&["create", "--bundle", bundle.argument(), "c"]);
    step(&["start", "c"]);
    assert_eq!(sandbox.state("c")["status"], "running");
    let place = std::fs::read_to_string(format!("/proc/{}/cgroup", sandbox.state("c")["pid"]));
    let place = place.unwrap();
    assert!(
        place.trim().ends_with(&sandbox.cgroups_path("c")),
        "{place}"
    );
    step(&["delete", "--force", "c"]);
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
    bundle.args(&["echo", "x"]);
    let bundle = sandbox.path().join("c");
    let output = step(&["run", "--bundle", bundle.to_str().unwrap(), "c"]);
    assert_eq!(output.stdout, "x\n");
}

fn containers_live_and_die_without_openat2() {
    lives_and_dies("no-openat2");
}

fn containers_live_and_die_without_clone_into_cgroup() {
    lives_and_dies("no-clone3");
}

fn without_clone3_a_time_namespace_is_made_all_the_same() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "time"}));
    });
    let bundle = bundle.args(&["readlink", "/proc/self/ns/time"]);
    let mut command = sandbox.command();
    command
        .args(["run", "--bundle", bundle.argument(), "c"])
        .env("DHOW_FAULT", "no-clone3");
    let inside = run(&mut command).success().stdout;
    let outside = std::fs::read_link("/proc/self/ns/time").unwrap();
    assert!(inside.starts_with("time:["), "{inside:?}");
    assert_ne!(inside.trim(), outside.to_str().unwrap());
}

fn containers_live_and_die_without_close_range() {
    lives_and_dies("no-close-range");
}

fn containers_live_and_die_without_the_mount_api() {
    lives_and_dies("no-mount-api");
    // As before Linux 5.6.
    lives_and_dies("no-mount-api,no-openat2,no-clone3,no-close-range,no-cgroup-kill");
}

fn without_the_mount_api_ids_are_refused_by_name() {
    let sandbox = Sandbox::new();
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let bundle = sandbox.bundle("c").edit(|spec| {
        spec["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/tmp", "source": sandbox.path(), "options": ["bind", "idmap"],
            "uidMappings": map, "gidMappings": map,
        }));
    });
    let mut command = sandbox.command();
    command.args(["run", "--bundle", bundle.argument(), "c"]);
    let output = run(command.env("DHOW_FAULT", "no-mount-api")).ends_with(1);
    let reason = "id-mapped mounts need Linux 5.12";
    assert!(output.stderr.contains(reason), "{output:?}");
}

fn containers_live_and_die_without_cgroup_kill() {
    lives_and_dies("no-cgroup-kill");
}

/// process::no_new_privs_is_set would fail on such a build.
fn without_the_guard_new_privileges_can_be_had() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    let bundle = bundle.args(&["grep", "NoNewPrivs", "/proc/self/status"]);
    let mut command = sandbox.command();
    command
        .args(["run", "--bundle", bundle.argument(), "c"])
        .env("DHOW_FAULT", "no-no-new-privs");
    assert_eq!(run(&mut command).success().stdout, "NoNewPrivs:\t0\n");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

fn a_release_cannot_be_broken_by_name() {
    let bytes = std::fs::read(release()).unwrap();
    assert!(!contains(&bytes, "DHOW_FAULT"));
    assert!(!contains(&bytes, "no-close-descriptors"));
    // That the words are looked for in the right place: the tests' own build has them.
    if cfg!(feature = "fault") {
        let bytes = std::fs::read(dhow()).unwrap();
        assert!(contains(&bytes, "DHOW_FAULT"));
    }
}

/// Static and not position-independent: an ELF of type EXEC (2) without an interpreter (PT_INTERP, 3).
fn a_release_stands_alone() {
    let bytes = std::fs::read(release()).unwrap();
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    assert_eq!(word(16), 2, "not of type EXEC");
    let table = usize::from(word(32));
    let (size, count) = (usize::from(word(54)), usize::from(word(56)));
    for number in 0..count {
        assert_ne!(word(table + number * size), 3, "it names an interpreter");
    }
}
