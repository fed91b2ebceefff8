//! What the kernel is told about a process beside its rights: labels, scheduling, priorities, memory, domain,
//! processors. The same for a container's first process and for one that enters later. Pure, but for telling.
//! Not its job: what each of them means (limits, lsm), when it is told (plan).

use std::fmt;

use oci_spec::runtime::{LinuxMemoryPolicy, LinuxPersonality, Process, Spec};

use crate::limits::{IoPriority, MemoryPolicy, Personality, Processors, Scheduling, Wrong};
use crate::lsm::{Label, Modules};
use crate::{Error, Result};

/// One thing that the kernel is told about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// Its scheduling.
    Scheduling(Scheduling),
    /// Its I/O priority.
    IoPriority(IoPriority),
    /// Where its memory comes from.
    MemoryPolicy(MemoryPolicy),
    /// Its execution domain.
    Personality(Personality),
    /// Where it may run.
    Processors(Processors),
}

impl Treatment {
    /// Tells the kernel, of the process `pid` (0: our own; of a domain and memory always our own).
    pub(crate) fn apply(&self, pid: i32) -> sys::Result<()> {
        match self {
            Self::Scheduling(scheduling) => scheduling.set(pid),
            Self::IoPriority(priority) => priority.set(pid),
            Self::Processors(processors) => processors.set(pid),
            Self::MemoryPolicy(policy) => policy.set(),
            Self::Personality(personality) => personality.set(),
        }
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduling(scheduling) => write!(f, "{scheduling}"),
            Self::IoPriority(priority) => write!(f, "{priority}"),
            Self::MemoryPolicy(policy) => write!(f, "{policy}"),
            Self::Personality(personality) => write!(f, "{personality}"),
            Self::Processors(processors) => write!(f, "{processors}"),
        }
    }
}

/// All that the kernel is told about one process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The labels of what it becomes.
    pub labels: Vec<Label>,
    /// What the process asks for itself. It takes rights that a user namespace does not give.
    pub own: Vec<Treatment>,
    /// What its container asks for each process; only the process itself can set it.
    pub container: Vec<Treatment>,
    /// It keeps the groups of its caller and is given none.
    pub keeps_groups: bool,
    /// Where one that enters a container runs until it is in its cgroup, and where then
    /// (`process.execCPUAffinity`); the first process has none.
    pub processors: [Option<Treatment>; 2],
}

/// What a container asks for each of its processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct OfContainer<'a> {
    /// `linux.personality`.
    pub personality: Option<&'a LinuxPersonality>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<&'a LinuxMemoryPolicy>,
}

impl Conditions {
    /// Those of the first process of `spec`.
    ///
    /// # Errors
    /// As [`Conditions::new`].
    pub fn of_spec(spec: &Spec, modules: Modules) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let container = OfContainer {
            personality: linux.and_then(|l| l.personality().as_ref()),
            memory_policy: linux.and_then(|l| l.memory_policy().as_ref()),
        };
        let Some(process) = spec.process() else {
            return Ok(Self::default());
        };
        Ok(Self {
            keeps_groups: crate::annotations::spec_keeps_groups(spec),
            ..Self::new(process, container, modules)?
        })
    }

    /// Those of `process` in a container that asks for what `container` says, on a host with these
    /// security modules.
    ///
    /// # Errors
    /// [`Error::Usage`] with the field of the first that can't be had.
    pub fn new(process: &Process, container: OfContainer<'_>, modules: Modules) -> Result<Self> {
        let mut conditions = Self {
            labels: Label::of_process(process, modules)?,
            ..Self::default()
        };
        if let Some(spec) = container.personality {
            let read = Personality::read(spec).map_err(wrong("linux.personality"))?;
            conditions.container.push(Treatment::Personality(read));
        }
        if let Some(spec) = container.memory_policy {
            let read = MemoryPolicy::read(spec).map_err(wrong("linux.memoryPolicy"))?;
            conditions.container.push(Treatment::MemoryPolicy(read));
        }
        if let Some(spec) = process.scheduler() {
            let read = Scheduling::read(spec).map_err(wrong("process.scheduler"))?;
            conditions.own.push(Treatment::Scheduling(read));
        }
        if let Some(spec) = process.io_priority() {
            let read = IoPriority::read(*spec).map_err(wrong("process.ioPriority"))?;
            conditions.own.push(Treatment::IoPriority(read));
        }
        if let Some(spec) = process.exec_cpu_affinity() {
            let read = Processors::read(spec).map_err(wrong("process.execCPUAffinity"))?;
            conditions.processors = read.map(|list| list.map(Treatment::Processors));
        }
        Ok(conditions)
    }
}

/// For `map_err`: what is wrong with a part of `field`.
fn wrong(field: &'static str) -> impl FnOnce(Wrong) -> Error {
    move |(rest, reason)| Error::Usage(format!("{field}{rest}: {reason}"))
}
