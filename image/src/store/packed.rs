//! What layers were compressed to on their way out: a note beside each, so that what a registry has already is not
//! compressed for it again. Not its job: compressing.

use serde::{Deserialize, Serialize};
use sys::file::{self, Durability};

use super::Layer;
use crate::Digest;
use crate::compression::Method;

/// The note beside a layer: what it was compressed to.
const NOTE: &str = "packed.json";

/// How many kinds of compression are noted for a layer.
const MAX_NOTED: usize = 16;

/// What a layer was compressed to once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) method: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What is noted as the name of a kind of compression.
pub(super) fn name_of(method: Method) -> String {
    match method {
        Method::None => "none".to_owned(),
        Method::Gzip(level) => format!("gzip-{level}"),
        Method::Zstd(level) => format!("zstd-{level}"),
    }
}

/// What is noted of a layer; nothing where that can't be read: it saves time, and nothing else.
pub(super) fn notes(layer: &Layer) -> Vec<Noted> {
    let path = layer.path.with_file_name(NOTE);
    let bytes = file::read(path, crate::json::MAX_DOCUMENT).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Notes what a layer was compressed to.
pub(super) fn note(
    layer: &Layer,
    mut notes: Vec<Noted>,
    method: Method,
    (digest, size): (Digest, u64),
) {
    let method = name_of(method);
    notes.retain(|noted| noted.method != method);
    notes.insert(
        0,
        Noted {
            method,
            digest,
            size,
        },
    );
    notes.truncate(MAX_NOTED);
    let Some(folder) = layer.path.parent() else {
        return;
    };
    // Without the note, a later push compresses again.
    if let (Ok(bytes), Ok(dir)) = (serde_json::to_vec(&notes), file::open_dir(folder)) {
        let _unnoted = file::replace(&dir, NOTE, &bytes, 0o600, Durability::Memory);
    }
}
