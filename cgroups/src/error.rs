//! What can go wrong with cgroups. Not its job: printing it.

use std::path::PathBuf;

use sys::SysError;

use crate::{Controller, Write};

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with what it was about.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The spec asks for something that makes no sense or that cgroup v2 can't do.
    #[error("{field}: {reason}")]
    Spec {
        /// The JSON path of the field to change.
        field: String,
        /// What is wrong with its value, the value included.
        reason: String,
    },
    /// The host shows us no cgroup v2 tree.
    #[error("no cgroup v2 tree is mounted here, and dhow uses no other{}", if *.v1 {
        " (this host mounts cgroup v1: boot it with systemd.unified_cgroup_hierarchy=1)"
    } else {
        " (mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup)"
    })]
    NoTree {
        /// Whether cgroup v1 hierarchies are mounted.
        v1: bool,
    },
    /// A limit needs a controller that the tree lacks.
    #[error(
        "{field}: needs the {controller} controller, but the cgroup v2 tree at {directory} has {has}",
        directory = directory.display()
    )]
    NoController {
        /// The JSON path of the limit.
        field: String,
        /// What it needs.
        controller: Controller,
        /// What is there, in words, and where the host has the controller instead.
        has: String,
        /// Where in the tree.
        directory: PathBuf,
    },
    /// The directory could not be made, opened or removed.
    #[error("{what} cgroup {path}", path = path.display())]
    Directory {
        /// What was tried: `make`, `open`, `remove`.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: SysError,
    },
    /// What is there is no cgroup.
    #[error("open cgroup {path}: it is no cgroup v2 directory", path = path.display())]
    NotACgroup {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else's processes live where the container is to live.
    #[error("use cgroup {path}: container's cgroup is not empty", path = path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A process put there would stop at once.
    #[error("use cgroup {path}: container's cgroup unexpectedly frozen", path = path.display())]
    Frozen {
        /// The directory.
        path: PathBuf,
    },
    /// A controller is there but can't be handed down to the container's cgroup.
    #[error("enable {controllers} below cgroup {path}", path = path.display())]
    Enable {
        /// What was written to cgroup.subtree_control.
        controllers: String,
        /// The directory above the container's.
        path: PathBuf,
        /// Why not.
        source: SysError,
    },
    /// A limit was refused.
    #[error("{field}: write {value:?} to {file}", field = .write.field, value = .write.value, file = .write.file)]
    Write {
        /// What was written, and for which field of the spec.
        write: Box<Write>,
        /// Why not.
        source: SysError,
    },
    /// A file of the cgroup could not be read or written.
    #[error("{what} cgroup {path}", path = path.display())]
    Interface {
        /// What it was for: `freeze`, `kill`, `list the processes of`.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: SysError,
    },
    /// A file of the cgroup does not read as the kernel's documentation says.
    #[error("read {file} of cgroup {path}: unexpected content {content:?}", path = path.display())]
    Content {
        /// The file.
        file: &'static str,
        /// The directory.
        path: PathBuf,
        /// What it held.
        content: String,
    },
    /// The kernel did not get it done in time.
    #[error("{what} cgroup {path}: not done after {seconds} s{}", match .processes {
        0 => String::new(),
        n => format!(", with {n} processes left"),
    }, path = path.display())]
    Timeout {
        /// What it was.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
        /// How many processes are in it and below.
        processes: usize,
    },
    /// systemd can't be reached.
    #[error("reach systemd at {path}", path = path.display())]
    Bus {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: SysError,
    },
    /// systemd refused, or is not here.
    #[error("{doing}: {reason}")]
    Systemd {
        /// What was asked: `start the unit dhow-box.scope`.
        doing: String,
        /// Its words.
        reason: String,
    },
    /// The device filter can't be used.
    #[error("limit the devices of cgroup {path}", path = path.display())]
    DeviceFilter {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: SysError,
    },
}

impl Error {
    /// A spec that makes no sense or asks for what cgroup v2 can't do.
    pub(crate) fn spec(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Spec {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// Whether this says that we lack the right to load or attach a device filter: so it is for anybody
    /// outside of the first user namespace. The caller decides what that means (see [`crate::devices`]).
    pub fn is_device_filter_forbidden(&self) -> bool {
        matches!(self, Self::DeviceFilter { source, .. }
            if matches!(source.errno, sys::Errno::PERM | sys::Errno::ACCESS))
    }
}
