//! linux.resources as writes to cgroup files. Pure. Not its job: performing them (apply).
//!
//! What cgroup v2 can't do is refused by name where leaving it out would confine the container less than
//! asked; what only tunes (swappiness, the OOM killer's switch, leaf weights) or what the runtime spec
//! itself calls obsolete (kernel memory) is left out, as runc does.

mod cpu;
mod cpuset;
mod hugetlb;
mod io;
mod memory;
mod pids;
mod rdma;
mod unified;
mod update;

use std::fmt;

use oci_spec::runtime::LinuxResources;

use crate::{Controller, Error, Result};

pub use update::{Present, changes, complete};

/// One value for one file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file's name.
    pub file: String,
    /// What is written; each line by itself.
    pub value: String,
    /// The JSON path of the limit: `linux.resources.memory.limit`.
    pub field: String,
    /// The controller whose file it is; none for the files of every cgroup.
    pub controller: Option<Controller>,
    /// What to do if there is no such file.
    pub if_missing: IfMissing,
}

/// What to do where a file does not exist though its controller does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Stop: the limit would not hold.
    Fail,
    /// Go on: without the file there is nothing to be limited.
    Skip,
    /// Write this value to this other file, which means the same.
    Instead(String, String),
}

impl Write {
    fn new(controller: Controller, file: &str, value: impl fmt::Display, field: &str) -> Self {
        Self {
            file: file.to_owned(),
            value: value.to_string(),
            field: format!("linux.resources.{field}"),
            controller: Some(controller),
            if_missing: IfMissing::Fail,
        }
    }

    /// The file that is written where its own does not exist.
    pub(crate) fn instead(&self) -> Option<&String> {
        match &self.if_missing {
            IfMissing::Instead(file, _) => Some(file),
            IfMissing::Fail | IfMissing::Skip => None,
        }
    }

    fn or(mut self, if_missing: IfMissing) -> Self {
        self.if_missing = if_missing;
        self
    }
}

/// `memory.max = 1048576`
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {}",
            self.file,
            self.value.trim_end().replace('\n', "; ")
        )
    }
}

/// The writes for `resources`, in the order in which they must be made.
///
/// # Errors
/// The first of [`problems`].
pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    let mut problems = Vec::new();
    let writes = read(resources, &mut problems);
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(writes),
    }
}

/// Everything in `resources` that makes no sense or that cgroup v2 can't do.
pub fn problems(resources: &LinuxResources) -> Vec<Error> {
    let mut problems = Vec::new();
    read(resources, &mut problems);
    problems
}

fn read(resources: &LinuxResources, problems: &mut Vec<Error>) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(memory) = resources.memory() {
        memory::read(memory, &mut writes, problems);
    }
    if let Some(cpu) = resources.cpu() {
        cpu::read(cpu, &mut writes, problems);
        cpuset::read(cpu, &mut writes, problems);
    }
    if let Some(pids) = resources.pids() {
        pids::read(pids, &mut writes, problems);
    }
    if let Some(io) = resources.block_io() {
        io::read(io, &mut writes, problems);
    }
    hugetlb::read(
        resources.hugepage_limits().as_deref().unwrap_or_default(),
        &mut writes,
        problems,
    );
    if let Some(rdma) = resources.rdma() {
        rdma::read(rdma, &mut writes, problems);
    }
    check_network(resources, problems);
    // Last: it is the word of who knows cgroup v2, so it wins over what was translated from v1.
    if let Some(unified) = resources.unified() {
        unified::read(unified, &mut writes, problems);
    }
    writes
}

/// Classes and priorities of packets are cgroup v1's alone; a firewall may rely on them.
fn check_network(resources: &LinuxResources, problems: &mut Vec<Error>) {
    let Some(network) = resources.network() else {
        return;
    };
    if network.class_id().is_some_and(|id| id != 0) {
        problems.push(Error::spec(
            "linux.resources.network.classID",
            "cgroup v2 does not mark packets",
        ));
    }
    if network.priorities().as_ref().is_some_and(|p| !p.is_empty()) {
        problems.push(Error::spec(
            "linux.resources.network.priorities",
            "cgroup v2 has no priorities of interfaces",
        ));
    }
}

/// A JSON path below linux.resources.
fn path(field: &str) -> String {
    format!("linux.resources.{field}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The writes for this JSON, as `file = value`, or the problems in words.
    pub(super) fn plan(json: &str) -> Vec<String> {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        let problems = problems(&resources);
        if problems.is_empty() {
            let writes = writes(&resources).unwrap();
            writes.iter().map(ToString::to_string).collect()
        } else {
            problems.iter().map(ToString::to_string).collect()
        }
    }

    /// Checks lines of `json | expected; expected`.
    pub(super) fn check(table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (json, expected) = line.split_once('|').unwrap();
            assert_eq!(plan(json).join("; "), expected.trim(), "{json}");
        }
    }

    #[test]
    fn what_v2_does_not_know_is_refused_where_it_would_confine() {
        check(
            r#"
            {} |
            {"network":{"classID":0}} |
            {"network":{"classID":7}} | linux.resources.network.classID: cgroup v2 does not mark packets
            {"network":{"priorities":[{"name":"eth0","priority":1}]}} | linux.resources.network.priorities: cgroup v2 has no priorities of interfaces
            "#,
        );
    }

    #[test]
    fn unified_has_the_last_word() {
        check(
            r#"{"memory":{"limit":1},"pids":{"limit":5},"unified":{"memory.max":"2"}} | memory.max = 1; pids.max = 5; memory.max = 2"#,
        );
    }

    #[test]
    fn every_write_names_its_field_and_controller() {
        let resources = serde_json::from_str(r#"{"memory":{"limit":1}}"#).unwrap();
        let write = writes(&resources).unwrap().remove(0);
        assert_eq!(write.field, "linux.resources.memory.limit");
        assert_eq!(write.controller, Some(Controller::MEMORY));
    }
}
