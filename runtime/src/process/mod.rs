//! The processes of a start, one file each, and what they say to each other.

pub(crate) mod init;
pub(crate) mod listener;
pub(crate) mod parent;
pub(crate) mod stage;
pub(crate) mod sync;
mod terminal;
