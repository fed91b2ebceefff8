//! Claims about the container's terminal.

use std::os::unix::fs::MetadataExt;

use rootfs::console::{self, Size};
use sys::beneath::Root;

use crate::claims;
use crate::world::{World, chain, mounts};

claims![
    the_terminal_is_of_the_containers_own_devpts,
    the_slave_is_the_console,
    a_terminal_needs_a_devpts,
    a_console_that_is_a_link_or_a_directory_is_refused,
];

const PTS: &[&str] = &["newinstance", "ptmxmode=0666", "mode=0620"];

fn with_pts(world: &World) -> Root {
    let root = world.enter();
    world.mount(&root, "/dev", "tmpfs", "tmpfs", &["mode=755"]);
    world.mount(&root, "/dev/pts", "devpts", "devpts", PTS);
    root
}

fn the_terminal_is_of_the_containers_own_devpts(world: &World) {
    let root = with_pts(world);
    let size = Size {
        width: 101,
        height: 33,
    };
    let console = console::open(&root, Some(size)).unwrap();
    let inside = std::fs::metadata(world.rootfs("dev/pts/0")).unwrap();
    let slave = sys::at::fstat(&console.slave).unwrap();
    assert_eq!((slave.st_dev, slave.st_ino), (inside.dev(), inside.ino()));
    let window = sys::tty::size(&console.slave).unwrap();
    assert_eq!((window.ws_col, window.ws_row), (101, 33));
}

fn the_slave_is_the_console(world: &World) {
    let root = with_pts(world);
    let console = console::open(&root, None).unwrap();
    console::bind(&root, &console.slave).unwrap();
    let shown = std::fs::metadata(world.rootfs("dev/console")).unwrap();
    assert_eq!(
        shown.rdev(),
        sys::at::fstat(&console.slave).unwrap().st_rdev
    );
    sys::at::write(&console.master, b"typed\n").unwrap();
    let reader = sys::file::open(world.rootfs("dev/console")).unwrap();
    let mut buffer = [0; 16];
    let count = sys::at::read(&reader, &mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"typed\n");
}

fn a_terminal_needs_a_devpts(world: &World) {
    let root = world.enter();
    std::fs::create_dir(world.rootfs("dev/pts")).unwrap();
    std::os::unix::fs::symlink(world.canary("ptmx"), world.rootfs("dev/pts/ptmx")).unwrap();
    let words = chain(&console::open(&root, None).unwrap_err());
    assert_eq!(
        words,
        "open the container's terminal: open /dev/pts/ptmx: a terminal needs a devpts mounted on /dev/pts (no such device)"
    );
}

/// CVE-2025-52565: what the name /dev/console leads to is covered by a terminal.
fn a_console_that_is_a_link_or_a_directory_is_refused(world: &World) {
    let root = with_pts(world);
    let console = console::open(&root, None).unwrap();
    let path = world.rootfs("dev/console");
    std::os::unix::fs::symlink(world.canary("file"), &path).unwrap();
    let before = mounts();
    let words = chain(&console::bind(&root, &console.slave).unwrap_err());
    assert!(
        words.contains("/dev/console: it is a symbolic link"),
        "{words}"
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let words = chain(&console::bind(&root, &console.slave).unwrap_err());
    assert!(
        words.contains("a file can't be mounted on a directory"),
        "{words}"
    );
    assert_eq!(before, mounts());
}
