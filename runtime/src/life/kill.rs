//! `kill`: sends a signal to a container's first process or to all of them. Not its job: clearing up (delete).

use std::os::fd::OwnedFd;

use sys::process::{Pid, Signal};

use crate::life::members;
use crate::state::Record;
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The first process.
    First,
    /// Every process of the container.
    All,
}

/// Sends `signal` to the container `id`; without one it only looks whether its first process lives, as kill(2) does
/// for signal 0.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] with runc's words `container not running` if its first process
/// has ended (with [`Target::All`] others may still live, and that is no error).
pub fn kill(store: &Store, id: &ContainerId, signal: Option<Signal>, target: Target) -> Result<()> {
    let place = store.open(id)?;
    let record = place
        .record()?
        .ok_or_else(|| Error::Missing { id: id.to_string() })?;
    let Some(signal) = signal else {
        return living(&record).map(drop);
    };
    // Whether it lives is seen at its handle: no lock, no cgroup is asked for that.
    match target {
        Target::All => signal_all(&record, signal)?,
        // A frozen process gets its SIGKILL: cgroup v2's own freezer stopped it, which lets that through.
        Target::First => signal_first(&record, signal)?,
    }
    sys::log::debug(format_args!("{id}: signal {} sent", signal.as_raw()));
    Ok(())
}

fn gone(record: &Record) -> Error {
    Error::Status {
        id: record.id.clone(),
        reason: "container not running".to_owned(),
    }
}

/// The first process, which lives: through a handle that was opened before the identity was checked, so that no
/// other process can have taken the id in between (SECURITY: a recycled id).
fn living(record: &Record) -> Result<OwnedFd> {
    let init = record.init.ok_or_else(|| gone(record))?;
    let pid = Pid::from_raw(init.pid).ok_or_else(|| gone(record))?;
    let pidfd = match sys::process::open_process(pid) {
        Ok(pidfd) => pidfd,
        Err(e) if e.errno == sys::Errno::SRCH => return Err(gone(record)),
        Err(e) => return Err(Error::host("signal the container")(e)),
    };
    if !init.lives().map_err(Error::host("signal the container"))? {
        return Err(gone(record));
    }
    Ok(pidfd)
}

fn signal_first(record: &Record, signal: Signal) -> Result<()> {
    match sys::process::send_signal(living(record)?, signal) {
        // It ended since we looked (its cgroup was killed just before).
        Err(e) if e.errno == sys::Errno::SRCH => Err(gone(record)),
        sent => sent.map_err(Error::host("signal the container")),
    }
}

fn signal_all(record: &Record, signal: Signal) -> Result<()> {
    let cgroup = members::cgroup(record)?;
    if let (Some(cgroup), Signal::KILL) = (&cgroup, signal) {
        return Ok(cgroup.kill()?);
    }
    // Handles first, then the list again: who is in both was of the container while we held its handle, so
    // that no stranger who got a recycled id is signalled.
    let pids = members::ids(record, cgroup.as_ref())?;
    if pids.is_empty() && cgroup.is_none() {
        return Err(gone(record));
    }
    let opened: Vec<(Pid, OwnedFd)> = pids
        .into_iter()
        .filter_map(Pid::from_raw)
        .filter_map(|pid| Some((pid, sys::process::open_process(pid).ok()?)))
        .collect();
    let still = members::ids(record, cgroup.as_ref())?;
    for (pid, handle) in opened {
        if !still.contains(&pid.as_raw_nonzero().get()) {
            continue;
        }
        match sys::process::send_signal(handle, signal) {
            Ok(()) => {}
            Err(e) if e.errno == sys::Errno::SRCH => {}
            Err(e) => return Err(Error::host("signal the container")(e)),
        }
    }
    Ok(())
}

/// Ends every process of the container, and waits for the end of the first.
pub(crate) fn everything(record: &Record) -> Result<()> {
    let cgroup = members::cgroup(record)?;
    let killed = match &cgroup {
        Some(cgroup) => cgroup.kill().map_err(Error::from),
        None => Ok(()),
    };
    let first = match signal_first(record, Signal::KILL) {
        Err(Error::Status { .. }) => Ok(()),
        result => result,
    };
    killed.and(first).and_then(|()| wait_for_end(record))
}

/// The end of a process that is not our child: its handle becomes readable.
fn wait_for_end(record: &Record) -> Result<()> {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    let Some(init) = record.init else {
        return Ok(());
    };
    let Some(pid) = Pid::from_raw(init.pid) else {
        return Ok(());
    };
    let Ok(pidfd) = sys::process::open_process(pid) else {
        return Ok(());
    };
    if !init
        .lives()
        .map_err(Error::host("wait for the container's end"))?
    {
        return Ok(());
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    let ended = sys::poll::readable(&[std::os::fd::AsFd::as_fd(&pidfd)], Some(deadline))
        .map_err(Error::host("wait for the container's end"))?;
    if ended.contains(&true) {
        return Ok(());
    }
    Err(Error::Status {
        id: record.id.clone(),
        reason: format!(
            "its first process {} has not ended {} s after SIGKILL",
            init.pid,
            PATIENCE.as_secs()
        ),
    })
}
