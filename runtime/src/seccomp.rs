//! A profile of the spec as a filter that can be loaded. It is compiled anew each time: that takes less than to find
//! and check it in a cache. Not its job: compiling (the crate seccomp), the moment at which it is loaded (plan/build).

use oci_spec::runtime::LinuxSeccomp;
use sys::seccomp::Filter;

use crate::{Error, Result};

/// The filter of `profile`.
///
/// # Errors
/// [`Error::Seccomp`] for what can't be compiled.
pub(crate) fn filter(profile: &LinuxSeccomp) -> Result<Filter> {
    let program = seccomp::compile(profile).map_err(Error::Seccomp)?;
    if program.listens() {
        let words = "linux.seccomp: SCMP_ACT_NOTIFY is not supported yet";
        return Err(Error::Words(words.to_owned()));
    }
    // `compile` has counted: it can't be too long or empty.
    let too_long = || Error::Seccomp(seccomp::Error::TooLong(program.instructions.len()));
    Filter::from_bytes(&program.to_bytes(), program.flags).ok_or_else(too_long)
}

/// Whether `profile` can be compiled, which is thrown away.
///
/// # Errors
/// As [`filter`].
pub(crate) fn check(profile: &LinuxSeccomp) -> Result<()> {
    filter(profile).map(drop)
}
