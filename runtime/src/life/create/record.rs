//! The record of a container as it stands before anything is made: what a crash may leave is named in it.
//! Not its job: saving it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::outside_hooks::after;
use crate::life::cgroup::CgroupPlan;
use crate::life::options::{CreateOptions, RootSource};
use crate::life::prepare::Prepared;
use crate::state::Record;

/// The record of the container that `options` ask for.
pub(super) fn of(options: &CreateOptions, prepared: &Prepared) -> Record {
    let spec = &options.spec;
    let location = prepared.cgroup.as_ref().map(|cgroup| &cgroup.location);
    Record {
        oci_version: spec.version().clone(),
        id: options.id.to_string(),
        bundle: options.bundle.clone(),
        rootfs: match &options.root {
            RootSource::Folder(path) => path.clone(),
            RootSource::Mount(_) | RootSource::Layers(_) => PathBuf::new(),
        },
        created: jiff::Timestamp::now().to_string(),
        owner: sys::privileges::ids().0,
        annotations: spec
            .annotations()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<BTreeMap<_, _>>(),
        creator: None,
        init: None,
        cgroup: location.map(|l| l.directory.clone()),
        cgroup_made_from: location.and_then(|l| l.made_from.clone()),
        unit: prepared.cgroup.as_ref().and_then(CgroupPlan::unit),
        rdt: match &prepared.rdt {
            Some((group, _)) => group.folders(),
            None => Vec::new(),
        },
        scratch: match &options.root {
            RootSource::Layers(layers) => Some(layers.scratch.clone()),
            RootSource::Folder(_) | RootSource::Mount(_) => None,
        },
        seccomp_agent: crate::seccomp::agent(spec),
        poststart: after(spec, "poststart"),
        poststop: after(spec, "poststop"),
    }
}
