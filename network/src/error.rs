//! What can go wrong with a network, each fault with its subject. Not its job: printing.

use sys::SysError;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A network that could not be had. `Display` never holds the source's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused what we did.
    #[error("{what}")]
    System {
        /// The act and its object.
        what: String,
        /// The call, its subject and the reason.
        #[source]
        source: SysError,
    },
    /// Every range of addresses that we know is in use by the host.
    #[error("find addresses for the container: the host has routes into all of {ranges}")]
    NoRange {
        /// Them, with commas.
        ranges: String,
    },
    /// Every address of the range is in use.
    #[error("find addresses for the container: all {count} links of {prefix} are in use")]
    Full {
        /// How many there are.
        count: u32,
        /// Which range.
        prefix: String,
    },
    /// Without root, a program is needed that is not there.
    #[error(
        "find {programs}, which make a network without root: none is in the folders for programs"
    )]
    NoProgram {
        /// Those that would do.
        programs: &'static str,
    },
    /// A network namespace could not be made.
    #[error("make a network namespace: {words}")]
    Namespace {
        /// Why, in the words of the process that tried.
        words: String,
    },
    /// That program did not get ready.
    #[error("{program}: {words}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Its own words.
        words: String,
    },
    /// Others change the packet rules without end.
    #[error("set the packet rules: others have changed them {times} times meanwhile")]
    Busy {
        /// How often we tried.
        times: u32,
    },
    /// We are in the container's network namespace and can't come back: nothing more may be done here.
    #[error("come back to our own network")]
    Return {
        /// Why not.
        #[source]
        source: SysError,
    },
}

/// Says what we were doing when a call failed.
pub(crate) trait Doing<T> {
    /// `what`: the act and its object, as `make the link dhow-b0`.
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
