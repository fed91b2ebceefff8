//! A profile of the spec as a filter that can be loaded. It is compiled anew each time: that takes less than to find
//! and check it in a cache. Not its job: compiling (the crate seccomp), the moment at which it is loaded (plan/build).

use oci_spec::runtime::{LinuxSeccomp, Spec};
use sys::seccomp::Filter;

use crate::plan::Filtering;
use crate::state::SeccompAgent;
use crate::{Error, Result};

/// The filter of `profile`.
///
/// # Errors
/// [`Error::Seccomp`] for what can't be compiled.
pub(crate) fn filter(profile: &LinuxSeccomp) -> Result<Filter> {
    let program = seccomp::compile(profile).map_err(Error::Seccomp)?;
    // `compile` has counted: it can't be too long or empty.
    let too_long = || Error::Seccomp(seccomp::Error::TooLong(program.instructions.len()));
    Filter::from_bytes(&program.to_bytes(), program.flags).ok_or_else(too_long)
}

/// How a filter bears on the order of a start.
pub(crate) fn filtering(profile: Option<&LinuxSeccomp>) -> Filtering {
    match profile {
        None => Filtering::None,
        Some(profile) if seccomp::listens(profile) => Filtering::Notifying,
        Some(_) => Filtering::Silent,
    }
}

/// Who hears of what the filter of `spec` notifies, if it does.
pub(crate) fn agent(spec: &Spec) -> Option<SeccompAgent> {
    let profile = spec.linux().as_ref()?.seccomp().as_ref()?;
    let path = profile.listener_path().clone()?;
    let metadata = profile.listener_metadata().clone().unwrap_or_default();
    seccomp::listens(profile).then_some(SeccompAgent { path, metadata })
}

/// Whether `profile` can be compiled, which is thrown away.
///
/// # Errors
/// As [`filter`].
pub(crate) fn check(profile: &LinuxSeccomp) -> Result<()> {
    filter(profile).map(drop)
}
