//! What a container may use and what it has used. Not here: the claims themselves, a file for each job.

mod events;
mod limits;
mod manner;
mod pause;
mod systemd;
mod update;

use std::path::Path;

use crate::support::Sandbox;
use crate::support::claim::Claim;

/// The claims of all files here.
pub(crate) fn claims() -> Vec<Claim> {
    [
        events::claims(),
        limits::claims(),
        manner::claims(),
        pause::claims(),
        systemd::claims(),
        update::claims(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a file of the cgroup of container `c` says.
fn file(sandbox: &Sandbox, name: &str) -> String {
    read(&sandbox.cgroup("c").join(name))
}

fn read(path: &Path) -> String {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path:?}: {error}"));
    text.trim_end().to_owned()
}
