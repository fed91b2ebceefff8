//! New network namespaces, and what they need before a program runs in them. Not its job: networks (a later crate).

use std::os::fd::{AsFd, OwnedFd};

use crate::join::SteppedIn;
use crate::{Error, Namespace, Result};

/// Makes a network namespace with its loopback device up, in which this process does not stay.
///
/// # Errors
/// [`Error::Unshare`], [`Error::Loopback`]; [`Error::Return`], and then this process must make no more children.
pub fn make() -> Result<OwnedFd> {
    let (stepped, made) = SteppedIn::make(Namespace::Network)?;
    let up = made.and_then(|namespace| loopback_up().map(|()| namespace));
    stepped.back().and(up)
}

/// Puts this process into a network namespace that [`make`] gave.
///
/// # Errors
/// [`Error::Unshare`]: it is refused, and with it the namespace.
pub fn enter(namespace: impl AsFd) -> Result<()> {
    let kind = Namespace::Network;
    sys::namespace::enter(namespace, kind.flag()).map_err(|source| Error::Unshare {
        names: Namespace::list(kind.flag()),
        source,
    })
}

/// Brings up the loopback device of this process' network namespace: a new one has it, but down, and
/// then even 127.0.0.1 is unreachable.
///
/// # Errors
/// As netdevice(7): EPERM without CAP_NET_ADMIN over the namespace.
pub fn loopback_up() -> Result<()> {
    sys::network::bring_up("lo").map_err(|source| Error::Loopback { source })
}
