//! Entering existing namespaces: opened, checked to be what the spec says, entered in an order in which
//! each step still has the rights that it needs. Not its job: who enters what (shape).

use std::os::fd::OwnedFd;

use sys::at::{Mode, OFlags};
use sys::{Errno, SysError};

use crate::{Error, Join, Namespace, Result, TimeOffsets};

/// A namespace that is open and known to be of its kind.
#[derive(Debug)]
pub struct Opened {
    /// What the spec said.
    pub join: Join,
    /// The namespace.
    pub fd: OwnedFd,
}

impl Join {
    /// Opens the namespace and checks its kind, before any namespace is changed.
    ///
    /// # Errors
    /// [`Error::Open`]; [`Error::WrongKind`] for a file that is no namespace or one of another kind.
    pub fn open(&self) -> Result<Opened> {
        let fail = |source| Error::Open {
            field: self.field.clone(),
            namespace: self.namespace,
            source,
        };
        // It opens without blocking: a FIFO at the path is no reason to wait for ever.
        let fd = OwnedFd::from(sys::file::open(&self.path).map_err(fail)?);
        let found = match sys::namespace::kind(&fd).map_err(fail)? {
            Some(flag)
                if flag == self.namespace.flag()
                    || sys::fault::broken("no-namespace-kind-check") =>
            {
                return Ok(Opened {
                    join: self.clone(),
                    fd,
                });
            }
            Some(flag) => match Namespace::from_flag(flag) {
                Some(kind) => format!("a {kind} namespace"),
                None => format!("a namespace of kind {flag:#x}"),
            },
            None => "no namespace".to_owned(),
        };
        Err(Error::WrongKind {
            field: self.field.clone(),
            path: self.path.clone(),
            namespace: self.namespace,
            found,
        })
    }
}

/// Opens all of them.
///
/// # Errors
/// As [`Join::open`].
pub fn open_all(joins: &[Join]) -> Result<Vec<Opened>> {
    joins.iter().map(Join::open).collect()
}

/// The order of entering: the mount namespace after those that only need rights, since its /proc is
/// another one; the user namespace apart, see [`enter`].
const ORDER: [Namespace; 7] = [
    Namespace::Cgroup,
    Namespace::Ipc,
    Namespace::Uts,
    Namespace::Network,
    Namespace::Pid,
    Namespace::Time,
    Namespace::Mount,
];

/// Puts this process into all of them (of a PID namespace: its next child).
///
/// A user namespace takes our rights over what belongs to outer ones and gives us those over what belongs
/// to it. So what we can enter now is entered first, then the user namespace, then what was refused before.
///
/// # Errors
/// [`Error::Join`] for the first that refused us for good; this process is then of no more use.
pub fn enter(opened: &[Opened]) -> Result<()> {
    let user = opened
        .iter()
        .find(|opened| opened.join.namespace == Namespace::User);
    let mut refused = Vec::new();
    for kind in ORDER {
        for opened in opened.iter().filter(|o| o.join.namespace == kind) {
            match opened.enter() {
                Err(Error::Join { source, .. })
                    if user.is_some() && source.errno == Errno::PERM =>
                {
                    refused.push(opened);
                }
                other => other?,
            }
        }
    }
    if let Some(user) = user {
        user.enter()?;
    }
    refused.into_iter().try_for_each(Opened::enter)
}

impl Opened {
    fn enter(&self) -> Result<()> {
        sys::namespace::enter(&self.fd, self.join.namespace.flag()).map_err(|source| Error::Join {
            field: self.join.field.clone(),
            path: self.join.path.clone(),
            namespace: self.join.namespace,
            source,
        })
    }
}

/// Makes new namespaces for this process by unshare(2) (see [`crate::Start::unshare`]).
///
/// # Errors
/// [`Error::Unshare`].
pub fn unshare(kinds: sys::process::NamespaceFlags) -> Result<()> {
    if kinds == 0 {
        return Ok(());
    }
    sys::namespace::unshare(kinds).map_err(|source| Error::Unshare {
        names: Namespace::list(kinds),
        source,
    })
}

/// We are, for our next child, in namespaces that are not ours. [`SteppedIn::back`] must follow the clone:
/// a child made without it (a hook) would live in the container's.
#[derive(Debug)]
#[must_use = "the next child is born in foreign namespaces until `back` is called"]
pub struct SteppedIn {
    ours: Vec<(Namespace, OwnedFd)>,
}

impl SteppedIn {
    /// Enters `opened` and, if `clocks` is given, a new time namespace with its clocks set.
    ///
    /// # Errors
    /// [`Error::Join`], [`Error::TimeOffsets`] or [`Error::Unshare`]; we are then back where we were.
    pub fn enter(opened: &[Opened], clocks: Option<&TimeOffsets>) -> Result<Self> {
        let mut stepped = Self { ours: Vec::new() };
        match stepped.try_enter(opened, clocks) {
            Ok(()) => Ok(stepped),
            Err(error) => {
                // The first error is the one to be told; that we can't return either is told only
                // when it is the sole one.
                let _ = stepped.back();
                Err(error)
            }
        }
    }

    /// Makes a namespace and enters it; gives it, too, or why it can't be had.
    pub(crate) fn make(kind: Namespace) -> Result<(Self, Result<OwnedFd>)> {
        let ours = our_own(kind)?;
        unshare(kind.flag())?;
        let stepped = Self {
            ours: vec![(kind, ours)],
        };
        Ok((stepped, our_own(kind)))
    }

    /// Makes a mount namespace and enters it, to come back from it before anything else is run.
    ///
    /// # Errors
    /// [`Error::Unshare`].
    pub fn workshop() -> Result<Self> {
        let mount = Namespace::Mount;
        let ours = vec![(mount, our_own(mount)?)];
        unshare(mount.flag())?;
        Ok(Self { ours })
    }

    fn try_enter(&mut self, opened: &[Opened], clocks: Option<&TimeOffsets>) -> Result<()> {
        for opened in opened {
            let kind = opened.join.namespace;
            self.ours.push((kind, our_own(kind)?));
            opened.enter()?;
        }
        if let Some(clocks) = clocks {
            self.ours.push((Namespace::Time, our_own(Namespace::Time)?));
            unshare(Namespace::Time.flag())?;
            clocks.write()?;
        }
        Ok(())
    }

    /// Goes back to our own namespaces.
    ///
    /// # Errors
    /// [`Error::Return`]: this process must make no more children.
    pub fn back(self) -> Result<()> {
        for (namespace, fd) in self.ours.into_iter().rev() {
            sys::namespace::enter(fd, namespace.flag())
                .map_err(|source| Error::Return { namespace, source })?;
        }
        Ok(())
    }
}

/// The namespace of this kind that we are in.
fn our_own(kind: Namespace) -> Result<OwnedFd> {
    let path = format!("self/ns/{}", kind.proc_name());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    // From our own procfs, whose links nobody can have mounted over.
    sys::proc::handle()
        .and_then(|proc| {
            sys::at::openat(proc, path.as_str(), flags, Mode::empty())
                .map_err(|errno| SysError::new("open", format_args!("/proc/{path}"), errno))
        })
        .map_err(|source| Error::Return {
            namespace: kind,
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(namespace: Namespace, path: &str) -> Join {
        Join {
            namespace,
            path: path.into(),
            field: "linux.namespaces[0].path".to_owned(),
        }
    }

    #[test]
    fn a_namespace_of_its_kind_opens() {
        join(Namespace::Network, "/proc/self/ns/net")
            .open()
            .unwrap();
    }

    #[test]
    fn what_is_no_namespace_of_the_kind_is_named() {
        let table = [
            (
                "/proc/self/ns/net",
                "linux.namespaces[0].path: /proc/self/ns/net is a network namespace, not a pid namespace",
            ),
            (
                "/proc/self/status",
                "linux.namespaces[0].path: /proc/self/status is no namespace, not a pid namespace",
            ),
            (
                "/nonexistent/ns",
                "linux.namespaces[0].path: open the pid namespace",
            ),
        ];
        for (path, expected) in table {
            let error = join(Namespace::Pid, path).open().unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_fifo_does_not_hang_us() {
        let dir = tempfile::tempdir().unwrap();
        let fd = sys::file::open_dir(dir.path()).unwrap();
        sys::at::mkfifoat(&fd, "fifo", Mode::from_raw_mode(0o600)).unwrap();
        let path = dir.path().join("fifo");
        let error = join(Namespace::Pid, path.to_str().unwrap())
            .open()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("is no namespace, not a pid namespace")
        );
    }

    #[test]
    fn the_mount_namespace_comes_last() {
        assert_eq!(ORDER.last(), Some(&Namespace::Mount));
    }
}
