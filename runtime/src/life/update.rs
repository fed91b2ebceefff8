//! `update`: other limits for a container that is there. Nothing is written down of it: what holds stands in
//! the cgroup's files, where it is read when a change needs it.
//! Not its job: what limits mean (cgroups).

use cgroups::devices::Filter;
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde_json::Value;

use crate::life::pause;
use crate::rdt::Wanted;
use crate::state::Status;
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// What else can be changed: shares of the processors' caches and memory bandwidth, as lines of resctrl.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// The line of the caches: `L3:0=ff`.
    pub cache: Option<String>,
    /// The line of the memory bandwidth: `MB:0=50`.
    pub bandwidth: Option<String>,
}

impl Shares {
    /// As the configuration would ask for them; none where nothing is asked.
    fn wanted(&self) -> Result<Option<Wanted>> {
        if *self == Self::default() {
            return Ok(None);
        }
        let mut spec = LinuxIntelRdt::default();
        spec.set_l3_cache_schema(self.cache.clone());
        spec.set_mem_bw_schema(self.bandwidth.clone());
        let wanted = Wanted::read(&spec);
        wanted
            .map(Some)
            .map_err(|(field, reason)| Error::Usage(format!("linux.intelRdt{field}: {reason}")))
    }
}

/// Changes the limits of the container `id` to what `resources` say; what they do not speak of stays. Where
/// they have rules for devices, those take the place of the old ones.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] with runc's words `container not running`; [`Error::Cgroup`] for a
/// limit that makes no sense, or that the kernel refuses: then none has been changed, but for those that
/// [`Error::AndThen`] names.
pub fn update(
    store: &Store,
    id: &ContainerId,
    resources: &LinuxResources,
    shares: &Shares,
) -> Result<()> {
    let shares = match shares.wanted()? {
        Some(wanted) => Some((wanted, crate::rdt::root()?)),
        None => None,
    };
    let rules = resources.devices().as_deref().unwrap_or_default();
    // Judged before anything is changed.
    let filter = match rules {
        [] => None,
        rules => Some(Filter::new(rules)?),
    };
    let place = store.lock(id)?;
    let (mut record, status) = pause::look(&place)?;
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
    if let Some((wanted, root)) = shares {
        let group = wanted.change(&root, id.as_str(), &record.rdt)?;
        // Intent first: whatever a crash leaves is removed with the container.
        let made = group.folders();
        if !made.is_empty() {
            record.rdt.extend(made);
            place.save_again(&record)?;
        }
        group.create(&root)?;
        for pid in cgroup.processes()? {
            group.add(pid)?;
        }
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
