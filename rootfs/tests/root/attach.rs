//! Claims about mounts below a container's root.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::claims;
use crate::world::{World, mount_on, mounts};

claims![
    a_new_file_system_has_its_options_and_attributes,
    the_kernels_reason_reaches_the_error,
    a_tmpfs_has_the_mode_of_the_directory_it_covers,
    missing_destinations_are_made_for_what_is_mounted,
    a_missing_source_is_named,
    ro_is_for_one_mount_and_rro_for_the_tree,
    a_bind_keeps_the_attributes_of_its_source,
    a_file_is_not_mounted_on_a_directory,
    proc_and_sys_are_not_mounted_through_links,
    a_link_out_of_the_image_stays_inside,
    no_link_leads_onto_the_root_or_into_proc,
    only_a_procfs_is_bound_on_proc,
    a_tmpfs_begins_with_what_it_covers,
    a_tmpfs_too_small_for_what_it_covers_is_refused,
    a_remount_changes_the_mount_that_is_there,
    a_bind_receives_the_hosts_mounts_and_sends_none,
    a_prepared_shared_bind_is_one_with_the_hosts,
    a_racing_volume_leads_nowhere,
    a_cgroup_mount_shows_the_namespace,
];

fn a_new_file_system_has_its_options_and_attributes(world: &World) {
    let root = world.enter();
    world.mount(
        &root,
        "/proc",
        "proc",
        "proc",
        &["nosuid", "noexec", "nodev"],
    );
    world.mount(
        &root,
        "/data",
        "tmpfs",
        "mine",
        &["size=64k", "mode=701", "strictatime", "ro"],
    );
    let place = world.rootfs("");
    let line = mount_on(&place.join("data").display().to_string());
    assert!(line.contains(" ro - tmpfs mine rw,"), "{line}");
    assert!(
        line.contains("size=64k") && line.contains("mode=701"),
        "{line}"
    );
    let line = mount_on(&place.join("proc").display().to_string());
    assert!(
        line.contains(" rw,nosuid,nodev,noexec,relatime - proc proc "),
        "{line}"
    );
}

fn the_kernels_reason_reaches_the_error(world: &World) {
    let root = world.enter();
    let words = world.refused(&root, "/data", "tmpfs", "", &["size=banana"]);
    assert_eq!(
        words,
        "mount tmpfs on /data (size=banana): mount tmpfs: tmpfs: Bad value for 'size' (invalid argument)"
    );
    let words = world.refused(&root, "/data", "nofs", "", &[]);
    assert_eq!(
        words,
        "mount nofs on /data: mount nofs: the kernel has no such file system (no such device)"
    );
}

fn a_tmpfs_has_the_mode_of_the_directory_it_covers(world: &World) {
    let secret = world.rootfs("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o710)).unwrap();
    let root = world.enter();
    world.mount(&root, "/secret", "tmpfs", "", &[]);
    world.mount(&root, "/new", "tmpfs", "", &[]);
    let mode = |name: &str| std::fs::metadata(world.rootfs(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode("secret"), 0o710);
    assert_eq!(mode("new"), 0o1777);
}

fn missing_destinations_are_made_for_what_is_mounted(world: &World) {
    let volume = world.volume("volume");
    std::fs::write(volume.join("f"), "here").unwrap();
    let root = world.enter();
    world.mount(&root, "/a/b/dir", "", &volume, &["bind"]);
    world.mount(&root, "/a/c/file", "", volume.join("f"), &["bind"]);
    assert_eq!(std::fs::read(world.rootfs("a/b/dir/f")).unwrap(), b"here");
    assert_eq!(std::fs::read(world.rootfs("a/c/file")).unwrap(), b"here");
    assert_eq!(
        std::fs::metadata(world.rootfs("a/b")).unwrap().mode() & 0o7777,
        0o755
    );
}

fn a_missing_source_is_named(world: &World) {
    let root = world.enter();
    let words = world.refused(&root, "/x", "", "/nope/data", &["rbind", "ro"]);
    assert_eq!(
        words,
        "bind /nope/data on /x (ro, recursive): open /nope/data: no such file or directory"
    );
    assert!(!world.rootfs("x").exists());
}

fn ro_is_for_one_mount_and_rro_for_the_tree(world: &World) {
    let volume = world.volume("volume/below");
    let root = world.enter();
    world.mount(&root, "/src", "bind", world.dir.join("volume"), &["bind"]);
    world.mount(&root, "/src/below", "tmpfs", "", &[]);
    let source = world.rootfs("src");
    world.mount(&root, "/one", "", &source, &["rbind", "ro"]);
    world.mount(&root, "/all", "", &source, &["rbind", "rro"]);
    let write = |path: &str| std::fs::write(world.rootfs(path), "").map_err(|e| e.kind());
    assert_eq!(write("one/f"), Err(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(write("one/below/f"), Ok(()));
    assert_eq!(write("all/f"), Err(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(write("all/below/f"), Err(ErrorKind::ReadOnlyFilesystem));
    drop(volume);
}

fn a_bind_keeps_the_attributes_of_its_source(world: &World) {
    let root = world.enter();
    world.mount(&root, "/src", "tmpfs", "", &["nosuid", "nodev", "noatime"]);
    world.mount(
        &root,
        "/copy",
        "",
        world.rootfs("src"),
        &["rbind", "ro", "dev"],
    );
    let line = mount_on(&world.rootfs("copy").display().to_string());
    assert!(line.contains(" ro,nosuid,noatime "), "{line}");
}

fn a_file_is_not_mounted_on_a_directory(world: &World) {
    let file = world.volume("v").join("f");
    std::fs::write(&file, "").unwrap();
    std::fs::write(world.rootfs("file"), "").unwrap();
    let root = world.enter();
    let words = world.refused(&root, "/etc", "", &file, &["bind"]);
    assert!(
        words.contains("/etc: a file can't be mounted on a directory"),
        "{words}"
    );
    let words = world.refused(&root, "/file", "tmpfs", "", &[]);
    assert!(
        words.contains("/file: a directory can't be mounted on a file"),
        "{words}"
    );
}

fn proc_and_sys_are_not_mounted_through_links(world: &World) {
    world.link("proc", "/etc");
    world.link("sys", "/");
    std::fs::create_dir(world.rootfs("a")).unwrap();
    world.link("a/link", "../../../canary");
    let root = world.enter();
    let before = mounts();
    let words = world.refused(&root, "/proc", "proc", "proc", &[]);
    assert!(
        words.ends_with("open /proc: proc is a symbolic link (too many levels of symbolic links)"),
        "{words}"
    );
    for (destination, kind) in [
        ("/sys", "sysfs"),
        ("/sys/fs/cgroup", "tmpfs"),
        ("/a/link/proc", "proc"),
        ("/a/link", "sysfs"),
    ] {
        let words = world.refused(&root, destination, kind, "x", &[]);
        assert!(words.contains("is a symbolic link"), "{words}");
    }
    assert_eq!(before, mounts(), "something was mounted");
}

fn a_link_out_of_the_image_stays_inside(world: &World) {
    world.link("abs", world.canary(""));
    world.link("up", "../../../../../..");
    let volume = world.volume("volume");
    let root = world.enter();
    world.mount(&root, "/abs/new", "", &volume, &["bind"]);
    world.mount(&root, "/up/new", "tmpfs", "", &[]);
    let inside = world.canary("new");
    let inside = world.rootfs("").join(inside.strip_prefix("/").unwrap());
    mount_on(&inside.display().to_string());
    mount_on(&world.rootfs("new").display().to_string());
}

fn no_link_leads_onto_the_root_or_into_proc(world: &World) {
    world.link("top", "/");
    world.link("attr", "/proc/sys/net");
    let root = world.enter();
    world.mount(&root, "/proc", "proc", "proc", &[]);
    let words = world.refused(&root, "/top", "tmpfs", "", &[]);
    assert!(
        words.contains("it leads to the container's root itself"),
        "{words}"
    );
    let words = world.refused(&root, "/attr", "tmpfs", "", &[]);
    assert!(words.contains("it leads into a procfs"), "{words}");
}

fn only_a_procfs_is_bound_on_proc(world: &World) {
    let volume = world.volume("volume");
    let root = world.enter();
    let words = world.refused(&root, "/proc", "", &volume, &["rbind"]);
    assert!(words.contains("the source is not a procfs"), "{words}");
    world.mount(&root, "/proc", "", "/proc", &["rbind"]);
}

fn a_tmpfs_begins_with_what_it_covers(world: &World) {
    let etc = world.rootfs("etc");
    std::fs::create_dir_all(etc.join("a/b")).unwrap();
    std::fs::write(etc.join("a/b/f"), vec![7; 3_000_000]).unwrap();
    std::os::unix::fs::symlink(world.canary("file"), etc.join("a/link")).unwrap();
    std::os::unix::fs::chown(etc.join("a/b/f"), Some(11), Some(12)).unwrap();
    std::fs::set_permissions(etc.join("a/b/f"), PermissionsExt::from_mode(0o6751)).unwrap();
    std::fs::set_permissions(etc.join("a"), PermissionsExt::from_mode(0o500)).unwrap();
    let pipe = sys::file::open_dir(etc.join("a")).unwrap();
    sys::at::mkfifoat(&pipe, "pipe", sys::at::Mode::RUSR).unwrap();
    let look = |path: &str| {
        let meta = std::fs::symlink_metadata(etc.join(path)).unwrap();
        let times = (meta.mtime(), meta.mtime_nsec());
        (meta.mode(), meta.uid(), meta.gid(), times, meta.rdev())
    };
    let paths = ["a", "a/b", "a/b/f", "a/link", "a/pipe"];
    let before = paths.map(look);
    let root = world.enter();
    world.mount(&root, "/etc", "tmpfs", "", &["tmpcopyup", "ro"]);
    assert_eq!(paths.map(look), before);
    assert_eq!(
        std::fs::read(etc.join("a/b/f")).unwrap(),
        vec![7; 3_000_000]
    );
    let line = mount_on(&etc.display().to_string());
    assert!(line.contains(" ro,relatime - tmpfs "), "{line}");
}

fn a_tmpfs_too_small_for_what_it_covers_is_refused(world: &World) {
    std::fs::write(world.rootfs("etc/f"), vec![7; 300_000]).unwrap();
    let root = world.enter();
    let words = world.refused(&root, "/etc", "tmpfs", "", &["tmpcopyup", "size=8k"]);
    assert_eq!(
        words,
        "mount tmpfs on /etc (tmpcopyup, size=8k): write f for tmpcopyup: no space left on device"
    );
}

fn a_remount_changes_the_mount_that_is_there(world: &World) {
    let root = world.enter();
    world.mount(&root, "/data", "tmpfs", "", &[]);
    world.mount(&root, "/data", "", "", &["remount", "bind", "ro", "nosuid"]);
    let line = mount_on(&world.rootfs("data").display().to_string());
    assert!(line.contains(" ro,nosuid,relatime "), "{line}");
    let words = world.refused(&root, "/none", "", "", &["remount", "ro"]);
    assert!(
        words.ends_with("open /none: no such file or directory"),
        "{words}"
    );
}

/// The host of this claim is the mount namespace that `world` made; what it mounts later is tried by
/// the propagation's kind, since the host itself must not change.
fn a_bind_receives_the_hosts_mounts_and_sends_none(world: &World) {
    let volume = world.volume("volume");
    std::fs::create_dir(volume.join("sub")).unwrap();
    let step = world.step("/vol", "", &volume, &["rbind"]);
    let prepared = rootfs::attach::prepare(&step, None).unwrap();
    let root = world.enter();
    rootfs::attach::attach(&root, &step, prepared).unwrap();
    let line = mount_on(&world.rootfs("vol").display().to_string());
    assert!(
        line.contains(" master:") && !line.contains("shared:"),
        "{line}"
    );
    world.mount(&root, "/vol/sub", "tmpfs", "", &[]);
}

/// What `rshared` is for: mounts made inside show on the host. They do if the bind is in the same group
/// of peers, which only a copy made before `isolate` can be.
fn a_prepared_shared_bind_is_one_with_the_hosts(world: &World) {
    let group = |line: &str| {
        let word = line.split(' ').find(|word| word.starts_with("shared:"));
        word.map(str::to_owned)
    };
    let hosts = group(&mount_on(&world.dir.display().to_string())).unwrap();
    let step = world.step("/vol", "", world.volume("volume"), &["rbind", "rshared"]);
    let prepared = rootfs::attach::prepare(&step, None).unwrap();
    let root = world.enter();
    rootfs::attach::attach(&root, &step, prepared).unwrap();
    let line = mount_on(&world.rootfs("vol").display().to_string());
    assert_eq!(group(&line), Some(hosts), "{line}");
}

/// CVE-2021-30465: somebody who shares the volume swaps a directory for a link while mounts are made.
fn a_racing_volume_leads_nowhere(world: &World) {
    let volume = world.volume("volume");
    std::fs::create_dir_all(volume.join("a/b")).unwrap();
    std::os::unix::fs::symlink(world.canary(""), volume.join("l")).unwrap();
    let root = world.enter();
    world.mount(&root, "/vol", "", &volume, &["rbind"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let dir = sys::file::open_dir(&volume).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let exchange = sys::at::RenameFlags::EXCHANGE;
                sys::at::renameat_with(&dir, "a", &dir, "l", exchange).unwrap();
            }
        });
        let step = world.step("/vol/a/b", "tmpfs", "", &["size=4k"]);
        for _ in 0..300 {
            // Whether one attempt meets the link or the directory is chance; either is right.
            let _either = rootfs::attach::attach(&root, &step, None);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let canary = world.canary("").display().to_string();
    let canary = canary.trim_end_matches('/');
    for line in mounts().lines() {
        let place = line.split(' ').nth(4).unwrap();
        assert!(!place.starts_with(canary), "{line}");
    }
}

fn a_cgroup_mount_shows_the_namespace(world: &World) {
    const CGROUP_NAMESPACE: u64 = 0x200_0000;
    let root = world.enter();
    sys::namespace::unshare(CGROUP_NAMESPACE).unwrap();
    world.mount(&root, "/sys", "sysfs", "sysfs", &["ro"]);
    world.mount(
        &root,
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "ro"],
    );
    let line = mount_on(&world.rootfs("sys/fs/cgroup").display().to_string());
    assert!(
        line.contains(" / ") && line.contains(" ro,nosuid,relatime - cgroup2 cgroup "),
        "{line}"
    );
    assert!(world.rootfs("sys/fs/cgroup/cgroup.procs").exists());
}
