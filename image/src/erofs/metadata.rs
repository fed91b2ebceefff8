//! What a layer says of a file → its inode and attributes. Not its job: how they are written (`record.rs`).

use super::record::{self, Data, Inode, Kind};
use super::{Halt, Result};
use crate::layer::metadata::{self, Metadata};
use crate::layer::whiteout::OverlayXattrs;

/// An inode of one name, without attributes.
pub(super) fn bare(kind: Kind, metadata: &Metadata, size: u64, data: Data) -> Inode {
    Inode {
        kind,
        mode: metadata.mode,
        owner: metadata.owner.unwrap_or_default(),
        mtime: metadata.mtime,
        size,
        links: 1,
        data,
        attributes: 0,
    }
}

/// The attributes that an image may set, as they follow an inode.
pub(super) fn attributes(metadata: &Metadata) -> Result<Vec<u8>> {
    let pairs: Vec<_> = metadata::allowed(metadata).collect();
    // What the kernel would not let us set is told better by a folder.
    let bad = |(name, value): &(&[u8], &[u8])| {
        *name == b"security.capability" && !metadata::is_capability(value)
    };
    match pairs.iter().any(bad) {
        true => Err(Halt::Unfit),
        false => record::attributes(&pairs).ok_or(Halt::Unfit),
    }
}

/// The attributes of a directory, and that it is opaque.
pub(super) fn described(metadata: &Metadata, opaque: bool) -> Result<Vec<u8>> {
    let bytes = attributes(metadata)?;
    if !opaque {
        return Ok(bytes);
    }
    let mut pairs: Vec<_> = metadata::allowed(metadata).collect();
    pairs.push((OverlayXattrs::Trusted.opaque().as_bytes(), b"y"));
    record::attributes(&pairs).ok_or(Halt::Unfit)
}
