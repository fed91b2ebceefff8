//! Why a verb failed. Each variant names its subject; the cause follows as source.
//! Not its job: printing.

use std::path::PathBuf;

use crate::process::sync::Failure;

/// A failure of a container's life.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The id can't be one.
    #[error("container id {id:?} is not valid: {reason}")]
    Id {
        /// The id as given, cut to the longest length.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody has made a container of this name.
    #[error("{id}: container does not exist")]
    Missing {
        /// The container.
        id: String,
    },
    /// The name is taken.
    #[error("{id}: container with given ID already exists")]
    Exists {
        /// The container.
        id: String,
    },
    /// The verb needs the container in another state.
    #[error("{id}: {reason}")]
    Status {
        /// The container.
        id: String,
        /// The state it is in and the one it should be in, in runc's words where callers match them.
        reason: String,
    },
    /// The bundle's configuration can't be read.
    #[error("{path}: {reason}", path = .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The JSON path, the place and what was expected.
        reason: String,
    },
    /// The configuration can be read but not obeyed: all that is wrong with it, `; ` between.
    #[error("{0}")]
    Invalid(crate::validate::Faults),
    /// A step of the container's first process failed.
    #[error("{step}: {failure}")]
    Step {
        /// The step in plain words.
        step: String,
        /// What the process sent.
        failure: Box<Failure>,
    },
    /// The program was not found, or could not be executed.
    #[error("{0}")]
    Program(Box<Failure>),
    /// A sentence that is whole as it is.
    #[error("{0}")]
    Words(String),
    /// The first process ended before it was ready.
    #[error("the container's first process ended before it was ready: {cause}")]
    Ended {
        /// How it ended, and why if the cgroup knows.
        cause: String,
    },
    /// A hook failed; the words are runc's, since callers match them.
    #[error("error running {kind} hook #{index}: {program}: {reason}")]
    Hook {
        /// The hook's kind: `createRuntime`.
        kind: &'static str,
        /// Its place in the list, from 0.
        index: usize,
        /// Its path.
        program: String,
        /// Its exit status and last words.
        reason: String,
    },
    /// The record of a container can't be read.
    #[error("state of {id}: {reason}")]
    State {
        /// The container.
        id: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// A seccomp profile can't be compiled.
    #[error("linux.seccomp")]
    Seccomp(#[source] seccomp::Error),
    /// Something was asked of the command line that does not go together.
    #[error("{0}")]
    Usage(String),
    /// Something on the host could not be done.
    #[error("{doing}")]
    Host {
        /// What we did to what.
        doing: String,
        /// Why it failed.
        source: Box<sys::SysError>,
    },
    /// The cgroup could not be made, read or removed.
    #[error(transparent)]
    Cgroup(Box<cgroups::Error>),
    /// The namespaces asked for can't be had.
    #[error(transparent)]
    Namespaces(Box<namespaces::Error>),
    /// The root file system can't be prepared.
    #[error(transparent)]
    Rootfs(Box<rootfs::Error>),
    /// Cleaning up after `first` failed too.
    #[error("{first}")]
    AndThen {
        /// The failure that counts.
        first: Box<Error>,
        /// What failed while undoing, in one line each.
        notes: Vec<String>,
    },
}

impl Error {
    /// The shell's exit status for a program that could not be run: 127 if it was not found, 126 if it
    /// was found and refused; `None` for any other failure.
    pub fn program_status(&self) -> Option<u8> {
        match self {
            Self::Program(failure) if failure.errno == sys::Errno::NOENT.raw_os_error() => {
                Some(127)
            }
            Self::Program(_) => Some(126),
            Self::AndThen { first, .. } => first.program_status(),
            _ => None,
        }
    }

    /// For `map_err`: what we did, as the head of the kernel's reason.
    pub(crate) fn host(doing: impl Into<String>) -> impl FnOnce(sys::SysError) -> Self {
        let doing = doing.into();
        move |source| Self::Host {
            doing,
            source: Box::new(source),
        }
    }
}

impl From<cgroups::Error> for Error {
    fn from(error: cgroups::Error) -> Self {
        Self::Cgroup(Box::new(error))
    }
}

impl From<cgroups::Refused> for Error {
    fn from(refused: cgroups::Refused) -> Self {
        let first = Self::Cgroup(refused.error);
        if refused.kept.is_empty() {
            return first;
        }
        let kept = refused.kept.iter();
        Self::AndThen {
            first: Box::new(first),
            notes: kept
                .map(|error| format!("not taken back: {}", chain(error)))
                .collect(),
        }
    }
}

impl From<namespaces::Error> for Error {
    fn from(error: namespaces::Error) -> Self {
        Self::Namespaces(Box::new(error))
    }
}

impl From<rootfs::Error> for Error {
    fn from(error: rootfs::Error) -> Self {
        Self::Rootfs(Box::new(error))
    }
}

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
