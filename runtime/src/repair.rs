//! What the spec has and oci-spec takes otherwise, put right: what other runtimes accept is accepted here. Pure.
//! Not its job: reading files (bundle), judging values (validate).

use oci_spec::runtime::{Capability, Spec};
use serde_json::{Map, Value};

/// What the spec has and oci-spec takes otherwise: the user and each of its ids may be left out (runc and crun take
/// that as root), two of the scheduler's flags have other names, an empty list of processors says nothing, and a
/// capability that no kernel of ours knows is passed over (runtime-spec 1.1: it can't be granted, and that is a
/// warning). `None` if there is nothing of that.
pub(crate) fn process(process: &mut Value) -> Option<()> {
    let process = process.as_object_mut()?;
    let mut repaired = user(process);
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
    let sets = process.get_mut("capabilities");
    repaired = sets.and_then(capability_sets).or(repaired);
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

fn user(process: &mut Map<String, Value>) -> Option<()> {
    let mut repaired = None;
    let user = process.entry("user").or_insert(Value::Null);
    if user.is_null() {
        *user = Value::Object(Map::new());
    }
    for id in ["uid", "gid"] {
        let id = user.as_object_mut()?.entry(id).or_insert(Value::Null);
        if id.is_null() {
            *id = Value::from(0);
            repaired = Some(());
        }
    }
    repaired
}

/// The capabilities of these names. One that no kernel of ours knows is told in runc's words, by which callers know
/// the warning, and passed over.
pub fn capabilities(field: &str, names: &[String]) -> Vec<Capability> {
    let (known, unknown): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|name| capability(name).ok_or(name.as_str()))
        .partition(Result::is_ok);
    warn_of(field, unknown.into_iter().filter_map(Result::err));
    known.into_iter().flatten().collect()
}

fn capability(name: &str) -> Option<Capability> {
    serde_json::from_value(name.into()).ok()
}

fn warn_of<'a>(field: &str, unknown: impl Iterator<Item = &'a str>) {
    let unknown: Vec<&str> = unknown
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    if !unknown.is_empty() {
        let names = unknown.join(" ");
        sys::log::warn(format_args!(
            "{field}: ignoring unknown or unavailable capabilities: [{names}]"
        ));
    }
}

fn capability_sets(sets: &mut Value) -> Option<()> {
    let mut unknown: Vec<String> = Vec::new();
    for names in sets.as_object_mut()?.values_mut() {
        let Some(names) = names.as_array_mut() else {
            continue;
        };
        names.retain(|name| match name.as_str() {
            Some(name) if capability(name).is_none() => {
                unknown.push(name.to_owned());
                false
            }
            _ => true,
        });
    }
    warn_of("process.capabilities", unknown.iter().map(String::as_str));
    (!unknown.is_empty()).then_some(())
}

/// `pids` without a limit asks nothing (runtime-spec 1.3), which oci-spec reads as a limit of 0.
pub(crate) fn without_empty_pids(mut spec: Spec, bytes: &[u8]) -> Spec {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn understood(text: &str) -> Spec {
        crate::Bundle::understand(Path::new("config.json"), text.as_bytes()).unwrap()
    }

    #[test]
    fn processes_without_a_limit_are_not_limited_to_none() {
        let pids = |pids: &str| {
            let text =
                format!(r#"{{"ociVersion":"1.3.0","linux":{{"resources":{{"pids":{pids}}}}}}}"#);
            let spec = understood(&text);
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
        let spec = understood(text);
        let sets = spec.process().as_ref().unwrap().capabilities().clone();
        let bounding = sets.unwrap().bounding().clone().unwrap();
        assert_eq!(bounding.into_iter().collect::<Vec<_>>(), [Capability::Kill]);
    }

    #[test]
    fn a_missing_user_is_root_and_so_is_a_missing_id() {
        for (user, ids) in [
            ("", (0, 0)),
            (r#","user":null"#, (0, 0)),
            (r#","user":{}"#, (0, 0)),
            (r#","user":{"uid":7}"#, (7, 0)),
            (r#","user":{"gid":7,"uid":null,"umask":63}"#, (0, 7)),
        ] {
            let text = format!(r#"{{"process":{{"cwd":"/","args":["sh"]{user}}}}}"#);
            let spec = understood(&text);
            let user = spec.process().as_ref().unwrap().user().clone();
            assert_eq!((user.uid(), user.gid()), ids, "{text}");
        }
    }

    #[test]
    fn words_of_the_spec_that_oci_spec_has_otherwise_are_taken() {
        let json = r#"{"process":{"cwd":"/","args":["sh"],
            "scheduler":{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_DL_OVERRUN"]},
            "execCPUAffinity":{"initial":"","final":"0"}}}"#;
        let spec = understood(json);
        let process = spec.process().as_ref().unwrap();
        let none = crate::conditions::OfContainer::default();
        let conditions =
            crate::conditions::Conditions::new(process, none, crate::lsm::Modules::default());
        let conditions = conditions.unwrap();
        assert_eq!(conditions.own.len(), 1);
        assert!(conditions.processors[0].is_none() && conditions.processors[1].is_some());
    }
}
