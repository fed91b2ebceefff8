//! A RUN as a runtime's spec: rights, limits, and the files that are made for it. Not its job: running it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use image::to_spec::{self, RunOptions};
use image::user;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use sys::beneath::Root;

use crate::error::{Doing, Error, Result};
use crate::instruction::Security;
use crate::plan::RunStep;
use crate::request::{Limits, NetworkDefault};
use crate::steps::container::{MARK, Place};
use crate::steps::mounting::Mounts;
use crate::steps::planned::SCRIPTS;
use crate::steps::rootless::{self, APT};

/// Enough for any compiler, too few to fill the host's table.
const MOST_PROCESSES: i64 = 32_768;

/// The container's spec, and those of its mounts that are made already, by their numbers.
pub(crate) fn spec(
    mount: &OwnedFd,
    (id, step): (&str, &RunStep),
    place: &Place<'_>,
    extra: &mut Mounts,
) -> Result<(Spec, BTreeMap<usize, OwnedFd>)> {
    let root = crate::layers::root(mount)?;
    let who = user::lookup(&root, &step.user).doing(|| format!("USER {}", step.user))?;
    let hostname = step.hostname.as_deref().unwrap_or("dhow-build");
    let (env, apt) = environment(&root, step, extra)?;
    let options = RunOptions {
        entrypoint: Some(Vec::new()),
        args: step.args.clone(),
        env,
        cwd: Some(step.cwd.clone()),
        hostname: Some(hostname.to_owned()),
        capabilities: to_spec::BUILD_CAPABILITIES.map(str::to_owned).to_vec(),
        no_new_privileges: false,
        memory: place.limits.memory,
        cpus: place.limits.cpus,
        pids: pids(place.limits)?,
        cgroups_path: place
            .limits
            .cgroup_parent
            .as_ref()
            .map(|parent| parent.join(id)),
        ..RunOptions::default()
    };
    let spec = to_spec::spec(&image::ImageConfiguration::default(), &who, &options)
        .doing(|| "make the container's spec".to_owned())?;
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if step.network == NetworkDefault::Host
        && let Some(Value::Array(namespaces)) = value.pointer_mut("/linux/namespaces")
    {
        namespaces.retain(|namespace| namespace["type"] != "network");
    }
    limit(&mut value, place.limits);
    if step.security == Security::Insecure {
        loosen(&mut value);
    }
    rootless::suit(&mut value);
    if let Some(owners) = place.owners {
        owners.suit(&mut value);
    }
    value["annotations"] = json!({ MARK: "run" });
    let mut mounts = made_files(step, place, hostname, &extra.resolver)?;
    if apt {
        mounts.push(apt_settings(place)?);
    }
    let mut made = BTreeMap::new();
    if let Some(Value::Array(all)) = value.get_mut("mounts") {
        all.extend(mounts);
        for (entry, mount) in extra.entries.drain(..) {
            if let Some(mount) = mount {
                made.insert(all.len(), mount);
            }
            all.push(entry);
        }
    }
    let spec = serde_json::from_value(value)
        .map_err(|e| Error::Refused(format!("make the container's spec: {e}")))?;
    Ok((spec, made))
}

/// The command's variables, and whether apt's settings are among them.
fn environment(root: &Root, step: &RunStep, extra: &mut Mounts) -> Result<(Vec<String>, bool)> {
    let mut env = step.env.as_ref().clone();
    env.extend(step.proxies.iter().cloned());
    env.append(&mut extra.env);
    let doing = || "look for apt".to_owned();
    let apt = rootless::wants_apt(root, &env).doing(doing)?;
    env.extend(apt.then(|| format!("APT_CONFIG={}", APT.0)));
    Ok((env, apt))
}

/// apt's settings, as a mount.
fn apt_settings(place: &Place<'_>) -> Result<Value> {
    let path = place.folder.join("apt.conf");
    write(&path, 0o644, APT.1.as_bytes()).doing(|| "make the command's files".to_owned())?;
    Ok(json!({
        "destination": APT.0, "type": "bind", "source": path,
        "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
    }))
}

/// Processes at most: as asked for, else where the host can count them.
fn pids(limits: &Limits) -> Result<Option<i64>> {
    if limits.pids.is_some() {
        return Ok(limits.pids);
    }
    Ok(are_counted().then_some(MOST_PROCESSES))
}

/// What a person must know where the host can't count processes, and no number was asked for.
pub(super) fn uncounted(limits: &Limits) -> Option<String> {
    (limits.pids.is_none() && !are_counted()).then(|| {
        format!(
            "RUN may have more than {MOST_PROCESSES} processes: this host's cgroup v2 lacks the controller pids"
        )
    })
}

fn are_counted() -> bool {
    let controllers = runtime::controllers().unwrap_or_default();
    controllers.iter().any(|name| name == "pids") && !sys::fault::broken("no-pids-controller")
}

/// What the image's spec has no words for.
fn limit(spec: &mut Value, limits: &Limits) {
    let ulimits = limits
        .ulimits
        .iter()
        .map(|(name, soft, hard)| json!({"type": name, "soft": soft, "hard": hard}));
    if !limits.ulimits.is_empty() {
        spec["process"]["rlimits"] = ulimits.collect();
    }
    let shm = limits.shm_size.zip(
        spec["mounts"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .find(|mount| mount["destination"] == "/dev/shm"),
    );
    if let Some((size, mount)) = shm {
        mount["options"] = json!([
            "nosuid",
            "noexec",
            "nodev",
            "mode=1777",
            format!("size={size}")
        ]);
    }
}

/// `--security=insecure`: all rights that we have, every system call, every device; nothing is hidden.
fn loosen(spec: &mut Value) {
    let held = sys::privileges::capabilities().map_or(0, |held| held.permitted);
    // They are in the order of the kernel's numbers.
    let names = runtime::plan::capability_names().into_iter().enumerate();
    let all: Value = names
        .filter(|(number, _)| held & (1 << number) != 0)
        .map(|(_, name)| name)
        .collect();
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = all.clone();
    }
    if let Some(linux) = spec["linux"].as_object_mut() {
        for key in ["seccomp", "maskedPaths", "readonlyPaths"] {
            linux.remove(key);
        }
    }
    spec["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    let mounts = spec["mounts"].as_array_mut();
    for mount in mounts.into_iter().flatten() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "ro");
        }
    }
}

/// Files that are there only while the command runs, as mounts.
fn made_files(
    step: &RunStep,
    place: &Place<'_>,
    hostname: &str,
    resolver: &[u8],
) -> Result<Vec<Value>> {
    let doing = || "make the command's files".to_owned();
    sys::file::create_dir_all(&place.folder, 0o700).doing(doing)?;
    let mut hosts =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in &place.limits.hosts {
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    let files = [
        ("hosts", hosts.into_bytes()),
        ("resolv.conf", resolver.to_vec()),
        ("hostname", format!("{hostname}\n").into_bytes()),
    ];
    let mut mounts = Vec::new();
    for (name, content) in files {
        let path = place.folder.join(name);
        write(&path, 0o644, &content).doing(doing)?;
        mounts.push(json!({
            "destination": format!("/etc/{name}"), "type": "bind", "source": path,
            "options": ["bind", "rw", "nosuid", "nodev", "noexec"],
        }));
    }
    if let Some((name, content)) = &step.script {
        let folder = place.folder.join("pipes");
        sys::file::create_dir_all(&folder, 0o755).doing(doing)?;
        // The name is the heredoc's word: it may hold anything but must stay one name.
        if name.contains('/') || matches!(name.as_str(), "." | "..") {
            return Err(Error::Refused(format!(
                "a script's heredoc can't be called {name:?}"
            )));
        }
        write(&folder.join(name), 0o755, content.as_bytes()).doing(doing)?;
        mounts.push(json!({
            "destination": SCRIPTS, "type": "bind", "source": folder,
            "options": ["bind", "ro", "nosuid", "nodev"],
        }));
    }
    Ok(mounts)
}

fn write(path: &Path, mode: u32, content: &[u8]) -> sys::Result<()> {
    use std::io::Write as _;
    let mut file = sys::file::create_new(path, mode)?;
    file.write_all(content)
        .map_err(|e| sys::SysError::from_io("write", path.display(), &e))?;
    // Whatever our umask says: other users of the container read it too.
    sys::at::fchmod(&file, sys::at::Mode::from_raw_mode(mode))
        .map_err(|errno| sys::SysError::new("chmod", path.display(), errno))
}
