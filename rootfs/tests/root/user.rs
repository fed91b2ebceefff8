//! Claims about a start in a user namespace. Its first process is another program run by unshare(1), for
//! a process of several threads can't enter one.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use rootfs::devices;
use rootfs::nodes::{self, Nodes};
use rootfs::protect::{self, Masks};
use rootfs::{Overlay, console, pivot};
use sys::at::{FileType, Mode, XattrFlags};
use sys::mount::{Attr, FsContext, Propagation};

use crate::claims;
use crate::world::{MOUNT_NAMESPACE, World, chain, mount_on};

claims![
    a_whole_start_works_with_bound_nodes,
    layers_keep_their_marks_in_user_attributes,
    locked_attributes_stay,
    what_the_parent_prepared_is_attached_inside,
];

/// Set for the program inside.
pub(crate) const INSIDE: &str = "DHOW_TEST_IN_USER_NAMESPACE";

/// The numbers of the descriptors that the maker hands on: a bind and an overlay, both detached.
const PREPARED: &str = "DHOW_TEST_PREPARED";

/// What the host forbids on [`LOCKED`].
const FORBIDDEN: Attr = Attr::MOUNT_ATTR_NOSUID
    .union(Attr::MOUNT_ATTR_NODEV)
    .union(Attr::MOUNT_ATTR_NOEXEC);

/// Where the namespaces' maker has mounted a tmpfs: its attributes are locked inside.
const LOCKED: &str = "/mnt";

/// Runs this program again in new user, mount and PID namespaces, for one claim.
pub(crate) fn run_inside(name: String) {
    let maker = std::thread::spawn(move || {
        sys::namespace::unshare(MOUNT_NAMESPACE).unwrap();
        sys::mount::propagate_all(Propagation::Private).unwrap();
        let tmpfs = FsContext::new("tmpfs").unwrap().mount(FORBIDDEN).unwrap();
        sys::mount::attach(tmpfs, sys::file::open_path(LOCKED).unwrap()).unwrap();
        let prepared = prepare();
        let numbers = prepared.each_ref().map(|fd| fd.as_raw_fd().to_string());
        let this = std::env::current_exe().unwrap();
        Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "--pid",
                "--fork",
                "--",
            ])
            .arg(this)
            .args(["--exact", &name])
            .env(INSIDE, "1")
            .env(PREPARED, numbers.join(","))
            .output()
            .unwrap()
    });
    let output = maker.join().unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}{errors}");
    assert!(words.contains("1 passed"), "{words}{errors}");
}

/// What a privileged parent makes before it clones: a read-only bind and an overlay.
fn prepare() -> [OwnedFd; 2] {
    let world = World { dir: LOCKED.into() };
    let volume = world.volume("volume");
    std::fs::write(volume.join("f"), "from the host").unwrap();
    let step = world.step("/vol", "", &volume, &["rbind", "ro"]);
    let bind = rootfs::attach::prepare(&step, None).unwrap().unwrap();
    let overlay = Overlay {
        lower: crate::overlay::folders(vec![world.volume("top"), world.volume("base/etc")]),
        upper: Some(world.volume("upper")),
        work: Some(world.volume("work")),
        volatile: true,
    };
    let prepared = [bind, overlay.mount_detached().unwrap()];
    for fd in &prepared {
        sys::descriptor::keep_on_exec(fd).unwrap();
    }
    prepared
}

fn what_the_parent_prepared_is_attached_inside(world: &World) {
    let numbers = std::env::var(PREPARED).unwrap();
    let mut prepared = numbers.split(',').map(|number| {
        let number = number.parse().unwrap();
        sys::descriptor::inherited(number).unwrap()
    });
    let (bind, overlay) = (prepared.next().unwrap(), prepared.next().unwrap());
    pivot::isolate().unwrap();
    let root = pivot::attach_root(overlay, Path::new("/")).unwrap();
    let step = world.step("/vol", "", "/mnt/volume", &["rbind", "ro"]);
    rootfs::attach::attach(&root, &step, Some(bind)).unwrap();
    world.mount(&root, "/proc", "proc", "proc", &[]);
    pivot::pivot(&root).unwrap();
    assert_eq!(std::fs::read("/vol/f").unwrap(), b"from the host");
    assert!(std::fs::write("/vol/f", "").is_err());
    std::fs::write("/new", "").unwrap();
    protect::make_read_only(&root, Path::new("/proc/sys")).unwrap();
    pivot::make_read_only(&root).unwrap();
    assert!(std::fs::write("/new", "").is_err());
}

fn a_whole_start_works_with_bound_nodes(world: &World) {
    let volume = world.volume("volume");
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
        "/dev",
        "tmpfs",
        "tmpfs",
        &["nosuid", "mode=755", "size=64k"],
    );
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    world.mount(&root, "/dev/pts", "devpts", "devpts", &pts);
    world.mount(&root, "/vol", "", &volume, &["rbind", "ro"]);
    nodes::make(&root, &devices::devices(&[]).unwrap(), Nodes::Bind).unwrap();
    nodes::link(&root).unwrap();
    let console = console::open(&root, None).unwrap();
    console::bind(&root, &console.slave).unwrap();
    pivot::pivot(&root).unwrap();
    let mut masks = Masks::default();
    for path in ["/proc/keys", "/proc/acpi", "/proc/scsi"] {
        masks.cover(&root, Path::new(path)).unwrap();
    }
    protect::make_read_only(&root, Path::new("/proc/sys")).unwrap();
    pivot::make_read_only(&root).unwrap();
    std::fs::write("/dev/null", "x").unwrap();
    assert_eq!(std::fs::read("/proc/keys").unwrap(), b"");
    assert!(std::fs::write("/vol/f", "").is_err());
    assert!(std::fs::write("/f", "").is_err());
}

fn layers_keep_their_marks_in_user_attributes(world: &World) {
    let (base, top) = (world.volume("base"), world.volume("top"));
    for dir in [&base, &top] {
        std::fs::create_dir(dir.join("opaque")).unwrap();
    }
    std::fs::write(base.join("opaque/old"), "").unwrap();
    std::fs::write(base.join("gone"), "").unwrap();
    let fd = sys::file::open_dir(top.join("opaque")).unwrap();
    sys::at::fsetxattr(&fd, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    let fd = sys::file::open_dir(&top).unwrap();
    sys::at::mknodat(&fd, "gone", FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let overlay = Overlay {
        lower: crate::overlay::folders(vec![top, base]),
        upper: Some(world.volume("upper")),
        work: Some(world.volume("work")),
        volatile: false,
    };
    pivot::isolate().unwrap();
    let mount = overlay
        .mount_detached()
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    pivot::attach_root(mount, &world.rootfs("")).unwrap();
    assert_eq!(
        std::fs::read_dir(world.rootfs("opaque")).unwrap().count(),
        0
    );
    assert!(!world.rootfs("gone").exists());
    std::fs::remove_dir(world.rootfs("opaque")).unwrap();
    std::fs::create_dir(world.rootfs("opaque")).unwrap();
    let made = sys::file::open_dir(world.dir.join("upper/opaque")).unwrap();
    let mut value = [0_u8; 8];
    let length = sys::at::fgetxattr(&made, "user.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
}

/// Security test C6: what the host's mount forbids, a container's bind of it may not allow.
fn locked_attributes_stay(world: &World) {
    let root = world.enter();
    world.mount(&root, "/x", "", LOCKED, &["rbind", "ro"]);
    let line = mount_on(&world.rootfs("x").display().to_string());
    for word in ["ro", "nosuid", "nodev", "noexec"] {
        let attributes = line.split(' ').nth(5).unwrap();
        assert!(attributes.split(',').any(|a| a == word), "{line}");
    }
    let words = world.refused(&root, "/y", "", LOCKED, &["rbind", "suid"]);
    assert!(words.ends_with("operation not permitted"), "{words}");
}
