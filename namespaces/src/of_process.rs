//! The namespaces of a running process: entered all at once by its handle, or, on kernels before 5.8, one
//! by one. Not its job: namespaces that a spec names by path (join).

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use sys::at::{Mode, OFlags};
use sys::process::NamespaceFlags;
use sys::{Errno, SysError};

use crate::join::{self, Opened};
use crate::{Error, Join, Namespace, Result};

/// Namespaces of a process that is held by a handle, so that no other can have taken its id.
#[derive(Debug)]
pub struct OfProcess {
    /// Its handle.
    pub pidfd: OwnedFd,
    /// Its id in the host's PID namespace.
    pub pid: i32,
    /// Which of its namespaces, as CLONE_NEW* bits.
    pub kinds: NamespaceFlags,
}

impl OfProcess {
    /// Puts this process into all of them (of a PID namespace: its next child). The kernel gives the rights
    /// of the user namespace, if it is among them, to the entering of the others.
    ///
    /// # Errors
    /// [`Error::JoinProcess`]; this process is then of no more use.
    pub fn enter(&self) -> Result<()> {
        let at_once = match sys::fault::broken("no-setns-pidfd") {
            true => Err(SysError::new("setns", "", Errno::INVAL)),
            false => sys::namespace::enter(&self.pidfd, self.kinds),
        };
        match at_once {
            // Before Linux 5.8 a pidfd is no namespace.
            Err(e) if e.errno == Errno::INVAL => join::enter(&self.open(self.kinds)?),
            result => result.map_err(|e| self.refused(e)),
        }
    }

    /// Opens those of `kinds` that it has, each for itself.
    ///
    /// # Errors
    /// [`Error::JoinProcess`], with ESRCH if the process has ended.
    pub fn open(&self, kinds: NamespaceFlags) -> Result<Vec<Opened>> {
        let kinds = kinds & self.kinds;
        let opened = Namespace::ALL
            .into_iter()
            .filter(|kind| kinds & kind.flag() != 0)
            .map(|kind| self.open_one(kind))
            .collect::<Result<Vec<_>>>()?;
        self.still_lives()?;
        Ok(opened)
    }

    /// Opens its root directory.
    ///
    /// # Errors
    /// As [`OfProcess::open`].
    pub fn root(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = self.open_file("root", flags)?;
        self.still_lives()?;
        Ok(root)
    }

    /// Its id may have been somebody else's by the time its files were opened: not if it lives now.
    fn still_lives(&self) -> Result<()> {
        let ended = sys::poll::readable(&[self.pidfd.as_fd()], Some(Instant::now()))
            .map_err(|e| self.refused(e))?;
        match ended.first() {
            Some(false) => Ok(()),
            _ => Err(self.refused(SysError::new("open", self.pid, Errno::SRCH))),
        }
    }

    /// From our own procfs, whose links nobody can have mounted over.
    fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        let path = format!("{}/{name}", self.pid);
        sys::proc::handle()
            .and_then(|proc| {
                sys::at::openat(proc, path.as_str(), flags, Mode::empty())
                    .map_err(|errno| SysError::new("open", format_args!("/proc/{path}"), errno))
            })
            .map_err(|e| self.refused(e))
    }

    fn open_one(&self, namespace: Namespace) -> Result<Opened> {
        let name = format!("ns/{}", namespace.proc_name());
        let fd = self.open_file(&name, OFlags::RDONLY | OFlags::CLOEXEC)?;
        Ok(Opened {
            join: Join {
                namespace,
                path: format!("/proc/{}/{name}", self.pid).into(),
                field: format!("process {}", self.pid),
            },
            fd,
        })
    }

    fn refused(&self, source: SysError) -> Error {
        Error::JoinProcess {
            pid: self.pid,
            kinds: Namespace::list(self.kinds),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(child: &std::process::Child) -> OfProcess {
        let pid = i32::try_from(child.id()).unwrap();
        OfProcess {
            pidfd: sys::process::open_process(sys::process::Pid::from_raw(pid).unwrap()).unwrap(),
            pid,
            kinds: Namespace::Uts.flag() | Namespace::Pid.flag(),
        }
    }

    #[test]
    fn namespaces_of_a_process_that_has_ended_are_not_opened() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let process = of(&child);
        assert_eq!(process.open(Namespace::Uts.flag()).unwrap().len(), 1);
        assert_eq!(process.open(Namespace::Network.flag()).unwrap().len(), 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.open(Namespace::Uts.flag()).is_err());
    }
}
