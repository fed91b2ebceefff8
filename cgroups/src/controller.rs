//! The name of a cgroup controller. Not its job: what it controls.

use std::borrow::Cow;
use std::fmt;

/// A controller by its kernel name, as cgroup.controllers lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Controller(Cow<'static, str>);

impl Controller {
    /// Processor time.
    pub const CPU: Self = Self(Cow::Borrowed("cpu"));
    /// Which processors and memory nodes.
    pub const CPUSET: Self = Self(Cow::Borrowed("cpuset"));
    /// Block devices.
    pub const IO: Self = Self(Cow::Borrowed("io"));
    /// Memory and swap.
    pub const MEMORY: Self = Self(Cow::Borrowed("memory"));
    /// The number of processes and threads.
    pub const PIDS: Self = Self(Cow::Borrowed("pids"));
    /// Huge pages.
    pub const HUGETLB: Self = Self(Cow::Borrowed("hugetlb"));
    /// InfiniBand and its like.
    pub const RDMA: Self = Self(Cow::Borrowed("rdma"));

    /// The controllers whose accounts are worth having even without a limit: what `stats` shows, and
    /// memory.events, which alone knows that a process was killed for want of memory.
    pub const ACCOUNTING: [Self; 4] = [Self::CPU, Self::IO, Self::MEMORY, Self::PIDS];

    /// The controller of this name.
    pub fn named(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
