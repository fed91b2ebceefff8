//! `ParentStep`: what dhow does for a process from outside, and its words in a plan. Not its job: the order
//! (outside, exec), the doing (process/parent).

use std::fmt;

use namespaces::{Namespace, NetDevice};
use sys::process::NamespaceFlags;

use crate::conditions::Treatment;
use crate::plan::Limit;

/// What dhow does for the first process from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentStep {
    /// Makes the cgroup and writes the limits.
    Cgroup {
        /// The cgroup's place below the root of the tree.
        path: String,
        /// The files to be written and their values.
        writes: Vec<String>,
    },
    /// Makes or takes a share of the processors' caches and memory bandwidth.
    CacheShare(String),
    /// Puts the device filter on the cgroup.
    DeviceFilter,
    /// Closes its memory, and so its child's, to tracers.
    ForbidTracing,
    /// Steps into a PID or time namespace for its next child.
    StepInto(String),
    /// Makes the process.
    Clone {
        /// The new namespaces.
        namespaces: NamespaceFlags,
        /// Whether it is born in the cgroup.
        into_cgroup: bool,
    },
    /// Makes the network namespace that the process then enters.
    MakeNetwork,
    /// Writes the id maps, when asked for them.
    IdMaps(String),
    /// Sets a resource limit of the process, when it asks for the id maps: raising one takes rights that
    /// a user namespace does not give.
    Limit(Limit),
    /// Moves dhow, and so its child, to some processors until the child is there.
    StartOn(Treatment),
    /// Tells the kernel how to treat it, when it is ready: a user namespace does not give the right.
    Treat(Treatment),
    /// Sets how likely the OOM killer takes it.
    OomScore(i32),
    /// Moves network devices of the host to it, when asked for them.
    NetDevices(Vec<NetDevice>),
    /// Runs hooks, when asked for them.
    Hooks {
        /// Their kind.
        kind: &'static str,
        /// How many there are.
        count: usize,
    },
    /// Saves the state "created".
    Save,
}

impl fmt::Display for ParentStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup { path, writes } if writes.is_empty() => {
                write!(f, "make the cgroup {path}")
            }
            Self::Cgroup { path, writes } => {
                write!(f, "make the cgroup {path} with {}", writes.join(", "))
            }
            Self::CacheShare(words) => write!(f, "put it into {words}"),
            Self::DeviceFilter => f.write_str("put the device filter on the cgroup"),
            Self::ForbidTracing => f.write_str("forbid tracing of dhow and of what it makes"),
            Self::StepInto(what) => write!(f, "step into {what} for the next child"),
            Self::Clone {
                namespaces,
                into_cgroup,
            } => {
                f.write_str("make a process")?;
                if *namespaces != 0 {
                    write!(f, " with new namespaces: {}", Namespace::list(*namespaces))?;
                }
                if *into_cgroup {
                    f.write_str(", in the cgroup")?;
                }
                Ok(())
            }
            Self::MakeNetwork => f.write_str("make its network namespace meanwhile"),
            Self::IdMaps(text) => write!(f, "when asked, write the id maps: {text}"),
            Self::Limit(limit) => write!(f, "set its {limit}"),
            Self::StartOn(treatment) => write!(f, "set {treatment}, and back after the next child"),
            Self::Treat(treatment) => write!(f, "when it is ready, set its {treatment}"),
            Self::OomScore(score) => write!(f, "set its oom_score_adj to {score}"),
            Self::NetDevices(devices) => {
                let list = devices.iter().map(ToString::to_string);
                let list = list.collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "when asked, move network devices into its network: {list}"
                )
            }
            Self::Hooks { kind, count } => write!(f, "when asked, run the {kind} hooks ({count})"),
            Self::Save => f.write_str("when it is ready, save the state \"created\""),
        }
    }
}
