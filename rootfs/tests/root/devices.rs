//! Claims about /dev.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};
use rootfs::devices;
use rootfs::nodes::{self, Nodes};
use sys::at::{FileType, Mode};

use crate::claims;
use crate::world::{World, chain, mount_on};

claims![
    the_default_nodes_are_the_kernels_devices,
    the_specs_device_has_its_owner_and_mode,
    the_hosts_nodes_are_bound_where_none_can_be_made,
    another_device_of_the_host_is_not_bound,
    what_the_image_has_in_the_place_of_a_device_is_not_taken_for_it,
    links_lead_to_proc_and_to_the_containers_terminals,
    a_dev_that_is_a_link_leads_nowhere_outside,
];

fn device(path: &str, typ: LinuxDeviceType, numbers: (i64, i64)) -> LinuxDevice {
    LinuxDeviceBuilder::default()
        .path(path)
        .typ(typ)
        .major(numbers.0)
        .minor(numbers.1)
        .file_mode(0o640_u32)
        .uid(7_u32)
        .gid(8_u32)
        .build()
        .unwrap()
}

fn the_default_nodes_are_the_kernels_devices(world: &World) {
    let root = world.enter();
    world.mount(&root, "/dev", "tmpfs", "tmpfs", &["mode=755"]);
    nodes::make(&root, &devices::devices(&[]).unwrap(), Nodes::Make).unwrap();
    for (name, minor) in [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ] {
        let meta = std::fs::metadata(world.rootfs("dev").join(name)).unwrap();
        assert_eq!(meta.rdev(), sys::at::makedev(1, minor), "{name}");
        assert_eq!(meta.mode(), 0o20_666, "{name}");
    }
    let tty = std::fs::metadata(world.rootfs("dev/tty")).unwrap();
    assert_eq!(tty.rdev(), sys::at::makedev(5, 0));
}

fn the_specs_device_has_its_owner_and_mode(world: &World) {
    let root = world.enter();
    let spec = [
        device("/dev/net/tun", LinuxDeviceType::C, (10, 200)),
        device("/pipe", LinuxDeviceType::P, (0, 0)),
        device("/dev/disk", LinuxDeviceType::B, (4095, 1_048_575)),
    ];
    nodes::make(&root, &devices::devices(&spec).unwrap(), Nodes::Make).unwrap();
    let tun = std::fs::metadata(world.rootfs("dev/net/tun")).unwrap();
    assert_eq!((tun.mode(), tun.uid(), tun.gid()), (0o20_640, 7, 8));
    assert_eq!(tun.rdev(), sys::at::makedev(10, 200));
    let disk = std::fs::metadata(world.rootfs("dev/disk")).unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), sys::at::makedev(4095, 1_048_575));
    assert!(
        std::fs::metadata(world.rootfs("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

fn the_hosts_nodes_are_bound_where_none_can_be_made(world: &World) {
    let root = world.enter();
    nodes::make(&root, &devices::devices(&[]).unwrap(), Nodes::Bind).unwrap();
    let path = world.rootfs("dev/null");
    mount_on(&path.display().to_string());
    assert_eq!(
        std::fs::metadata(&path).unwrap().rdev(),
        sys::at::makedev(1, 3)
    );
}

fn another_device_of_the_host_is_not_bound(world: &World) {
    let root = world.enter();
    let spec = [device("/dev/zero", LinuxDeviceType::C, (1, 3))];
    let error = nodes::make(&root, &devices::devices(&spec).unwrap(), Nodes::Bind).unwrap_err();
    let words = chain(&error);
    assert!(
        words.starts_with("make device /dev/zero (c 1:3, mode 0640): "),
        "{words}"
    );
    assert!(
        words.contains("the host has another device there"),
        "{words}"
    );
}

fn what_the_image_has_in_the_place_of_a_device_is_not_taken_for_it(world: &World) {
    let canary = world.canary("null");
    for put in ["file", "link", "zero"] {
        let path = world.rootfs("dev/null");
        let _none_yet = std::fs::remove_file(&path);
        match put {
            "file" => std::fs::write(&path, "").unwrap(),
            "link" => std::os::unix::fs::symlink(&canary, &path).unwrap(),
            _ => {
                let dir = sys::file::open_dir(path.parent().unwrap()).unwrap();
                let (kind, zero) = (FileType::CharacterDevice, sys::at::makedev(1, 5));
                sys::at::mknodat(&dir, "null", kind, Mode::empty(), zero).unwrap();
            }
        }
        let root = world.enter();
        let error = nodes::make(&root, &devices::devices(&[]).unwrap(), Nodes::Make).unwrap_err();
        assert!(
            chain(&error).contains("something else has this name"),
            "{put}"
        );
    }
}

fn links_lead_to_proc_and_to_the_containers_terminals(world: &World) {
    std::fs::write(world.rootfs("dev/ptmx"), "the image's").unwrap();
    let root = world.enter();
    world.mount(&root, "/proc", "proc", "proc", &[]);
    nodes::link(&root).unwrap();
    let to = |name: &str| std::fs::read_link(world.rootfs("dev").join(name)).unwrap();
    assert_eq!(to("fd").to_str(), Some("/proc/self/fd"));
    assert_eq!(to("stdin").to_str(), Some("/proc/self/fd/0"));
    assert_eq!(to("stdout").to_str(), Some("/proc/self/fd/1"));
    assert_eq!(to("stderr").to_str(), Some("/proc/self/fd/2"));
    assert_eq!(to("ptmx").to_str(), Some("pts/ptmx"));
}

/// CVE-2026-41579, CVE-2026-47766; the canary has a `ptmx` and a `null` that must not go.
fn a_dev_that_is_a_link_leads_nowhere_outside(world: &World) {
    world.link("dev", world.canary(""));
    let root = world.enter();
    nodes::make(&root, &devices::devices(&[]).unwrap(), Nodes::Make).unwrap();
    nodes::link(&root).unwrap();
    let inside = world.canary("");
    let inside = world.rootfs("").join(inside.strip_prefix("/").unwrap());
    assert!(inside.join("null").exists());
    assert!(inside.join("ptmx").is_symlink());
}
