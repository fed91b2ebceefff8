//! What a container sees as its file system: root, mounts, devices, what is hidden and what is read-only.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Sandbox, claims};

claims![
    the_hosts_files_are_out_of_reach: [Root, Cgroup2],
    a_read_only_root_takes_no_writes: [Root, Cgroup2],
    the_default_specs_mounts_are_there: [Root, Cgroup2],
    the_hosts_mount_table_is_untouched: [Root, Cgroup2],
    devices_are_those_of_the_spec: [Root, Cgroup2],
    dev_null_and_zero_work: [Root, Cgroup2],
    masked_paths_read_as_empty: [Root, Cgroup2],
    masked_directories_are_empty: [Root, Cgroup2],
    read_only_paths_take_no_writes: [Root, Cgroup2],
    a_bind_mount_shows_the_hosts_folder: [Root, Cgroup2],
    a_bind_mount_of_a_file_shows_the_file: [Root, Cgroup2],
    a_read_only_bind_mount_takes_no_writes: [Root, Cgroup2],
    a_tmpfs_has_its_size: [Root, Cgroup2],
    a_mount_point_that_is_missing_is_made: [Root, Cgroup2],
    a_mount_over_a_link_stays_inside: [Root, Cgroup2],
    a_link_for_proc_is_refused: [Root, Cgroup2],
    the_rootfs_may_be_named_by_an_absolute_path: [Root, Cgroup2],
];

fn said(text: &str, edit: impl FnOnce(&mut Value)) -> String {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script(text).edit(edit);
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success()
        .stdout
}

fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

fn the_hosts_files_are_out_of_reach() {
    let seen = said("ls /; ls /../..; cat /proc/self/mountinfo | wc -l", |_| ());
    let mut names: Vec<&str> = seen.lines().collect();
    names.pop();
    let expected = ["bin", "dev", "etc", "proc", "root", "sys", "tmp"];
    assert_eq!(names, [expected, expected].concat());
}

fn a_read_only_root_takes_no_writes() {
    let seen = said("touch /tmp/x 2>&1; true", |_| ());
    assert!(seen.contains("Read-only file system"), "{seen}");
}

fn the_default_specs_mounts_are_there() {
    let seen = said("cat /proc/mounts", |_| ());
    let mounts: Vec<Vec<&str>> = seen.lines().map(|l| l.split(' ').collect()).collect();
    let find = |target: &str| {
        let found = mounts.iter().find(|words| words[1] == target);
        found.unwrap_or_else(|| panic!("{target} is not mounted:\n{seen}"))
    };
    for (target, kind, options) in [
        ("/proc", "proc", vec!["rw"]),
        ("/dev", "tmpfs", vec!["nosuid", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            vec!["nosuid", "noexec", "ptmxmode=666"],
        ),
        ("/dev/shm", "tmpfs", vec!["nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", vec!["nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", vec!["ro", "nosuid", "nodev", "noexec"]),
    ] {
        let words = find(target);
        assert_eq!(words[2], kind, "{target}");
        let have: Vec<&str> = words[3].split(',').collect();
        for option in options {
            assert!(have.contains(&option), "{target}: no {option} in {have:?}");
        }
    }
}

fn the_hosts_mount_table_is_untouched() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let below = |sandbox: &Sandbox| crate::support::leaks::mounts_below(sandbox.path());
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(below(&sandbox), Vec::<String>::new());
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn devices_are_those_of_the_spec() {
    let nodes = ["null", "zero", "full", "random", "urandom", "tty"];
    let script = format!(
        "cd /dev; stat -c '%n %F %t:%T %a' {}; for link in fd stdin stdout stderr ptmx; do readlink $link; done; ls",
        nodes.join(" ")
    );
    let seen = said(&script, |_| ());
    let lines: Vec<&str> = seen.lines().collect();
    let numbers = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"];
    for ((node, number), line) in nodes.iter().zip(numbers).zip(&lines) {
        assert_eq!(*line, format!("{node} character special file {number} 666"));
    }
    let links = [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
        "pts/ptmx",
    ];
    assert_eq!(lines[6..11], links);
    let allowed = [
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
        "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    ];
    for name in &lines[11..] {
        assert!(allowed.contains(name), "/dev/{name} was not asked for");
    }
}

fn dev_null_and_zero_work() {
    let seen = said("echo lost > /dev/null; head -c 3 /dev/zero | wc -c", |_| ());
    assert_eq!(seen, "3\n");
}

fn masked_paths_read_as_empty() {
    let seen = said(
        "cat /proc/keys /proc/timer_list /proc/kcore 2>/dev/null | wc -c",
        |_| (),
    );
    assert_eq!(seen, "0\n");
}

fn masked_directories_are_empty() {
    let seen = said(
        "ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : ; true",
        |_| (),
    );
    assert_eq!(seen.trim(), "");
}

fn read_only_paths_take_no_writes() {
    let seen = said("echo 1 2>&1 > /proc/sys/kernel/pid_max; true", |_| ());
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .script("echo 99999 > /proc/sys/kernel/pid_max");
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_ne!(output.status, 0, "{seen}");
    assert!(
        output.stderr.contains("Read-only file system"),
        "{output:?}"
    );
}

fn a_bind_mount_shows_the_hosts_folder() {
    let sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "from the host\n").unwrap();
    let bundle = sandbox
        .bundle("c")
        .script("cat /data/file; echo back > /data/new")
        .edit(|spec| {
            spec["root"]["readonly"] = json!(false);
            mount(spec, json!({"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "rw"]}));
        });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "from the host\n");
    let back = std::fs::read_to_string(data.join("new")).unwrap();
    assert_eq!(back, "back\n");
}

fn a_bind_mount_of_a_file_shows_the_file() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 192.0.2.1\n").unwrap();
    let bundle = sandbox.bundle("c").args(&["cat", "/etc/resolv.conf"]).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        mount(spec, json!({"destination": "/etc/resolv.conf", "type": "bind", "source": file, "options": ["bind", "ro"]}));
    });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "nameserver 192.0.2.1\n");
}

fn a_read_only_bind_mount_takes_no_writes() {
    let sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let bundle = sandbox.bundle("c").script("touch /tmp/x").edit(|spec| {
        mount(spec, json!({"destination": "/tmp", "type": "bind", "source": data, "options": ["bind", "ro"]}));
    });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert!(
        output.stderr.contains("Read-only file system"),
        "{output:?}"
    );
    assert!(!data.join("x").exists());
}

fn a_tmpfs_has_its_size() {
    let seen = said("cat /proc/mounts | grep ' /tmp '", |spec| {
        let options = ["size=1m", "mode=1777", "noexec"];
        mount(
            spec,
            json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options}),
        );
    });
    assert!(
        seen.contains("size=1024k") && seen.contains("noexec"),
        "{seen}"
    );
}

fn a_mount_point_that_is_missing_is_made() {
    let seen = said("ls -d /new/deep/folder", |spec| {
        spec["root"]["readonly"] = json!(false);
        mount(
            spec,
            json!({"destination": "/new/deep/folder", "type": "tmpfs", "source": "tmpfs"}),
        );
    });
    assert_eq!(seen, "/new/deep/folder\n");
}

/// CVE-2021-30465 and its like: a link in the root that leads a mount to the host.
fn a_mount_over_a_link_stays_inside() {
    let sandbox = Sandbox::new();
    let canary = sandbox.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    let bundle = sandbox.bundle("c").script("ls -d /proc/self").edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        mount(
            spec,
            json!({"destination": "/link/made", "type": "tmpfs", "source": "tmpfs"}),
        );
    });
    symlink(&canary, bundle.rootfs().join("link")).unwrap();
    // It may be refused or be made inside the root; the host's folder stays as it was.
    sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
}

/// CVE-2019-19921, CVE-2023-27561: /proc as a link.
fn a_link_for_proc_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    std::fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
    symlink("/etc", bundle.rootfs().join("proc")).unwrap();
    let output = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .ends_with(1);
    assert!(output.stderr.contains("proc"), "{output:?}");
}

fn the_rootfs_may_be_named_by_an_absolute_path() {
    let sandbox = Sandbox::new();
    let other = sandbox.bundle("other");
    let seen = sandbox.bundle("c").args(&["ls", "/"]).edit(|spec| {
        spec["root"]["path"] = json!(other.rootfs());
    });
    std::fs::create_dir(other.rootfs().join("marker")).unwrap();
    let output = sandbox.runtime(&["run", "--bundle", seen.argument(), "c"]);
    assert!(output.success().stdout.contains("marker"));
}
