//! A container as `exec` finds it: that it lives, that it is not paused, what it is made of. Nothing is
//! changed. Not its job: the process that enters.

use std::os::fd::OwnedFd;

use cgroups::Cgroup;
use namespaces::{OfProcess, Rights};
use oci_spec::runtime::Process;
use sys::process::Pid;
use sys::seccomp::Filter;

use super::ExecOptions;
use super::asked::Asked;
use crate::annotations::keeps_groups;
use crate::conditions::{Conditions, OfContainer};
use crate::entering::Entering;
use crate::lsm::Modules;
use crate::plan::{ExecRequest, Filtering, Plan};
use crate::state::Record;
use crate::{Error, Result, Stdio};

/// A container that is fit to be entered.
#[derive(Debug)]
pub struct Entrance {
    /// Its record.
    pub(super) record: Record,
    /// What it is made of.
    pub(super) entering: Entering,
    /// Its seccomp filter.
    pub(super) filter: Option<Filter>,
    /// Its first process, with the namespaces that are not the host's.
    pub(super) first: OfProcess,
}

impl Entrance {
    /// Finds the container, and makes sure of its first process.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Status`] for one that has no process, or is paused.
    pub fn open(options: &ExecOptions) -> Result<Self> {
        let missing = || Error::Missing {
            id: options.id.to_string(),
        };
        let place = options.store.open(&options.id)?;
        let record = place.record()?.ok_or_else(missing)?;
        let pidfd = living(&record)?;
        if !options.ignore_paused && record.cgroup.as_deref().is_some_and(cgroups::is_frozen) {
            return Err(Error::Status {
                id: record.id,
                reason: "cannot exec in a paused container (use --ignore-paused to override)"
                    .to_owned(),
            });
        }
        let (entering, filter) = place.entering()?;
        Ok(Self {
            first: OfProcess {
                pidfd,
                pid: record.init.map_or(0, |init| init.pid),
                kinds: entering.namespaces,
            },
            record,
            entering,
            filter,
        })
    }

    pub(super) fn process(&self, asked: Asked) -> Result<Process> {
        let process = asked.process(self.entering.process.clone());
        crate::validate::further_process(&process).map_err(Error::Invalid)?;
        Ok(process)
    }

    pub(super) fn plan(
        &self,
        process: &Process,
        rights: Rights,
        options: &ExecOptions,
    ) -> Result<Plan> {
        let container = OfContainer {
            personality: self.entering.personality.as_ref(),
            memory_policy: self.entering.memory_policy.as_ref(),
        };
        let annotations = &self.record.annotations;
        let modules = Modules::needed(Some(process), None);
        Ok(Plan::exec(&ExecRequest {
            process,
            conditions: Conditions {
                keeps_groups: keeps_groups(|name| annotations.get(name).map(String::as_str)),
                ..Conditions::new(process, container, modules)?
            },
            namespaces: self.entering.namespaces,
            root_is_mapped: self.entering.root_is_mapped,
            own_root: self.entering.own_root,
            filtering: match &self.filter {
                None => Filtering::None,
                Some(filter) if filter.notifies() => Filtering::Notifying,
                Some(_) => Filtering::Silent,
            },
            groups_denied: self.entering.groups_denied,
            keyring: self
                .entering
                .keyring
                .then(|| format!("_ses.{}", self.record.id)),
            has_cgroup: self.record.cgroup.is_some(),
            rights,
            has_tracers: self.entering.has_tracers,
            given_stdio: matches!(options.stdio, Stdio::Given(_)),
        }))
    }

    /// The container's root, if its mount namespace does not lead there.
    pub(super) fn root(&self) -> Result<Option<OwnedFd>> {
        match self.entering.own_root {
            true => Ok(Some(self.first.root()?)),
            false => Ok(None),
        }
    }

    /// The cgroup in which the process is to be born.
    pub(super) fn cgroup(&self, part: Option<&str>) -> Result<Option<Cgroup>> {
        let Some(path) = &self.record.cgroup else {
            return match part {
                Some(part) => Err(Error::Usage(format!(
                    "--cgroup {part}: the container has no cgroup of its own"
                ))),
                None => Ok(None),
            };
        };
        let cgroup = Cgroup::open(path)?.ok_or_else(|| not_running(&self.record))?;
        Ok(Some(match part {
            Some(part) => cgroup.below(part)?,
            None => cgroup.beside(self.first.pid)?,
        }))
    }
}

pub(super) fn not_running(record: &Record) -> Error {
    Error::Status {
        id: record.id.clone(),
        reason: "container not running".to_owned(),
    }
}

/// A handle of the container's first process, opened before its identity is checked: no other process can
/// have taken the id in between.
fn living(record: &Record) -> Result<OwnedFd> {
    let doing = "look at the container's first process";
    let init = record.init.ok_or_else(|| not_running(record))?;
    let pid = Pid::from_raw(init.pid).ok_or_else(|| not_running(record))?;
    let pidfd = match sys::process::open_process(pid) {
        Err(e) if e.errno == sys::Errno::SRCH => return Err(not_running(record)),
        pidfd => pidfd.map_err(Error::host(doing))?,
    };
    match init.lives().map_err(Error::host(doing))? {
        true => Ok(pidfd),
        false => Err(not_running(record)),
    }
}
