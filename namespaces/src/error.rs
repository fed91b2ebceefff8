//! What can go wrong with namespaces. Not its job: printing it.

use std::path::PathBuf;

use sys::SysError;

use crate::Namespace;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with what it was about.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The spec asks for something that does not hold together.
    #[error("{field}: {reason}")]
    Spec {
        /// The JSON path of the field to change.
        field: String,
        /// What is wrong with its value, the value included.
        reason: String,
    },
    /// A device of the host's network could not become the container's.
    #[error("linux.netDevices: move {device} into the container")]
    Device {
        /// Its names.
        device: String,
        /// Why not.
        source: SysError,
    },
    /// A namespace to be joined can't be opened.
    #[error("{field}: open the {namespace} namespace")]
    Open {
        /// The JSON path of the namespace's path.
        field: String,
        /// What was expected there.
        namespace: Namespace,
        /// Why not.
        source: SysError,
    },
    /// What is at the path is no namespace, or one of another kind.
    #[error("{field}: {path} is {found}, not a {namespace} namespace", path = path.display())]
    WrongKind {
        /// The JSON path of the namespace's path.
        field: String,
        /// The path.
        path: PathBuf,
        /// What was expected.
        namespace: Namespace,
        /// What is there, in words.
        found: String,
    },
    /// The kernel refused to let us into a namespace.
    #[error("{field}: join the {namespace} namespace at {path}", path = path.display())]
    Join {
        /// The JSON path of the namespace's path.
        field: String,
        /// The path.
        path: PathBuf,
        /// Which kind.
        namespace: Namespace,
        /// Why not.
        source: SysError,
    },
    /// The kernel refused to let us into the namespaces of a process.
    #[error("join the namespaces ({kinds}) of process {pid}")]
    JoinProcess {
        /// Its id.
        pid: i32,
        /// Which kinds.
        kinds: String,
        /// Why not.
        source: SysError,
    },
    /// We stepped into a namespace for the next child and can't come back.
    #[error("return to our own {namespace} namespace")]
    Return {
        /// Which kind.
        namespace: Namespace,
        /// Why not.
        source: SysError,
    },
    /// A file below /proc/PID that belongs to a user namespace could not be written.
    #[error("write {field} of the new user namespace")]
    IdMap {
        /// The JSON path of the mappings.
        field: &'static str,
        /// Why not.
        source: SysError,
    },
    /// newuidmap or newgidmap could not be started.
    #[error("start {program} to write {field}")]
    MapProgramMissing {
        /// The program's absolute path.
        program: &'static str,
        /// The JSON path of the mappings.
        field: &'static str,
        /// Why not.
        source: SysError,
    },
    /// newuidmap or newgidmap said no.
    #[error("{program} refused {field} ({ranges}): {words}")]
    MapProgramRefused {
        /// The program's absolute path.
        program: &'static str,
        /// The JSON path of the mappings.
        field: &'static str,
        /// The ranges, as `inside:outside:size`.
        ranges: String,
        /// What it printed.
        words: String,
    },
    /// A user namespace that lends its maps to a mount could not be made.
    #[error("make a user namespace for the ids of a mount")]
    Holder {
        /// Why not.
        source: SysError,
    },
    /// The clocks of a new time namespace could not be set.
    #[error("set the offsets of linux.timeOffsets")]
    TimeOffsets {
        /// Why not.
        source: SysError,
    },
    /// A new namespace could not be made.
    #[error("make new namespaces ({names})")]
    Unshare {
        /// Their names, separated by commas.
        names: String,
        /// Why not.
        source: SysError,
    },
    /// The host or domain name could not be set.
    #[error("set {field}")]
    HostName {
        /// `hostname` or `domainname`.
        field: &'static str,
        /// Why not.
        source: SysError,
    },
    /// The loopback device stayed down.
    #[error("bring up the loopback device")]
    Loopback {
        /// Why.
        source: SysError,
    },
}

impl Error {
    /// A spec that does not hold together.
    pub(crate) fn spec(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Spec {
            field: field.into(),
            reason: reason.into(),
        }
    }
}
