//! `pause` and `resume`: a container's processes stand still where they are, and go on. Nothing is written
//! down: whether it is paused is the freezer's to say, so that a killed `pause` leaves either a container
//! that runs or one that `resume`, `kill` and `delete` know as paused.
//! Not its job: the freezer (cgroups).

use cgroups::Cgroup;

use crate::state::{Record, Status};
use crate::store::{Place, Store};
use crate::{ContainerId, Error, Result};

/// Stops all processes of the container `id`, and waits until they stand.
///
/// It keeps other verbs out meanwhile: a `start` waits for a first process that would not move.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] with runc's words `container not running` unless it is created or
/// runs; [`Error::Cgroup`] if they do not come to a stop, and then they run again.
pub fn pause(store: &Store, id: &ContainerId) -> Result<()> {
    let place = store.lock(id)?;
    let (record, status) = look(&place)?;
    match status {
        Status::Created | Status::Running => Ok(cgroup(&record)?.freeze()?),
        Status::Paused => Err(wrong(
            &record,
            "container not running: it is paused already",
        )),
        Status::Creating | Status::Stopped => Err(wrong(&record, "container not running")),
    }
}

/// Lets the processes of the paused container `id` go on.
///
/// It waits for no other verb: whoever waits for a paused container may hold the lock.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] with runc's words `container not paused`; [`Error::Cgroup`] if a
/// cgroup above it is frozen.
pub fn resume(store: &Store, id: &ContainerId) -> Result<()> {
    let (record, status) = look(&store.open(id)?)?;
    match status {
        Status::Paused => Ok(cgroup(&record)?.thaw()?),
        // A pause was killed while a process slept too deep to be stopped: it would stop later.
        Status::Created | Status::Running if cgroup(&record)?.is_freezing()? => {
            Ok(cgroup(&record)?.thaw()?)
        }
        _ => Err(wrong(&record, "container not paused")),
    }
}

pub(super) fn look(place: &Place) -> Result<(Record, Status)> {
    let record = place.record()?.ok_or_else(|| Error::Missing {
        id: place.id().to_string(),
    })?;
    let status = place.status(&record)?;
    Ok((record, status))
}

/// The container's cgroup.
pub(super) fn cgroup(record: &Record) -> Result<Cgroup> {
    let Some(path) = &record.cgroup else {
        return Err(wrong(record, "container has no cgroup of its own"));
    };
    match Cgroup::open(path)? {
        Some(cgroup) => Ok(cgroup),
        None => Err(wrong(
            record,
            &format!("its cgroup {} is gone", path.display()),
        )),
    }
}

fn wrong(record: &Record, reason: &str) -> Error {
    Error::Status {
        id: record.id.clone(),
        reason: reason.to_owned(),
    }
}
