//! The names in a UTS namespace. Not its job: /etc/hostname, which belongs to the root file system.

use crate::{Error, Result};

/// The longest name the kernel takes (__NEW_UTS_LEN).
pub const MAX_NAME: usize = 64;

/// Sets the host name, as a process in its own UTS namespace.
///
/// # Errors
/// As sethostname(2): EPERM without CAP_SYS_ADMIN over the namespace.
pub fn set_host_name(name: &str) -> Result<()> {
    sys::namespace::set_host_name(name).map_err(|source| Error::HostName {
        field: "hostname",
        source,
    })
}

/// Sets the NIS domain name, as a process in its own UTS namespace.
///
/// # Errors
/// As setdomainname(2): EPERM without CAP_SYS_ADMIN over the namespace.
pub fn set_domain_name(name: &str) -> Result<()> {
    sys::namespace::set_domain_name(name).map_err(|source| Error::HostName {
        field: "domainname",
        source,
    })
}

/// What is wrong with a name, if anything.
pub(crate) fn problem(name: &str) -> Option<String> {
    if name.len() > MAX_NAME {
        return Some(format!(
            "{name:?} has {} bytes, the kernel takes {MAX_NAME}",
            name.len()
        ));
    }
    name.contains('\0')
        .then(|| format!("{name:?} holds a NUL byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_64_bytes_is_the_longest() {
        assert_eq!(problem(&"a".repeat(64)), None);
        assert!(problem(&"a".repeat(65)).is_some());
        assert!(problem("a\0b").is_some());
    }
}
