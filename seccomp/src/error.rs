//! What makes a profile impossible to obey, each with its JSON path below `linux.seccomp`. Not its job: words of
//! the spec's types, which their own parser refuses.

use crate::LONGEST;

/// A profile that can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A rule without a name would be passed over.
    #[error("{path}.names: no system call is named")]
    NoNames {
        /// `syscalls[3]`.
        path: String,
    },
    /// A name that can't be one.
    #[error("{path}.names: an empty name")]
    EmptyName {
        /// `syscalls[3]`.
        path: String,
    },
    /// There are six arguments.
    #[error("{path}.args: index {index} is not in 0 to 5")]
    Index {
        /// `syscalls[3]`.
        path: String,
        /// As given.
        index: usize,
    },
    /// The kernel would cut it.
    #[error("{path}: errnoRet {errno} is above {most}")]
    Errno {
        /// `syscalls[3].action` or `defaultAction`.
        path: String,
        /// As given.
        errno: u32,
        /// The highest that the action takes.
        most: u32,
    },
    /// The spec: an error number where the action has none is a fault.
    #[error("{path}: {action} takes no errnoRet")]
    NoErrno {
        /// `syscalls[3].action` or `defaultAction`.
        path: String,
        /// The action.
        action: String,
    },
    /// Somebody must hear what SCMP_ACT_NOTIFY says.
    #[error("listenerPath: SCMP_ACT_NOTIFY is used and nobody is named to be notified")]
    NoListener,
    /// It would be lost.
    #[error("listenerMetadata: there is no listenerPath to send it to")]
    Metadata,
    /// The kernel's limit.
    #[error("the filter has {0} instructions, the kernel takes {LONGEST}")]
    TooLong(usize),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
