//! `delete`: removes all that a container has left: processes, cgroup, state. It goes by the record, which
//! was written before anything was made, so that it also clears what a crash of any verb has left.
//! Not its job: the caller's bundle.

use sys::log::debug;

use crate::hooks;
use crate::life::kill;
use crate::state::Status;
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// What to do with a container that is not stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Refuse.
    No,
    /// End it first.
    Yes,
}

/// Deletes the container `id`.
///
/// # Errors
/// [`Error::Missing`] without force (with it, what is not there is deleted already);
/// [`Error::Status`] for one that runs, without force.
pub fn delete(store: &Store, id: &ContainerId, force: Force) -> Result<()> {
    match try_delete(store, id, force) {
        Err(Error::Missing { .. }) if force == Force::Yes => Ok(()),
        result => result,
    }
}

fn try_delete(store: &Store, id: &ContainerId, force: Force) -> Result<()> {
    if force == Force::Yes {
        end_creation(store, id)?;
    }
    let place = store.lock(id)?;
    let Some(record) = place.record()? else {
        // A crash between the directory and the first record: nothing else was made.
        return match force {
            Force::Yes => place.remove(),
            Force::No => Err(Error::Status {
                id: id.to_string(),
                reason: "its creation was cut off; use --force".to_owned(),
            }),
        };
    };
    let status = place.status(&record)?;
    if force == Force::No && status != Status::Stopped {
        let reason = format!(
            "cannot delete container that is not stopped: {}",
            status.word()
        );
        return Err(Error::Status {
            id: id.to_string(),
            reason,
        });
    }
    kill::everything(&record)?;
    debug(format_args!("{id}: no process left"));
    if let Some(directory) = &record.cgroup {
        cgroups::delete(directory, record.cgroup_made_from.as_deref())?;
        debug(format_args!("cgroup {}: removed", directory.display()));
    }
    remove_scratch(&record)?;
    let state = record.report(Status::Stopped).to_json();
    // After the cgroup, before the record: a crash here runs them again rather than never.
    let hooked = run_poststop(&record.poststop, &state);
    place.remove()?;
    debug(format_args!("{id}: deleted"));
    hooked
}

/// Removes the container's own changes. Its first process has ended, and its mounts with it.
pub(crate) fn remove_scratch(record: &crate::Record) -> Result<()> {
    let Some(scratch) = &record.scratch else {
        return Ok(());
    };
    let doing = || Error::host("remove the container's writable layer");
    let (Some(parent), Some(name)) = (scratch.parent(), scratch.file_name()) else {
        return Ok(());
    };
    match sys::file::open_dir(parent) {
        Ok(dir) => sys::file::remove_tree(dir, name).map_err(doing()),
        Err(e) if e.errno == sys::Errno::NOENT => Ok(()),
        Err(e) => Err(doing()(e)),
    }
}

/// A creation that is still going on holds the lock; ending its processes ends it.
fn end_creation(store: &Store, id: &ContainerId) -> Result<()> {
    let place = store.open(id)?;
    match place.record()? {
        // Of a dhow that was killed, the first process has a copy of the lock until it hears of that.
        Some(record) if record.init.is_none() => kill::everything(&record),
        _ => Ok(()),
    }
}

/// A failing poststop hook does not keep the container (runtime.md: log and go on): the rest runs, and
/// the first failure is told at the end.
fn run_poststop(list: &[hooks::HookEntry], state: &[u8]) -> Result<()> {
    let mut first = Ok(());
    for (index, hook) in list.iter().enumerate() {
        let result = hooks::Running::start(hook, state)
            .map_err(|e| e.to_string())
            .and_then(hooks::Running::wait)
            .map_err(|reason| hooks::failed("poststop", index, hook, reason));
        first = first.and(result);
    }
    first
}
