//! What a COPY found in a stage or an image, by the layers of it: these never change, so that a later build need not look
//! again. Not its job: looking, and files of a context (see `memory`).

use image::{Layer, Store};
use serde::{Deserialize, Serialize};

use crate::cache::VERSION;
use crate::notes;

/// The kind of our notes.
const KIND: &str = "files of layers";

/// One match of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Its path below the root.
    pub(crate) path: String,
    /// What it is, as keys have it.
    pub(crate) shape: String,
    /// The digest of all that is read of it.
    pub(crate) sum: String,
    /// That of its files' times, as copies get them.
    #[serde(default)]
    pub(crate) times: Option<String>,
    /// A copy of it is all that it is (`Fingerprint`); not noted.
    #[serde(skip)]
    pub(crate) plain: bool,
    /// Its files: path and short digest.
    pub(crate) files: Vec<(String, String)>,
}

/// A source in a tree of these layers.
pub(crate) struct Known<'a> {
    store: &'a Store,
    subject: Vec<u8>,
}

impl<'a> Known<'a> {
    /// What `words` say: the source, and how it is read.
    pub(crate) fn of(store: &'a Store, layers: &[Layer], words: &[&str]) -> Self {
        let mut subject = Vec::new();
        let mut add = |part: &[u8]| {
            subject.extend_from_slice(&(part.len() as u64).to_le_bytes());
            subject.extend_from_slice(part);
        };
        for word in [VERSION].iter().chain(words) {
            add(word.as_bytes());
        }
        for layer in layers {
            // Its name in the store: the diff id, and whose files a store without many owners has.
            add(layer.path.as_os_str().as_encoded_bytes());
        }
        Self { store, subject }
    }

    /// What an earlier build found.
    pub(crate) fn recall(&self) -> Option<Vec<Seen>> {
        notes::read(self.store, KIND, &self.subject).filter(|seen: &Vec<Seen>| !seen.is_empty())
    }

    /// Remembers what was found.
    pub(crate) fn keep(&self, seen: &[&Seen]) {
        notes::write(self.store, KIND, &self.subject, seen);
    }

    /// Forgets it: it turned out wrong.
    pub(crate) fn forget(&self) {
        self.keep(&[]);
    }
}
