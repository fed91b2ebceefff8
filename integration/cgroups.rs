//! What a container may use and what it has used. Not here: the claims themselves, a file for each job.

mod limits;
mod pause;

use crate::support::claim::Claim;

/// The claims of all files here.
pub(crate) fn claims() -> Vec<Claim> {
    [limits::claims(), pause::claims()]
        .into_iter()
        .flatten()
        .collect()
}
