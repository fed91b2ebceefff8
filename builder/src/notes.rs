//! What an earlier build learned and a later one may use: small documents beside the cache's entries, as
//! `STORE/cache/HEX.json`, HEX the SHA-256 of what they are about. They keep no layer, and are pruned by their
//! last use as entries are. Not its job: what they say; a damaged one is none.

use image::Store;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::file::{self, Durability};

use crate::fingerprint::{field, hex};

/// A larger one is none of ours.
const LARGEST: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Document<T> {
    /// Always none: nothing in the store hangs on it.
    layer: Option<()>,
    note: T,
}

fn name(kind: &str, subject: &[u8]) -> String {
    let mut hasher = Sha256::new();
    field(&mut hasher, b"note");
    field(&mut hasher, kind.as_bytes());
    field(&mut hasher, subject);
    format!("{}.json", hex(&hasher.finalize()))
}

/// What is known of `subject`, if anything.
pub(crate) fn read<T: DeserializeOwned>(store: &Store, kind: &str, subject: &[u8]) -> Option<T> {
    let path = store.path().join("cache").join(name(kind, subject));
    let bytes = file::read(&path, LARGEST).ok()?;
    let document: Document<T> = serde_json::from_slice(&bytes).ok()?;
    // Only pruning looks at it.
    let _not_noted = file::use_now(&path);
    Some(document.note)
}

/// Remembers it. A note that can't be written costs time, nothing else.
pub(crate) fn write<T: Serialize>(store: &Store, kind: &str, subject: &[u8], note: T) {
    let document = Document { layer: None, note };
    let Ok(bytes) = serde_json::to_vec(&document) else {
        return;
    };
    let path = store.path().join("cache");
    let written = file::create_dir_all(&path, 0o700)
        .and_then(|()| file::open_dir(&path))
        .and_then(|dir| {
            file::replace(
                &dir,
                &name(kind, subject),
                &bytes,
                0o600,
                Durability::Memory,
            )
        });
    drop(written);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_can_not_be_shifted_into_a_kind() {
        assert_ne!(name("ab", b"c"), name("a", b"bc"));
        assert_eq!(name("a", b"b"), name("a", b"b"));
    }
}
