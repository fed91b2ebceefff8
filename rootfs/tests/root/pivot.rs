//! Claims about becoming the root.

use std::io::ErrorKind;
use std::path::Path;

use rootfs::pivot;
use sys::at::AtFlags;
use sys::beneath::Root;
use sys::mount::{Depth, Propagation};

use crate::claims;
use crate::world::{World, chain, mount_on, mounts};

claims![
    the_pivot_leaves_nothing_of_the_host,
    what_is_mounted_below_the_rootfs_comes_along,
    a_root_put_over_the_root_leaves_no_mount_of_the_host,
    a_root_attached_over_the_root_is_left_there,
    a_read_only_root_leaves_its_mounts_writable,
    the_roots_propagation_is_what_the_spec_says,
    a_missing_root_is_named,
];

fn the_pivot_leaves_nothing_of_the_host(world: &World) {
    let root = world.enter();
    world.mount(&root, "/proc", "proc", "proc", &[]);
    std::fs::write(world.rootfs("etc/mine"), "").unwrap();
    pivot::pivot(&root).unwrap();
    assert!(Path::new("/etc/mine").exists());
    assert!(!world.dir.exists());
    let places: Vec<String> = mounts()
        .lines()
        .map(|line| line.split(' ').nth(4).unwrap().to_owned())
        .collect();
    assert_eq!(places, ["/", "/proc"]);
    let above = sys::file::open_path("/..").unwrap();
    let (above, root) = (
        sys::at::fstat(&above).unwrap(),
        sys::at::fstat(root.fd()).unwrap(),
    );
    assert_eq!((above.st_dev, above.st_ino), (root.st_dev, root.st_ino));
    assert_eq!(sys::process::current_dir().unwrap().to_str(), Ok("/"));
}

fn what_is_mounted_below_the_rootfs_comes_along(world: &World) {
    pivot::isolate().unwrap();
    let outer = pivot::open_root(&world.rootfs("")).unwrap();
    let outer = pivot::attach_root(outer, &world.rootfs("")).unwrap();
    world.mount(&outer, "/etc", "tmpfs", "", &[]);
    std::fs::write(world.rootfs("etc/below"), "").unwrap();
    let again = pivot::open_root(&world.rootfs("")).unwrap();
    let root = pivot::attach_root(again, &world.rootfs("")).unwrap();
    pivot::pivot(&root).unwrap();
    assert!(Path::new("/etc/below").exists());
}

/// Security test C8: who climbs out of a chroot finds the host's root, but no procfs or sysfs.
fn a_root_put_over_the_root_leaves_no_mount_of_the_host(world: &World) {
    let root = world.enter();
    climb_out(world, root);
}

fn a_root_attached_over_the_root_is_left_there(world: &World) {
    pivot::isolate().unwrap();
    let mount = pivot::open_root(&world.rootfs("")).unwrap();
    let root = pivot::attach_root(mount, Path::new("/")).unwrap();
    climb_out(world, root);
}

fn climb_out(world: &World, root: Root) {
    world.mount(&root, "/proc", "proc", "proc", &[]);
    let old = sys::file::open_path("/").unwrap();
    let device = |name: &str| {
        let place = sys::at::statat(&old, name, AtFlags::empty()).unwrap();
        place.st_dev
    };
    let before = (device("proc"), device("sys"), device("."));
    pivot::chroot(&root).unwrap();
    assert!(Path::new("/proc/self").exists());
    assert!(!world.dir.exists());
    assert_eq!(device("proc"), before.2, "the host's /proc is still there");
    assert_eq!(device("sys"), before.2, "the host's /sys is still there");
    assert!(before.0 != before.2 && before.1 != before.2);
}

fn a_read_only_root_leaves_its_mounts_writable(world: &World) {
    let root = world.enter();
    world.mount(&root, "/data", "tmpfs", "", &[]);
    pivot::pivot(&root).unwrap();
    pivot::make_read_only(&root).unwrap();
    let error = std::fs::write("/f", "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    std::fs::write("/data/f", "").unwrap();
}

fn the_roots_propagation_is_what_the_spec_says(world: &World) {
    let root = world.enter();
    let place = world.rootfs("").display().to_string();
    let place = place.trim_end_matches('/');
    let marks = || {
        let line = mount_on(place);
        (
            line.contains("shared:"),
            line.contains("master:"),
            line.contains("unbindable"),
        )
    };
    assert_eq!(marks(), (false, false, false));
    pivot::set_propagation(&root, Propagation::Shared, Depth::Recursive).unwrap();
    // Shared with copies of itself; the host has none, and that is what `run` looks at.
    assert_eq!(marks(), (true, false, false));
    world.mount(&root, "/data", "tmpfs", "", &[]);
    pivot::set_propagation(&root, Propagation::Unbindable, Depth::One).unwrap();
    assert_eq!(marks(), (false, false, true));
}

fn a_missing_root_is_named(world: &World) {
    let words = chain(&pivot::open_root(Path::new("/nope/rootfs")).unwrap_err());
    assert_eq!(
        words,
        "open the root /nope/rootfs: open /nope/rootfs: no such file or directory"
    );
    let words = chain(&pivot::open_root(&world.canary("file")).unwrap_err());
    assert!(words.ends_with("not a directory"), "{words}");
}
