//! What is known of a container: the record on disk, and the status that the kernel bears out.
//!
//! The record is written before the first act that leaves something behind (intent first), so that
//! whatever a crash leaves can be found and cleared. The status is never stored: it follows from whether
//! the first process lives, whether it still holds the lock that an exec drops, and its cgroup's freezer.
//! Not its job: where the record lies (store).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sys::process::Stat;

use crate::hooks::HookEntry;

/// A process for ever: its id, and when it started, so that a recycled id is not mistaken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its id in the host's PID namespace.
    pub pid: i32,
    /// Clock ticks since boot at its start.
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this id now; `None` if none has.
    ///
    /// # Errors
    /// As reading /proc.
    pub fn of(pid: i32) -> sys::Result<Option<Self>> {
        Ok(sys::process::start_time(pid)?.map(|start_time| Self { pid, start_time }))
    }

    /// Whether it is still there and not a zombie.
    ///
    /// # Errors
    /// As reading /proc.
    pub fn lives(self) -> sys::Result<bool> {
        Ok(matches!(
            sys::process::stat(self.pid)?,
            Some(Stat { state, start_time, .. })
                if (start_time == self.start_time || sys::fault::broken("no-start-time")) && state != 'Z' && state != 'X'
        ))
    }
}

/// A unit of systemd's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// Its name: `dhow-box.scope`.
    pub name: String,
    /// Whether it is the user's systemd that has it, not the host's.
    #[serde(default)]
    pub of_user: bool,
}

impl Unit {
    /// Whose systemd has it.
    pub(crate) fn whose(&self) -> cgroups::systemd::Whose {
        match self.of_user {
            true => cgroups::systemd::Whose::User,
            false => cgroups::systemd::Whose::System,
        }
    }
}

/// A container's record: lines of state.json in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of the spec that its configuration names.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root folder's absolute path; empty if the root is no folder of the host's.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The user id that made it.
    pub owner: u32,
    /// The configuration's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The dhow that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<ProcessId>,
    /// Its first process, once it is made; on a line of its own (store), so that this one need not be written
    /// twice.
    #[serde(skip)]
    pub init: Option<ProcessId>,
    /// The path of its cgroup's directory; written before the cgroup is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// The outermost directory above the cgroup that was made with it, to be removed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_made_from: Option<PathBuf>,
    /// Folders of resctrl that are made with it, to be removed with it; written before they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rdt: Vec<PathBuf>,
    /// systemd's unit that its cgroup is, if systemd makes it; written before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The folder of its own changes, to be removed with it; written before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<PathBuf>,
    /// Who hears of the calls that its seccomp filter notifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_agent: Option<SeccompAgent>,
    /// Hooks that run after it has been started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<HookEntry>,
    /// Hooks that run after it has been deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<HookEntry>,
}

/// A seccomp agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompAgent {
    /// Its socket on the host.
    pub path: PathBuf,
    /// Words for it, which only it understands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
}

/// Where in its life a container is (runtime-spec, runtime.md "State").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is being made.
    Creating,
    /// Made; its program waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Its first process has ended, or it never came to have one.
    Stopped,
}

impl Status {
    /// The spec's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What the kernel says of a container, from which its status follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The dhow that makes it lives.
    pub creator_lives: bool,
    /// Its first process lives.
    pub init_lives: bool,
    /// Its first process holds the lock that it drops by its exec.
    pub waits_for_start: bool,
    /// Its cgroup is frozen.
    pub frozen: bool,
}

impl Record {
    /// The status that the evidence shows.
    pub fn status(&self, evidence: Evidence) -> Status {
        match (self.init, evidence) {
            (
                None,
                Evidence {
                    creator_lives: true,
                    ..
                },
            ) => Status::Creating,
            (None, _)
            | (
                Some(_),
                Evidence {
                    init_lives: false, ..
                },
            ) => Status::Stopped,
            (Some(_), Evidence { frozen: true, .. }) => Status::Paused,
            (
                Some(_),
                Evidence {
                    waits_for_start: true,
                    ..
                },
            ) => Status::Created,
            (Some(_), _) => Status::Running,
        }
    }

    /// The state as hooks and `dhow state` show it.
    pub fn report(&self, status: Status) -> StateReport<'_> {
        let pid = match status {
            Status::Stopped | Status::Creating => 0,
            _ => self.init.map_or(0, |init| init.pid),
        };
        StateReport {
            oci_version: &self.oci_version,
            id: &self.id,
            pid,
            status: status.word(),
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            owner: crate::account::name(self.owner),
            annotations: &self.annotations,
        }
    }
}

/// The state's JSON: the spec's keys and the ones that runc adds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReport<'a> {
    oci_version: &'a str,
    id: &'a str,
    /// 0 where there is no process.
    pub pid: i32,
    /// The status' word.
    pub status: &'a str,
    bundle: &'a PathBuf,
    rootfs: &'a PathBuf,
    created: &'a str,
    /// Who made it, by name.
    pub owner: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl StateReport<'_> {
    /// The same with `pid` in place: hooks of a container in the making know its process already.
    #[must_use]
    pub fn with_pid(mut self, pid: i32) -> Self {
        self.pid = pid;
        self
    }

    /// As JSON on one line.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(init: bool) -> Record {
        Record {
            oci_version: "1.0.2".into(),
            id: "a".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: String::new(),
            owner: 0,
            annotations: BTreeMap::new(),
            creator: None,
            init: init.then_some(ProcessId {
                pid: 7,
                start_time: 9,
            }),
            cgroup: None,
            cgroup_made_from: None,
            rdt: vec![],
            unit: None,
            scratch: None,
            seccomp_agent: None,
            poststart: vec![],
            poststop: vec![],
        }
    }

    #[test]
    fn the_status_follows_from_the_evidence() {
        let none = Evidence {
            creator_lives: false,
            init_lives: false,
            waits_for_start: false,
            frozen: false,
        };
        let lives = Evidence {
            init_lives: true,
            ..none
        };
        assert_eq!(record(false).status(none), Status::Stopped);
        assert_eq!(
            record(false).status(Evidence {
                creator_lives: true,
                ..none
            }),
            Status::Creating
        );
        assert_eq!(record(true).status(none), Status::Stopped);
        assert_eq!(record(true).status(lives), Status::Running);
        assert_eq!(
            record(true).status(Evidence {
                waits_for_start: true,
                ..lives
            }),
            Status::Created
        );
        assert_eq!(
            record(true).status(Evidence {
                frozen: true,
                ..lives
            }),
            Status::Paused
        );
    }

    #[test]
    fn a_stopped_container_reports_no_process() {
        assert_eq!(record(true).report(Status::Stopped).pid, 0);
        assert_eq!(record(true).report(Status::Running).pid, 7);
    }

    #[test]
    fn a_recycled_process_id_is_not_the_process() {
        let me = ProcessId::of(sys::process::id().as_raw_nonzero().get())
            .unwrap()
            .unwrap();
        assert!(me.lives().unwrap());
        assert!(
            !ProcessId {
                start_time: me.start_time + 1,
                ..me
            }
            .lives()
            .unwrap()
        );
    }
}
