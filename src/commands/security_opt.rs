//! `--security-opt`: a seccomp profile of one's own, or none. Not its job: the default profile (image).

use image::to_spec::Seccomp;
use serde_json::Value;

use crate::report::{Failure, because};

/// The largest profile that is read: docker's has some 20 KB.
const MAX_PROFILE: u64 = 1 << 20;

/// Fields of a profile, and of one of its rules (config-linux.md, "Seccomp"). `comment` says nothing to us.
const PROFILE: [&str; 8] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
    "comment",
];
const RULE: [&str; 5] = ["names", "action", "errnoRet", "args", "comment"];

/// What the values of `--security-opt` say of seccomp; the last one holds.
///
/// # Errors
/// Names the option that is not known, or the profile and its field that can't be read.
pub(crate) fn seccomp(options: &[String]) -> Result<Seccomp, Failure> {
    let mut chosen = Seccomp::Default;
    for option in options {
        chosen = match option.split_once('=') {
            Some(("seccomp", "unconfined")) => Seccomp::Unconfined,
            Some(("seccomp", path)) if !path.is_empty() => own(path)?,
            _ => {
                return Err(Failure::new(format!(
                    "--security-opt {option}: not supported; seccomp=unconfined and seccomp=FILE are"
                )));
            }
        };
    }
    Ok(chosen)
}

fn own(path: &str) -> Result<Seccomp, Failure> {
    let bytes = sys::file::read(path, MAX_PROFILE).map_err(because)?;
    parse(&bytes).map_err(|reason| Failure::new(format!("seccomp profile {path}: {reason}")))
}

/// A field that we do not know may narrow the rule that it stands in (docker's `includes`): to pass over
/// it would allow more than the profile does.
fn parse(bytes: &[u8]) -> Result<Seccomp, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    only(&value, &PROFILE, "")?;
    let rules = value.get("syscalls").and_then(Value::as_array);
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        only(rule, &RULE, &format!("syscalls[{index}]."))?;
    }
    let profile = serde_json::from_value(value).map_err(|e| e.to_string())?;
    Ok(Seccomp::Own(profile))
}

fn only(value: &Value, known: &[&str], place: &str) -> Result<(), String> {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let fields = value.as_object().into_iter().flatten();
    match fields
        .filter(|(name, value)| !known.contains(&name.as_str()) && !says_nothing(value))
        .map(|(name, _)| name)
        .next()
    {
        Some(name) => Err(format!(
            "{place}{name} is no field of the runtime spec's profile"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(options: &[&str]) -> Result<Seccomp, String> {
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        seccomp(&options).map_err(|failure| failure.to_string())
    }

    #[test]
    fn nothing_said_is_the_default_and_the_last_word_holds() {
        assert_eq!(said(&[]), Ok(Seccomp::Default));
        assert_eq!(said(&["seccomp=unconfined"]), Ok(Seccomp::Unconfined));
        for other in [
            "seccomp=",
            "seccomp",
            "apparmor=x",
            "label=disable",
            "seccomp:unconfined",
        ] {
            let told = said(&[other]).unwrap_err();
            assert!(told.starts_with(&format!("--security-opt {other}: not supported")));
        }
    }

    #[test]
    fn a_condition_that_we_do_not_know_is_refused_by_its_place() {
        let told = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            told(
                r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["mount"],
                "action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}}]}"#
            ),
            "syscalls[0].includes is no field of the runtime spec's profile"
        );
        assert_eq!(
            told(r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{}]}"#),
            "archMap is no field of the runtime spec's profile"
        );
        assert!(told(r#"{"defaultAction":"SCMP_ACT_NOPE"}"#).contains("SCMP_ACT_NOPE"));
        assert!(
            parse(
                br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],
            "action":"SCMP_ACT_ERRNO","includes":{},"excludes":null}]}"#
            )
            .is_ok()
        );
    }
}
