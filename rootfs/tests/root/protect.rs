//! Claims about masked and read-only paths.

use std::io::ErrorKind;
use std::path::Path;

use rootfs::devices;
use rootfs::nodes::{self, Nodes};
use rootfs::pivot;
use rootfs::protect::{self, Masks};
use sys::beneath::Root;

use crate::claims;
use crate::world::{World, chain, mount_on, mounts};

claims![
    masked_paths_read_empty,
    one_empty_directory_covers_all,
    a_null_that_is_something_else_masks_nothing,
    what_is_not_there_is_skipped,
    a_read_only_path_is_so_with_all_below,
    a_read_only_path_keeps_its_other_attributes,
    a_link_is_masked_where_it_leads_inside,
];

/// A container after the pivot, with /proc, /dev and some files to hide.
fn started(world: &World) -> Root {
    for dir in ["hide/dir", "hide/other", "lock/below"] {
        std::fs::create_dir_all(world.rootfs(dir)).unwrap();
        std::fs::write(world.rootfs(dir).join("f"), "secret").unwrap();
    }
    std::fs::write(world.rootfs("hide/file"), "secret").unwrap();
    let root = world.enter();
    world.mount(
        &root,
        "/proc",
        "proc",
        "proc",
        &["nosuid", "nodev", "noexec"],
    );
    nodes::make(&root, &devices::devices(&[]).unwrap(), Nodes::Make).unwrap();
    world.mount(&root, "/lock/below", "tmpfs", "", &[]);
    pivot::pivot(&root).unwrap();
    root
}

fn cover(root: &Root, paths: &[&str]) {
    let mut masks = Masks::default();
    for path in paths {
        masks.cover(root, Path::new(path)).unwrap();
    }
}

fn masked_paths_read_empty(world: &World) {
    let root = started(world);
    cover(
        &root,
        &[
            "/hide/file",
            "/hide/dir",
            "/proc/keys",
            "/proc/sysrq-trigger",
            "/proc/sys",
        ],
    );
    assert_eq!(std::fs::read("/hide/file").unwrap(), b"");
    std::fs::write("/hide/file", "goes nowhere").unwrap();
    assert_eq!(std::fs::read("/hide/file").unwrap(), b"");
    assert_eq!(std::fs::read("/proc/keys").unwrap(), b"");
    assert_eq!(std::fs::read_dir("/hide/dir").unwrap().count(), 0);
    assert_eq!(std::fs::read_dir("/proc/sys").unwrap().count(), 0);
    let error = std::fs::write("/hide/dir/new", "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
}

fn one_empty_directory_covers_all(world: &World) {
    let root = started(world);
    cover(&root, &["/hide/dir", "/hide/other", "/proc/sys"]);
    let device = |path| mount_on(path).split(' ').nth(2).map(str::to_owned);
    assert_eq!(device("/hide/dir"), device("/hide/other"));
    assert_eq!(device("/hide/dir"), device("/proc/sys"));
    assert!(mount_on("/proc/sys").contains(" ro,nosuid,nodev,noexec"));
}

/// CVE-2025-31133: an image's or a racer's /dev/null opened what it was to hide.
fn a_null_that_is_something_else_masks_nothing(world: &World) {
    let root = started(world);
    let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    for put in ["/proc/sys/kernel/core_pattern", "/dev/zero", "/hide/file"] {
        std::fs::remove_file("/dev/null").unwrap();
        std::os::unix::fs::symlink(put, "/dev/null").unwrap();
        let before = mounts();
        let error = Masks::default()
            .cover(&root, Path::new("/proc/keys"))
            .unwrap_err();
        assert_eq!(
            chain(&error),
            "mask /proc/keys: open /dev/null: it is not the null device (no such device or address)"
        );
        assert_eq!(before, mounts());
    }
    assert_eq!(
        std::fs::read("/proc/sys/kernel/core_pattern").unwrap(),
        pattern
    );
}

fn what_is_not_there_is_skipped(world: &World) {
    let root = started(world);
    let before = mounts();
    cover(&root, &["/nope", "/hide/file/below", "/hide/nope/x"]);
    protect::make_read_only(&root, Path::new("/nope")).unwrap();
    assert_eq!(before, mounts());
}

fn a_read_only_path_is_so_with_all_below(world: &World) {
    let root = started(world);
    for path in ["/lock", "/hide/file", "/proc/sys"] {
        protect::make_read_only(&root, Path::new(path)).unwrap();
    }
    let pattern = std::fs::read("/proc/sys/kernel/domainname").unwrap();
    for path in [
        "/lock/f",
        "/lock/below/f",
        "/hide/file",
        "/proc/sys/kernel/domainname",
    ] {
        let error = std::fs::write(path, &pattern).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{path}");
    }
    std::fs::write("/hide/free", "").unwrap();
}

fn a_read_only_path_keeps_its_other_attributes(world: &World) {
    let root = started(world);
    protect::make_read_only(&root, Path::new("/proc/sys")).unwrap();
    assert!(mount_on("/proc/sys").contains(" ro,nosuid,nodev,noexec,relatime "));
    assert!(mount_on("/proc").contains(" rw,nosuid,nodev,noexec,relatime "));
}

fn a_link_is_masked_where_it_leads_inside(world: &World) {
    std::os::unix::fs::symlink("../../../hide", world.rootfs("etc/link")).unwrap();
    let root = started(world);
    cover(&root, &["/etc/link/dir"]);
    assert_eq!(std::fs::read_dir("/hide/dir").unwrap().count(), 0);
}
