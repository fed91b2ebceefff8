//! Image: turns archives into layers on disk, and back.
//!
//! An archive or layout ([`Source`]) is read into a [`Store`]: every blob is checked against its digest
//! and size, every layer is unpacked below a directory fd and checked against its diff id, and only
//! then does the image get a name. An [`Image`] hands out the paths of its unpacked layers, for an
//! overlay, and its config as raw bytes and typed.
//! Not its job: running anything, mounting anything, and recipes.

mod compression;
mod digest;
mod error;
mod json;
mod layer;
mod manifest;
mod owner;
mod reference;
mod store;
pub mod to_spec;
pub mod user;

pub use digest::Digest;
pub use error::{Error, Result};
pub use owner::{IdRange, OwnerPolicy};
pub use reference::Reference;
pub use store::{CommitOptions, Image, Layer, Scratch, Store, lower};

pub use oci_spec::image::ImageConfiguration;
