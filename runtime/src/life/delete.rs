//! `delete`: removes all that a container has left: processes, cgroup, state. It goes by the record, which
//! was written before anything was made, so that it also clears what a crash of any verb has left.
//! Not its job: the caller's bundle.

use std::os::fd::{AsFd, OwnedFd};

use sys::log::debug;

use crate::hooks::{self, Setting};
use crate::life::{cgroup, kill, run};
use crate::state::{Record, Status};
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

/// Deletes the container `id`. What it gives are failures of poststop hooks: they are to be told, and change
/// nothing (runtime.md, "Lifecycle").
///
/// # Errors
/// [`Error::Missing`] without force (with it, what is not there is deleted already);
/// [`Error::Status`] for one that runs or is paused, without force.
pub fn delete(store: &Store, id: &ContainerId, force: Force) -> Result<Vec<Error>> {
    let ended = match force {
        Force::Yes => end_creation(store, id),
        Force::No => Ok(()),
    };
    match ended.and_then(|()| clear(store, id, force, None)) {
        Err(Error::Missing { .. }) if force == Force::Yes => Ok(Vec::new()),
        result => result,
    }
}

/// Deletes a container whose creation is over; one of `signals` ends a poststop hook.
pub(crate) fn clear(
    store: &Store,
    id: &ContainerId,
    force: Force,
    signals: Option<&OwnedFd>,
) -> Result<Vec<Error>> {
    let place = store.lock(id)?;
    let Some(record) = place.record()? else {
        // A crash between the directory and the first record: nothing else was made.
        return match force {
            Force::Yes => place.remove().map(|()| Vec::new()),
            Force::No => Err(Error::Status {
                id: id.to_string(),
                reason: "its creation was cut off; use --force".to_owned(),
            }),
        };
    };
    let status = place.status(&record)?;
    // One that was never started has nobody's program in it: runc, crun and youki delete it without force.
    let idle = matches!(status, Status::Created | Status::Stopped);
    if force == Force::No && !idle {
        let reason = format!(
            "cannot delete container that is not stopped: {}",
            status.word()
        );
        return Err(Error::Status {
            id: id.to_string(),
            reason,
        });
    }
    if status != Status::Stopped || !cgroup_was_empty(&record) {
        kill::everything(&record)?;
    }
    debug(format_args!("{id}: no process left"));
    if let Some(directory) = &record.cgroup {
        let made_from = record.cgroup_made_from.as_deref();
        cgroup::remove(directory, made_from, record.unit.as_ref())?;
        debug(format_args!("cgroup {}: removed", directory.display()));
    }
    crate::rdt::remove(&record.rdt)?;
    remove_scratch(&record)?;
    // After the cgroup, before the record: a crash here runs them again rather than never.
    let failed = run_poststop(&record, signals);
    place.remove()?;
    debug(format_args!("{id}: deleted"));
    Ok(failed)
}

/// Whether its cgroup could be removed as it is: then none of its processes is left to be killed.
fn cgroup_was_empty(record: &Record) -> bool {
    let directory = record.cgroup.as_deref();
    directory.is_some_and(|directory| sys::file::remove_dir(directory).is_ok())
}

/// Removes the container's own changes. Its first process has ended, and its mounts with it.
pub(crate) fn remove_scratch(record: &Record) -> Result<()> {
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

/// Runs the poststop hooks; one that fails keeps neither the next nor the deletion from its course.
pub(crate) fn run_poststop(record: &Record, signals: Option<&OwnedFd>) -> Vec<Error> {
    if record.poststop.is_empty() {
        return Vec::new();
    }
    let setting = match Setting::of(record) {
        Ok(setting) => setting,
        Err(error) => return vec![error],
    };
    let state = record.report(Status::Stopped).to_json();
    let asked = || run::interrupted(signals?).err().map(|e| e.to_string());
    let fd = signals.map(AsFd::as_fd);
    let mut failures = Vec::new();
    for (index, hook) in record.poststop.iter().enumerate() {
        let result = hooks::Running::start(hook, &setting, &state)
            .map_err(|e| e.to_string())
            .and_then(|running| running.wait_or(asked, fd));
        if let Err(reason) = result {
            failures.push(hooks::failed("poststop", index, hook, reason));
        }
    }
    failures
}
