//! An image's config and what a person asks for → a runtime spec. Pure: nothing is looked up on the
//! host, least of all its environment (CVE-2020-14370). Not its job: running it.

use std::path::{Path, PathBuf};

use oci_spec::image::{Config, ImageConfiguration};
use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde_json::{Value, json};

use crate::user::User;
use crate::{Error, Result};

/// What a container's root has by default: nine of docker's fourteen. Not MKNOD, NET_RAW, AUDIT_WRITE,
/// SYS_CHROOT and SETFCAP, which few programs need and many attacks do.
pub const RUN_CAPABILITIES: [&str; 9] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
];

/// What a recipe's RUN has: package scripts also change roots and set file capabilities.
pub const BUILD_CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The union of what moby, containerd, podman and runc hide: facts of the host, and keys to it.
const MASKED: [&str; 15] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/proc/latency_list",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// One CPU's time is given out in periods of so many microseconds.
const CPU_PERIOD: u64 = 100_000;
/// The kernel's least quota.
const MIN_QUOTA: i64 = 1000;

/// What a person asks for beside the image.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// The path of the root in the spec (a runtime that is given a mount does not open it).
    pub root: PathBuf,
    /// The root can't be written to.
    pub read_only: bool,
    /// In place of the image's entrypoint; the image's command goes with it.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command, if there are any.
    pub args: Vec<String>,
    /// `NAME=value`, over the image's.
    pub env: Vec<String>,
    /// In place of the image's working directory.
    pub cwd: Option<String>,
    /// The host name inside.
    pub hostname: Option<String>,
    /// A terminal on stdin, stdout and stderr.
    pub terminal: bool,
    /// Bytes of memory; swap is not given on top.
    pub memory: Option<i64>,
    /// How many CPUs' time, `0.5` for half of one.
    pub cpus: Option<f64>,
    /// Processes and threads at most.
    pub pids: Option<i64>,
    /// The spec's `linux.cgroupsPath`.
    pub cgroups_path: Option<PathBuf>,
    /// Capabilities of root inside; another user has none of them.
    pub capabilities: Vec<String>,
    /// Set-user-id programs give no privileges.
    pub no_new_privileges: bool,
    /// What the program may call.
    pub seccomp: Seccomp,
    /// How many CPUs the host may have: each has files of its own that are hidden.
    pub host_cpus: u32,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            root: PathBuf::from("rootfs"),
            read_only: false,
            entrypoint: None,
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            hostname: None,
            terminal: false,
            memory: None,
            cpus: None,
            pids: None,
            cgroups_path: None,
            capabilities: RUN_CAPABILITIES.map(str::to_owned).to_vec(),
            no_new_privileges: true,
            seccomp: Seccomp::Default,
            host_cpus: 0,
        }
    }
}

/// A container's seccomp profile.
#[derive(Debug, Clone, PartialEq)]
pub enum Seccomp {
    /// Ours ([`crate::seccomp::profile`]).
    Default,
    /// A person's own.
    Own(LinuxSeccomp),
    /// None: the program may call all that the kernel has.
    Unconfined,
}

/// The spec of a container of an image. `user` is what the image's (or the person's) `USER` means in
/// the image ([`crate::user::lookup`]).
///
/// # Errors
/// Names the entry of the config or option that no container can have.
pub fn spec(image: &ImageConfiguration, user: &User, options: &RunOptions) -> Result<Spec> {
    let empty = Config::default();
    let config = image.config().as_ref().unwrap_or(&empty);
    let namespaces = ["pid", "mount", "network", "uts", "ipc", "cgroup"];
    let namespaces = namespaces.map(|kind| json!({"type": kind}));
    let mut spec = json!({
        "ociVersion": "1.2.1",
        "root": {"path": path(&options.root)?, "readonly": options.read_only},
        "process": process(config, user, options)?,
        "mounts": mounts(),
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": masked(options.host_cpus),
            "readonlyPaths": READ_ONLY,
            "resources": resources(options)?,
        },
    });
    if let Some(hostname) = &options.hostname {
        spec["hostname"] = json!(hostname);
    }
    if let Some(cgroups_path) = &options.cgroups_path {
        spec["linux"]["cgroupsPath"] = path(cgroups_path)?;
    }
    let mut spec: Spec = serde_json::from_value(spec).map_err(|e| Error::Json {
        what: "the spec made of the image".to_owned(),
        fault: e.to_string(),
    })?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(match &options.seccomp {
            Seccomp::Default if sys::fault::broken("no-default-profile") => None,
            Seccomp::Default => Some(crate::seccomp::profile()?),
            Seccomp::Own(profile) => Some(profile.clone()),
            Seccomp::Unconfined => None,
        });
    }
    Ok(spec)
}

fn process(config: &Config, user: &User, options: &RunOptions) -> Result<Value> {
    let cwd = match (&options.cwd, config.working_dir()) {
        (Some(cwd), _) => cwd.as_str(),
        (None, Some(cwd)) if !cwd.is_empty() => cwd.as_str(),
        _ => "/",
    };
    if !cwd.starts_with('/') {
        return Err(Error::refused(
            format!("working directory {cwd:?}"),
            "it is not absolute",
        ));
    }
    // Another user than root has none at first, as execve(2) would have it. Nothing is inheritable or
    // ambient (CVE-2022-24769).
    let bounding = &options.capabilities;
    let held: &[String] = if user.uid == 0 { bounding } else { &[] };
    Ok(json!({
        "terminal": options.terminal,
        "user": {
            "uid": user.uid,
            "gid": user.gid,
            "umask": 0o022,
            "additionalGids": user.additional_gids,
        },
        "args": args(config, options)?,
        "env": env(config, user, options)?,
        "cwd": cwd,
        "capabilities": {
            "bounding": bounding,
            "effective": held,
            "permitted": held,
        },
        "noNewPrivileges": options.no_new_privileges,
    }))
}

/// Entrypoint and command, as docker puts them together.
fn args(config: &Config, options: &RunOptions) -> Result<Vec<String>> {
    let image_entrypoint = config.entrypoint().clone().unwrap_or_default();
    let image_command = config.cmd().clone().unwrap_or_default();
    let command = match (&options.args[..], &options.entrypoint) {
        ([], Some(_)) => Vec::new(),
        ([], None) => image_command,
        (args, _) => args.to_vec(),
    };
    let entrypoint = options.entrypoint.clone().unwrap_or(image_entrypoint);
    let args = [entrypoint, command].concat();
    match args.first() {
        Some(program) if !program.is_empty() => Ok(args),
        _ => Err(Error::refused("the image", "it names no command to run")),
    }
}

/// The image's environment, then what was asked for; then what is still missing of PATH, HOME and,
/// with a terminal, TERM. An entry without a name or without `=` is refused: elsewhere it meant "take
/// it from the host" (CVE-2026-57231).
fn env(config: &Config, user: &User, options: &RunOptions) -> Result<Vec<String>> {
    let image = config.env().clone().unwrap_or_default();
    let asked = image.iter().map(|entry| ("the image's environment", entry));
    let asked = asked.chain(options.env.iter().map(|entry| ("environment", entry)));
    let mut merged: Vec<(String, String)> = Vec::new();
    for (whose, entry) in asked {
        let unchecked = || sys::fault::broken("no-environment-check").then_some((&**entry, ""));
        let (name, _) = entry
            .split_once('=')
            .filter(|(name, _)| !name.is_empty() && !entry.contains('\0'))
            .or_else(unchecked)
            .ok_or_else(|| Error::refused(format!("{whose}, {entry:?}"), "it is not NAME=value"))?;
        match merged.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(entry),
            None => merged.push((name.to_owned(), entry.clone())),
        }
    }
    let home = format!("HOME={}", user.home);
    let term = options.terminal.then_some("TERM=xterm");
    for entry in [DEFAULT_PATH, &home].into_iter().chain(term) {
        let name = entry.split('=').next().unwrap_or(entry);
        if !merged.iter().any(|(known, _)| known == name) {
            merged.push((name.to_owned(), entry.to_owned()));
        }
    }
    Ok(merged.into_iter().map(|(_, entry)| entry).collect())
}

fn mounts() -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| {
        let source = if kind == "tmpfs" && destination == "/dev/shm" {
            "shm"
        } else {
            kind
        };
        json!({"destination": destination, "type": kind, "source": source, "options": options})
    };
    json!([
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"]
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5"
            ],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"]
        ),
    ])
}

fn masked(cpus: u32) -> Vec<String> {
    if sys::fault::broken("no-default-masks") {
        return Vec::new();
    }
    let throttle = |cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    let fixed = MASKED.iter().map(|path| (*path).to_owned());
    fixed.chain((0..cpus).map(throttle)).collect()
}

fn resources(options: &RunOptions) -> Result<Value> {
    // No device but those that every container has; the runtime adds these.
    let mut resources = json!({"devices": [{"allow": false, "access": "rwm"}]});
    if let Some(memory) = options.memory {
        resources["memory"] = json!({"limit": positive("memory", memory)?, "swap": memory});
    }
    if let Some(cpus) = options.cpus {
        // Also NaN is refused by this order.
        if !(cpus > 0.0 && cpus <= 100_000.0) {
            return Err(Error::refused(
                format!("cpus {cpus}"),
                "it is no number of CPUs",
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 1e10, by the check above"
        )]
        let quota = (cpus * CPU_PERIOD as f64).round() as i64;
        resources["cpu"] = json!({"quota": quota.max(MIN_QUOTA), "period": CPU_PERIOD});
    }
    if let Some(pids) = options.pids {
        resources["pids"] = json!({"limit": positive("pids", pids)?});
    }
    Ok(resources)
}

fn positive(name: &str, value: i64) -> Result<i64> {
    match value > 0 {
        true => Ok(value),
        false => Err(Error::refused(
            format!("{name} {value}"),
            "it is not above 0",
        )),
    }
}

fn path(path: &Path) -> Result<Value> {
    path.to_str()
        .map(|text| json!(text))
        .ok_or_else(|| Error::refused(format!("path {}", path.display()), "it is not UTF-8"))
}

#[cfg(test)]
#[path = "to_spec_tests.rs"]
mod tests;
