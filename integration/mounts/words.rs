//! Mount options: what each word does, seen from inside.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{bind, mount, run_after};
use crate::support::{Sandbox, claims};

claims![
    words_of_the_whole_tree_reach_what_is_mounted_below: [Root, Cgroup2, Tool("unshare")],
    ordinary_words_concern_one_mount: [Root, Cgroup2, Tool("unshare")],
    a_bind_mount_keeps_what_its_source_forbids: [Root, Cgroup2, Tool("unshare")],
    a_read_only_dev_has_its_devices: [Root, Cgroup2],
    a_read_only_tmpfs_takes_mount_points_first: [Root, Cgroup2],
    a_tmpfs_takes_the_mode_of_what_it_covers: [Root, Cgroup2],
    a_tmpfs_begins_with_what_it_covers: [Root, Cgroup2],
    a_remount_changes_the_file_system_too: [Root, Cgroup2, Dhow],
    a_link_as_source_is_followed_copied_or_mounted: [Root, Cgroup2, Dhow],
    a_link_as_destination_may_be_covered_itself: [Root, Cgroup2, Dhow],
    a_relative_destination_begins_at_the_root: [Root, Cgroup2],
];

fn folder(sandbox: &Sandbox) -> PathBuf {
    let data = sandbox.path().join("data");
    std::fs::create_dir_all(data.join("below")).unwrap();
    std::fs::write(data.join("file"), "x\n").unwrap();
    data
}

fn said(script: &str, edit: impl FnOnce(&mut Value)) -> String {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script(script).edit(edit);
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    output.success().stdout
}

/// The options of /tmp and of /tmp/below, on which a tmpfs is mounted with `below`.
fn options(words: &[&str], below: &str) -> [Vec<String>; 2] {
    let sandbox = Sandbox::new();
    let data = folder(&sandbox);
    let bundle = sandbox
        .bundle("c")
        .script("cat /proc/self/mountinfo")
        .edit(|spec| bind(spec, &data, words));
    let script = format!("mount -t tmpfs -o {below} x \"$0/below\"");
    let output = run_after(&script, &data, &sandbox, &bundle).success();
    ["/tmp", "/tmp/below"].map(|point| {
        let line = output
            .stdout
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(point))
            .unwrap_or_else(|| panic!("{point} is not mounted: {}", output.stdout));
        let options = line.split(' ').nth(5).unwrap();
        options.split(',').map(str::to_owned).collect()
    })
}

fn words_of_the_whole_tree_reach_what_is_mounted_below() {
    // Word, what the mount below begins with, what both have then, what neither has.
    let table: &[(&str, &str, &str, &str)] = &[
        ("rro", "rw", "ro", "rw"),
        ("rrw", "ro", "rw", "ro"),
        ("rnosuid", "suid", "nosuid", ""),
        ("rsuid", "nosuid", "", "nosuid"),
        ("rnodev", "dev", "nodev", ""),
        ("rdev", "nodev", "", "nodev"),
        ("rnoexec", "exec", "noexec", ""),
        ("rexec", "noexec", "", "noexec"),
        ("rnodiratime", "diratime", "nodiratime", ""),
        ("rdiratime", "nodiratime", "", "nodiratime"),
        ("rnoatime", "relatime", "noatime", "relatime"),
        ("ratime", "noatime", "relatime", "noatime"),
        ("rrelatime", "noatime", "relatime", "noatime"),
        ("rstrictatime", "relatime", "", "relatime"),
        ("rnostrictatime", "strictatime", "relatime", ""),
        ("rnosymfollow", "rw", "nosymfollow", ""),
        ("rsymfollow", "nosymfollow", "", "nosymfollow"),
    ];
    for (word, below, present, absent) in table {
        for options in options(&["rbind", word], below) {
            let has = |option: &str| options.iter().any(|known| known == option);
            assert!(present.is_empty() || has(present), "{word}: {options:?}");
            assert!(absent.is_empty() || !has(absent), "{word}: {options:?}");
        }
    }
}

fn ordinary_words_concern_one_mount() {
    let [top, below] = options(&["rbind", "ro", "nosuid", "noexec"], "rw");
    for word in ["ro", "nosuid", "noexec"] {
        assert!(top.iter().any(|known| known == word), "{top:?}");
        assert!(!below.iter().any(|known| known == word), "{below:?}");
    }
}

/// SECURITY-TESTS C6: `rw` is not said, so `ro` and its like stay.
fn a_bind_mount_keeps_what_its_source_forbids() {
    let sandbox = Sandbox::new();
    let data = folder(&sandbox);
    let bundle = sandbox
        .bundle("c")
        .script("grep ' /tmp ' /proc/self/mountinfo")
        .edit(|spec| bind(spec, &data.join("below"), &["bind", "nosymfollow"]));
    let script = "mount -t tmpfs -o ro,nosuid,nodev,noexec,noatime x \"$0/below\"";
    let output = run_after(script, &data, &sandbox, &bundle).success();
    let wanted = "ro,nosuid,nodev,noexec,noatime,nosymfollow";
    assert!(output.stdout.contains(wanted), "{}", output.stdout);
}

fn a_read_only_dev_has_its_devices() {
    let seen = said(
        "grep '^tmpfs /dev ' /proc/mounts; echo x > /dev/null && touch /dev/x 2>&1; ls /dev/shm; readlink /dev/ptmx",
        |spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            let dev = mounts
                .iter_mut()
                .find(|m| m["destination"] == "/dev")
                .unwrap();
            dev["options"].as_array_mut().unwrap().push(json!("ro"));
        },
    );
    assert!(seen.starts_with("tmpfs /dev tmpfs ro,"), "{seen}");
    assert!(seen.contains("Read-only file system"), "{seen}");
    assert!(seen.ends_with("pts/ptmx\n"), "{seen}");
}

fn a_read_only_tmpfs_takes_mount_points_first() {
    let seen = said("touch /tmp/x 2>&1; touch /tmp/a/b/x && ls /tmp/a", |spec| {
        mount(
            spec,
            json!({"destination": "/tmp", "type": "tmpfs", "options": ["ro", "nodev"]}),
        );
        mount(spec, json!({"destination": "/tmp/a/b", "type": "tmpfs"}));
    });
    assert!(seen.contains("Read-only file system"), "{seen}");
    assert!(seen.ends_with("\nb\n"), "{seen}");
}

fn a_tmpfs_takes_the_mode_of_what_it_covers() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .script("stat -c %a /tmp /root /new")
        .edit(|spec| {
            spec["root"]["readonly"] = json!(false);
            for path in ["/tmp", "/root", "/new"] {
                mount(
                    spec,
                    json!({"destination": path, "type": "tmpfs", "source": "tmpfs"}),
                );
            }
        });
    for (name, mode) in [("tmp", 0o1777), ("root", 0o710)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(bundle.rootfs().join(name), mode).unwrap();
    }
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    // A new directory is made with 0755, but a tmpfs has 1777 of its own accord.
    assert_eq!(output.success().stdout, "1777\n710\n1777\n");
}

fn a_tmpfs_begins_with_what_it_covers() {
    let sandbox = Sandbox::new();
    let script = "cat /root/a; stat -c '%h %a' /root/a; readlink /root/l; test /root/a -ef /root/b && echo same; echo y > /root/a";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        mount(
            spec,
            json!({"destination": "/root", "type": "tmpfs", "options": ["tmpcopyup"]}),
        );
    });
    let root = bundle.rootfs().join("root");
    std::fs::write(root.join("a"), "x\n").unwrap();
    std::fs::hard_link(root.join("a"), root.join("b")).unwrap();
    symlink("/etc/passwd", root.join("l")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4711);
    std::fs::set_permissions(root.join("a"), mode).unwrap();
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "x\n2 4711\n/etc/passwd\nsame\n");
    assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "x\n");
}

fn a_remount_changes_the_file_system_too() {
    let seen = said("grep ' /dev/shm ' /proc/mounts", |spec| {
        let options = ["remount", "size=1m", "ro"];
        mount(spec, json!({"destination": "/dev/shm", "options": options}));
    });
    assert!(
        seen.contains("size=1024k") && seen.contains(" ro,"),
        "{seen}"
    );
}

fn a_link_as_source_is_followed_copied_or_mounted() {
    for (word, seen) in [
        ("", "below\nfile\n"),
        ("src-nofollow", "/tmp/l -> data\n"),
        ("copy-symlink", "/tmp/l -> data\n"),
    ] {
        let sandbox = Sandbox::new();
        folder(&sandbox);
        symlink("data", sandbox.path().join("link")).unwrap();
        let mut options = vec!["bind"];
        options.extend((!word.is_empty()).then_some(word));
        let bundle = sandbox
            .bundle("c")
            .script("ls -ld /tmp/l | grep -o '/tmp/l ->.*' || ls /tmp/l; grep -c ' /tmp/l ' /proc/mounts")
            .edit(|spec| {
                spec["root"]["readonly"] = json!(false);
                let source = sandbox.path().join("link");
                mount(spec, json!({"destination": "/tmp/l", "source": source, "options": options}));
            });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        let mounts = if word == "copy-symlink" { 0 } else { 1 };
        // The count of none ends grep with 1.
        assert_eq!(
            output.stdout,
            format!("{seen}{mounts}\n"),
            "{word}: {output:?}"
        );
    }
}

fn a_link_as_destination_may_be_covered_itself() {
    let sandbox = Sandbox::new();
    let data = folder(&sandbox);
    let bundle = sandbox
        .bundle("c")
        .script("cat /tmp/link; cat /etc/passwd")
        .edit(|spec| {
            let source = data.join("file");
            let options = ["bind", "dest-nofollow"];
            mount(
                spec,
                json!({"destination": "/tmp/link", "source": source, "options": options}),
            );
        });
    symlink("/etc/passwd", bundle.rootfs().join("tmp/link")).unwrap();
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(
        output.success().stdout,
        "x\nroot:x:0:0:root:/root:/bin/sh\n"
    );
}

fn a_relative_destination_begins_at_the_root() {
    let seen = said("grep -c ' /tmp ' /proc/mounts", |spec| {
        mount(
            spec,
            json!({"destination": "tmp", "type": "tmpfs", "source": "tmpfs"}),
        );
    });
    assert_eq!(seen, "1\n");
}
