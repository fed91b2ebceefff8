//! What dhow does for the first process from outside, in its order. Pure. Not its job: the first process'
//! own steps (build).

use namespaces::{Namespace, NamespaceSet, NetDevice, Shape};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Spec};
use sys::process::NamespaceFlags;

use crate::conditions::Conditions;
use crate::plan::{Limit, ParentStep, Request};
use crate::rdt::Wanted;

/// The steps of the start of the container that `spec` describes.
pub(super) fn steps(
    spec: &Spec,
    set: &NamespaceSet,
    shape: &Shape,
    request: &Request<'_>,
    conditions: &Conditions,
) -> Vec<ParentStep> {
    let mut steps = Vec::new();
    if let Some(cgroup) = &request.cgroup {
        // Limits stand before the first process is born into the cgroup: nothing ever runs without them.
        steps.push(ParentStep::Cgroup {
            path: cgroup.path.clone(),
            writes: cgroup.writes.clone(),
        });
        if cgroup.device_filter {
            steps.push(ParentStep::DeviceFilter);
        }
    }
    let clone = before_clone(shape, &mut steps);
    let rdt = spec.linux().as_ref().and_then(|l| l.intel_rdt().as_ref());
    if let Some(Ok(wanted)) = rdt.map(Wanted::read) {
        steps.push(ParentStep::CacheShare(wanted.to_string()));
    }
    steps.push(ParentStep::Clone {
        namespaces: clone,
        into_cgroup: request.cgroup.is_some(),
    });
    if let Shape::Direct(start) = shape
        && start.beside != 0
    {
        steps.push(ParentStep::MakeNetwork);
    }
    let process = spec.process().as_ref();
    if let Some(score) = process.and_then(|p| p.oom_score_adj()) {
        steps.push(ParentStep::OomScore(score));
    }
    if set.creates(Namespace::User) {
        let limits = process
            .and_then(|p| p.rlimits().as_ref())
            .into_iter()
            .flatten();
        steps.extend(limits.map(|l| ParentStep::Limit(limit(l))));
    }
    if let Some(maps) = &set.id_maps {
        steps.push(ParentStep::IdMaps(format!("{maps}")));
    }
    if let Some(linux) = spec.linux() {
        let (devices, _) = NetDevice::read(linux, set);
        if !devices.is_empty() {
            steps.push(ParentStep::NetDevices(devices));
        }
    }
    steps.extend(hooks(spec));
    if set.has(Namespace::User) {
        // Late: a process that runs by deadlines makes no children, and hooks are that.
        steps.extend(conditions.own.iter().cloned().map(ParentStep::Treat));
    }
    steps.push(ParentStep::Save);
    steps
}

/// What makes sure of the child before it is born; gives the new namespaces of the clone.
fn before_clone(shape: &Shape, steps: &mut Vec<ParentStep>) -> NamespaceFlags {
    match shape {
        Shape::Direct(start) => {
            if start.step_in.iter().any(|j| j.namespace == Namespace::Pid) {
                // The child is in sight of those inside from its birth on, before its own first step.
                steps.push(ParentStep::ForbidTracing);
            }
            for join in &start.step_in {
                steps.push(ParentStep::StepInto(format!(
                    "the {} namespace {}",
                    join.namespace,
                    join.path.display()
                )));
            }
            if start.set_clocks {
                steps.push(ParentStep::StepInto(
                    "a new time namespace with its clocks set".to_owned(),
                ));
            }
            start.clone
        }
        Shape::Staged(stage) if stage.new_user => Namespace::User.flag(),
        Shape::Staged(_) => 0,
    }
}

/// prestart and createRuntime hooks: those that run in our own namespaces.
fn hooks(spec: &Spec) -> Vec<ParentStep> {
    let Some(hooks) = spec.hooks() else {
        return Vec::new();
    };
    [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
    ]
    .into_iter()
    .map(|(kind, list)| (kind, list.as_ref().map_or(0, Vec::len)))
    .filter(|(_, count)| *count > 0)
    .map(|(kind, count)| ParentStep::Hooks { kind, count })
    .collect()
}

/// A limit of the spec with the kernel's number.
pub(super) fn limit(limit: &PosixRlimit) -> Limit {
    let (resource, name) = match limit.typ() {
        PosixRlimitType::RlimitCpu => (0, "RLIMIT_CPU"),
        PosixRlimitType::RlimitFsize => (1, "RLIMIT_FSIZE"),
        PosixRlimitType::RlimitData => (2, "RLIMIT_DATA"),
        PosixRlimitType::RlimitStack => (3, "RLIMIT_STACK"),
        PosixRlimitType::RlimitCore => (4, "RLIMIT_CORE"),
        PosixRlimitType::RlimitRss => (5, "RLIMIT_RSS"),
        PosixRlimitType::RlimitNproc => (6, "RLIMIT_NPROC"),
        PosixRlimitType::RlimitNofile => (7, "RLIMIT_NOFILE"),
        PosixRlimitType::RlimitMemlock => (8, "RLIMIT_MEMLOCK"),
        PosixRlimitType::RlimitAs => (9, "RLIMIT_AS"),
        PosixRlimitType::RlimitLocks => (10, "RLIMIT_LOCKS"),
        PosixRlimitType::RlimitSigpending => (11, "RLIMIT_SIGPENDING"),
        PosixRlimitType::RlimitMsgqueue => (12, "RLIMIT_MSGQUEUE"),
        PosixRlimitType::RlimitNice => (13, "RLIMIT_NICE"),
        PosixRlimitType::RlimitRtprio => (14, "RLIMIT_RTPRIO"),
        PosixRlimitType::RlimitRttime => (15, "RLIMIT_RTTIME"),
    };
    Limit {
        name,
        resource,
        soft: limit.soft(),
        hard: limit.hard(),
    }
}
