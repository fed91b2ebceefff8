//! CRIU, the program that writes processes to files and makes them again: started as `criu swrk`, asked over
//! a socket that only the two of us hold. Not its job: what is asked for (life/checkpoint, life/restore).

pub(crate) mod images;
mod message;
mod request;

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

pub(crate) use message::Message;
use message::{Value, fields};
pub use request::CgroupMode;
pub(crate) use request::{FAILED, Kind, Request, option};
pub(crate) use sys::exec::CgroupSight;

use crate::{Error, Result};

/// The largest answer: a handful of numbers and one sentence.
const MAX_ANSWER: usize = 64 << 10;

/// A CRIU that waits for its one request.
#[derive(Debug)]
pub(crate) struct Criu {
    child: Child,
    socket: OwnedFd,
}

/// What CRIU says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    kind: u64,
    success: bool,
    errno: u64,
    words: String,
    notice: Option<Notice>,
}

/// A moment of its work, at which it waits for our answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Its name: `post-restore`.
    pub(crate) script: String,
    /// The first process, where it has one.
    pub(crate) pid: i32,
}

/// How CRIU is started.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The program; `criu` in PATH.
    pub(crate) program: Option<PathBuf>,
    /// A tree that it finds at a place, in a mount namespace of its own: nothing is mounted on the host.
    pub(crate) tree: Option<(OwnedFd, PathBuf)>,
    /// The cgroup in which it works, and from which namespace it sees it. What it restores without a word on
    /// cgroups has both from it: it would leave processes in the host's cgroup namespace otherwise.
    pub(crate) cgroup: Option<(OwnedFd, CgroupSight)>,
    /// No exec of it or of what it restores gains rights: before 3.18 it writes that down of no process.
    pub(crate) no_new_privileges: bool,
    /// Further descriptors, which it has under the numbers that they have here.
    pub(crate) fds: Vec<OwnedFd>,
}

impl Criu {
    /// Starts it.
    ///
    /// # Errors
    /// [`Error::Words`] that says so if it is not installed.
    pub(crate) fn start(around: Surroundings) -> Result<Self> {
        let (ours, theirs) = sys::socket::pair().map_err(Error::host("make the socket to criu"))?;
        let program = around.program.as_deref().unwrap_or(Path::new("criu"));
        let mut command = Command::new(program);
        command.args(["swrk", &theirs.as_raw_fd().to_string()]);
        let fds = std::iter::once(theirs).chain(around.fds).collect();
        if let Some((tree, place)) = around.tree {
            sys::exec::with_tree(&mut command, tree, &place)
                .map_err(Error::host("give criu the root"))?;
        }
        if let Some((cgroup, sight)) = around.cgroup {
            sys::exec::in_cgroup(&mut command, cgroup, sight);
        }
        if around.no_new_privileges {
            sys::exec::without_new_privileges(&mut command);
        }
        sys::exec::with_fds(&mut command, fds);
        match command.spawn() {
            Ok(child) => Ok(Self {
                child,
                socket: ours,
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::Words(format!(
                "{}: not found; checkpoint and restore are done by CRIU, which has to be installed",
                program.display()
            ))),
            Err(e) => {
                let failed = sys::SysError::from_io("start", program.display(), &e);
                Err(Error::host("checkpoint and restore by CRIU")(failed))
            }
        }
    }

    /// Its process' id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    /// Asks, tells `heard` of each moment (with the descriptor that came along), and waits for its end.
    ///
    /// # Errors
    /// Those of `heard`, which end the work; what CRIU complains of.
    pub(crate) fn ask(
        mut self,
        request: &Request,
        mut heard: impl FnMut(&Notice, Option<OwnedFd>) -> Result<()>,
    ) -> Result<()> {
        let result = self.converse(request, &mut heard);
        if result.is_err() || request.kind == Kind::PreDump {
            // It would go on, or wait for us: after a pre-dump for the next one, and complain when none comes.
            let _ended_already = self.child.kill();
        }
        drop(self.socket);
        let ended = self.child.wait();
        result?;
        match ended {
            Ok(status) if status.success() || request.kind == Kind::PreDump => Ok(()),
            Ok(status) => Err(Error::Words(format!("criu: {status}"))),
            Err(e) => {
                let failed = sys::SysError::from_io("wait", "", &e);
                Err(Error::host("wait for criu")(failed))
            }
        }
    }

    fn converse(
        &mut self,
        request: &Request,
        heard: &mut impl FnMut(&Notice, Option<OwnedFd>) -> Result<()>,
    ) -> Result<()> {
        let say = |message: &Message| {
            sys::socket::send(&self.socket, message.bytes(), None)
                .map_err(Error::host("speak to criu"))
        };
        say(&request.message())?;
        let mut buffer = vec![0_u8; MAX_ANSWER];
        loop {
            let received = sys::socket::receive(&self.socket, &mut buffer)
                .map_err(Error::host("listen to criu"))?;
            if received.length == 0 {
                return Err(Error::Words(format!("{}: criu ended", request.kind.word())));
            }
            let Some(answer) = Answer::read(&buffer[..received.length]) else {
                return Err(Error::Words("criu sent something unknown".to_owned()));
            };
            match answer.notice {
                Some(notice) if answer.kind == request::NOTIFY => {
                    sys::log::debug(format_args!("criu: {} {}", notice.script, notice.pid));
                    heard(&notice, received.fd)?;
                    say(&request::noticed())?;
                }
                _ if answer.success => return Ok(()),
                _ => return Err(request.kind.failed(answer.errno, &answer.words)),
            }
        }
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut answer = Self::default();
        for (field, value) in fields(bytes)? {
            match (field, value) {
                (1, Value::Number(kind)) => answer.kind = kind,
                (2, Value::Number(success)) => answer.success = success != 0,
                (5, Value::Bytes(bytes)) => answer.notice = Some(Notice::read(bytes)?),
                (7, Value::Number(errno)) => answer.errno = errno,
                (9, Value::Bytes(words)) => {
                    answer.words = String::from_utf8_lossy(words).into_owned();
                }
                _ => {}
            }
        }
        Some(answer)
    }
}

impl Notice {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut notice = Self::default();
        for (field, value) in fields(bytes)? {
            match (field, value) {
                (1, Value::Bytes(name)) => notice.script = String::from_utf8(name.to_vec()).ok()?,
                (2, Value::Number(pid)) => notice.pid = i32::try_from(pid).ok()?,
                _ => {}
            }
        }
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_notice() {
        let mut notice = Message::default();
        notice.text(1, "post-restore").number(2, 77_u64);
        let mut message = Message::default();
        message
            .number(1, 6_u64)
            .number(2, 1_u64)
            .message(5, &notice);
        let answer = Answer::read(message.bytes()).unwrap();
        let notice = answer.notice.unwrap();
        assert_eq!((notice.script.as_str(), notice.pid), ("post-restore", 77));
        assert!(answer.success);
    }

    #[test]
    fn a_missing_criu_is_named() {
        let around = Surroundings {
            program: Some("/nope/criu".into()),
            ..Surroundings::default()
        };
        let error = Criu::start(around).unwrap_err().to_string();
        assert!(error.starts_with("/nope/criu: not found; "), "{error}");
    }
}
