//! Mounts beyond the ordinary ones: other ids, whole trees, what covers what.

mod ids;

use crate::support::claim::Claim;

/// The claims of all parts.
pub(crate) fn claims() -> Vec<Claim> {
    [ids::claims()].into_iter().flatten().collect()
}
