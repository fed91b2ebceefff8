//! Id-mapped mounts: whose a file is on both sides.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Bundle, Output, Sandbox, claims};

claims![
    a_mount_with_maps_shows_and_makes_files_of_other_users: [Root, Cgroup2, MappableFiles, Dhow],
    without_maps_a_mount_gets_those_of_the_container: [Root, Cgroup2, MappableFiles, UserNamespaces],
    maps_of_its_own_hold_in_a_container_with_other_ids: [Root, Cgroup2, MappableFiles, UserNamespaces, Dhow],
    a_joined_user_namespace_lends_its_ids: [Root, Cgroup2, MappableFiles, UserNamespaces, Tool("unshare"), Dhow],
    only_the_recursive_word_reaches_what_is_mounted_below: [Root, Cgroup2, MappableFiles, Dhow],
    cruns_words_are_understood: [Root, Cgroup2, MappableFiles, Dhow],
    a_new_tmpfs_can_have_other_ids: [Root, Cgroup2, MappableFiles, Dhow],
    what_cannot_be_mapped_is_named: [Root, Cgroup2, MappableFiles, Dhow],
];

/// A sandbox with a bundle and the folder `data`, in which `file` is user 1000's.
fn prepare(script: &str) -> (Sandbox, Bundle, PathBuf) {
    let sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&data, all).unwrap();
    std::fs::write(data.join("file"), "x").unwrap();
    for path in [&data, &data.join("file")] {
        chown(path, Some(1000), Some(1000)).unwrap();
    }
    let bundle = sandbox.bundle("c").script(script);
    (sandbox, bundle, data)
}

/// `mounts[n]`: the folder on /tmp, with these options and members.
fn bind(spec: &mut Value, data: &Path, options: &[&str], members: Value) {
    let mut mount =
        json!({"destination": "/tmp", "type": "bind", "source": data, "options": options});
    for (key, value) in members.as_object().into_iter().flatten() {
        mount[key] = value.clone();
    }
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

/// Both kinds of maps: `size` ids from `inside` on are those from `outside` on.
fn maps(inside: u32, outside: u32, size: u32) -> Value {
    let map = json!([{"containerID": inside, "hostID": outside, "size": size}]);
    json!({"uidMappings": map, "gidMappings": map})
}

/// A user namespace for the container, and a root whose files are its root's.
fn own_users(spec: &mut Value, root: &Path) {
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    own(root);
}

fn own(path: &Path) {
    std::os::unix::fs::lchown(path, Some(100_000), Some(100_000)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path());
        }
    }
}

#[track_caller]
fn run(sandbox: &Sandbox, bundle: &Bundle) -> Output {
    // The root of a user namespace is a stranger on the way to its own root.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(sandbox.path(), mode).unwrap();
    sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"])
}

const LOOK_AND_MAKE: &str = "stat -c %u:%g /tmp/file; touch /tmp/new";

fn owner(path: &Path) -> (u32, u32) {
    let meta = std::fs::metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

fn a_mount_with_maps_shows_and_makes_files_of_other_users() {
    let (sandbox, bundle, data) = prepare(LOOK_AND_MAKE);
    let bundle = bundle.edit(|spec| bind(spec, &data, &["bind", "idmap"], maps(1000, 0, 1)));
    assert_eq!(run(&sandbox, &bundle).success().stdout, "0:0\n");
    assert_eq!(owner(&data.join("new")), (1000, 1000));
    assert_eq!(owner(&data.join("file")), (1000, 1000));
}

fn without_maps_a_mount_gets_those_of_the_container() {
    let (sandbox, bundle, data) = prepare(LOOK_AND_MAKE);
    let root = bundle.rootfs();
    let bundle = bundle.edit(|spec| {
        own_users(spec, &root);
        bind(spec, &data, &["bind", "idmap"], json!({}));
    });
    assert_eq!(run(&sandbox, &bundle).success().stdout, "1000:1000\n");
    assert_eq!(owner(&data.join("new")), (0, 0));
}

fn maps_of_its_own_hold_in_a_container_with_other_ids() {
    let (sandbox, bundle, data) = prepare(LOOK_AND_MAKE);
    let root = bundle.rootfs();
    let bundle = bundle.edit(|spec| {
        own_users(spec, &root);
        // 1000 on the disk is 100007 on the host, which is 7 in the container; its root is 900 on the disk.
        let map = json!([
            {"containerID": 1000, "hostID": 100_007, "size": 1},
            {"containerID": 900, "hostID": 100_000, "size": 1},
        ]);
        let both = json!({"uidMappings": map, "gidMappings": map});
        bind(spec, &data, &["bind", "idmap"], both);
    });
    assert_eq!(run(&sandbox, &bundle).success().stdout, "7:7\n");
    assert_eq!(owner(&data.join("new")), (900, 900));
}

fn a_joined_user_namespace_lends_its_ids() {
    let (sandbox, bundle, data) = prepare(LOOK_AND_MAKE);
    let mut holder = std::process::Command::new("unshare")
        .args(["--user", "sleep", "1000"])
        .spawn()
        .unwrap();
    let file = |name: &str| format!("/proc/{}/{name}", holder.id());
    let host = std::fs::read_link("/proc/self/ns/user").unwrap();
    crate::support::command::wait_for(
        "the user namespace",
        std::time::Duration::from_secs(5),
        || {
            std::fs::read_link(file("ns/user"))
                .ok()
                .filter(|own| *own != host)
        },
    );
    for map in ["uid_map", "gid_map"] {
        std::fs::write(file(map), "0 100000 65536").unwrap();
    }
    own(&bundle.rootfs());
    let path = file("ns/user");
    let bundle = bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user", "path": path}));
        bind(spec, &data, &["bind", "idmap"], json!({}));
    });
    let output = run(&sandbox, &bundle);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(output.success().stdout, "1000:1000\n");
    assert_eq!(owner(&data.join("new")), (0, 0));
}

fn only_the_recursive_word_reaches_what_is_mounted_below() {
    for (word, seen) in [("idmap", "0\n1000\n"), ("ridmap", "0\n0\n")] {
        let (sandbox, bundle, data) = prepare("stat -c %u /tmp/file /tmp/below/file");
        let below = data.join("below");
        std::fs::create_dir(&below).unwrap();
        let bundle = bundle.edit(|spec| bind(spec, &data, &["rbind", word], maps(1000, 0, 1)));
        let script = r#"mount --bind "$0" "$0/below""#;
        let output = super::run_after(script, &data, &sandbox, &bundle).success();
        assert_eq!(output.stdout, seen, "{word}");
    }
}

fn cruns_words_are_understood() {
    let (sandbox, bundle, data) = prepare(LOOK_AND_MAKE);
    let word = "idmap=uids=1000-0-1;gids=1000-0-1#0-5-1";
    let bundle = bundle.edit(|spec| bind(spec, &data, &["bind", word], json!({})));
    assert_eq!(run(&sandbox, &bundle).success().stdout, "0:0\n");
    assert_eq!(owner(&data.join("new")), (1000, 1000));
}

fn a_new_tmpfs_can_have_other_ids() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .script("stat -c %u:%g /tmp")
        .edit(|spec| {
            let mut mount = json!({"destination": "/tmp", "type": "tmpfs", "options": ["idmap"]});
            for (key, value) in maps(0, 42, 1).as_object().unwrap() {
                mount[key] = value.clone();
            }
            spec["mounts"].as_array_mut().unwrap().push(mount);
        });
    assert_eq!(run(&sandbox, &bundle).success().stdout, "42:42\n");
}

/// SECURITY-TESTS C13: what would show wrong owners does not start.
fn what_cannot_be_mapped_is_named() {
    let table = [
        (
            maps(0, u32::MAX, 2),
            "uidMappings[0].hostID: 2 ids from 4294967295 on pass the last id, 4294967294",
        ),
        (
            json!({"uidMappings": maps(0, 1, 1)["uidMappings"]}),
            "gidMappings: missing, though uidMappings is given",
        ),
        (
            json!({}),
            "options: `idmap`: there are no uidMappings and gidMappings, and the container has no user namespace",
        ),
        (
            json!({"source": "/sys", "uidMappings": maps(0, 1, 1)["uidMappings"], "gidMappings": maps(0, 1, 1)["gidMappings"]}),
            "the file system can't show its files with other ids",
        ),
    ];
    for (members, reason) in table {
        let (sandbox, bundle, data) = prepare("true");
        let bundle = bundle.edit(|spec| bind(spec, &data, &["bind", "idmap"], members));
        let output = run(&sandbox, &bundle).ends_with(1);
        assert!(output.stderr.contains(reason), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}
