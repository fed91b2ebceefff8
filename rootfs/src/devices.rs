//! Which device files a container gets: the spec's defaults and its own. Pure.
//! Not its job: making them (that is [`crate::nodes`]), and the device cgroup.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use sys::at::FileType;

use crate::Error;
use crate::mounts::{MountStep, What};

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
    pub(crate) fn file_type(self) -> FileType {
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

/// The six of runtime-spec, "Default Devices".
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
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

/// How many of the mounts, the first ones, must be there before `devices` can be made: up to the last on which one of
/// them lies, or that lies in /dev. Pure.
pub fn needed(steps: &[MountStep], devices: &[Device]) -> usize {
    let below = |step: &MountStep| {
        let mut paths = devices.iter().map(|device| device.path.as_path());
        let place = &step.destination;
        place.starts_with("/dev") || paths.any(|path| path.starts_with(place))
    };
    steps.iter().rposition(below).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::{CgroupView, Surroundings};
    use oci_spec::runtime::{LinuxDeviceBuilder, MountBuilder};

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
    fn devices_come_after_the_last_mount_that_one_lies_on() {
        let mounts = |places: &[&str]| -> Vec<MountStep> {
            let around = Surroundings {
                bundle: Path::new("/b"),
                cgroup: CgroupView::Namespace,
                propagation: None,
                label: None,
            };
            let spec = places.iter().map(|place| {
                let mount = MountBuilder::default()
                    .destination(*place)
                    .typ("tmpfs")
                    .source("tmpfs");
                mount.build().unwrap()
            });
            crate::steps(&spec.collect::<Vec<_>>(), &around).unwrap()
        };
        let spec = [entry("/srv/a/b", LinuxDeviceType::C, 1, 1)];
        for (places, expected) in [
            (&["/run", "/dev", "/dev/shm", "/home", "/devices"][..], 3),
            (&["/dev", "/srv", "/tmp"], 2),
            (&["/dev", "/srv/a/b", "/tmp"], 2),
            (&["/dev", "/srv/a/c", "/tmp"], 1),
            (&["/dev", "/tmp", "/dev/pts/x"], 3),
            (&["/tmp"], 0),
            (&[], 0),
        ] {
            let devices = devices(&spec).unwrap();
            assert_eq!(needed(&mounts(places), &devices), expected, "{places:?}");
        }
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
