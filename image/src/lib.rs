//! Image: turns archives into layers on disk, and back.
//!
//! An archive or layout ([`Source`]) is read into a [`Store`]: every blob is checked against its digest
//! and size, every layer is unpacked below a directory fd and checked against its diff id, and only
//! then does the image get a name. An [`Image`] hands out the paths of its unpacked layers, for an
//! overlay, and its config as raw bytes and typed.
//! Not its job: running anything, mounting anything, and recipes.

mod archive;
pub mod attestation;
mod budget;
mod compression;
mod digest;
mod erofs;
mod error;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod history;
mod json;
mod layer;
mod manifest;
mod offer;
mod owner;
mod pipe;
mod platform;
mod reference;
pub mod registry;
pub mod seccomp;
mod source;
mod store;
pub mod to_spec;
pub mod user;
mod watch;

pub use attestation::Predicate;
pub use compression::Method;
pub use digest::Digest;
pub use error::{Error, Result};
pub use history::{HistoryEntry, history};
pub use layer::changes::ChangeKind;
pub use layer::kept::{LinkOwners, OWNER_XATTR, Owner, keep_owner, kept_owner};
pub use layer::onto::{Onto, is_tar, unpack_onto};
pub use layer::written::{Written, WrittenFile};
pub use owner::{IdRange, OwnerPolicy};
pub use platform::Platform;
pub use reference::Reference;
pub use source::Source;
pub use store::{
    Changed, Checked, CommitOptions, Depth, Fault, Form, Format, Image, Layer, Lease, Leaving,
    Left, Lender, Lent, LoadOptions, Loaded, MediaTypes, Mounted, Names, Outgoing, Part,
    PathChange, Prunable, PruneOptions, Pruned, Removal, Removed, RepackOptions, Scratch, Store,
    lower,
};

pub use watch::{Event, Watch};

pub use oci_spec::image::ImageConfiguration;
