//! A bundle on disk: config.json read and understood. Not its job: judging what it says (validate).

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result};

/// The largest config.json taken; one with every field and a thousand mounts has 300 KiB.
pub(crate) const MAX_CONFIG: u64 = 16 << 20;

/// A bundle: its folder and what its configuration says.
#[derive(Debug)]
pub struct Bundle {
    /// The absolute path of the folder.
    pub path: PathBuf,
    /// The configuration.
    pub spec: Spec,
}

impl Bundle {
    /// Reads the bundle in `path`; `config` is another configuration file than its config.json.
    ///
    /// # Errors
    /// [`Error::Config`] with file, JSON path, line and column for what can't be understood.
    pub fn open(path: &Path, config: Option<&Path>) -> Result<Self> {
        let path = sys::file::canonical(path).map_err(Error::host("bundle"))?;
        let file = match config {
            Some(config) => path.join(config),
            None => path.join("config.json"),
        };
        let bytes =
            sys::file::read(&file, MAX_CONFIG).map_err(Error::host("read the configuration"))?;
        let spec = parse(&file, &bytes)?;
        Ok(Self { path, spec })
    }

    /// The configuration that the `bytes` of `file` hold.
    ///
    /// # Errors
    /// [`Error::Config`], as [`Bundle::open`].
    pub fn understand(file: &Path, bytes: &[u8]) -> Result<Spec> {
        parse(file, bytes)
    }

    /// The container's root folder as the configuration names it, below the bundle if it is relative.
    pub fn root(&self) -> PathBuf {
        match self.spec.root() {
            Some(root) => self.path.join(root.path()),
            None => self.path.join("rootfs"),
        }
    }
}

/// `pids` without a limit asks nothing (runtime-spec 1.3), which oci-spec reads as a limit of 0.
fn without_empty_pids(mut spec: Spec, bytes: &[u8]) -> Spec {
    let resources = spec.linux().as_ref().and_then(|l| l.resources().as_ref());
    let pids = resources.and_then(|resources| *resources.pids());
    if pids.is_none_or(|pids| pids.limit() != 0) {
        return spec;
    }
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let limit = value.pointer("/linux/resources/pids/limit");
    if limit.is_none_or(Value::is_null) {
        let mut resources = resources.cloned().unwrap_or_default();
        resources.set_pids(None);
        if let Some(linux) = spec.linux_mut() {
            linux.set_resources(Some(resources));
        }
    }
    spec
}

/// A process as `exec --process` takes it: the `process` of a configuration in a file of its own.
///
/// # Errors
/// As [`Bundle::open`].
pub fn process(file: &Path) -> Result<Process> {
    let bytes = sys::file::read(file, MAX_CONFIG).map_err(Error::host("read the process"))?;
    understand(file, &bytes, |mut value| {
        repair(&mut value)?;
        Some(value)
    })
}

fn parse(file: &Path, bytes: &[u8]) -> Result<Spec> {
    let spec = understand(file, bytes, |mut value| {
        repair(value.get_mut("process")?)?;
        Some(value)
    })?;
    Ok(without_empty_pids(spec, bytes))
}

/// Understands a file. The quick way first; only when it fails, the slow one that repairs what other
/// runtimes accept and else names the place.
fn understand<T: DeserializeOwned>(
    file: &Path,
    bytes: &[u8],
    repair: impl FnOnce(Value) -> Option<Value>,
) -> Result<T> {
    let first = match serde_json::from_slice(bytes) {
        Ok(understood) => return Ok(understood),
        Err(first) => first,
    };
    let repaired = serde_json::from_slice(bytes).ok().and_then(repair);
    let understood = match repaired {
        Some(value) => serde_path_to_error::deserialize(value).map_err(|e| at(&e)),
        None => Err(place::<T>(bytes, &first)),
    };
    understood.map_err(|reason| Error::Config {
        path: file.to_owned(),
        reason,
    })
}

/// What the spec has and oci-spec takes otherwise: the user may be left out (runc takes it as root), two of
/// the scheduler's flags have other names, an empty list of processors says nothing, and a capability that no
/// kernel of ours knows is passed over (runtime-spec 1.1: it can't be granted, and that is a warning). `None` if
/// there is nothing of that.
pub(crate) fn repair(process: &mut Value) -> Option<()> {
    let process = process.as_object_mut()?;
    let mut repaired = None;
    if !process.contains_key("user") {
        process.insert("user".to_owned(), serde_json::json!({"uid": 0, "gid": 0}));
        repaired = Some(());
    }
    let flags = process
        .get_mut("scheduler")
        .and_then(|scheduler| scheduler.get_mut("flags"))
        .and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        *flag = match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK".into(),
            Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN".into(),
            _ => continue,
        };
        repaired = Some(());
    }
    let sets = process
        .get_mut("capabilities")
        .and_then(Value::as_object_mut);
    for (set, names) in sets.into_iter().flatten() {
        let Some(names) = names.as_array_mut() else {
            continue;
        };
        let before = names.len();
        names.retain(|name| {
            let known =
                !name.is_string() || serde_json::from_value::<Capability>(name.clone()).is_ok();
            if !known {
                sys::log::debug(format_args!(
                    "process.capabilities.{set}: {name} is not known, and left out"
                ));
            }
            known
        });
        if names.len() < before {
            repaired = Some(());
        }
    }
    let affinity = process.get_mut("execCPUAffinity");
    if let Some(affinity) = affinity.and_then(Value::as_object_mut) {
        let before = affinity.len();
        affinity.retain(|_, list| list != "");
        if affinity.len() < before {
            repaired = Some(());
        }
    }
    repaired
}

/// `process.args: invalid type: string "sh", expected a sequence (line 5, column 20)`.
fn place<T: DeserializeOwned>(bytes: &[u8], first: &serde_json::Error) -> String {
    if first.is_syntax() || first.is_eof() {
        return format!("not valid JSON: {}", with_place(&first.to_string()));
    }
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(reader) {
        Err(error) => at(&error),
        Ok(_) => with_place(&first.to_string()),
    }
}

fn at(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let reason = with_place(&error.inner().to_string());
    match error.path().iter().next() {
        Some(_) => format!("{}: {reason}", error.path()),
        None => reason,
    }
}

/// serde's ` at line 5 column 20` as a remark at the end.
fn with_place(message: &str) -> String {
    match message.rsplit_once(" at line ") {
        Some((text, place)) => format!("{text} (line {})", place.replace(" column", ", column")),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(Path::new("config.json"), text.as_bytes())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn processes_without_a_limit_are_not_limited_to_none() {
        let pids = |pids: &str| {
            let text =
                format!(r#"{{"ociVersion":"1.3.0","linux":{{"resources":{{"pids":{pids}}}}}}}"#);
            let spec = parse(Path::new("config.json"), text.as_bytes()).unwrap();
            let resources = spec.linux().as_ref().unwrap().resources().clone();
            resources.unwrap().pids().map(|pids| pids.limit())
        };
        assert_eq!(pids("{}"), None);
        assert_eq!(pids(r#"{"limit":0}"#), Some(0));
        assert_eq!(pids(r#"{"limit":7}"#), Some(7));
    }

    #[test]
    fn a_capability_that_nobody_knows_is_left_out() {
        let text = r#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["sh"],
            "capabilities":{"bounding":["CAP_KILL","CAP_TO_COME"]}}}"#;
        let spec = parse(Path::new("config.json"), text.as_bytes()).unwrap();
        let sets = spec.process().as_ref().unwrap().capabilities().clone();
        let bounding = sets.unwrap().bounding().clone().unwrap();
        assert_eq!(bounding.into_iter().collect::<Vec<_>>(), [Capability::Kill]);
    }

    #[test]
    fn a_wrong_type_is_named_with_its_json_path_and_place() {
        assert_eq!(
            fault(
                r#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"cwd":"/","args":"sh"}}"#
            ),
            "config.json: process.args: invalid type: string \"sh\", expected a sequence (line 1, column 79)"
        );
    }

    #[test]
    fn a_file_cut_short_is_named_with_its_place() {
        assert_eq!(
            fault("{\"ociVersion\":\"1.0.0\",\n\"process\":{"),
            "config.json: not valid JSON: EOF while parsing an object (line 2, column 11)"
        );
    }

    #[test]
    fn a_process_without_what_it_needs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.json");
        let fd = sys::file::open_dir(dir.path()).unwrap();
        let read = |text: &str| {
            let how = sys::file::Durability::Memory;
            sys::file::replace(&fd, "p.json", text.as_bytes(), 0o600, how).unwrap();
            process(&path).map_err(|e| e.to_string().rsplit_once("p.json: ").unwrap().1.to_owned())
        };
        assert_eq!(
            read(r#"{"args":["x"]}"#).unwrap_err(),
            "missing field `cwd`"
        );
        assert_eq!(
            read(r#"{"cwd":"/","args":"x"}"#).unwrap_err(),
            "args: invalid type: string \"x\", expected a sequence"
        );
        assert_eq!(read(r#"{"cwd":"/","args":["x"]}"#).unwrap().user().uid(), 0);
    }

    #[test]
    fn a_missing_user_is_root() {
        let spec = parse(Path::new("c"), br#"{"process":{"cwd":"/","args":["sh"]}}"#).unwrap();
        assert_eq!(spec.process().as_ref().unwrap().user().uid(), 0);
    }
    #[test]
    fn words_of_the_spec_that_oci_spec_has_otherwise_are_taken() {
        let json = br#"{"process":{"cwd":"/","args":["sh"],
            "scheduler":{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_DL_OVERRUN"]},
            "execCPUAffinity":{"initial":"","final":"0"}}}"#;
        let spec = parse(Path::new("c"), json).unwrap();
        let process = spec.process().as_ref().unwrap();
        let none = crate::conditions::OfContainer::default();
        let conditions =
            crate::conditions::Conditions::new(process, none, crate::lsm::Modules::default());
        let conditions = conditions.unwrap();
        assert_eq!(conditions.own.len(), 1);
        assert!(conditions.processors[0].is_none() && conditions.processors[1].is_some());
    }
}
