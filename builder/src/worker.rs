//! A process for one step, forked by the build: what it says, and how it is ended. Not its job: what it does, and
//! which step is next.
//!
//! Why processes: a RUN's container can only be made by a process of one thread, and copying, hashing and writing
//! layers keep a processor busy without a descriptor to wait for. So the build itself stays one thread that waits;
//! each step has a process that does all of it (key, cache, act, layer, entry) and tells the build by a socket that
//! keeps messages apart. What a step leaves is in the store when it says so: a process that ends at any moment leaves
//! nothing half.
//!
//! Across the fork: leases and locks of the build are on descriptors that both have, and go when the last of them
//! does. A worker never gives one back (it leaves by `exit`, so nothing of the build is dropped in it), and those that
//! it takes itself are on descriptors of its own. It gets SIGTERM when the build ends or dies. That ends it at once,
//! and the next who opens the store takes what it left in `work`; but while its container runs, it reads the signal and
//! takes the container away first.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use sys::process::{self, CloneRequest, Cloned, Exit, Process, Signal, clone};
use sys::socket;

use crate::cache::Outcome;
use crate::error::{Doing, Error, Result};
use crate::material::Material;

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Its step was done in an earlier build.
    Cached,
    /// The digest of its step's key.
    Key(String),
    /// Why the cache has nothing for its step.
    Missed(Vec<String>),
    /// Something to know.
    Warning(String),
    /// What its step needs has come from a server, or came in an earlier build.
    Material(Material),
    /// Its step is done; the diff id of the layer, if one came of it.
    Done(Option<String>),
    /// Its step failed: the chain of the error.
    Failed(String),
    /// The command prints something.
    #[serde(skip)]
    Output(Vec<u8>),
}

/// The most bytes of one message.
const LONGEST: usize = 96 * 1024;

/// The most bytes of output in one message.
const CHUNK: usize = 32 * 1024;

impl Message {
    /// Output goes as it is, everything else as JSON.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Output(bytes) => [b"o", bytes.as_slice()].concat(),
            // Strings always can be written.
            other => {
                let mut bytes = serde_json::to_vec(other).unwrap_or_default();
                if bytes.len() >= LONGEST {
                    let text = "the step's message is too long".to_owned();
                    bytes = serde_json::to_vec(&Self::Failed(text)).unwrap_or_default();
                }
                [b"j", bytes.as_slice()].concat()
            }
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'o', rest) => Some(Self::Output(rest.to_vec())),
            (_, rest) => serde_json::from_slice(rest).ok(),
        }
    }
}

/// The worker's end of the socket.
pub(crate) struct Voice {
    socket: OwnedFd,
}

impl Voice {
    /// Says something. A build that is gone or does not listen any more ends us by a signal.
    pub(crate) fn say(&self, message: &Message) {
        let _gone = socket::send(&self.socket, &message.bytes(), None);
    }

    /// Says what the command prints.
    pub(crate) fn print(&self, bytes: &[u8]) {
        for chunk in bytes.chunks(CHUNK) {
            self.say(&Message::Output(chunk.to_vec()));
        }
    }
}

/// The build's handle of a worker. Dropped, it ends it.
pub(crate) struct Worker {
    process: Process,
    /// Readable when it says something or has ended.
    pub(crate) socket: OwnedFd,
}

impl Worker {
    /// Forks a process that does `act`. We must be one thread.
    pub(crate) fn start(act: impl FnOnce(&Voice) -> Result<Outcome>) -> Result<Self> {
        let doing = || "start a step's process".to_owned();
        let (ours, theirs) = socket::pair().doing(doing)?;
        let build = process::id();
        match clone(&CloneRequest::default()).doing(doing)? {
            Cloned::Parent(process) => Ok(Self {
                process,
                socket: ours,
            }),
            Cloned::Child => {
                drop(ours);
                let voice = Voice { socket: theirs };
                let result = live_with(build).and_then(|()| act(&voice));
                voice.say(&match result {
                    Ok(Outcome::Layer(layer)) => Message::Done(Some(layer.diff_id.to_string())),
                    Ok(Outcome::Nothing) => Message::Done(None),
                    Err(error) => Message::Failed(runtime::chain(&error)),
                });
                process::exit(0)
            }
        }
    }

    /// What it says next; `None` when it says nothing more. Waits for it.
    pub(crate) fn hear(&self) -> Result<Option<Message>> {
        let doing = || "listen to a step's process".to_owned();
        let mut buffer = vec![0; LONGEST + 1];
        let received = socket::receive(&self.socket, &mut buffer).doing(doing)?;
        if received.length == 0 {
            return Ok(None);
        }
        match Message::read(&buffer[..received.length]) {
            Some(message) => Ok(Some(message)),
            None => Err(Error::Refused(
                "a step's process says what nobody understands".to_owned(),
            )),
        }
    }

    /// Waits for its end, and says how it ended without a result.
    pub(crate) fn ended(&self) -> Error {
        match process::wait(&self.process.pidfd) {
            Ok(Exit::Signal(number)) if ENDS.map(Signal::as_raw).contains(&number) => {
                interrupted_by(number)
            }
            Ok(Exit::Signal(number)) => {
                Error::Refused(format!("the step's process was ended by signal {number}"))
            }
            Ok(Exit::Status(status)) => Error::Refused(format!(
                "the step's process ended with status {status} before the step"
            )),
            Err(source) => Error::System {
                what: "wait for a step's process".to_owned(),
                source,
            },
        }
    }

    /// Waits for its end after its result.
    pub(crate) fn reap(&self) {
        let _reaped = process::wait(&self.process.pidfd);
    }
}

/// Ends them all, and waits until they are gone.
pub(crate) fn end(workers: Vec<Worker>) {
    // First all are told: they end side by side. Without our end of its socket none waits to be heard.
    let told: Vec<Process> = workers
        .into_iter()
        .map(|worker| {
            let _ended_already = process::send_signal(&worker.process.pidfd, Signal::TERM);
            worker.process
        })
        .collect();
    for process in told {
        let _reaped = process::wait(&process.pidfd);
    }
}

/// The signals that ask for an end.
const ENDS: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// The error of who was asked to end.
fn interrupted_by(number: impl std::fmt::Display) -> Error {
    Error::Refused(format!("interrupted by signal {number}"))
}

/// Whether a signal asks us to end.
///
/// # Errors
/// [`Error::Refused`] with the signal if so.
pub(crate) fn interrupted(signals: &OwnedFd) -> Result<()> {
    let doing = || "read our signals".to_owned();
    while let Some(number) = sys::signal::next_signal(signals).doing(doing)? {
        if ENDS.map(Signal::as_raw).contains(&number) {
            return Err(interrupted_by(number));
        }
    }
    Ok(())
}

/// Signals end us from here on, and so does the end of the build.
fn live_with(build: process::Pid) -> Result<()> {
    let doing = || "begin a step's process".to_owned();
    process::die_with_parent(Some(Signal::TERM)).doing(doing)?;
    sys::signal::unblock_all();
    if process::parent_id() != Some(build) {
        process::exit(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_was_said() {
        for message in [
            Message::Cached,
            Message::Warning("w".to_owned()),
            Message::Done(Some("sha256:0".to_owned())),
            Message::Failed("why\n  | line".to_owned()),
            Message::Output(b"\xff\0jo".to_vec()),
        ] {
            let again = Message::read(&message.bytes()).unwrap();
            assert_eq!(format!("{again:?}"), format!("{message:?}"));
        }
    }

    #[test]
    fn a_message_that_is_too_long_says_so() {
        let bytes = Message::Failed("x".repeat(LONGEST)).bytes();
        assert!(bytes.len() < LONGEST);
        assert!(matches!(Message::read(&bytes), Some(Message::Failed(_))));
    }
}
