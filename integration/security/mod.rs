//! Hostile surroundings: each known way out of a container is a claim that carries its row and its CVE in its name.
//! Rows: A start, B exec, C mounts, D cgroups, E images, G state and command line, I seccomp; `guards` holds that each
//! guard is tested: broken by name, its claims fail. Not its job: what the spec asks (process, rootfs, cgroups).

mod adding;
pub(crate) mod archive;
mod binary;
mod breakable;
mod canary;
mod compressed;
mod descriptors;
mod documents;
mod exec;
mod guards;
mod hooks;
mod hostile;
mod identity;
mod images;
mod json;
mod kernel;
mod lacking;
mod layers;
mod metadata;
mod mounts;
mod names;
mod namespaces;
mod procfs;
mod races;
mod resources;
mod shapes;
mod state;
mod stored;
mod tars;
mod tracing;
mod words;

use crate::support::claim::Claim;
use canary::Canary;

pub(crate) use guards::broken_on_purpose;

/// The rows.
pub(crate) fn claims() -> Vec<Claim> {
    [
        adding::claims(),
        binary::claims(),
        compressed::claims(),
        descriptors::claims(),
        documents::claims(),
        exec::claims(),
        guards::claims(),
        hooks::claims(),
        identity::claims(),
        images::claims(),
        json::claims(),
        kernel::claims(),
        layers::claims(),
        metadata::claims(),
        mounts::claims(),
        names::claims(),
        namespaces::claims(),
        procfs::claims(),
        races::claims(),
        resources::claims(),
        shapes::claims(),
        state::claims(),
        stored::claims(),
        tars::claims(),
        tracing::claims(),
        words::claims(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
