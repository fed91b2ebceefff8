//! Who the container's program is to be and what it may: read from the spec, with capability names as
//! the kernel's bits. Pure. Not its job: applying it (privileges).

use std::collections::HashSet;
use std::fmt;

use oci_spec::runtime::{Capability, Process};

/// The ids and rights of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
    /// Supplementary groups; `None` where setgroups(2) is denied and none are asked for.
    pub groups: Option<Vec<u32>>,
    /// The capability sets, or `None` to leave all (the spec has no `process.capabilities`: none are kept).
    pub bounding: u64,
    /// In force at once.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// May pass an exec of a file that names them.
    pub inheritable: u64,
    /// Pass an exec of any file.
    pub ambient: u64,
    /// `process.noNewPrivileges`.
    pub no_new_privileges: bool,
    /// CAP_SYS_ADMIN is kept until the seccomp filter is loaded: without no_new_privs only it may.
    pub filter_needs_admin: bool,
}

/// CAP_SYS_ADMIN's bit.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

impl Credentials {
    /// The credentials of `process`; `has_filter` says that a seccomp filter will be loaded,
    /// `groups_denied` that a user namespace of one id denies setgroups(2).
    pub fn new(process: &Process, has_filter: bool, groups_denied: bool) -> Self {
        let user = process.user();
        let no_new_privileges = process.no_new_privileges().unwrap_or(false);
        // Docker names a group twice that `--group-add` names and /etc/group too; the kernel keeps both.
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.sort_unstable();
        groups.dedup();
        let mut credentials = Self {
            uid: user.uid(),
            gid: user.gid(),
            groups: if groups_denied && groups.is_empty() {
                None
            } else {
                Some(groups)
            },
            no_new_privileges,
            filter_needs_admin: has_filter && !no_new_privileges,
            ..Self::default()
        };
        if let Some(sets) = process.capabilities() {
            credentials.bounding = bits(sets.bounding().as_ref());
            credentials.effective = bits(sets.effective().as_ref());
            credentials.permitted = bits(sets.permitted().as_ref());
            credentials.inheritable = bits(sets.inheritable().as_ref());
            credentials.ambient = bits(sets.ambient().as_ref());
        }
        credentials
    }

    /// What of it a process that holds `held` can't be given, as warnings in runc's words: the spec wants the start to
    /// go on without.
    pub(crate) fn doubts(&self, held: u64) -> Vec<String> {
        let each = |set: u64| {
            (0..64_u8)
                .filter(move |n| set & (1 << n) != 0)
                .map(full_name)
        };
        let lacking = (self.permitted | self.inheritable) & !held;
        let mut doubts = Vec::new();
        if lacking != 0 {
            let list = each(lacking).collect::<Vec<_>>().join(" ");
            doubts.push(format!(
                "ignoring unknown or unavailable capabilities: [{list}]"
            ));
        }
        if self.inheritable == 0 {
            // What `runc spec` wrote for years (CVE-2022-29162): told at every start, it would be noise.
            return doubts;
        }
        let raised = self.permitted & self.inheritable;
        doubts.extend(each(self.ambient & !raised).map(|name| {
            format!(
                "can't raise ambient capability {name}: it is not both permitted and inheritable"
            )
        }));
        doubts
    }
}

fn bits(set: Option<&HashSet<Capability>>) -> u64 {
    set.into_iter()
        .flatten()
        .fold(0, |bits, capability| bits | 1 << number(*capability))
}

/// The kernel's number of a capability (linux/capability.h), by the table of the crate `caps`.
fn number(capability: Capability) -> u8 {
    let name = format!("CAP_{capability}");
    name.parse::<caps::Capability>()
        .map_or(63, |known| known.index())
}

/// The names of all capabilities that a configuration may hold.
pub fn capability_names() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(caps::Capability::index);
    let names = all.iter().map(ToString::to_string);
    let known = |name: &String| serde_json::from_value::<Capability>(name.as_str().into()).is_ok();
    names.filter(known).collect()
}

/// The names of a set's bits.
fn names(set: u64) -> String {
    let list: Vec<String> = (0..64_u8)
        .filter(|n| set & (1 << n) != 0)
        .map(full_name)
        .collect();
    if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(" ").replace("CAP_", "")
    }
}

fn full_name(number: u8) -> String {
    let all = caps::all();
    let known = all.iter().find(|capability| capability.index() == number);
    known.map_or(format!("{number}"), ToString::to_string)
}

/// Credentials in words, for the plan.
pub struct CredentialsText<'a>(pub &'a Credentials);

impl fmt::Display for CredentialsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.0;
        write!(f, "user {}:{}", c.uid, c.gid)?;
        if let Some(groups) = c.groups.as_ref().filter(|g| !g.is_empty()) {
            write!(f, ", groups {groups:?}")?;
        }
        write!(f, ", capabilities {}", names(c.effective))?;
        if c.permitted != c.effective {
            write!(f, ", permitted {}", names(c.permitted))?;
        }
        if c.bounding != c.permitted {
            write!(f, ", bounding {}", names(c.bounding))?;
        }
        if c.inheritable != 0 {
            write!(f, ", inheritable {}", names(c.inheritable))?;
        }
        if c.ambient != 0 {
            write!(f, ", ambient {}", names(c.ambient))?;
        }
        if c.no_new_privileges {
            f.write_str(", no new privileges")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_of_the_spec_has_the_kernels_number() {
        for (name, number) in [
            ("CAP_CHOWN", 0),
            ("CAP_KILL", 5),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            let json = format!("[{name:?}]");
            let set: HashSet<Capability> = serde_json::from_str(&json).unwrap();
            assert_eq!(bits(Some(&set)), 1 << number, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_given_is_told_by_name() {
        let (chown, kill) = (1, 1 << 5);
        let credentials = Credentials {
            permitted: chown | kill,
            inheritable: chown,
            ambient: chown | kill,
            ..Credentials::default()
        };
        let ambient =
            "can't raise ambient capability CAP_KILL: it is not both permitted and inheritable";
        assert_eq!(credentials.doubts(u64::MAX), [ambient]);
        let lacking = "ignoring unknown or unavailable capabilities: [CAP_CHOWN]";
        assert_eq!(credentials.doubts(kill), [lacking, ambient]);
    }
}
