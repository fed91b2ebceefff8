//! Fills /dev: nodes, standard links, ptmx. By fd below the container's /dev, wherever the image leads
//! that name (CVE-2026-41579, CVE-2026-47766: a `/dev` that is a link out of the image).
//! Not its job: the device cgroup, and the console (that is [`crate::console`]).

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use sys::at::{AtFlags, FileType, Gid, Mode, Uid};
use sys::beneath::Root;
use sys::mount::Depth;
use sys::{Errno, SysError};

use crate::error::Doing;
use crate::mounts::{MountStep, What};
use crate::{Error, attach};

/// What a device file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Unbuffered.
    Character,
    /// Buffered.
    Block,
    /// A named pipe, which the spec counts among the devices.
    Fifo,
}

impl Kind {
    fn file_type(self) -> FileType {
        match self {
            Self::Character => FileType::CharacterDevice,
            Self::Block => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Character => 'c',
            Self::Block => 'b',
            Self::Fifo => 'p',
        }
    }
}

/// A device file that the container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where; absolute, from the container's root.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The driver's number.
    pub major: u32,
    /// The driver's number for the device.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as an id inside the container.
    pub uid: u32,
    /// Group, as an id inside the container.
    pub gid: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.path.display(), self.kind.letter())?;
        if self.kind != Kind::Fifo {
            write!(f, " {}:{}", self.major, self.minor)?;
        }
        write!(f, ", mode {:04o})", self.mode)
    }
}

/// Where device files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// They are made: needs CAP_MKNOD over the host.
    Make,
    /// They are the host's, bound one by one: what is left in a user namespace.
    Bind,
}

/// The six of runtime-spec, "Default Devices".
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links of runtime-spec, "Dev symbolic links".
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// The default devices and the spec's `linux.devices`, which win where both name a path. Pure.
///
/// # Errors
/// [`Error::Field`] for an entry that is no device.
pub fn devices(spec: &[LinuxDevice]) -> Result<Vec<Device>, Error> {
    let mut devices: Vec<Device> = DEFAULTS
        .iter()
        .map(|&(path, major, minor)| Device {
            path: path.into(),
            kind: Kind::Character,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for (index, entry) in spec.iter().enumerate() {
        let device = device(index, entry)?;
        devices.retain(|known| known.path != device.path);
        devices.push(device);
    }
    Ok(devices)
}

fn device(index: usize, entry: &LinuxDevice) -> Result<Device, Error> {
    let fail = |field: &str, reason: String| {
        Error::field(format!("linux.devices[{index}].{field}"), reason)
    };
    let kind = match entry.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => Kind::Character,
        LinuxDeviceType::B => Kind::Block,
        LinuxDeviceType::P => Kind::Fifo,
        LinuxDeviceType::A => return Err(fail("type", "`a` is no type of one device".to_owned())),
    };
    let number = |field: &str, value: i64, most: u32| match u32::try_from(value) {
        _ if kind == Kind::Fifo => Ok(0),
        Ok(number) if number <= most => Ok(number),
        _ => Err(fail(field, format!("{value} is not between 0 and {most}"))),
    };
    let path = entry.path();
    let plain = path.is_absolute()
        && path.file_name().is_some()
        && !path.components().any(|c| c == Component::ParentDir);
    if !plain {
        let reason = format!("`{}` is not an absolute path without `..`", path.display());
        return Err(fail("path", reason));
    }
    Ok(Device {
        path: path.components().collect(),
        kind,
        // dev_t has 12 and 20 bits in mknod(2).
        major: number("major", entry.major(), 0xfff)?,
        minor: number("minor", entry.minor(), 0xf_ffff)?,
        // Engines copy st_mode whole, with the type's bits.
        mode: entry.file_mode().unwrap_or(0o666) & 0o7777,
        uid: entry.uid().unwrap_or(0),
        gid: entry.gid().unwrap_or(0),
    })
}

/// Whether /dev is the container's own to fill: not if the spec binds a directory of the host there. Pure.
pub fn wanted(steps: &[MountStep]) -> bool {
    !steps
        .iter()
        .any(|step| step.destination == Path::new("/dev") && matches!(step.what, What::Bind { .. }))
}

/// Makes the device files, or binds the host's.
///
/// # Errors
/// [`Error::Act`] naming the device: something else has its name, or the host's is another device.
pub fn make(root: &Root, devices: &[Device], nodes: Nodes) -> Result<(), Error> {
    // Most are in one directory: it is opened once.
    let mut parent: Option<(&Path, OwnedFd)> = None;
    for device in devices {
        let (dir, name) = split(&device.path);
        let act = || format!("make device {device}");
        let fd = match parent.take() {
            Some((known, fd)) if known == dir => fd,
            _ => root.create_dir_all(dir, 0o755).doing(act)?,
        };
        if nodes == Nodes::Make || device.kind == Kind::Fifo {
            make_node(&fd, name, device).doing(act)?;
        } else {
            bind_node(root, device).doing(act)?;
        }
        parent = Some((dir, fd));
    }
    Ok(())
}

/// A path that [`device`] has checked, as directory and name.
fn split(path: &Path) -> (&Path, &OsStr) {
    let dir = path.parent().unwrap_or(Path::new("/"));
    (dir, path.file_name().unwrap_or_default())
}

fn make_node(dir: &OwnedFd, name: &OsStr, device: &Device) -> Result<(), SysError> {
    let fail = |call| {
        let path = device.path.display();
        move |errno| SysError::new(call, &path, errno)
    };
    let number = sys::at::makedev(device.major, device.minor);
    let mode = Mode::from_raw_mode(device.mode);
    match sys::at::mknodat(dir, name, device.kind.file_type(), mode, number) {
        Ok(()) if (device.uid, device.gid) == (0, 0) => return Ok(()),
        Ok(()) => {}
        Err(Errno::EXIST) => return check_node(dir, name, device),
        Err(errno) => return Err(fail("mknod")(errno)),
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    sys::at::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(fail("chown"))
}

/// What the image or a mount has put there already is good if it is that very device.
fn check_node(dir: &OwnedFd, name: &OsStr, device: &Device) -> Result<(), SysError> {
    let fail = |errno| SysError::new("mknod", device.path.display(), errno);
    let stat = sys::at::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    if is(&stat, device) {
        Ok(())
    } else {
        Err(fail(Errno::EXIST).with_note("something else has this name"))
    }
}

fn is(stat: &sys::at::Stat, device: &Device) -> bool {
    FileType::from_raw_mode(stat.st_mode) == device.kind.file_type()
        && (device.kind == Kind::Fifo
            || stat.st_rdev == sys::at::makedev(device.major, device.minor))
}

fn bind_node(root: &Root, device: &Device) -> Result<(), SysError> {
    let host = sys::file::open_path(&device.path)?;
    let fail = |errno| SysError::new("open", device.path.display(), errno);
    if !is(&sys::at::fstat(&host).map_err(fail)?, device) {
        return Err(fail(Errno::NXIO).with_note("the host has another device there"));
    }
    let mount = sys::mount::clone_tree(&host, "", Depth::One)?;
    let target = root.create_file(&device.path, 0o666)?;
    attach::onto(&mount, target, &device.path)
}

/// Makes the links of /dev: fd, stdin, stdout, stderr, core where the kernel has it, and ptmx to the
/// container's own devpts. A name that is taken stays as it is, but for ptmx: the host's must not stay.
///
/// # Errors
/// [`Error::Act`] naming the link.
pub fn link(root: &Root) -> Result<(), Error> {
    let dir = root
        .create_dir_all("/dev", 0o755)
        .doing(|| "make links in /dev")?;
    for (name, target) in LINKS {
        link_one(&dir, name, target)?;
    }
    if root
        .find("/proc/kcore")
        .doing(|| "make links in /dev")?
        .is_some()
    {
        link_one(&dir, "core", "/proc/kcore")?;
    }
    match sys::at::unlinkat(&dir, "ptmx", AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => link_one(&dir, "ptmx", "pts/ptmx"),
        Err(errno) => {
            Err(SysError::new("unlink", "/dev/ptmx", errno)).doing(|| "replace /dev/ptmx")
        }
    }
}

fn link_one(dir: &OwnedFd, name: &str, target: &str) -> Result<(), Error> {
    match sys::at::symlinkat(target, dir, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(SysError::new("symlink", format_args!("/dev/{name}"), errno))
            .doing(|| format!("make the link /dev/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxDeviceBuilder;

    fn entry(path: &str, typ: LinuxDeviceType, major: i64, minor: i64) -> LinuxDevice {
        LinuxDeviceBuilder::default()
            .path(path)
            .typ(typ)
            .major(major)
            .minor(minor)
            .file_mode(0o20_640_u32)
            .build()
            .unwrap()
    }

    #[test]
    fn the_specs_device_wins_over_the_default_of_that_path() {
        let all = devices(&[entry("/dev//null", LinuxDeviceType::C, 7, 8)]).unwrap();
        assert_eq!(all.len(), 6);
        let words: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(words[0], "/dev/zero (c 1:5, mode 0666)");
        assert_eq!(words[5], "/dev/null (c 7:8, mode 0640)");
    }

    #[test]
    fn a_pipe_has_no_numbers() {
        let all = devices(&[entry("/run/p", LinuxDeviceType::P, -1, -1)]).unwrap();
        assert_eq!(all[6].to_string(), "/run/p (p, mode 0640)");
    }

    #[test]
    fn faults_name_the_field_and_the_value() {
        let table = [
            (
                entry("dev/x", LinuxDeviceType::C, 1, 1),
                "linux.devices[0].path: `dev/x` is not an absolute path without `..`",
            ),
            (
                entry("/dev/../x", LinuxDeviceType::C, 1, 1),
                "linux.devices[0].path: `/dev/../x` is not an absolute path without `..`",
            ),
            (
                entry("/", LinuxDeviceType::C, 1, 1),
                "linux.devices[0].path: `/` is not an absolute path without `..`",
            ),
            (
                entry("/dev/x", LinuxDeviceType::A, 1, 1),
                "linux.devices[0].type: `a` is no type of one device",
            ),
            (
                entry("/dev/x", LinuxDeviceType::B, -1, 1),
                "linux.devices[0].major: -1 is not between 0 and 4095",
            ),
            (
                entry("/dev/x", LinuxDeviceType::B, 1, 1 << 20),
                "linux.devices[0].minor: 1048576 is not between 0 and 1048575",
            ),
        ];
        for (entry, words) in table {
            assert_eq!(devices(&[entry]).unwrap_err().to_string(), words);
        }
    }
}
