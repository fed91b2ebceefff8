//! What can go wrong in a build, each fault with its subject. Not its job: printing.

use crate::diagnostic::Diagnostic;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A build that did not come to its end. `Display` never holds the source's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe breaks the language's rules, or asks for what dhow does not do.
    #[error("{0}")]
    Recipe(Diagnostic),
    /// `--target` names no stage.
    #[error("{why}")]
    Target {
        /// Which, and which might be meant.
        why: String,
    },
    /// A system call failed while we did `what`.
    #[error("{what}")]
    System {
        /// What we were doing, to what.
        what: String,
        /// The call, its subject and the reason.
        #[source]
        source: sys::SysError,
    },
    /// An image can't be found, read or written.
    #[error("{what}")]
    Image {
        /// What we were doing with which image.
        what: String,
        /// Why it failed.
        #[source]
        source: image::Error,
    },
    /// A step failed.
    #[error("{place}: {step}")]
    Step {
        /// `Dockerfile:3`
        place: String,
        /// The instruction's text.
        step: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// The layers can't be seen as one tree.
    #[error("mount the layers")]
    Mount {
        /// Why.
        #[source]
        source: rootfs::Error,
    },
    /// A RUN's container could not be had.
    #[error("run the command")]
    Container {
        /// Why.
        #[source]
        source: Box<runtime::Error>,
    },
    /// A RUN's way to other machines could not be had.
    #[error("give the command a network (it needs none with --network=none or --network=host)")]
    Network {
        /// Why.
        #[source]
        source: network::Error,
    },
    /// A RUN's command failed.
    #[error("{how}{output}")]
    Command {
        /// Its exit status or signal.
        how: String,
        /// The last lines that it printed, each on a line of its own.
        output: String,
    },
    /// A step's process says what went wrong: the chain of its error.
    #[error("{0}")]
    Told(String),
    /// What the recipe asks for can't be had with these files.
    #[error("{0}")]
    Refused(String),
}

/// Says what we were doing when a call failed.
pub(crate) trait Doing<T> {
    /// `what`: the act and its object, as `open the context`.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for sys::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::System {
            what: what(),
            source,
        })
    }
}

impl<T> Doing<T> for image::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Image {
            what: what(),
            source,
        })
    }
}
