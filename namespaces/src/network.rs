//! What a new network namespace needs before a program runs in it. Not its job: networks (a later crate).

use crate::{Error, Result};

/// Brings up the loopback device of this process' network namespace: a new one has it, but down, and
/// then even 127.0.0.1 is unreachable.
///
/// # Errors
/// As netdevice(7): EPERM without CAP_NET_ADMIN over the namespace.
pub fn loopback_up() -> Result<()> {
    sys::network::bring_up("lo").map_err(|source| Error::Loopback { source })
}
