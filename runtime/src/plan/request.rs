//! What a plan is made for, and facts of the host that it needs: asked before. Not its job: asking.

use std::path::{Path, PathBuf};

use namespaces::Rights;

use crate::ContainerId;
use crate::lsm::Modules;
use crate::plan::RootPlace;

/// What a plan is made for, beside the spec.
#[derive(Debug)]
pub struct Request<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// The bundle's absolute path.
    pub bundle: &'a Path,
    /// Its root.
    pub root: RootPlace,
    /// Its cgroup: place below the tree's root, directory on the host, writes in words.
    pub cgroup: Option<CgroupFacts>,
    /// The caller's own cgroup, in which a container without one of its own stays.
    pub own_cgroup: PathBuf,
    /// What the caller may do on this host.
    pub rights: Rights,
    /// Whether user and group ids of the caller's own map only (no setgroups).
    pub single_id: bool,
    /// pivot_root(2) is not to be used.
    pub no_pivot: bool,
    /// The security modules of this host, asked if the spec has labels.
    pub modules: Modules,
    /// The caller's session keyring is to be kept.
    pub keep_keyring: bool,
    /// The program gets other stdio files than dhow's.
    pub given_stdio: bool,
    /// The program begins as soon as the container is made, without a `start`.
    pub begins_at_once: bool,
    /// This process may come back into its network namespace from another: it is no root of a user namespace alone.
    pub may_return: bool,
}

/// What the plan says of the cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupFacts {
    /// Its path below the root of the tree.
    pub path: String,
    /// Its directory on the host.
    pub directory: PathBuf,
    /// `memory.max=1048576` for each limit.
    pub writes: Vec<String>,
    /// Whether a device filter is put on it.
    pub device_filter: bool,
}
