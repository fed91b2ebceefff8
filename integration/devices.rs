//! `linux.netDevices`: devices of the caller's network that become the container's. Each test has a network
//! namespace of its own to take them from.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, claims, run};

claims![
    // runc 1.1 knows no netDevices: config-linux.md, "Network Devices".
    a_device_becomes_the_containers_with_its_addresses: [Root, Cgroup2, Tool("ip"), Tool("unshare"), Dhow],
    a_device_in_a_user_namespace_too: [Root, Cgroup2, UserNamespaces, Tool("ip"), Tool("unshare"), Dhow],
    a_device_that_is_not_there_stops_the_start: [Root, Cgroup2, Tool("unshare"), Dhow],
    a_name_that_is_taken_stops_the_start: [Root, Cgroup2, Tool("ip"), Tool("unshare"), Dhow],
];

/// Two ends of a cable, one with addresses.
const CABLE: &str = "ip link add dhowa type veth peer name dhowb && ip addr add 10.9.8.7/24 dev dhowa && \
                     ip addr add fd00:9::7/64 dev dhowa nodad && ip link set dhowa mtu 1400";

/// Runs a container from a network with what `setup` makes.
fn ran(setup: &str, text: &str, devices: Value, edit: impl FnOnce(&mut Value)) -> Output {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script(text).edit(|spec| {
        spec["linux"]["netDevices"] = devices;
        edit(spec);
    });
    let mut command = Command::new("unshare");
    command
        .args([
            "--net",
            "sh",
            "-c",
            &format!("{setup} && exec \"$@\""),
            "sh",
        ])
        .arg(crate::support::sandbox::runtime())
        .arg("--root")
        .arg(sandbox.state_root())
        .args(["run", "--bundle", bundle.argument(), "c"]);
    let output = run(&mut command);
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
    output
}

const LOOK: &str = "ls /sys/class/net; ip addr show eth7";

fn has_moved(seen: &str) {
    assert!(seen.starts_with("eth7\nlo\n"), "{seen}");
    for words in ["mtu 1400", "inet 10.9.8.7/24", "inet6 fd00:9::7/64", ",UP"] {
        assert!(seen.contains(words), "{words} is missing in {seen}");
    }
}

fn a_device_becomes_the_containers_with_its_addresses() {
    let devices = json!({"dhowa": {"name": "eth7"}});
    has_moved(&ran(CABLE, LOOK, devices, |_| ()).success().stdout);
}

fn a_device_in_a_user_namespace_too() {
    let devices = json!({"dhowa": {"name": "eth7"}});
    let output = ran(CABLE, LOOK, devices, |spec| {
        let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
        spec["linux"]["uidMappings"] = map.clone();
        spec["linux"]["gidMappings"] = map;
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
    });
    has_moved(&output.success().stdout);
}

fn a_device_that_is_not_there_stops_the_start() {
    let output = ran("true", "true", json!({"dhowa": {}}), |_| ()).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: linux.netDevices: move dhowa into the container: RTM_GETLINK dhowa: no such device\n"
    );
}

fn a_name_that_is_taken_stops_the_start() {
    let output = ran(CABLE, "true", json!({"dhowa": {"name": "lo"}}), |_| ()).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: linux.netDevices: move dhowa as lo into the container: RTM_NEWLINK lo: file exists\n"
    );
}
