//! Which devices a container may use: the spec's rules become an eBPF program on its cgroup.
//! Not its job: making device nodes (rootfs).
//!
//! cgroup v2 has no devices controller; the kernel asks programs on the cgroup and on all its parents at
//! every mknod and open of a device, and all must say yes.
//!
//! Only who has CAP_BPF or CAP_SYS_ADMIN over the first user namespace can load such a program, so within
//! a user namespace there is no filter. None is needed there against new nodes: mknod of a device is
//! refused in every user namespace but the first, and mounts made there are nodev. What remains are nodes
//! that somebody binds in from outside, on purpose. [`crate::Error::is_device_filter_forbidden`] tells that
//! case from others; a container without a user namespace of its own must not start without its filter.

mod program;
mod rules;

use std::os::fd::{BorrowedFd, OwnedFd};

use oci_spec::runtime::LinuxDeviceCgroup;

use crate::{Cgroup, Error, Result};

/// A device filter, ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<u64>,
}

impl Filter {
    /// The filter for linux.resources.devices. All devices are denied at first, then the rules count, a
    /// later one before an earlier one; then those devices are allowed that every container has.
    ///
    /// # Errors
    /// The first of [`problems`].
    pub fn new(rules: &[LinuxDeviceCgroup]) -> Result<Self> {
        let mut problems = Vec::new();
        let rules = rules::read(rules, &mut problems);
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(Self {
                instructions: program::assemble(&rules),
            }),
        }
    }

    /// Puts the filter on `cgroup`: it holds for what is in it and below it, until it is removed.
    ///
    /// # Errors
    /// [`Error::DeviceFilter`].
    pub fn attach(&self, cgroup: &Cgroup) -> Result<()> {
        if sys::fault::broken("no-device-filter") {
            return Ok(());
        }
        self.put(cgroup, |dir, program| {
            sys::bpf::attach_device_program(dir, program)
        })
    }

    /// Puts it in the place of the filter that is on `cgroup`; at no moment does none hold.
    ///
    /// # Errors
    /// [`Error::DeviceFilter`]; the old one holds then.
    pub fn replace(&self, cgroup: &Cgroup) -> Result<()> {
        if sys::fault::broken("no-filter-replacement") {
            return self.attach(cgroup);
        }
        self.put(cgroup, |dir, program| {
            sys::bpf::replace_device_program(dir, program)
        })
    }

    fn put(
        &self,
        cgroup: &Cgroup,
        how: impl Fn(BorrowedFd<'_>, OwnedFd) -> sys::Result<()>,
    ) -> Result<()> {
        sys::bpf::load_device_program(&self.instructions)
            .and_then(|program| how(cgroup.dir(), program))
            .map_err(|source| Error::DeviceFilter {
                path: cgroup.path().to_owned(),
                source,
            })
    }
}

/// Everything in linux.resources.devices that makes no sense.
pub fn problems(rules: &[LinuxDeviceCgroup]) -> Vec<Error> {
    let mut problems = Vec::new();
    rules::read(rules, &mut problems);
    problems
}
