//! `update`: other limits for a container that is there. Nothing is written down of it: what holds stands in
//! the cgroup's files, where it is read when a change needs it.
//! Not its job: what limits mean (cgroups).

use cgroups::devices::Filter;
use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use crate::life::pause;
use crate::state::Status;
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// Changes the limits of the container `id` to what `resources` say; what they do not speak of stays. Where
/// they have rules for devices, those take the place of the old ones.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] with runc's words `container not running`; [`Error::Cgroup`] for a
/// limit that makes no sense, or that the kernel refuses: then none has been changed.
pub fn update(store: &Store, id: &ContainerId, resources: &LinuxResources) -> Result<()> {
    let rules = resources.devices().as_deref().unwrap_or_default();
    // Judged before anything is changed.
    let filter = match rules {
        [] => None,
        rules => Some(Filter::new(rules)?),
    };
    let place = store.lock(id)?;
    let (record, status) = pause::look(&place)?;
    if matches!(status, Status::Creating | Status::Stopped) {
        return Err(Error::Status {
            id: id.to_string(),
            reason: "container not running".to_owned(),
        });
    }
    let cgroup = pause::cgroup(&record)?;
    match &record.unit {
        Some(unit) => cgroup.update_unit(resources, unit.whose(), &unit.name)?,
        None => cgroup.update(resources)?,
    }
    if let Some(filter) = filter {
        filter.replace(&cgroup)?;
    }
    Ok(())
}

/// A document of limits, in the shape of linux.resources.
///
/// # Errors
/// [`Error::Words`] with the JSON path of what is no limit.
pub fn resources(mut document: Value) -> Result<LinuxResources> {
    // serde would take a list for the members in their order.
    if !document.is_object() {
        return Err(Error::Words(
            "resources: it is no document of limits".to_owned(),
        ));
    }
    without_empty_pids(&mut document);
    serde_path_to_error::deserialize(document).map_err(|error| {
        let (path, reason) = (error.path().to_string(), error.inner().to_string());
        Error::Words(match path.as_str() {
            "." => format!("resources: {reason}"),
            path => format!("resources: {path}: {reason}"),
        })
    })
}

/// `pids` without a limit asks nothing (runtime-spec 1.3); oci-spec would read it as a limit of 0.
fn without_empty_pids(resources: &mut Value) {
    let Some(resources) = resources.as_object_mut() else {
        return;
    };
    let limit = resources.get("pids").and_then(|pids| pids.get("limit"));
    if limit.is_none_or(Value::is_null) {
        resources.remove("pids");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn processes_without_a_limit_are_not_limited() {
        for document in [
            json!({"pids": {}}),
            json!({"pids": {"limit": null}}),
            json!({"pids": null}),
        ] {
            assert_eq!(resources(document).unwrap().pids(), &None);
        }
        let asked = resources(json!({"pids": {"limit": 0}})).unwrap();
        assert_eq!(asked.pids().map(|pids| pids.limit()), Some(0));
    }

    #[test]
    fn what_is_no_limit_is_named_by_its_path() {
        let error = resources(json!({"memory": {"limit": "50M"}})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "resources: memory.limit: invalid type: string \"50M\", expected i64"
        );
    }
}
