//! What the first process gives up and sets for itself: capabilities, ids, keyring, kernel parameters of
//! its namespaces. It runs there, inside of the container's namespaces. Not its job: when (plan/build).

use std::ffi::CString;

use sys::privileges::Capabilities;
use sys::{Errno, SysError};

use crate::plan::Credentials;

/// A kernel without keyrings has none to share.
pub(crate) fn new_keyring(name: &str) -> Result<(), SysError> {
    if sys::fault::broken("no-session-keyring") {
        return Ok(());
    }
    let name = CString::new(name).map_err(|_| SysError::new("keyctl", name, Errno::INVAL))?;
    match sys::process::new_session_keyring(&name) {
        Err(e) if e.errno == Errno::NOSYS => Ok(()),
        // The caller's keyring is not passed on instead: that is for the caller to say.
        Err(e) if e.errno == Errno::DQUOT => {
            Err(e.with_note("the user's quota of keys is used up; --no-new-keyring makes none"))
        }
        result => result,
    }
}

/// Through our own procfs: the container's /proc/sys could be anything (CVE-2025-52881). The kernel takes
/// the namespaces of the writer.
pub(crate) fn set_sysctl(key: &str, value: &str) -> Result<(), SysError> {
    let path = if key.contains('/') {
        key.to_owned()
    } else {
        key.replace('.', "/")
    };
    sys::proc::write(&format!("sys/{path}"), value)
}

/// So that the program can open /dev/stdout again as its user. Files that can't be given (a read-only
/// file system, an id without a map) stay as they are, as with runc.
pub(crate) fn give_stdio(uid: u32) -> Result<(), SysError> {
    for number in 0..=2 {
        sys::descriptor::give_stdio(number, uid)?;
    }
    Ok(())
}

/// Whether setgroups(2) is denied in our user namespace: by somebody else, where we joined it.
pub(crate) fn groups_denied() -> Result<bool, SysError> {
    Ok(sys::proc::read("self/setgroups")?.trim() == "deny")
}

/// Takes on the program's ids and rights. Where setgroups(2) is denied, no groups are the groups that there
/// are; a list of some is refused by the kernel.
pub(crate) fn drop(credentials: &Credentials, groups_denied: bool) -> Result<(), SysError> {
    // The bounding set first: only CAP_SETPCAP may shrink it, and that goes next.
    if !sys::fault::broken("no-bounding-limit") {
        sys::privileges::limit_bounding_set(credentials.bounding)?;
    }
    // The ids change with the capabilities kept, or there would be none left to choose from.
    sys::privileges::keep_capabilities()?;
    sys::privileges::become_user(
        credentials.uid,
        credentials.gid,
        credentials
            .groups
            .as_deref()
            .filter(|groups| !(groups_denied && groups.is_empty())),
    )?;
    let extra = if credentials.filter_needs_admin {
        crate::plan::SYS_ADMIN
    } else {
        0
    };
    set_capabilities(credentials, extra)?;
    // A change of user undoes it where fs.suid_dumpable is not 0.
    sys::process::forbid_tracing()?;
    // After the sets: what is ambient must be permitted and inheritable.
    let held = sys::privileges::capabilities()?;
    sys::privileges::set_ambient(credentials.ambient & held.permitted & held.inheritable)?;
    if credentials.no_new_privileges && !sys::fault::broken("no-no-new-privs") {
        sys::privileges::forbid_new_privileges()?;
    }
    Ok(())
}

/// What dhow itself does not have it can't give: such a capability is left out, as with runc.
pub(crate) fn set_capabilities(credentials: &Credentials, extra: u64) -> Result<(), SysError> {
    if sys::fault::broken("no-capability-limit") {
        return Ok(());
    }
    let held = sys::privileges::capabilities()?.permitted;
    sys::privileges::set_capabilities(Capabilities {
        effective: (credentials.effective | extra) & held,
        permitted: (credentials.permitted | extra) & held,
        inheritable: credentials.inheritable & held,
    })
}
