//! What a further process of a container needs to know of it: written once, and understood by `exec` alone, so
//! that no other verb pays for it and none parses the configuration again.
//! Not its job: what changes in a container's life (state).

use std::path::PathBuf;

use namespaces::{Namespace, NamespaceSet};
use oci_spec::runtime::{Capability, LinuxMemoryPolicy, LinuxPersonality, Process, Spec};
use serde::{Deserialize, Serialize};
use sys::process::NamespaceFlags;
use sys::seccomp::Filter;

use crate::rdt::Group;

/// A container as one who enters it finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entering {
    /// Its namespaces that are not the host's, as CLONE_NEW* bits.
    pub(crate) namespaces: NamespaceFlags,
    /// Whether its user namespace, if it has one, maps its root.
    pub(crate) root_is_mapped: bool,
    /// Whether setgroups(2) is denied in it.
    pub(crate) groups_denied: bool,
    /// Whether its root is not that of its mount namespace, which others live in too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) own_root: bool,
    /// Whether somebody in its PID namespace may trace processes of the user namespace that it is in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_tracers: bool,
    /// Its groups of the resctrl file system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rdt: Vec<PathBuf>,
    /// Whether it has a session keyring of its own.
    pub(crate) keyring: bool,
    /// Its seccomp filter, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<KeptFilter>,
    /// `linux.personality` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) personality: Option<LinuxPersonality>,
    /// `linux.memoryPolicy` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_policy: Option<LinuxMemoryPolicy>,
    /// The configuration's process without its arguments: what a further one is, unless it is said otherwise.
    pub(crate) process: Process,
}

impl Entering {
    /// What the container of `spec` will be. `None` for a spec without a process.
    pub(crate) fn of(
        spec: &Spec,
        set: &NamespaceSet,
        groups_denied: bool,
        keyring: bool,
        filter: Option<&Filter>,
        rdt: Option<&Group>,
    ) -> Option<Self> {
        let mut process = spec.process().clone()?;
        process.set_args(None);
        let linux = spec.linux().as_ref();
        let joined = set.join.iter().map(|join| join.namespace.flag());
        Some(Self {
            namespaces: joined.fold(set.create, |all, kind| all | kind),
            root_is_mapped: match &set.id_maps {
                Some(maps) => maps.uid.outside(0).is_some(),
                None => set.has(Namespace::User),
            },
            groups_denied,
            own_root: !set.creates(Namespace::Mount),
            has_tracers: has_tracers(&process, set),
            rdt: rdt.map_or_else(Vec::new, Group::places),
            keyring,
            filter: filter.map(KeptFilter::of),
            personality: linux.and_then(|l| l.personality().clone()),
            memory_policy: linux.and_then(|l| l.memory_policy().clone()),
            process,
        })
    }
}

/// Its own processes may if their capabilities can have that one; of others in a PID namespace that is not its own
/// alone, nothing is known.
fn has_tracers(process: &Process, set: &NamespaceSet) -> bool {
    let bounding = process.capabilities().as_ref();
    let bounding = bounding.and_then(|sets| sets.bounding().as_ref());
    let own = bounding.is_some_and(|set| set.contains(&Capability::SysPtrace));
    !set.has(Namespace::User) && (own || set.joins(Namespace::Pid).is_some())
}

/// A compiled seccomp filter, kept: what `exec` loads is what the first process has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptFilter {
    /// The flags with which it is loaded.
    flags: u64,
    /// Its instructions.
    program: Vec<u64>,
}

impl KeptFilter {
    fn of(filter: &Filter) -> Self {
        Self {
            flags: filter.flags(),
            program: filter.to_words(),
        }
    }

    /// The filter itself; `None` if this is none.
    pub(crate) fn filter(&self) -> Option<Filter> {
        Filter::from_words(&self.program, self.flags)
    }
}
