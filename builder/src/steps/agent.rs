//! An agent outside, reached by a socket inside: a process of its own passes on what each side says while the command
//! runs. The agent sees us as its caller, whoever asks inside. Not its job: keys.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use sys::at;
use sys::process::{self, CloneRequest, Cloned, Process, Signal, clone};

use crate::error::{Doing, Result};

/// More callers at once wait.
const MOST: usize = 64;

/// The process; dropped, it ends.
pub(crate) struct Agent {
    process: Process,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended_already = process::send_signal(&self.process.pidfd, Signal::KILL);
        let _reaped = process::wait(&self.process.pidfd);
    }
}

impl Agent {
    /// Passes callers of `listener` on to the agent at `socket`. We must be one thread.
    pub(crate) fn start(listener: OwnedFd, socket: &Path) -> Result<Self> {
        let doing = || format!("pass on the agent at {}", socket.display());
        drop(sys::socket::connect_stream(socket).doing(doing)?);
        let parent = process::id();
        match clone(&CloneRequest::default()).doing(doing)? {
            Cloned::Parent(process) => Ok(Self { process }),
            Cloned::Child => {
                let lives = process::die_with_parent(Some(Signal::KILL)).is_ok()
                    && process::parent_id() == Some(parent);
                if lives {
                    let _ended = pass_on(&listener, socket);
                }
                process::exit(1)
            }
        }
    }
}

fn pass_on(listener: &OwnedFd, socket: &Path) -> sys::Result<()> {
    let mut pairs: Vec<(OwnedFd, OwnedFd)> = Vec::new();
    loop {
        let mut fds: Vec<BorrowedFd<'_>> = pairs
            .iter()
            .flat_map(|(inside, outside)| [inside.as_fd(), outside.as_fd()])
            .collect();
        if pairs.len() < MOST {
            fds.push(listener.as_fd());
        }
        let ready = sys::poll::readable(&fds, None)?;
        let called = pairs.len() < MOST && ready.last() == Some(&true);
        let mut index = 0;
        pairs.retain(|(inside, outside)| {
            let at = index * 2;
            index += 1;
            (!ready[at] || moved(inside, outside)) && (!ready[at + 1] || moved(outside, inside))
        });
        if called {
            let inside = sys::socket::accept(listener)?;
            // An agent that has ended meanwhile: the caller finds its end closed.
            if let Ok(outside) = sys::socket::connect_stream(socket) {
                pairs.push((inside, outside));
            }
        }
    }
}

/// Moves what is there; `false` at the end.
fn moved(from: &OwnedFd, to: &OwnedFd) -> bool {
    let mut buffer = [0_u8; 16 * 1024];
    let Ok(count @ 1..) = at::read(from, &mut buffer[..]) else {
        return false;
    };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match at::write(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(_) => return false,
        }
    }
    true
}
