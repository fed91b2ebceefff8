//! `start`: lets a created container's program begin. Not its job: waiting for its end (run).

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use sys::Errno;

use crate::hooks::{self, HookEntry, Running, Setting};
use crate::notify::Proxy;
use crate::process::listener;
use crate::process::sync::{self, FromInit};
use crate::state::{ProcessId, Record, Status};
use crate::store::{Place, START, Store};
use crate::{ContainerId, Error, Result};

/// A start that waits for the program's exec.
#[derive(Debug)]
pub struct Starting {
    place: Place,
    record: Record,
    socket: OwnedFd,
    /// The connection to the seccomp agent, until it is passed on.
    agent: Option<OwnedFd>,
    /// The poststart hooks, once the program runs.
    hooks: Option<Hooks>,
}

/// The poststart hooks that are still to run, and the one that runs.
#[derive(Debug)]
struct Hooks {
    setting: Setting,
    state: Vec<u8>,
    queue: VecDeque<(usize, HookEntry)>,
    running: Option<(usize, HookEntry, Running)>,
}

/// Starts the container `id` and waits until its program runs.
///
/// # Errors
/// [`Error::Missing`], [`Error::Status`] unless it is created, or why its program can't be executed;
/// a poststart hook that fails ends the container.
pub fn start(store: &Store, id: &ContainerId) -> Result<()> {
    start_notified(store, id, None)
}

/// The same, and waits until the program says on its notify socket that it is ready, which is passed on to
/// the service manager's at `notify`.
///
/// # Errors
/// As [`start`].
pub fn start_notified(store: &Store, id: &ContainerId, notify: Option<&OsStr>) -> Result<()> {
    let starting = Starting::begin(store, id)?;
    let proxy = Proxy::open(&starting.place, notify)?;
    let first = starting.record.init.map_or(0, |init| init.pid);
    starting.finish()?;
    match proxy {
        Some(proxy) => proxy.wait(first),
        None => Ok(()),
    }
}

impl Starting {
    /// The start of a container that was made just now, by us, and let go: only to be waited for.
    pub(crate) fn follow(place: Place, record: Record, socket: OwnedFd) -> Self {
        Self {
            place,
            record,
            socket,
            agent: None,
            hooks: None,
        }
    }

    /// Wakes the first process.
    ///
    /// # Errors
    /// As [`start`].
    pub fn begin(store: &Store, id: &ContainerId) -> Result<Self> {
        let place = store.lock(id)?;
        let record = place
            .record()?
            .ok_or_else(|| Error::Missing { id: id.to_string() })?;
        let wrong = |reason: String| Error::Status {
            id: id.to_string(),
            reason,
        };
        match place.status(&record)? {
            Status::Created => {}
            Status::Stopped => {
                return Err(wrong(
                    "cannot start a container that has stopped".to_owned(),
                ));
            }
            status => {
                return Err(wrong(format!(
                    "cannot start a container in the {} state",
                    status.word()
                )));
            }
        }
        // Before the first process is woken: an agent that is not there leaves the container as it is.
        let agent = listener::connect(&record)?;
        match sys::socket::connect(place.dir(), START) {
            Ok(socket) => Ok(Self {
                place,
                record,
                socket,
                agent,
                hooks: None,
            }),
            Err(e) if e.errno == Errno::CONNREFUSED => Err(wrong(
                "cannot start an already running container".to_owned(),
            )),
            Err(e) => Err(Error::host("wake the first process")(e)),
        }
    }

    /// What must be readable, or which moment must have come, before it is worth advancing.
    pub fn waits_for(&self) -> (BorrowedFd<'_>, Option<Instant>) {
        let running = self.hooks.as_ref().and_then(|hooks| hooks.running.as_ref());
        match running {
            Some((_, _, running)) => (running.fd(), running.deadline()),
            None => (self.socket.as_fd(), None),
        }
    }

    /// Goes on by one message or one hook, waiting for it if it is not there yet; `true` when all is done.
    ///
    /// # Errors
    /// As [`start`].
    pub fn advance(&mut self) -> Result<bool> {
        let result = match &mut self.hooks {
            None => return self.listen(),
            Some(hooks) => hooks.advance(),
        };
        result.map_err(|error| self.end(error))
    }

    /// Advances until all is done.
    ///
    /// # Errors
    /// As [`start`].
    pub fn finish(mut self) -> Result<()> {
        while !self.advance()? {}
        Ok(())
    }

    /// The exec closes the other end: silence is success. What failed is about to end by itself; whoever asks next
    /// is to find it stopped.
    fn listen(&mut self) -> Result<bool> {
        match sync::hear(&self.socket)
            .map_err(Error::host("listen to the first process"))?
            .message
        {
            None => {}
            Some(FromInit::NeedListener) => {
                let (status, init) = (Status::Created, self.record.init);
                let pid = init.map_or(0, |init| init.pid);
                // A run has it made no earlier: if nobody is there, all is cleared away.
                let agent = match self.agent.take() {
                    None => listener::connect(&self.record)?,
                    agent => agent,
                };
                listener::give(&self.socket, agent, &self.record, status, pid)?;
                return Ok(false);
            }
            Some(FromInit::Failed(failure)) if failure.errno == 0 => {
                // A hook's: the words are complete, and callers match them.
                return Err(self.end(Error::Words(failure.to_string())));
            }
            Some(FromInit::Failed(failure)) => {
                return Err(self.end(Error::Program(Box::new(failure))));
            }
            Some(_) => {
                return Err(Error::Words(
                    "the first process sent an unknown message".to_owned(),
                ));
            }
        }
        sys::log::debug(format_args!("{}: started", self.record.id));
        if self.record.poststart.is_empty() {
            return Ok(true);
        }
        // From here on other verbs may go on: a hook that hangs must not keep `delete` from its work.
        self.place
            .unlock()
            .and_then(|()| Hooks::new(&self.record))
            .map(|hooks| {
                self.hooks = Some(hooks);
                false
            })
            .map_err(|error| self.end(error))
    }

    /// runtime.md: a failing poststart hook ends the container; `delete` clears it.
    fn end(&mut self, error: Error) -> Error {
        if let Some((_, _, running)) = self.hooks.take().and_then(|hooks| hooks.running) {
            running.abandon();
        }
        // Without our lock it may have been deleted, and its name and cgroup been given to another.
        let lives = self.record.init.map_or(Ok(false), ProcessId::lives);
        let ended = match lives.map_err(Error::host("look at the container")) {
            Ok(true) => crate::life::kill::everything(&self.record),
            Ok(false) => Ok(()),
            Err(e) => Err(e),
        };
        match ended {
            Ok(()) => error,
            Err(e) => Error::AndThen {
                first: Box::new(error),
                notes: vec![crate::error::chain(&e)],
            },
        }
    }

    /// Ends the container and gives `error` back, with what else went wrong.
    pub(crate) fn abandon(mut self, error: Error) -> Error {
        self.end(error)
    }

    /// The container's directory.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Hooks {
    fn new(record: &Record) -> Result<Self> {
        Ok(Self {
            setting: Setting::of(record)?,
            state: record.report(Status::Running).to_json(),
            queue: record.poststart.iter().cloned().enumerate().collect(),
            running: None,
        })
    }

    fn advance(&mut self) -> Result<bool> {
        if let Some((index, hook, mut running)) = self.running.take() {
            sys::poll::readable(&[running.fd()], running.deadline())
                .map_err(Error::host("wait for a hook"))?;
            match running.finish() {
                None => {
                    self.running = Some((index, hook, running));
                    return Ok(false);
                }
                Some(Err(reason)) => return Err(hooks::failed("poststart", index, &hook, reason)),
                Some(Ok(())) => {}
            }
        }
        let Some((index, hook)) = self.queue.pop_front() else {
            return Ok(true);
        };
        let running = Running::start(&hook, &self.setting, &self.state)
            .map_err(|e| hooks::failed("poststart", index, &hook, e.to_string()))?;
        self.running = Some((index, hook, running));
        Ok(false)
    }
}
