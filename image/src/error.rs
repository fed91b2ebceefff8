//! What can be wrong with an image or its store, each fault with its subject. Not its job: printing.

use std::path::PathBuf;

use sys::SysError;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault in an image, an archive or the store. `Display` says what we did to what; the cause below it
/// is the `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed while we did `what`.
    #[error("{what}")]
    System {
        /// What we were doing, to what: `unpack layer sha256:…, entry "etc/passwd"`.
        what: String,
        /// The call, its subject and the reason.
        #[source]
        source: SysError,
    },
    /// Something went wrong inside a part of an image; the source says what.
    #[error("{what}")]
    Inside {
        /// The part: `load image.tar`, `layer 2 (sha256:…)`, `manifest sha256:…`.
        what: String,
        /// What is wrong in it.
        #[source]
        source: Box<Error>,
    },
    /// Bytes that nobody may trust break a rule of their format.
    #[error("{what}: {rule}")]
    Refused {
        /// The part and its value: `entry "../x"`, `descriptor size -1`.
        what: String,
        /// The rule it breaks.
        rule: String,
    },
    /// A digest does not have the form `sha256:<64 lower-case hex digits>`.
    #[error("digest {value:?}: {rule}")]
    BadDigest {
        /// The text that should have been a digest.
        value: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// An image name breaks the grammar of references.
    #[error("image name {value:?}: {rule}")]
    BadReference {
        /// The text that should have been a name.
        value: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The bytes are not those that their digest or size promised.
    #[error("{what}: {field} is {found}, not {promised} as promised")]
    Mismatch {
        /// Which blob, by its role.
        what: String,
        /// `size`, `digest` or `diff id`.
        field: &'static str,
        /// What the document promised.
        promised: String,
        /// What the bytes are.
        found: String,
    },
    /// A JSON document can't be read.
    #[error("{what}: {fault}")]
    Json {
        /// Which document.
        what: String,
        /// The parser's words, with the place.
        fault: String,
    },
    /// A registry, or whom it sent us to, gave no answer.
    #[error("{request}: {reason}")]
    Unanswered {
        /// What we asked: `GET https://registry/v2/…`.
        request: String,
        /// Why there is no answer.
        reason: String,
    },
    /// A registry, or whom it sent us to, does not give what we asked for.
    #[error("{request}: {status} {said}")]
    Denied {
        /// What we asked: `GET https://registry/v2/…`.
        request: String,
        /// The status of the answer (RFC 9110).
        status: u16,
        /// Its own words, quoted, or what the status means.
        said: String,
    },
    /// Names and passwords can't be found or kept.
    #[error("credentials of {registry}: {reason}")]
    Credentials {
        /// Whose.
        registry: String,
        /// What is in the way.
        reason: String,
    },
    /// What dhow does not do (yet), named.
    #[error("{what}: not supported")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// No image has the name or id.
    #[error("no image {wanted:?} in {store}")]
    NoSuchImage {
        /// What was asked for.
        wanted: String,
        /// The store that was searched.
        store: PathBuf,
    },
    /// An id prefix fits several images.
    #[error("image id {wanted:?} fits {count} images; give more digits of it")]
    AmbiguousId {
        /// The prefix.
        wanted: String,
        /// How many images it fits.
        count: usize,
    },
    /// An image can't be removed or renamed because something still needs it.
    #[error("image {image:?}: {reason}")]
    InUse {
        /// The image, as it was named.
        image: String,
        /// What holds it.
        reason: String,
    },
    /// Another thread found a fault first, so this one stopped.
    #[error("stopped after the fault of another layer")]
    Stopped,
}

impl Error {
    /// The same fault, said to be inside `what`.
    #[must_use]
    pub fn inside(self, what: impl Into<String>) -> Self {
        Self::Inside {
            what: what.into(),
            source: Box::new(self),
        }
    }

    /// The fault with all its causes, as one line.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            line.push_str(&format!(": {source}"));
            cause = source.source();
        }
        line
    }

    pub(crate) fn refused(what: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            rule: rule.into(),
        }
    }
}

/// Says what we were doing when a system call failed.
pub(crate) trait Doing<T> {
    /// `what`: the act and its object, as `read the index`.
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
