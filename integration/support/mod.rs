//! What every test stands on: claims and their needs, a sandbox that notices leaks, bundles, commands.

pub(crate) mod bundle;
pub(crate) mod cgroup;
pub(crate) mod claim;
pub(crate) mod command;
pub(crate) mod image;
pub(crate) mod image_store;
pub(crate) mod leaks;
pub(crate) mod needs;
pub(crate) mod sandbox;
pub(crate) mod tree;
mod unsteady;

pub(crate) use bundle::{Bundle, copy_program};
pub(crate) use claim::claims;
pub(crate) use command::{Output, run};
pub(crate) use needs::Need;
pub(crate) use sandbox::Sandbox;
