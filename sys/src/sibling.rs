//! A process that makes another in its place: clone(2), and not clone3(2), which seccomp profiles refuse since they
//! can't look into its arguments. Not its job: first processes with namespaces and cgroups (clone).

use crate::Result;
use crate::clone::{Cloned, by_clone};

/// Copies this process; the copy is a child of our parent. For a process that is itself a copy, and so has one thread.
///
/// # Errors
/// As clone(2).
pub fn make() -> Result<Cloned> {
    by_clone(libc::CLONE_PARENT as u64)
}
