//! What a container sees as its own: each namespace, seen from inside and from /proc outside.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::command::wait_for;
use crate::support::{Sandbox, claims};

claims![
    every_listed_namespace_is_new: [Root, Cgroup2],
    an_unlisted_namespace_is_shared: [Root, Cgroup2],
    a_namespace_by_path_is_joined: [Root, Cgroup2, Tool("unshare")],
    the_program_is_process_one: [Root, Cgroup2],
    loopback_is_up: [Root, Cgroup2],
    the_host_name_is_set_inside_only: [Root, Cgroup2],
    a_user_namespace_maps_the_ids: [Root, Cgroup2, UserNamespaces],
    // runc 1.1 knows no time namespaces: config-linux.md, "Offset for Time Namespace".
    a_time_namespace_has_the_offsets: [Root, Cgroup2, Dhow],
    the_cgroup_is_seen_as_the_root: [Root, Cgroup2],
    a_namespace_of_every_kind_is_joined: [Root, Cgroup2, Tool("unshare")],
    // runc 1.1 knows no time namespaces.
    a_time_namespace_is_joined_with_its_clocks: [Root, Cgroup2, Tool("unshare"), Dhow],
    a_mount_namespace_is_joined: [Root, Cgroup2, Tool("unshare"), Dhow],
    a_user_namespace_is_joined_with_others: [Root, Cgroup2, UserNamespaces, Tool("unshare")],
    a_namespace_of_another_kind_is_refused: [Root, Cgroup2],
    a_container_without_a_pid_namespace_ends_whole: [Root, Cgroup2],
    a_mount_namespace_alone_is_a_container: [Root, Cgroup2],
    // runc leaves its mounts in the caller's namespace, and its exec has the host's root.
    without_a_mount_namespace_nothing_is_mounted_in_the_callers: [Root, Cgroup2, Dhow],
];

const KINDS: [&str; 6] = ["pid", "mnt", "uts", "ipc", "net", "cgroup"];

fn host(kind: &str) -> String {
    let link: PathBuf = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.to_str().unwrap().to_owned()
}

fn inside(sandbox: &Sandbox, text: &str, edit: impl FnOnce(&mut serde_json::Value)) -> String {
    let bundle = sandbox.bundle("c").script(text).edit(edit);
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success()
        .stdout
}

fn every_listed_namespace_is_new() {
    let sandbox = Sandbox::new();
    let script = KINDS
        .map(|kind| format!("readlink /proc/self/ns/{kind}"))
        .join(";");
    let seen = inside(&sandbox, &script, |spec| {
        spec["linux"]["namespaces"] = json!([
            {"type": "pid"}, {"type": "mount"}, {"type": "uts"},
            {"type": "ipc"}, {"type": "network"}, {"type": "cgroup"},
        ]);
    });
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!(seen.len(), KINDS.len());
    for (kind, link) in KINDS.iter().zip(seen) {
        assert!(link.starts_with(&format!("{kind}:[")), "{link}");
        assert_ne!(link, host(kind));
    }
}

fn an_unlisted_namespace_is_shared() {
    let sandbox = Sandbox::new();
    let script = "readlink /proc/self/ns/uts; readlink /proc/self/ns/ipc";
    let seen = inside(&sandbox, script, |spec| {
        spec["linux"]["namespaces"] = json!([
            {"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "cgroup"},
        ]);
        spec.as_object_mut().unwrap().remove("hostname");
    });
    assert_eq!(seen, format!("{}\n{}\n", host("uts"), host("ipc")));
}

fn a_namespace_by_path_is_joined() {
    let sandbox = Sandbox::new();
    let mut other = Command::new("unshare")
        .args(["--uts", "sleep", "1000"])
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/ns/uts", other.id());
    let wanted = crate::support::command::wait_for(
        "the other namespace",
        std::time::Duration::from_secs(5),
        || {
            let link = std::fs::read_link(&path).ok()?;
            let link = link.to_str()?.to_owned();
            (link != host("uts")).then_some(link)
        },
    );
    let seen = inside(&sandbox, "readlink /proc/self/ns/uts", |spec| {
        for namespace in spec["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "uts" {
                namespace["path"] = json!(path);
            }
        }
        spec.as_object_mut().unwrap().remove("hostname");
    });
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(seen.trim(), wanted);
}

fn the_program_is_process_one() {
    let sandbox = Sandbox::new();
    assert_eq!(inside(&sandbox, "echo $$", |_| ()), "1\n");
}

fn loopback_is_up() {
    let sandbox = Sandbox::new();
    let seen = inside(
        &sandbox,
        "cat /sys/class/net/lo/flags; ls /sys/class/net",
        |_| (),
    );
    let (flags, devices) = seen.split_once('\n').unwrap();
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 1, 1, "IFF_UP is missing in {flags:#x}");
    assert_eq!(devices, "lo\n");
}

fn the_host_name_is_set_inside_only() {
    let sandbox = Sandbox::new();
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let seen = inside(&sandbox, "hostname", |spec| {
        spec["hostname"] = json!("dhow-inside")
    });
    assert_eq!(seen, "dhow-inside\n");
    let after = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(before, after);
}

fn a_user_namespace_maps_the_ids() {
    let sandbox = Sandbox::new();
    let script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; readlink /proc/self/ns/user";
    let seen = inside(&sandbox, script, |spec| {
        let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
        spec["linux"]["uidMappings"] = map.clone();
        spec["linux"]["gidMappings"] = map;
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
    });
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(
        words[..7],
        ["0", "0", "200000", "65536", "0", "200000", "65536"]
    );
    assert_ne!(words[7], host("user"));
}

fn a_time_namespace_has_the_offsets() {
    let sandbox = Sandbox::new();
    let script = "cat /proc/self/timens_offsets; readlink /proc/self/ns/time";
    let seen = inside(&sandbox, script, |spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "time"}));
        spec["linux"]["timeOffsets"] = json!({
            "monotonic": {"secs": 172_800, "nanosecs": 0},
            "boottime": {"secs": 604_800, "nanosecs": 0},
        });
    });
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(
        words[..6],
        ["monotonic", "172800", "0", "boottime", "604800", "0"]
    );
    assert_ne!(words[6], host("time"));
}

fn the_cgroup_is_seen_as_the_root() {
    let sandbox = Sandbox::new();
    let seen = inside(&sandbox, "cat /proc/self/cgroup", |_| ());
    assert!(seen.lines().any(|line| line == "0::/"), "{seen}");
}

/// A process in namespaces of its own, by `unshare`, with a child inside of them.
struct Holder(std::process::Child);

impl Holder {
    fn new(flags: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        command
            .args(flags)
            .args(["--fork", "--kill-child", "sleep", "1000"]);
        Self(command.spawn().unwrap())
    }

    /// The namespaces' files.
    fn path(&self, kind: &str) -> String {
        let id = self.0.id();
        let child = wait_for(
            "a process in other namespaces",
            Duration::from_secs(5),
            || {
                let list =
                    std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
                let child = list.split_whitespace().next()?.to_owned();
                // The child is there a moment before it has become the other program.
                let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
                (name == "sleep\n").then_some(child)
            },
        );
        format!("/proc/{child}/ns/{kind}")
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Puts `path` to the namespace of this type in `spec`.
fn join(spec: &mut serde_json::Value, kind: &str, path: &str) {
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != kind);
    namespaces.push(json!({"type": kind, "path": path}));
}

fn a_namespace_of_every_kind_is_joined() {
    let holder = Holder::new(&["--uts", "--ipc", "--net", "--cgroup", "--pid"]);
    let types = [
        ("uts", "uts"),
        ("ipc", "ipc"),
        ("net", "network"),
        ("cgroup", "cgroup"),
        ("pid", "pid"),
    ];
    let sandbox = Sandbox::new();
    let script = types
        .map(|(kind, _)| format!("readlink /proc/self/ns/{kind}"))
        .join(";");
    let seen = inside(&sandbox, &script, |spec| {
        for (kind, name) in types {
            join(spec, name, &holder.path(kind));
        }
        spec.as_object_mut().unwrap().remove("hostname");
    });
    let expected = types.map(|(kind, _)| {
        let link = std::fs::read_link(holder.path(kind)).unwrap();
        assert_ne!(link.to_str().unwrap(), host(kind));
        link.to_str().unwrap().to_owned()
    });
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
}

fn a_time_namespace_is_joined_with_its_clocks() {
    let holder = Holder::new(&["--time", "--boottime", "604800"]);
    let sandbox = Sandbox::new();
    let script = "readlink /proc/self/ns/time; cat /proc/self/timens_offsets";
    let seen = inside(&sandbox, script, |spec| {
        join(spec, "time", &holder.path("time"));
    });
    let link = std::fs::read_link(holder.path("time")).unwrap();
    assert!(seen.starts_with(link.to_str().unwrap()), "{seen}");
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words[4..6], ["boottime", "604800"]);
}

fn a_mount_namespace_is_joined() {
    let holder = Holder::new(&["--mount", "--propagation", "private"]);
    let sandbox = Sandbox::new();
    let path = holder.path("mnt");
    let link = std::fs::read_link(&path).unwrap();
    let script = "readlink /proc/self/ns/mnt; ls -d /bin/busybox /rootfs /usr 2>/dev/null || true";
    let seen = inside(&sandbox, script, |spec| join(spec, "mount", &path));
    assert_eq!(seen, format!("{}\n/bin/busybox\n", link.display()));
}

fn a_user_namespace_is_joined_with_others() {
    let holder = Holder::new(&["--user", "--map-root-user", "--uts", "--net", "--ipc"]);
    let types = [
        ("user", "user"),
        ("uts", "uts"),
        ("net", "network"),
        ("ipc", "ipc"),
    ];
    let sandbox = Sandbox::new();
    let script = types
        .map(|(kind, _)| format!("readlink /proc/self/ns/{kind}"))
        .join(";");
    let seen = inside(&sandbox, &script, |spec| {
        for (kind, name) in types {
            join(spec, name, &holder.path(kind));
        }
        // The mappings are repeated, as containerd does it.
        let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        spec["linux"]["uidMappings"] = map.clone();
        spec["linux"]["gidMappings"] = map;
        spec.as_object_mut().unwrap().remove("hostname");
        // Terminals belong to a group that is not mapped.
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/dev/pts");
    });
    let expected = types.map(|(kind, _)| {
        let link = std::fs::read_link(holder.path(kind)).unwrap();
        link.to_str().unwrap().to_owned()
    });
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
}

fn a_namespace_of_another_kind_is_refused() {
    for name in ["pid", "mount", "network", "ipc", "cgroup", "user", "uts"] {
        let wrong = if name == "uts" { "ipc" } else { "uts" };
        let sandbox = Sandbox::new();
        let bundle = sandbox.bundle("c").edit(|spec| {
            join(spec, name, &format!("/proc/self/ns/{wrong}"));
            if name == "uts" {
                spec.as_object_mut().unwrap().remove("hostname");
            }
        });
        sandbox
            .runtime(&["run", "--bundle", bundle.argument(), "c"])
            .ends_with(1);
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{name}");
    }
}

fn a_container_without_a_pid_namespace_ends_whole() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .script("sleep 1000 & sleep 1000")
        .edit(|spec| {
            let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let folder = sandbox.cgroup("c");
    wait_for("both sleepers", Duration::from_secs(5), || {
        let list = std::fs::read_to_string(folder.join("cgroup.procs")).ok()?;
        (list.lines().count() >= 2).then_some(())
    });
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_mount_namespace_alone_is_a_container() {
    let sandbox = Sandbox::new();
    let kinds = ["pid", "uts", "ipc", "net", "cgroup"];
    let script = kinds
        .map(|kind| format!("readlink /proc/self/ns/{kind}"))
        .join(";");
    let seen = inside(&sandbox, &script, |spec| {
        spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
        spec.as_object_mut().unwrap().remove("hostname");
    });
    assert_eq!(seen.lines().collect::<Vec<_>>(), kinds.map(host));
}

/// config-linux.md, "Namespaces": a type that is not listed is inherited, all of them here.
fn without_a_mount_namespace_nothing_is_mounted_in_the_callers() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]).edit(|spec| {
        spec["linux"]["namespaces"] = json!([]);
        spec.as_object_mut().unwrap().shift_remove("hostname");
    });
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let pid = sandbox.state("c")["pid"].to_string();
    for kind in KINDS {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(link.to_str().unwrap(), host(kind));
    }
    let ours = sandbox.path().to_str().unwrap();
    let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!after.contains(ours), "{after}");
    assert_eq!(before.lines().count(), after.lines().count());
    let script = "ls -d /etc/os-release /dev/pts /proc/self 2>&1; touch /x; cat /proc/keys";
    let seen = sandbox
        .runtime(&["exec", "c", "sh", "-c", script])
        .success();
    let expected = "ls: /etc/os-release: No such file or directory\n/dev/pts\n/proc/self\n";
    assert_eq!(seen.stdout, expected);
    assert_eq!(seen.stderr, "touch: /x: Read-only file system\n");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}
