//! `run`: create, start, stay beside, delete. Our signals are the container's; its end is ours.
//! Not its job: what the terminal shows (relay).

use std::os::fd::{AsFd, OwnedFd};

use sys::process::{Exit, Process, Signal};

use crate::life::create::{Created, Creation, Progress};
use crate::life::delete::{Force, clear};
use crate::life::options::{Begin, CreateOptions};
use crate::life::relay::{Relay, Terminal};
use crate::life::start::Starting;
use crate::notify::Proxy;
use crate::{Error, Result};

/// Whether to stay beside the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Come back when its program runs.
    Detached,
    /// Wait for its end, then delete it.
    Foreground,
    /// Wait for its end and leave it there, stopped.
    Keep,
}

/// How a container that was waited for ended.
#[derive(Debug)]
pub struct Outcome {
    /// How its first process ended.
    pub exit: Exit,
    /// How many of its processes the kernel killed for want of memory; 0 where it does not say.
    pub oom_kills: u64,
    /// Failures of poststop hooks.
    pub poststop: Vec<Error>,
}

/// Runs a container; `None` for a detached one.
///
/// # Errors
/// Whatever kept it from running; nothing is left behind then, unless it is to be kept.
pub fn run(mut options: CreateOptions, manner: Manner) -> Result<Option<Outcome>> {
    let (store, id) = (options.store.clone(), options.id.clone());
    options.begin = Begin::AtOnce;
    if manner == Manner::Detached {
        let (mut created, starting) = create_watched(options, None)?;
        let begun = starting.finish().and_then(|()| match created.proxy.take() {
            Some(proxy) => proxy.wait(created.process.pid.as_raw_nonzero().get()),
            None => Ok(()),
        });
        return match begun {
            Ok(()) => Ok(None),
            Err(error) => Err(after(error, clear(&store, &id, Force::Yes, None))),
        };
    }
    // Before anything is made: a signal now must not leave a container behind.
    let signals =
        sys::signal::signals_as_fd().map_err(Error::host("take our signals as a descriptor"))?;
    let process = options.spec.process_mut().as_mut();
    let terminal = Terminal::wanted(process, &mut options.console_socket)?;
    if terminal.is_some() {
        // Somebody sits there, and nobody waits for a service.
        options.notify = None;
    }
    let (mut created, starting) = create_watched(options, Some(&signals))?;
    let outcome = start_watched(starting, &signals)
        .and_then(|()| match created.proxy.take() {
            Some(proxy) => until_ready(&created.process, &signals, &proxy),
            None => Ok(()),
        })
        .and_then(|()| beside(&created, &signals, terminal));
    let cleared = match (manner, &outcome) {
        (Manner::Keep, Ok(_)) => Ok(Vec::new()),
        _ => clear(&store, &id, Force::Yes, Some(&signals)),
    };
    match outcome {
        Ok(outcome) => cleared.map(|poststop| {
            Some(Outcome {
                poststop,
                ..outcome
            })
        }),
        Err(error) => Err(after(error, cleared)),
    }
}

/// Stays beside the container until its program is ready or has ended. The process that the service manager
/// is to watch is ours, which ends with it.
fn until_ready(process: &Process, signals: &OwnedFd, proxy: &Proxy) -> Result<()> {
    loop {
        let fds = [proxy.fd(), process.pidfd.as_fd(), signals.as_fd()];
        let ready = sys::poll::readable(&fds, None)
            .map_err(Error::host("wait until the program is ready"))?;
        let us = sys::process::id().as_raw_nonzero().get();
        if ready[0] && proxy.pass_on(us)? || ready[1] {
            return Ok(());
        }
        if ready[2] {
            forward(process, signals)?;
        }
    }
}

/// As [`Starting::finish`], but a signal that would end us ends a hook that hangs, and the container.
fn start_watched(mut starting: Starting, signals: &OwnedFd) -> Result<()> {
    loop {
        let (fd, deadline) = starting.waits_for();
        let ready = sys::poll::readable(&[fd, signals.as_fd()], deadline)
            .map_err(Error::host("wait for the program's start"))?;
        // What has come about goes before what was asked for meanwhile.
        let quiet = ready == [false, true];
        if quiet {
            if let Err(error) = interrupted(signals) {
                return Err(starting.abandon(error));
            }
        } else if starting.advance()? {
            return Ok(());
        }
    }
}

/// The first error with what clearing up had to say.
pub(super) fn after(error: Error, cleared: Result<Vec<Error>>) -> Error {
    let failures = cleared.unwrap_or_else(|e| vec![e]);
    if failures.is_empty() {
        return error;
    }
    Error::AndThen {
        first: Box::new(error),
        notes: failures.iter().map(|e| crate::error::chain(e)).collect(),
    }
}

/// As `create`, until the program may begin; a signal that would end us takes back what was made.
fn create_watched(
    options: CreateOptions,
    signals: Option<&OwnedFd>,
) -> Result<(Created, Starting)> {
    let mut creation = Creation::begin(options)?;
    loop {
        let result = match signals {
            Some(signals) => advance_watched(&mut creation, signals),
            None => creation.advance(),
        };
        match result {
            Ok(Progress::Done(created)) => {
                let starting = creation.into_starting().expect("it begins at once");
                return Ok((*created, starting));
            }
            Ok(Progress::Waiting) => {}
            Err(error) => return Err(creation.undo(error)),
        }
    }
}

fn advance_watched(creation: &mut Creation, signals: &OwnedFd) -> Result<Progress> {
    let (mut fds, deadline) = creation.waits_for();
    fds.push(signals.as_fd());
    let ready =
        sys::poll::readable(&fds, deadline).map_err(Error::host("wait for the first process"))?;
    if ready.last() == Some(&true) {
        return interrupted(signals).map(|()| Progress::Waiting);
    }
    creation.advance()
}

pub(crate) fn interrupted(signals: &OwnedFd) -> Result<()> {
    let ends = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].map(Signal::as_raw);
    while let Some(number) =
        sys::signal::next_signal(signals).map_err(Error::host("read our signals"))?
    {
        if ends.contains(&number) {
            return Err(Error::Words(format!("interrupted by signal {number}")));
        }
    }
    Ok(())
}

/// Stays beside the container until its first process ends.
pub(super) fn beside(
    created: &Created,
    signals: &OwnedFd,
    terminal: Option<Terminal>,
) -> Result<Outcome> {
    let exit = stay(&created.process, signals, terminal)?;
    let oom_kills = created
        .cgroup
        .as_ref()
        .map(|cgroup| cgroup.oom_kills())
        .transpose()?
        .flatten()
        .unwrap_or(0);
    Ok(Outcome {
        exit,
        oom_kills,
        poststop: Vec::new(),
    })
}

/// Stays beside a process, with its terminal if we hold it, until it ends.
pub(crate) fn stay(
    process: &Process,
    signals: &OwnedFd,
    terminal: Option<Terminal>,
) -> Result<Exit> {
    match terminal {
        Some(terminal) => Relay::new(terminal)?.run(process, signals),
        None => wait(process, signals),
    }
}

fn wait(process: &Process, signals: &OwnedFd) -> Result<Exit> {
    loop {
        let ready = sys::poll::readable(&[process.pidfd.as_fd(), signals.as_fd()], None)
            .map_err(Error::host("wait for the container"))?;
        if ready[0] {
            return sys::process::wait(&process.pidfd)
                .map_err(Error::host("wait for the container"));
        }
        forward(process, signals)?;
    }
}

/// Passes our signals on. SIGCHLD is about children of ours; SIGPIPE about a write of ours.
pub(crate) fn forward(process: &Process, signals: &OwnedFd) -> Result<()> {
    while let Some(number) =
        sys::signal::next_signal(signals).map_err(Error::host("read our signals"))?
    {
        let ours = [Signal::CHILD, Signal::PIPE, Signal::URG]
            .map(Signal::as_raw)
            .contains(&number);
        let Some(signal) = sys::signal::from_number(number).filter(|_| !ours) else {
            continue;
        };
        match sys::process::send_signal(&process.pidfd, signal) {
            Ok(()) => {}
            // It has just ended: that is what we hear next.
            Err(e) if e.errno == sys::Errno::SRCH => {}
            Err(e) => return Err(Error::host("pass a signal on")(e)),
        }
    }
    Ok(())
}
