//! What can go wrong while a file system is planned or built. Not its job: printing it.

use sys::{Errno, SysError};

/// A fault in the spec, or a step that the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the spec asks for something that can't be done. Found before anything is done.
    #[error("{field}: {reason}")]
    Field {
        /// Its JSON path: `mounts[3].options`.
        field: String,
        /// What is wrong, with the value.
        reason: String,
    },
    /// Something could not be done.
    #[error("{act}")]
    Act {
        /// What was to be done, to what: `mount proc on /proc`.
        act: String,
        /// The call that failed; its errno and note are what crosses a process border.
        #[source]
        source: SysError,
    },
}

impl Error {
    pub(crate) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The system call that failed, if it was one.
    pub fn failure(&self) -> Option<&SysError> {
        match self {
            Self::Field { .. } => None,
            Self::Act { source, .. } => Some(source),
        }
    }

    /// The kernel's error number; EINVAL for a fault of the spec.
    pub fn errno(&self) -> Errno {
        self.failure().map_or(Errno::INVAL, |f| f.errno)
    }

    /// The kernel's own text, or a reason that was checked to hold.
    pub fn note(&self) -> Option<&str> {
        match self {
            Self::Field { reason, .. } => Some(reason),
            Self::Act { source, .. } => source.note.as_deref(),
        }
    }
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// Wraps the failure; `act` is only asked on failure.
    fn doing<D: std::fmt::Display>(self, act: impl FnOnce() -> D) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, SysError> {
    fn doing<D: std::fmt::Display>(self, act: impl FnOnce() -> D) -> Result<T, Error> {
        self.map_err(|source| Error::Act {
            act: act().to_string(),
            source,
        })
    }
}
