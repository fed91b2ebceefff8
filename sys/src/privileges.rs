//! Who this process is and what it may: ids, groups, capabilities, no_new_privs, resource limits.
//! Not its job: the names in a spec.

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use crate::{Result, SysError};

/// Which capabilities a process has, as bit masks (bit n is capability number n).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// In force now.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// May pass an exec of a file that names them.
    pub inheritable: u64,
}

/// Whether this process' effective user is root (of its user namespace).
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether we are in another user namespace than the first: one that maps fewer than all ids. What can't
/// be read counts as the first, where nothing is let pass.
pub fn is_nested() -> bool {
    crate::proc::read("self/uid_map")
        .is_ok_and(|map| !map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// Whether we are in a user namespace that has one user, ourselves: nothing can be given to another.
pub fn has_one_id() -> bool {
    crate::proc::read("self/uid_map").is_ok_and(|map| {
        let mut counts = map.lines().map(|line| line.split_ascii_whitespace().nth(2));
        (counts.next(), counts.next()) == (Some(Some("1")), None)
    })
}

/// The effective user and group id of this process.
pub fn ids() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

/// The capabilities of this process.
///
/// # Errors
/// As capget(2).
pub fn capabilities() -> Result<Capabilities> {
    let sets =
        rustix::thread::capabilities(None).map_err(|errno| SysError::new("capget", "", errno))?;
    Ok(Capabilities {
        effective: sets.effective.bits(),
        permitted: sets.permitted.bits(),
        inheritable: sets.inheritable.bits(),
    })
}

/// Sets the three sets of this process at once.
///
/// # Errors
/// EPERM for what it does not have.
pub fn set_capabilities(capabilities: Capabilities) -> Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(capabilities.effective),
        permitted: CapabilitySet::from_bits_retain(capabilities.permitted),
        inheritable: CapabilitySet::from_bits_retain(capabilities.inheritable),
    };
    rustix::thread::set_capabilities(None, sets).map_err(|errno| SysError::new("capset", "", errno))
}

/// Takes every capability that is not in `keep` out of the bounding set.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn limit_bounding_set(keep: u64) -> Result<()> {
    for number in 0..64_u32 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if keep & (1 << number) != 0 {
            continue;
        }
        let Err(errno) = rustix::thread::remove_capability_from_bounding_set(one) else {
            continue;
        };
        // Nothing is lost where it is out already; the first number that the kernel does not know ends
        // the list.
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(false) => {}
            Ok(true) => return Err(SysError::new("prctl", "PR_CAPBSET_DROP", errno)),
            Err(crate::Errno::INVAL) => break,
            // No such end of the list: what we can't see must not stay.
            Err(errno) => return Err(SysError::new("prctl", "PR_CAPBSET_READ", errno)),
        }
    }
    Ok(())
}

/// Makes the ambient set exactly `set`; all of it must be permitted and inheritable.
///
/// # Errors
/// EPERM for what is not.
pub fn set_ambient(set: u64) -> Result<()> {
    rustix::thread::clear_ambient_capability_set()
        .map_err(|errno| SysError::new("prctl", "PR_CAP_AMBIENT", errno))?;
    for number in (0..64_u32).filter(|n| set & (1 << n) != 0) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::configure_capability_in_ambient_set(one, true).map_err(|errno| {
            SysError::new("prctl", format_args!("PR_CAP_AMBIENT {number}"), errno)
        })?;
    }
    Ok(())
}

/// Keeps the permitted capabilities through the next change of user (effective ones go all the same).
///
/// # Errors
/// As prctl(2).
pub fn keep_capabilities() -> Result<()> {
    rustix::thread::set_keep_capabilities(true)
        .map_err(|errno| SysError::new("prctl", "PR_SET_KEEPCAPS", errno))
}

/// Becomes the user `uid` in group `gid` (real, effective and saved), with `groups` beside.
///
/// # Errors
/// As setgroups(2), setresgid(2), setresuid(2).
pub fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    if let Some(groups) = groups {
        let list: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
        rustix::thread::set_thread_groups(&list)
            .map_err(|errno| SysError::new("setgroups", format_args!("{groups:?}"), errno))?;
    }
    let group = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(group, group, group)
        .map_err(|errno| SysError::new("setresgid", gid, errno))?;
    let user = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(user, user, user)
        .map_err(|errno| SysError::new("setresuid", uid, errno))
}

/// No exec gives this process more rights than it has, from now on and for all its children.
///
/// # Errors
/// As prctl(2).
pub fn forbid_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| SysError::new("prctl", "PR_SET_NO_NEW_PRIVS", errno))
}

/// The process' securebits are the defaults (no SECBIT_*).
///
/// # Errors
/// As prctl(2).
pub fn secure_bits_are_default() -> Result<bool> {
    rustix::thread::capabilities_secure_bits()
        .map(|bits| bits == CapabilitiesSecureBits::empty())
        .map_err(|errno| SysError::new("prctl", "PR_GET_SECUREBITS", errno))
}

/// Sets the limit `resource` (RLIMIT_* number) of the process `pid` (0: our own); `u64::MAX` means none.
///
/// # Errors
/// EPERM for a hard limit above the present one without CAP_SYS_RESOURCE.
pub fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the structure lives through the call, and the kernel only reads it.
    let result = unsafe { libc::prlimit64(pid, resource, &raw const limit, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(SysError::new(
            "setrlimit",
            resource,
            crate::process::last_errno(),
        ))
    }
}
