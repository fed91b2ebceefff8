//! Random bytes of the kernel's. Not its job: what they name.

use rustix::rand::GetRandomFlags;

use crate::{Errno, Result, SysError};

/// So many random bytes.
///
/// # Errors
/// As getrandom(2).
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("getrandom", "", errno)),
        }
    }
    Ok(bytes)
}
