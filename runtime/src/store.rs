//! The `--root` directory: a directory for each container, with its record, its locks and its start socket.
//!
//! ```text
//! <root>/<id>/            flock'ed by the verb that changes the container
//! <root>/<id>/state.json  the record: what was asked for, and by whom
//! <root>/<id>/init        who the first process is; flock'ed by it until its exec drops that
//! <root>/<id>/exec.json   what `exec` needs, written once
//! <root>/<id>/filter      the seccomp filter, for `exec`
//! <root>/<id>/start       the socket at which the first process waits for `start`
//! ```
//!
//! Not its job: what a verb does with a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::at::{AtFlags, Mode, OFlags};
use sys::file::{Durability, Lock, Wait};
use sys::seccomp::Filter;
use sys::{Errno, SysError};

use crate::entering::Entering;
use crate::state::{Evidence, ProcessId, Record, Status};
use crate::{ContainerId, Error, Result};

const RECORD: &str = "state.json";
const INIT: &str = "init";
const ENTERING: &str = "exec.json";
const FILTER: &str = "filter";

/// The start socket's name.
pub(crate) const START: &str = "start";

/// The largest record: annotations and hooks are the caller's and may be long.
const MAX_RECORD: u64 = 16 << 20;

/// What one write(2) puts into a new file as a whole: who reads meanwhile sees all of it or nothing, and a
/// rename is saved.
const ONE_WRITE: usize = 4096;

/// The directory that holds the containers of this host and user.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store below `root`, which is made when first needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// [`Error::Host`] if the directory is missing or can't be read.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let fail = || format!("list the containers in {}", self.root.display());
        let dir = sys::file::open_dir(&self.root).map_err(Error::host(fail()))?;
        let names = sys::file::list(dir).map_err(Error::host(fail()))?;
        let mut ids: Vec<ContainerId> = names
            .into_iter()
            .filter_map(|(name, _)| name.to_str()?.parse().ok())
            .collect();
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }

    /// Says early that a name is taken: what else is wrong with a second container of that name (its
    /// cgroup is in use) follows from this. [`Store::claim`] makes sure.
    pub(crate) fn refuse_taken(&self, id: &ContainerId) -> Result<()> {
        match self.open(id) {
            Ok(_) => Err(Error::Exists { id: id.to_string() }),
            Err(_) => Ok(()),
        }
    }

    /// Makes the directory of a new container and locks it.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken.
    pub(crate) fn claim(&self, id: &ContainerId) -> Result<Place> {
        let doing = || {
            format!(
                "make the state directory {}",
                self.root.join(id.as_str()).display()
            )
        };
        sys::file::create_dir_all(&self.root, 0o700).map_err(Error::host(doing()))?;
        self.refuse_strangers()?;
        match sys::file::create_dir(self.root.join(id.as_str()), 0o700) {
            Ok(()) => {}
            Err(e) if e.errno == Errno::EXIST => return Err(Error::Exists { id: id.to_string() }),
            Err(e) => return Err(Error::host(doing())(e)),
        }
        self.lock(id).inspect_err(|_| {
            // Empty as we made it; what somebody else has put there by now keeps it.
            let _that_error_is_told = sys::file::remove_dir(self.root.join(id.as_str()));
        })
    }

    /// Somebody else's directory is no place for our state (CVE-2019-12439).
    fn refuse_strangers(&self) -> Result<()> {
        let doing = || format!("use the state directory {}", self.root.display());
        let dir = sys::file::open_dir(&self.root).map_err(Error::host(doing()))?;
        let stat =
            sys::at::fstat(&dir).map_err(|e| Error::host(doing())(SysError::new("stat", "", e)))?;
        let (me, _) = sys::privileges::ids();
        if stat.st_uid == me || stat.st_uid == 0 {
            return Ok(());
        }
        let note = format!("it belongs to user {}, not to {me}", stat.st_uid);
        Err(Error::host(doing())(
            SysError::new("open", "", Errno::PERM).with_note(note),
        ))
    }

    /// Opens a container's directory without a lock: for verbs that only look or signal.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn open(&self, id: &ContainerId) -> Result<Place> {
        match sys::file::open_dir(self.root.join(id.as_str())) {
            Ok(dir) => Ok(Place {
                id: id.clone(),
                root: self.root.clone(),
                dir,
            }),
            Err(e) if e.errno == Errno::NOENT => Err(Error::Missing { id: id.to_string() }),
            Err(e) => Err(Error::host("open the container's state directory")(e)),
        }
    }

    /// Opens a container's directory and waits for the verb that changes it now.
    ///
    /// # Errors
    /// [`Error::Missing`], also when it went away while we waited.
    pub(crate) fn lock(&self, id: &ContainerId) -> Result<Place> {
        loop {
            let place = self.open(id)?;
            sys::file::lock(&place.dir, Lock::Exclusive, Wait::Block)
                .map_err(Error::host("lock the container's state directory"))?;
            // A delete may have removed it, and a create made another, before the lock was ours.
            if place.is_linked()? {
                return Ok(place);
            }
        }
    }
}

fn write_at_once(fd: OwnedFd, name: &str, bytes: &[u8]) -> sys::Result<()> {
    match sys::at::write(fd, bytes) {
        Ok(n) if n == bytes.len() => Ok(()),
        Ok(_) => Err(SysError::new("write", name, Errno::NOSPC)),
        Err(errno) => Err(SysError::new("write", name, errno)),
    }
}

/// A container's directory, open.
#[derive(Debug)]
pub struct Place {
    id: ContainerId,
    root: PathBuf,
    dir: OwnedFd,
}

impl Place {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    fn is_linked(&self) -> Result<bool> {
        let fail = |errno| {
            Error::host("look at the container's state directory")(SysError::new("stat", "", errno))
        };
        let ours = sys::at::fstat(&self.dir).map_err(fail)?;
        match self.root_dir().and_then(|root| {
            sys::at::statat(root, self.id.as_str(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| SysError::new("stat", "", e))
        }) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(e) if e.errno == Errno::NOENT => Ok(false),
            Err(e) => Err(fail(e.errno)),
        }
    }

    fn root_dir(&self) -> sys::Result<OwnedFd> {
        sys::file::open_dir(&self.root)
    }

    /// Lets other verbs go on; whoever calls this changes nothing any more.
    pub(crate) fn unlock(&self) -> Result<()> {
        sys::file::unlock(&self.dir).map_err(Error::host("unlock the container's state directory"))
    }

    /// The record; `None` if a crash came between the directory and its first record.
    ///
    /// # Errors
    /// [`Error::State`] for one that can't be understood.
    pub fn record(&self) -> Result<Option<Record>> {
        let Some(bytes) = self.read(RECORD)? else {
            return Ok(None);
        };
        if bytes.is_empty() {
            // Made a moment ago: what will stand in it is being written.
            return Ok(None);
        }
        let mut record: Record =
            serde_json::from_slice(&bytes).map_err(|e| self.bad(format!("{RECORD}: {e}")))?;
        record.init = self.init()?;
        Ok(Some(record))
    }

    /// The first process, once it is made.
    fn init(&self) -> Result<Option<ProcessId>> {
        match self.read(INIT)? {
            Some(bytes) if !bytes.is_empty() => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| self.bad(format!("{INIT}: {e}"))),
            _ => Ok(None),
        }
    }

    fn open_init(&self, flags: OFlags) -> sys::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        sys::at::openat(&self.dir, INIT, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| SysError::new("open", INIT, errno))
    }

    /// A file of the directory; `None` if there is none of that name.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match sys::at::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.bad(SysError::new("open", name, errno).to_string())),
        };
        let bytes = sys::file::read_fd(fd, &name, MAX_RECORD);
        bytes.map(Some).map_err(|e| self.bad(e.to_string()))
    }

    /// What `exec` needs to know, with the filter's program.
    ///
    /// # Errors
    /// [`Error::State`] for files that are missing or can't be understood: nobody enters without a filter
    /// that should be there.
    pub(crate) fn entering(&self) -> Result<(Entering, Option<Filter>)> {
        let missing = |name: &str| self.bad(format!("{name} is missing"));
        let bytes = self.read(ENTERING)?.ok_or_else(|| missing(ENTERING))?;
        let entering: Entering =
            serde_json::from_slice(&bytes).map_err(|e| self.bad(format!("{ENTERING}: {e}")))?;
        let Some(flags) = entering.filter else {
            return Ok((entering, None));
        };
        let program = self.read(FILTER)?.ok_or_else(|| missing(FILTER))?;
        match Filter::from_bytes(&program, flags) {
            Some(filter) => Ok((entering, Some(filter))),
            None => Err(self.bad(format!("{FILTER}: it is no filter"))),
        }
    }

    /// Writes what `exec` will need. Once, before the record names a first process: nobody reads it earlier.
    pub(crate) fn save_entering(&self, entering: &Entering, filter: Option<&Filter>) -> Result<()> {
        let bytes = serde_json::to_vec(entering).expect("strings and numbers always serialize");
        self.write_new(ENTERING, &bytes)?;
        match filter {
            Some(filter) => self.write_new(FILTER, &filter.to_bytes()),
            None => Ok(()),
        }
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fail = |call| {
            move |errno| Error::host("save the container's state")(SysError::new(call, name, errno))
        };
        let fd = sys::at::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600))
            .map_err(fail("open"))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = sys::at::write(&fd, rest).map_err(fail("write"))?;
            rest = &rest[written..];
        }
        Ok(())
    }

    fn bad(&self, reason: String) -> Error {
        Error::State {
            id: self.id.to_string(),
            reason,
        }
    }

    /// Writes the record, all but the first process, for the first time. The directory lies on a tmpfs,
    /// and no container outlives a power cut.
    pub(crate) fn save(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).expect("strings and numbers always serialize");
        if bytes.len() > ONE_WRITE {
            return sys::file::replace(&self.dir, RECORD, &bytes, 0o600, Durability::Memory)
                .map_err(Error::host("save the container's state"));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        sys::at::openat(&self.dir, RECORD, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| SysError::new("create", RECORD, errno))
            .and_then(|fd| write_at_once(fd, RECORD, &bytes))
            .map_err(Error::host("save the container's state"))
    }

    /// Makes the file that will say who the first process is. Its lock, which is taken here and which that
    /// process holds until its exec, says that its program has not begun.
    pub(crate) fn lock_init(&self) -> Result<OwnedFd> {
        let doing = "make the start lock";
        let fd = self
            .open_init(OFlags::RDWR | OFlags::CREATE)
            .map_err(Error::host(doing))?;
        sys::file::lock(&fd, Lock::Exclusive, Wait::Block).map_err(Error::host(doing))?;
        Ok(fd)
    }

    /// Writes down who the first process is: from here on the container is made. In one write(2), of which
    /// a reader without a lock sees all or nothing.
    pub(crate) fn save_init(&self, init: ProcessId) -> Result<()> {
        let bytes = serde_json::to_vec(&init).expect("numbers always serialize");
        let doing = "save the container's first process";
        self.open_init(OFlags::WRONLY)
            .and_then(|fd| write_at_once(fd, INIT, &bytes))
            .map_err(Error::host(doing))
    }

    /// Whether somebody holds that lock.
    fn waits_for_start(&self) -> sys::Result<bool> {
        match self.open_init(OFlags::RDONLY) {
            Ok(fd) => Ok(!sys::file::lock(fd, Lock::Shared, Wait::Try)?),
            Err(e) if e.errno == Errno::NOENT => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The status of the container whose record is `record`.
    ///
    /// # Errors
    /// [`Error::Host`] if the kernel can't be asked.
    pub fn status(&self, record: &Record) -> Result<Status> {
        self.evidence(record)
            .map(|evidence| record.status(evidence))
            .map_err(Error::host(format!("look at container {}", self.id)))
    }

    fn evidence(&self, record: &Record) -> sys::Result<Evidence> {
        let init_lives = record.init.map_or(Ok(false), |init| init.lives())?;
        Ok(Evidence {
            creator_lives: match (record.init, record.creator) {
                (None, Some(creator)) => creator.lives()?,
                _ => false,
            },
            init_lives,
            waits_for_start: init_lives && self.waits_for_start()?,
            frozen: init_lives && record.cgroup.as_deref().is_some_and(cgroups::is_frozen),
        })
    }

    /// Removes the directory with all in it.
    pub(crate) fn remove(self) -> Result<()> {
        self.root_dir()
            .and_then(|root| sys::file::remove_tree(root, self.id.as_str()))
            .map_err(Error::host("remove the container's state"))
    }
}
