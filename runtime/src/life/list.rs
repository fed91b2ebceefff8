//! `state` and `list`: what is known of containers. Not its job: tables and JSON for people.

use crate::state::{Record, Status};
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// A container as it is now.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its record.
    pub record: Record,
    /// Its status.
    pub status: Status,
}

/// The container `id` as it is now.
///
/// # Errors
/// [`Error::Missing`], [`Error::State`].
pub fn state(store: &Store, id: &ContainerId) -> Result<Snapshot> {
    let place = store.open(id)?;
    let record = place
        .record()?
        .ok_or_else(|| Error::Missing { id: id.to_string() })?;
    let status = place.status(&record)?;
    Ok(Snapshot { record, status })
}

/// All containers, by id. One whose record can't be read is among them as its error: it is not hidden.
///
/// # Errors
/// [`Error::Host`] if the store's directory can't be read.
pub fn list(store: &Store) -> Result<Vec<(ContainerId, Result<Snapshot>)>> {
    Ok(store
        .ids()?
        .into_iter()
        .map(|id| {
            let snapshot = state(store, &id);
            (id, snapshot)
        })
        .collect())
}
