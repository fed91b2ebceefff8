//! Everything that is wrong with a configuration, found at once: what `create` finds one fault at a time.
//! The same code judges that later decides: validate, the plan, and each crate's reading of its fields.
//! Not its job: what only a start can tell (a missing controller, a busy cgroup).

mod salvage;

use std::path::Path;

use oci_spec::runtime::Spec;
use rootfs::{CgroupView, Surroundings};

use crate::plan::{Plan, Request, RootPlace};
use crate::validate::{Fault, Faults, validate};
use crate::{ContainerId, Error, Result};

/// What is to be said of a configuration.
#[derive(Debug, Default)]
pub struct Judgement {
    /// What is wrong, each once.
    pub faults: Faults,
    /// Keys that runtime-spec does not know: they are ignored, as it demands.
    pub unknown: Vec<String>,
}

/// Judges the configuration of the bundle in `path`; `config` is another file than its config.json.
///
/// # Errors
/// [`Error::Host`] if there is no file to judge.
pub fn judge(path: &Path, config: Option<&Path>) -> Result<Judgement> {
    let path = sys::file::canonical(path).map_err(Error::host("bundle"))?;
    let file = path.join(config.unwrap_or(Path::new("config.json")));
    let bytes = sys::file::read(&file, crate::bundle::MAX_CONFIG)
        .map_err(Error::host("read the configuration"))?;
    let mut judgement = judge_bytes(&path, &bytes);
    let root = match &judgement.faults.0[..] {
        [] => crate::Bundle::open(&path, config)?.root(),
        _ => return Ok(judgement),
    };
    if let Err(e) = sys::file::open_dir(&root) {
        judgement.faults.0.push(Fault {
            field: "root.path".to_owned(),
            reason: e.to_string(),
        });
    }
    Ok(judgement)
}

/// Judges the text of a configuration. Pure.
pub fn judge_bytes(bundle: &Path, bytes: &[u8]) -> Judgement {
    let mut config: serde_json::Value = match serde_json::from_slice(bytes) {
        Ok(config) => config,
        Err(e) => {
            let fault = Fault {
                field: "config.json".to_owned(),
                reason: format!("not valid JSON: {e}"),
            };
            return Judgement {
                faults: Faults(vec![fault]),
                unknown: Vec::new(),
            };
        }
    };
    let _as_it_is_taken = config.get_mut("process").and_then(crate::repair::process);
    let salvaged = salvage::salvage(config);
    let mut judgement = Judgement {
        faults: salvaged.faults,
        unknown: salvaged.unknown,
    };
    if let Some(spec) = salvaged.spec {
        for fault in meaning(bundle, &spec).0 {
            // What was of a wrong type is missing afterwards: that was said before.
            let inside = format!("{}.", fault.field);
            let said = judgement.faults.0.iter().any(|f| {
                f.field == fault.field
                    || (f.field.starts_with(&inside) && fault.reason.starts_with("missing"))
            });
            if !said {
                judgement.faults.0.push(fault);
            }
        }
    }
    judgement
}

/// What the values of a configuration that can be read make impossible.
fn meaning(bundle: &Path, spec: &Spec) -> Faults {
    let mut faults = match validate(spec) {
        Ok(()) => Faults::default(),
        Err(faults) => faults,
    };
    let linux = spec.linux().as_ref();
    let mut found = Vec::new();
    found.extend(mounts(bundle, spec));
    if let Some(resources) = linux.and_then(|l| l.resources().as_ref()) {
        found.extend(cgroups::limits::problems(resources).iter().map(text));
        let devices = resources.devices().as_deref().unwrap_or_default();
        found.extend(cgroups::devices::problems(devices).iter().map(text));
    }
    for (index, device) in linux.iter().flat_map(|l| l.devices()).flatten().enumerate() {
        if let Err(e) = rootfs::devices(std::slice::from_ref(device)) {
            found.push(text(&e).replace("linux.devices[0]", &format!("linux.devices[{index}]")));
        }
    }
    if let Some(profile) = linux.and_then(|l| l.seccomp().as_ref())
        && let Err(e) = crate::seccomp::check(profile)
    {
        found.push(text(&e));
    }
    // What else a start would trip over; only its first words are new, the rest was said above.
    if faults.0.is_empty() && found.is_empty() {
        found.extend(plan(bundle, spec).err().map(|e| text(&e)));
    }
    for text in found {
        let (field, reason) = text.split_once(": ").unwrap_or(("config.json", &text));
        faults.0.push(Fault {
            field: field.to_owned(),
            reason: reason.to_owned(),
        });
    }
    let mut seen = Vec::new();
    faults.0.retain(|fault| {
        let new = !seen.contains(fault);
        seen.push(fault.clone());
        new
    });
    faults
}

fn text<E: std::error::Error>(error: &E) -> String {
    crate::error::chain(error)
}

fn mounts(bundle: &Path, spec: &Spec) -> Vec<String> {
    let around = Surroundings {
        bundle,
        cgroup: CgroupView::Namespace,
        propagation: None,
        label: None,
    };
    let mounts = spec.mounts().iter().flatten().enumerate();
    mounts
        .filter_map(|(index, mount)| rootfs::mounts::step(index, mount, &around).err())
        .map(|e| text(&e))
        .collect()
}

/// The plan of a start with all rights and no cgroup.
fn plan(bundle: &Path, spec: &Spec) -> Result<()> {
    let id: ContainerId = "validate".parse()?;
    let request = Request {
        id: &id,
        bundle,
        root: RootPlace::Folder(bundle.join("rootfs")),
        cgroup: None,
        own_cgroup: "/".into(),
        rights: namespaces::Rights::Full,
        single_id: false,
        modules: crate::lsm::Modules::needed(spec.process().as_ref(), spec.linux().as_ref()),
        no_pivot: false,
        keep_keyring: false,
        begins_at_once: false,
        may_return: true,
        given_stdio: false,
    };
    Plan::new(spec, &request).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
        let mut config = serde_json::json!({
            "ociVersion": "1.2.0",
            "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": "rootfs"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        });
        change(&mut config);
        let bytes = serde_json::to_vec(&config).unwrap();
        let judgement = judge_bytes(Path::new("/b"), &bytes);
        judgement.faults.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plain_bundle_has_no_fault() {
        assert_eq!(faults(|_| ()), [""; 0]);
    }

    #[test]
    fn each_crate_names_all_that_it_finds() {
        let list = faults(|config| {
            config["mounts"] = serde_json::json!([
                {"destination": "/a", "type": "tmpfs", "source": "x"},
                {"destination": "/b", "source": "", "options": ["bind"]},
                {"destination": "/proc/sys", "type": "tmpfs", "source": "x"},
            ]);
            config["linux"]["resources"] = serde_json::json!({
                "memory": {"limit": -5}, "cpu": {"cpus": "x"},
                "devices": [{"allow": true, "access": "q"}],
            });
            config["linux"]["seccomp"] = serde_json::json!({
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000,
            });
            config["process"]["cwd"] = serde_json::json!(3);
        });
        let fields: Vec<&str> = list
            .iter()
            .map(|fault| fault.split(": ").next().unwrap())
            .collect();
        assert_eq!(
            fields,
            [
                "process.cwd",
                "mounts[1].source",
                "mounts[2].destination",
                "linux.resources.memory.limit",
                "linux.resources.cpu.cpus",
                "linux.resources.devices[0].access",
                "linux.seccomp",
            ],
            "{list:#?}"
        );
    }
}
