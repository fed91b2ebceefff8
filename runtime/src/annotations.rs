//! The annotations on which a start acts (docs/annotations.md). None takes away a protection that the
//! configuration asks for, and one that nobody here knows changes nothing. Pure, but for connecting. Not its
//! job: those of hooks, mount labels, seccomp and systemd, which stand where they are used.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::runtime::Spec;

use crate::{Error, Result};

/// The program keeps the groups of its caller beside its own (podman's `--group-add keep-groups`).
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// A socket that gets a handle of the first process.
const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// Who hears of what a seccomp filter notifies, where `listenerPath` names nobody.
const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";

/// Another kind of program than one of Linux'.
const HANDLER: &str = "run.oci.handler";

fn get<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
    let value = spec.annotations().as_ref()?.get(name)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

/// Whether the program keeps the groups of its caller.
pub(crate) fn keeps_groups<'a>(mut find: impl FnMut(&str) -> Option<&'a str>) -> bool {
    find(KEEP_GROUPS).is_some_and(|value| !["", "0", "false"].contains(&value))
}

/// The same, of a container that is to be made.
pub(crate) fn spec_keeps_groups(spec: &Spec) -> bool {
    keeps_groups(|name| get(spec, name))
}

/// The configuration with the receiver of an annotation as its `linux.seccomp.listenerPath`.
pub(crate) fn with_receiver(mut spec: Spec) -> Spec {
    let Some(path) = get(&spec, SECCOMP_RECEIVER).map(PathBuf::from) else {
        return spec;
    };
    let linux = spec.linux_mut().as_mut();
    if let Some(profile) = linux.and_then(|linux| linux.seccomp_mut().as_mut())
        && profile.listener_path().is_none()
    {
        profile.set_listener_path(Some(path));
    }
    spec
}

/// What is wrong with the annotations: the one's name, and why. Run as if it were a program of Linux', what is
/// for another handler could only fail later, and less clearly.
pub(crate) fn fault(spec: &Spec) -> Option<(String, String)> {
    let handler = get(spec, HANDLER).filter(|handler| *handler != "dhow")?;
    Some((
        format!("annotations.{HANDLER}"),
        format!("there is no handler {handler:?} here"),
    ))
}

/// The socket for a handle of the first process, connected.
///
/// # Errors
/// As connect(2).
pub(crate) fn pidfd_receiver(spec: &Spec) -> Result<Option<OwnedFd>> {
    let Some(path) = get(spec, PIDFD_RECEIVER) else {
        return Ok(None);
    };
    sys::socket::connect_stream(path)
        .map(Some)
        .map_err(Error::host(format!("annotations.{PIDFD_RECEIVER}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, value: &str) -> Spec {
        serde_json::from_value(serde_json::json!({"annotations": {name: value}})).unwrap()
    }

    #[test]
    fn groups_are_kept_only_where_the_annotation_says_so() {
        for (value, kept) in [("1", true), ("true", true), ("0", false), ("", false)] {
            assert_eq!(
                spec_keeps_groups(&spec(KEEP_GROUPS, value)),
                kept,
                "{value:?}"
            );
        }
        assert!(!spec_keeps_groups(&spec("other", "1")));
    }

    #[test]
    fn a_receiver_is_who_listens_unless_the_profile_names_one() {
        for (named, heard) in [(None, "/a"), (Some("/p"), "/p")] {
            let spec = serde_json::json!({
                "annotations": {SECCOMP_RECEIVER: "/a"},
                "linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": named}},
            });
            let spec = with_receiver(serde_json::from_value(spec).unwrap());
            assert_eq!(
                crate::seccomp::agent(&spec).unwrap().path,
                PathBuf::from(heard)
            );
        }
    }

    #[test]
    fn a_handler_that_is_not_here_is_a_fault() {
        let (field, reason) = fault(&spec(HANDLER, "wasm")).unwrap();
        assert_eq!(
            format!("{field}: {reason}"),
            "annotations.run.oci.handler: there is no handler \"wasm\" here"
        );
        assert_eq!(fault(&spec(HANDLER, "dhow")), None);
    }
}
