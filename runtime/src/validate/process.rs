//! What is wrong with a spec's `process`, of a container or of an exec. Pure. Not its job: the rest of a spec.

use oci_spec::runtime::Process;

use super::Faults;
use crate::limits::{IoPriority, Processors, Scheduling, Wrong};

/// Judges `process`.
pub(super) fn process(process: &Process, faults: &mut Faults) {
    let args = process.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        faults.add("process.args", "empty; it names the program to be started");
    }
    if !process.cwd().is_absolute() {
        faults.add(
            "process.cwd",
            format!("{:?} is not an absolute path", process.cwd()),
        );
    }
    for (field, list) in [
        ("args", args),
        ("env", process.env().as_deref().unwrap_or_default()),
    ] {
        for (index, text) in list
            .iter()
            .enumerate()
            .filter(|(_, text)| text.contains('\0'))
        {
            faults.add(
                format!("process.{field}[{index}]"),
                format!("{text:?} holds a NUL byte"),
            );
        }
    }
    for (index, entry) in process.env().iter().flatten().enumerate() {
        if entry
            .split_once('=')
            .is_none_or(|(name, _)| name.is_empty())
        {
            faults.add(
                format!("process.env[{index}]"),
                format!("{entry:?} is not NAME=value"),
            );
        }
    }
    limits(process, faults);
    treatment(process, faults);
    for (field, label) in [
        ("apparmorProfile", process.apparmor_profile()),
        ("selinuxLabel", process.selinux_label()),
    ] {
        if let Some(label) = label.as_deref().filter(|l| l.contains(['\0', '\n'])) {
            faults.add(
                format!("process.{field}"),
                format!("{label:?} holds a line end or NUL"),
            );
        }
    }
}

fn limits(process: &Process, faults: &mut Faults) {
    let mut seen = Vec::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let field = format!("process.rlimits[{index}]");
        if limit.soft() > limit.hard() {
            faults.add(
                &field,
                format!("soft {} is above hard {}", limit.soft(), limit.hard()),
            );
        }
        if seen.contains(&limit.typ()) {
            faults.add(&field, format!("{} is listed twice", limit.typ()));
        }
        seen.push(limit.typ());
    }
    if let Some(score) = process
        .oom_score_adj()
        .filter(|score| !(-1000..=1000).contains(score))
    {
        faults.add(
            "process.oomScoreAdj",
            format!("{score} is not in -1000 to 1000"),
        );
    }
}

fn treatment(process: &Process, faults: &mut Faults) {
    let mut judge = |field: &str, wrong: Option<Wrong>| {
        if let Some((rest, reason)) = wrong {
            faults.add(format!("process.{field}{rest}"), reason);
        }
    };
    let scheduler = process.scheduler().as_ref();
    judge(
        "scheduler",
        scheduler.and_then(|s| Scheduling::read(s).err()),
    );
    let io = process.io_priority().as_ref();
    judge("ioPriority", io.and_then(|p| IoPriority::read(*p).err()));
    let affinity = process.exec_cpu_affinity().as_ref();
    judge(
        "execCPUAffinity",
        affinity.and_then(|a| Processors::read(a).err()),
    );
}
