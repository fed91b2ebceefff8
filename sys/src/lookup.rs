//! Host names → addresses without other people's libraries. Not its job: the lookup itself (std, and the
//! C library below it).

use std::sync::Once;

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// nss.h: answers `database` by `services`, whatever nsswitch.conf says.
    fn __nss_configure_lookup(
        database: *const std::ffi::c_char,
        services: *const std::ffi::c_char,
    ) -> std::ffi::c_int;
}

/// From now on names are looked up in /etc/hosts and by DNS alone. A static program must not load what
/// nsswitch.conf names beside them: it would be made for the host's C library, not for ours. What they
/// know, systemd-resolved and its like also tell by DNS.
pub fn only_files_and_dns() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(target_env = "gnu")]
        // SAFETY: both are texts with their NUL that live for ever; glibc guards the table it changes by a
        // lock of its own.
        let _same_as_before =
            unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    });
}
