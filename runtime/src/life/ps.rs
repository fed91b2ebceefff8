//! `ps`: the processes of a container, by the host's ids. Not its job: what is shown of them.

use cgroups::Cgroup;

use crate::state::Record;
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// The ids of all processes of the container `id`: those in its cgroup and below it. Of a container without a
/// cgroup only the first is known for sure.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] with `container not running` if none is left.
pub fn processes(store: &Store, id: &ContainerId) -> Result<Vec<i32>> {
    let place = store.open(id)?;
    let record = place
        .record()?
        .ok_or_else(|| Error::Missing { id: id.to_string() })?;
    let cgroup = record.cgroup.as_deref().map(Cgroup::open).transpose()?;
    let pids = match cgroup.flatten() {
        Some(cgroup) => cgroup.processes()?,
        None => first(&record)?,
    };
    match pids.is_empty() {
        true => Err(Error::Status {
            id: id.to_string(),
            reason: "container not running".to_owned(),
        }),
        false => Ok(pids),
    }
}

fn first(record: &Record) -> Result<Vec<i32>> {
    let Some(init) = record.init else {
        return Ok(Vec::new());
    };
    let lives = init
        .lives()
        .map_err(Error::host("look at the container's first process"))?;
    Ok(lives.then_some(init.pid).into_iter().collect())
}
