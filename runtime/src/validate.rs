//! Everything in a spec that can't be obeyed, found at once, each with its JSON path. Pure.
//! Not its job: what only the host can tell (a missing file, a missing controller).

mod process;

use std::fmt;
use std::path::Path;

use namespaces::{Namespace, NamespaceSet, NetDevice};
use oci_spec::runtime::{Hook, Linux, Process, Spec};

use crate::limits::{MemoryPolicy, Personality};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: `process.cwd`.
    pub field: String,
    /// What, with the value.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// All that is wrong; on one line when displayed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl Faults {
    fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault {
            field: field.into(),
            reason: reason.into(),
        });
    }
}

/// Judges `spec`.
///
/// # Errors
/// [`Faults`] with at least one.
pub fn validate(spec: &Spec) -> Result<(), Faults> {
    let mut faults = Faults::default();
    version(spec.version(), &mut faults);
    if spec
        .root()
        .as_ref()
        .is_none_or(|root| root.path().as_os_str().is_empty())
    {
        faults.add("root.path", "missing");
    }
    match spec.process() {
        Some(p) => process::process(p, &mut faults),
        None => faults.add("process", "missing"),
    }
    for problem in NamespaceSet::problems(spec) {
        // Displayed as "field: reason" already.
        let text = problem.to_string();
        let (field, reason) = text.split_once(": ").unwrap_or(("linux.namespaces", &text));
        faults.add(field, reason);
    }
    hooks(spec, &mut faults);
    if let Some((field, reason)) = crate::annotations::fault(spec) {
        faults.add(field, reason);
    }
    if let Some(l) = spec.linux() {
        namespaces_needed(spec, &mut faults);
        linux(l, &NamespaceSet::as_far_as_it_goes(spec), &mut faults);
        names_by_sysctl(spec, &mut faults);
    } else {
        faults.add(
            "linux",
            "missing; it names the namespaces that the container is to have",
        );
    }
    if faults.0.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// Judges a process that is to run beside a container's first one.
///
/// # Errors
/// As [`validate`].
pub(crate) fn further_process(further: &Process) -> Result<(), Faults> {
    let mut faults = Faults::default();
    process::process(further, &mut faults);
    match faults.0.is_empty() {
        true => Ok(()),
        false => Err(faults),
    }
}

/// 1.x of the spec, with or without a suffix.
fn version(version: &str, faults: &mut Faults) {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = numbers.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(_)), Some(Ok(_)), None) => {}
        _ if version.is_empty() => faults.add("ociVersion", "missing"),
        _ => faults.add(
            "ociVersion",
            format!("{version:?} is not a version 1.x.y of the runtime-spec"),
        ),
    }
}

fn namespaces_needed(spec: &Spec, faults: &mut Faults) {
    let set = NamespaceSet::as_far_as_it_goes(spec);
    if !set.has(Namespace::Mount) && set.has(Namespace::User) {
        faults.add(
            "linux.namespaces",
            "a mount namespace is missing; with a user namespace the caller's can't be shared",
        );
    }
}

fn linux(linux: &Linux, set: &NamespaceSet, faults: &mut Faults) {
    for (key, value) in linux.sysctl().iter().flatten() {
        if let Err(reason) = sysctl(key, value, set) {
            faults.add(format!("linux.sysctl.{key}"), reason);
        }
    }
    for (field, paths) in [
        ("maskedPaths", linux.masked_paths()),
        ("readonlyPaths", linux.readonly_paths()),
    ] {
        for (index, path) in paths
            .iter()
            .flatten()
            .enumerate()
            .filter(|(_, p)| !p.starts_with('/'))
        {
            faults.add(
                format!("linux.{field}[{index}]"),
                format!("{path:?} is not an absolute path"),
            );
        }
    }
    let personality = linux.personality().as_ref();
    let policy = linux.memory_policy().as_ref();
    for (field, wrong) in [
        (
            "personality",
            personality.and_then(|p| Personality::read(p).err()),
        ),
        (
            "memoryPolicy",
            policy.and_then(|p| MemoryPolicy::read(p).err()),
        ),
    ] {
        if let Some((rest, reason)) = wrong {
            faults.add(format!("linux.{field}{rest}"), reason);
        }
    }
    for problem in NetDevice::read(linux, set).1 {
        let text = problem.to_string();
        let (field, reason) = text.split_once(": ").unwrap_or(("linux.netDevices", &text));
        faults.add(field, reason);
    }
    if let Some(spec) = linux.intel_rdt()
        && let Err((field, reason)) = crate::rdt::Wanted::read(spec)
    {
        faults.add(format!("linux.intelRdt{field}"), reason);
    }
}

/// Only parameters that belong to a namespace of the container's own: the others are the host's
/// (CVE-2022-0811).
pub(crate) fn sysctl(key: &str, value: &str, set: &NamespaceSet) -> Result<(), String> {
    if sys::fault::broken("no-sysctl-check") {
        return Ok(());
    }
    let name = key.replace('/', ".");
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:*@".contains(c);
    if !key.chars().all(plain) || name.split('.').any(str::is_empty) {
        return Err("not the name of a kernel parameter".to_owned());
    }
    if value.contains(['\0', '\n']) {
        return Err(format!("the value {value:?} holds a line end or NUL"));
    }
    let ipc = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let kind = if ipc.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        Namespace::Ipc
    } else if name.starts_with("net.") {
        Namespace::Network
    } else if name == "kernel.domainname" || name == "kernel.hostname" {
        Namespace::Uts
    } else {
        return Err("it belongs to the host, not to a namespace".to_owned());
    };
    if set.has(kind) {
        Ok(())
    } else {
        Err(format!(
            "linux.namespaces has no {kind} namespace, so it would be the host's"
        ))
    }
}

/// A name of the container that is given twice: which one wins would be our secret (runc and crun refuse it too).
fn names_by_sysctl(spec: &Spec, faults: &mut Faults) {
    let sysctl = spec.linux().as_ref().and_then(|l| l.sysctl().as_ref());
    for (field, name) in [
        ("hostname", spec.hostname()),
        ("domainname", spec.domainname()),
    ] {
        let key = format!("kernel.{field}");
        let said = name.as_deref().is_some_and(|name| !name.is_empty());
        let also = |other: &&String| other.replace('/', ".") == key;
        if let Some(written) = sysctl
            .and_then(|all| all.keys().find(also))
            .filter(|_| said)
        {
            let reason = format!("{field} says it already");
            faults.add(format!("linux.sysctl.{written}"), reason);
        }
    }
}

fn hooks(spec: &Spec, faults: &mut Faults) {
    let Some(hooks) = spec.hooks() else { return };
    let prestart = hooks.prestart();
    for (kind, list) in [
        ("prestart", prestart),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ] {
        for (index, entry) in list.iter().flatten().enumerate() {
            hook(&format!("hooks.{kind}[{index}]"), entry, faults);
        }
    }
}

fn hook(field: &str, hook: &Hook, faults: &mut Faults) {
    if !Path::is_absolute(hook.path()) {
        faults.add(
            format!("{field}.path"),
            format!("{:?} is not an absolute path", hook.path()),
        );
    }
    if let Some(timeout) = hook.timeout().filter(|t| *t <= 0) {
        faults.add(
            format!("{field}.timeout"),
            format!("{timeout} is not above 0"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Vec<String> {
        let spec: Spec = serde_json::from_str(json).unwrap();
        match validate(&spec) {
            Ok(()) => vec![],
            Err(Faults(list)) => list.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let list = faults(
            r#"{"ociVersion":"2.0.0","root":{"path":""},
                "process":{"user":{"uid":0,"gid":0},"cwd":"tmp","args":[],"env":["X"],"oomScoreAdj":2000},
                "hooks":{"poststop":[{"path":"x","timeout":0}]},
                "linux":{"namespaces":[{"type":"mount"}],"sysctl":{"kernel.core_pattern":"|x"},"maskedPaths":["x"]}}"#,
        );
        let expected = [
            "ociVersion: \"2.0.0\" is not a version 1.x.y of the runtime-spec",
            "root.path: missing",
            "process.args: empty; it names the program to be started",
            "process.cwd: \"tmp\" is not an absolute path",
            "process.env[0]: \"X\" is not NAME=value",
            "process.oomScoreAdj: 2000 is not in -1000 to 1000",
            "hooks.poststop[0].path: \"x\" is not an absolute path",
            "hooks.poststop[0].timeout: 0 is not above 0",
            "linux.sysctl.kernel.core_pattern: it belongs to the host, not to a namespace",
            "linux.maskedPaths[0]: \"x\" is not an absolute path",
        ];
        assert_eq!(list, expected);
    }

    #[test]
    fn a_fault_of_the_namespaces_brings_no_false_ones() {
        let list = faults(
            r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},"hostname":"a",
                "process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["sh"]},
                "linux":{"namespaces":[{"type":"mount"},{"type":"network"},{"type":"network"},{"type":"uts"}],
                "sysctl":{"net.ipv4.ip_forward":"1","kernel/hostname":"b"},"netDevices":{"eth0":{}}}}"#,
        );
        let expected = [
            "linux.namespaces[2].type: \"network\" is listed twice",
            "linux.sysctl.kernel/hostname: hostname says it already",
        ];
        assert_eq!(list, expected);
    }

    #[test]
    fn a_sysctl_of_a_shared_namespace_is_refused() {
        let list = faults(
            r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},
                "process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["sh"]},
                "linux":{"namespaces":[{"type":"mount"}],"sysctl":{"net.ipv4.ip_forward":"1"}}}"#,
        );
        assert_eq!(
            list,
            [
                "linux.sysctl.net.ipv4.ip_forward: linux.namespaces has no network namespace, so it would be the host's"
            ]
        );
    }
}
