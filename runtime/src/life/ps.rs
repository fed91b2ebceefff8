//! `ps`: the processes of a container, by the host's ids. Not its job: what is shown of them.

use crate::life::members;
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// The ids of all processes of the container `id`: those in its cgroup and below it, or of its family where it has no
/// cgroup of its own. None of one that has ended.
///
/// # Errors
/// [`Error::Missing`].
pub fn processes(store: &Store, id: &ContainerId) -> Result<Vec<i32>> {
    let place = store.open(id)?;
    let record = place
        .record()?
        .ok_or_else(|| Error::Missing { id: id.to_string() })?;
    members::ids(&record, members::cgroup(&record)?.as_ref())
}
