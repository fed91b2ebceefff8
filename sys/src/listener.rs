//! A seccomp filter's listener: calls that wait for an answer (seccomp_unotify(2)), and what their callers see of files.
//! Not its job: filters (seccomp), and which answer is given.
//!
mod caller;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};

pub use self::caller::{Caller, Opened};
use crate::{Errno, Result, SysError};

/// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6).
const SYNC_WAKE_UP: u64 = 1;

/// The end of a filter that hears of its calls.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

/// What a listener has to say.
#[derive(Debug)]
pub enum Heard {
    /// A call waits.
    Call(Call),
    /// None waits any more.
    Nothing,
    /// Nobody is left whom the filter judges.
    End,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub struct Call {
    id: u64,
    /// The calling thread's id in our PID namespace.
    thread: u32,
    number: i64,
    arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It has been done.
    Done,
    /// It fails.
    Failed(Errno),
    /// The kernel goes on with it as if nobody had listened. What we saw of its arguments may not be what the kernel
    /// will see.
    GoOn,
}

impl Listener {
    /// Takes the listener that a filter was loaded with.
    pub fn new(fd: OwnedFd) -> Self {
        // Answers go by without a detour over another processor, where the kernel can do that.
        // SAFETY: the third argument is a plain number; the fd is open.
        let _older_kernel = unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
        Self { fd }
    }

    /// Readable when there is something to hear.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What there is to hear now. Waits for nothing.
    ///
    /// # Errors
    /// As poll(2) and ioctl(2).
    pub fn hear(&self) -> Result<Heard> {
        let mut list = [PollFd::new(&self.fd, PollFlags::IN)];
        match rustix::event::poll(&mut list, Some(&Timespec::default())) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("poll", "", errno)),
        }
        let ready = list[0].revents();
        // Older kernels wait for ever for the call of somebody who has ended: only what poll saw is asked for.
        if !ready.contains(PollFlags::IN) {
            return Ok(match ready.is_empty() {
                true => Heard::Nothing,
                false => Heard::End,
            });
        }
        // SAFETY: the structure holds nothing but numbers, for which zero is a value; the kernel wants it zeroed.
        let mut heard: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request's own structure, borrowed through the call.
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut heard,
            )
        };
        if result < 0 {
            return match crate::process::last_errno() {
                // The caller was ended, or called away by a signal, between the poll and this.
                Errno::NOENT | Errno::INTR => Ok(Heard::Nothing),
                errno => Err(SysError::new("ioctl", "SECCOMP_IOCTL_NOTIF_RECV", errno)),
            };
        }
        Ok(Heard::Call(Call {
            id: heard.id,
            thread: heard.pid,
            number: heard.data.nr.into(),
            arguments: heard.data.args,
        }))
    }

    /// Whether the call still waits: what was opened of its caller before is that caller's then.
    pub fn still_waits(&self, call: &Call) -> bool {
        // SAFETY: the request's own number, borrowed through the call.
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                &raw const call.id,
            )
        };
        result == 0
    }

    /// Lets the caller go on. One that has gone already needs no answer.
    ///
    /// # Errors
    /// As ioctl(2).
    pub fn answer(&self, call: &Call, answer: Answer) -> Result<()> {
        let mut response = libc::seccomp_notif_resp {
            id: call.id,
            val: 0,
            error: 0,
            flags: 0,
        };
        match answer {
            Answer::Done => {}
            Answer::Failed(errno) => response.error = -errno.raw_os_error(),
            Answer::GoOn => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        // SAFETY: the request's own structure, borrowed through the call.
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut response,
            )
        };
        match result {
            0 => Ok(()),
            _ => match crate::process::last_errno() {
                Errno::NOENT | Errno::INPROGRESS => Ok(()),
                errno => Err(SysError::new("ioctl", "SECCOMP_IOCTL_NOTIF_SEND", errno)),
            },
        }
    }
}

/// The calls that [`Call::chown`] reads.
pub const CHOWN_CALLS: [&str; 4] = ["chown", "lchown", "fchown", "fchownat"];

/// A call that gives a file to somebody (chown(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chown {
    /// The file.
    pub what: What,
    /// Its owner from now on; `None`: as it is.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
}

/// How a call names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// By a descriptor.
    Open(i32),
    /// By a path.
    Named {
        /// The descriptor of the folder that it begins at; `None` for the working directory.
        from: Option<i32>,
        /// Where the path is in the caller's memory.
        path: u64,
        /// Whether a link at its end is followed.
        follow: bool,
        /// Whether an empty path means the folder itself.
        empty: bool,
    },
}

impl Call {
    /// The call as one of [`CHOWN_CALLS`]; `None` if it is another.
    ///
    /// # Errors
    /// EINVAL for flags that the kernel would refuse.
    pub fn chown(&self) -> Result<Option<Chown>, Errno> {
        chown(self.number, &self.arguments)
    }

    /// The caller, of whom nothing is to be believed until the call has been found still waiting.
    ///
    /// # Errors
    /// ENOENT if it has ended, or lives in a PID namespace that we don't see.
    pub fn caller(&self) -> Result<Caller> {
        Caller::of(self.thread)
    }
}

fn chown(number: i64, arguments: &[u64; 6]) -> Result<Option<Chown>, Errno> {
    // The kernel looks at 32 bits of what is an int or an id.
    let word = |index: usize| arguments[index] as u32;
    let named = |follow| What::Named {
        from: None,
        path: arguments[0],
        follow,
        empty: false,
    };
    let (what, ids) = match number {
        libc::SYS_fchown => (What::Open(word(0).cast_signed()), 1),
        libc::SYS_fchownat => {
            let flags = word(4).cast_signed();
            if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
                return Err(Errno::INVAL);
            }
            let what = What::Named {
                from: Some(word(0).cast_signed()).filter(|fd| *fd != libc::AT_FDCWD),
                path: arguments[1],
                follow: flags & libc::AT_SYMLINK_NOFOLLOW == 0,
                empty: flags & libc::AT_EMPTY_PATH != 0,
            };
            (what, 2)
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown => (named(true), 1),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown => (named(false), 1),
        _ => return Ok(None),
    };
    let id = |index| Some(word(index)).filter(|id| *id != u32::MAX);
    Ok(Some(Chown {
        what,
        uid: id(ids),
        gid: id(ids + 1),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CWD: u64 = libc::AT_FDCWD.cast_unsigned() as u64;

    #[test]
    fn a_call_says_what_it_gives_to_whom() {
        let open = chown(libc::SYS_fchown, &[7, 33, 0xffff_ffff, 9, 9, 9]);
        let expected = Chown {
            what: What::Open(7),
            uid: Some(33),
            gid: None,
        };
        assert_eq!(open, Ok(Some(expected)));
        // What stands above the 32 bits of an id is nothing to the kernel.
        let named = chown(
            libc::SYS_fchownat,
            &[CWD, 0x1000, 0x1_0000_0001, 5, 0x100, 0],
        );
        let expected = Chown {
            what: What::Named {
                from: None,
                path: 0x1000,
                follow: false,
                empty: false,
            },
            uid: Some(1),
            gid: Some(5),
        };
        assert_eq!(named, Ok(Some(expected)));
        assert_eq!(
            chown(libc::SYS_fchownat, &[3, 0, 0, 0, 0x800, 0]),
            Err(Errno::INVAL)
        );
        assert_eq!(chown(libc::SYS_fchmod, &[0; 6]), Ok(None));
    }
}
