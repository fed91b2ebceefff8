//! `start`: lets a created container's program begin. Not its job: waiting for its end (run).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::Errno;

use crate::hooks;
use crate::process::sync::{self, FromInit};
use crate::state::{Record, Status};
use crate::store::{Place, START, Store};
use crate::{ContainerId, Error, Result};

/// A start that waits for the program's exec.
#[derive(Debug)]
pub struct Starting {
    place: Place,
    record: Record,
    socket: OwnedFd,
}

/// Starts the container `id` and waits until its program runs.
///
/// # Errors
/// [`Error::Missing`], [`Error::Status`] unless it is created, or why its program can't be executed;
/// a poststart hook that fails ends the container.
pub fn start(store: &Store, id: &ContainerId) -> Result<()> {
    Starting::begin(store, id)?.finish()
}

impl Starting {
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
        match sys::socket::connect(place.dir(), START) {
            Ok(socket) => Ok(Self {
                place,
                record,
                socket,
            }),
            Err(e) if e.errno == Errno::CONNREFUSED => Err(wrong(
                "cannot start an already running container".to_owned(),
            )),
            Err(e) => Err(Error::host("wake the first process")(e)),
        }
    }

    /// Readable when the program runs or could not be run.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits for that; runs the poststart hooks.
    ///
    /// # Errors
    /// As [`start`].
    pub fn finish(self) -> Result<()> {
        // The exec closes the other end: silence is success.
        match sync::hear(&self.socket)
            .map_err(Error::host("listen to the first process"))?
            .message
        {
            None => {}
            Some(FromInit::Failed(failure)) => return Err(Error::Program(Box::new(failure))),
            Some(_) => {
                return Err(Error::Words(
                    "the first process sent an unknown message".to_owned(),
                ));
            }
        }
        sys::log::debug(format_args!("{}: started", self.record.id));
        if self.record.poststart.is_empty() {
            return Ok(());
        }
        let state = self.record.report(Status::Running).to_json();
        hooks::run_all("poststart", &self.record.poststart, &state).map_err(|error| {
            // runtime.md: a failing poststart hook ends the container; `delete` clears it.
            match crate::life::kill::everything(&self.record) {
                Ok(()) => error,
                Err(e) => Error::AndThen {
                    first: Box::new(error),
                    notes: vec![crate::error::chain(&e)],
                },
            }
        })
    }

    /// The container's directory.
    pub fn place(&self) -> &Place {
        &self.place
    }
}
