//! Sys: asks the kernel, and says exactly what failed.
//!
//! Every system call of dhow that `std` has no safe word for passes through here, and so does every
//! `unsafe` block. Paths that somebody hostile may control are resolved by [`beneath`] alone.
//! Not its job: knowing what a container, an image or a recipe is.
#![expect(unsafe_code, reason = "this crate is the one room for unsafe code")]
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is what the other crates call instead"
)]

pub mod at;
pub mod beneath;
pub mod bpf;
mod clone;
pub mod descriptor;
mod error;
pub mod exec;
pub mod executable;
pub mod fault;
pub mod file;
pub mod kernfs;
pub mod listener;
pub mod log;
pub mod lookup;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod network;
pub mod poll;
pub mod privileges;
pub mod probe;
pub mod proc;
pub mod process;
pub mod processes;
pub mod random;
pub mod scheduler;
pub mod seccomp;
pub mod sibling;
pub mod signal;
pub mod socket;
#[cfg(feature = "trace")]
pub mod trace;
mod tree;
pub mod tty;

pub use error::{Errno, Result, SysError, words};
