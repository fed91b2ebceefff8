//! What a test needs of the machine, and whether it is here. A missing need is shown, never passed over.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::cgroup;

/// Something a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// To run as root.
    Root,
    /// A cgroup v2 tree in which folders can be made, with or without controllers.
    Cgroup2,
    /// A controller of the cgroup v2 tree: `memory`, `cpu`, `pids`, `io`, `cpuset`.
    Controller(&'static str),
    /// That the cgroup v2 tree lacks a controller: for what is said then.
    Without(&'static str),
    /// systemd as the first process.
    Systemd,
    /// The overlay file system.
    Overlay,
    /// New user namespaces.
    UserNamespaces,
    /// A temporary folder on a file system that can show its files with other ids.
    MappableFiles,
    /// CAP_SYS_RESOURCE: raising limits above one's own.
    SysResource,
    /// A kernel that knows memory nodes.
    Numa,
    /// AppArmor, enabled.
    AppArmor,
    /// That AppArmor is not enabled: for what is said then.
    WithoutAppArmor,
    /// That SELinux is not enabled: for what is said then.
    WithoutSeLinux,
    /// Pairs of network devices, and packet rules.
    Translation,
    /// A file system that can be made, and mounted on a loop device.
    Loop(&'static str),
    /// A program in PATH.
    Tool(&'static str),
    /// A CRIU that knows this kernel.
    Criu,
    /// User id 1000 with subordinate ids.
    RootlessUser,
    /// A machine that is not emulated: other people's engines take minutes a claim there.
    Brisk,
    /// A systemd session of user 1000, with its own bus.
    UserSession,
    /// The emulated machine itself, whose /etc is thrown away.
    Rig,
    /// More than one CPU.
    TwoCpus,
    /// dhow itself, not a peer named by DHOW_TEST_RUNTIME.
    Dhow,
    /// The build in which guards can be broken by name.
    FaultBuild,
    /// Not the emulated machine: for what takes long and sees nothing there that it does not see on the host.
    FullSpeed,
    /// File systems in plain files, as layers of an overlay.
    ImageLayers,
    /// The release build, named by DHOW_TEST_RELEASE.
    Release,
}

impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => out.write_str("root"),
            Self::Cgroup2 => out.write_str("a cgroup v2 tree"),
            Self::Controller(name) => write!(out, "{name} controller"),
            Self::Without(name) => write!(out, "a tree without the {name} controller"),
            Self::Systemd => out.write_str("systemd"),
            Self::Overlay => out.write_str("overlay"),
            Self::UserNamespaces => out.write_str("user namespaces"),
            Self::MappableFiles => out.write_str("files whose ids can be mapped"),
            Self::SysResource => out.write_str("CAP_SYS_RESOURCE"),
            Self::Numa => out.write_str("memory nodes"),
            Self::AppArmor => out.write_str("AppArmor"),
            Self::WithoutAppArmor => out.write_str("a kernel without AppArmor"),
            Self::WithoutSeLinux => out.write_str("a kernel without SELinux"),
            Self::Translation => out.write_str("pairs of network devices and packet rules"),
            Self::Loop(kind) => write!(out, "{kind} on a loop device"),
            Self::Tool(name) => write!(out, "program {name}"),
            Self::Criu => out.write_str("a CRIU that knows this kernel"),
            Self::RootlessUser => out.write_str("user 1000 with subordinate ids"),
            Self::Brisk => out.write_str("a machine that is not emulated"),
            Self::UserSession => out.write_str("a systemd session of user 1000"),
            Self::Rig => out.write_str("the rig"),
            Self::TwoCpus => out.write_str("two CPUs"),
            Self::Dhow => out.write_str("dhow as the runtime"),
            Self::FaultBuild => out.write_str("the fault build"),
            Self::FullSpeed => out.write_str("a machine at full speed"),
            Self::ImageLayers => out.write_str("file systems in plain files (EROFS)"),
            Self::Release => out.write_str("the release build (make test)"),
        }
    }
}

impl Need {
    /// Whether this machine has it.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::Root => status_field("Uid:").is_some_and(|ids| ids.starts_with("0\t0\t")),
            Self::Cgroup2 => cgroup::tree().is_some_and(can_make_folders),
            Self::Controller(name) => cgroup::tree().is_some_and(|tree| controllers(tree, name)),
            Self::Without(name) => !Self::Controller(name).is_here(),
            Self::Systemd => Path::new("/run/systemd/system").is_dir(),
            Self::Overlay => read("/proc/filesystems").contains("\toverlay\n"),
            Self::UserNamespaces => {
                Path::new("/proc/self/ns/user").exists()
                    && read("/proc/sys/user/max_user_namespaces").trim() != "0"
            }
            Self::MappableFiles => {
                // FS_ALLOW_IDMAP in their sources, since Linux 5.12 (tmpfs: 6.3).
                let kinds = ["ext4", "xfs", "btrfs", "f2fs", "tmpfs", "erofs"];
                kinds.contains(&file_system_of(&std::env::temp_dir()).as_str())
            }
            Self::SysResource => effective_capabilities() & (1 << 24) != 0,
            Self::Numa => Path::new("/proc/self/numa_maps").exists(),
            Self::AppArmor => !Self::WithoutAppArmor.is_here(),
            Self::WithoutAppArmor => {
                !read("/sys/module/apparmor/parameters/enabled").starts_with('Y')
            }
            Self::WithoutSeLinux => !read("/proc/filesystems").contains("selinuxfs"),
            Self::Translation => can_translate(),
            Self::Loop(kind) => can_loop(kind),
            Self::Tool(name) => program(name).is_some(),
            Self::Criu => criu_works(),
            Self::RootlessUser => user_1000_has_subordinate_ids(),
            Self::Brisk => std::env::var_os("DHOW_TEST_SLOWNESS").is_none(),
            Self::UserSession => Path::new("/run/user/1000/bus").exists(),
            Self::Rig => Path::new("/run/rig").is_dir(),
            Self::TwoCpus => std::thread::available_parallelism().is_ok_and(|n| n.get() > 1),
            Self::Dhow => std::env::var_os("DHOW_TEST_RUNTIME").is_none(),
            Self::FaultBuild => cfg!(feature = "fault") && Self::Dhow.is_here(),
            Self::FullSpeed => std::env::var_os("DHOW_TEST_SLOWNESS").is_none(),
            Self::ImageLayers => shows_images(),
            Self::Release => std::env::var_os("DHOW_TEST_RELEASE").is_some(),
        }
    }
}

fn shows_images() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let room = tempfile::tempdir().unwrap();
        let store = image::Store::open(&room.path().join("store"));
        Need::Root.is_here() && store.unwrap().keep_images().is_ok()
    })
}

fn can_translate() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let pair = ["-n", "ip", "link", "add", "name", "end0", "type", "veth"];
        sys::netlink::Channel::open(sys::netlink::Family::Netfilter).is_ok()
            && Command::new("unshare")
                .args(pair)
                .output()
                .is_ok_and(|tried| tried.status.success())
    })
}

fn can_loop(kind: &str) -> bool {
    read("/proc/filesystems").contains(&format!("\t{kind}\n"))
        && program(&format!("mkfs.{kind}")).is_some()
        && Command::new("losetup")
            .arg("-f")
            .output()
            .is_ok_and(|found| found.status.success())
}

/// Where `name` lies in PATH (and in the folders for root's programs).
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|candidate| candidate.is_file())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The type of the file system that holds `path`: that of the last mount on the longest way to it.
fn file_system_of(path: &Path) -> String {
    let table = read("/proc/self/mounts");
    let mounts = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        path.starts_with(words.get(1)?)
            .then(|| (words[1].len(), words[2]))
    });
    mounts
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind.to_owned())
        .unwrap_or_default()
}

fn status_field(name: &str) -> Option<String> {
    read("/proc/self/status")
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|rest| rest.trim().to_owned())
}

fn effective_capabilities() -> u64 {
    status_field("CapEff:")
        .and_then(|hex| u64::from_str_radix(&hex, 16).ok())
        .unwrap_or(0)
}

fn can_make_folders(tree: &Path) -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let probe = tree.join(format!("dhow-test-probe-{}", std::process::id()));
        std::fs::create_dir(&probe).is_ok() && std::fs::remove_dir(&probe).is_ok()
    })
}

fn controllers(tree: &Path, name: &str) -> bool {
    std::fs::read_to_string(tree.join("cgroup.controllers"))
        .is_ok_and(|list| list.split_whitespace().any(|here| here == name))
}

fn criu_works() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        program("criu").is_some_and(|criu| {
            let check = std::process::Command::new(criu).arg("check").output();
            check.is_ok_and(|output| output.status.success())
        })
    })
}

fn user_1000_has_subordinate_ids() -> bool {
    let name = read("/etc/passwd").lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&"1000")).then(|| fields[0].to_owned())
    });
    let has = |name: &str| {
        read("/etc/subuid")
            .lines()
            .any(|line| line.starts_with(&format!("{name}:")))
    };
    name.is_some_and(|name| has(&name)) && program("newuidmap").is_some()
}
