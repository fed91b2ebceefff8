//! A container's directory, open: what is known of it, and whether its first process waits for its start.
//! Not its job: finding and locking it (store), the form on disk (journal).

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::at::{AtFlags, OFlags};
use sys::file::{Lock, Wait};
use sys::seccomp::Filter;
use sys::{Errno, SysError};

use super::journal::{self, JOURNAL, Line, kind};
use crate::entering::Entering;
use crate::state::{Evidence, ProcessId, Record, Status};
use crate::{ContainerId, Error, Result};

/// The start socket's name.
pub(crate) const START: &str = "start";

/// The record that the bytes of a state.json hold, with the first process where one is made.
///
/// # Errors
/// What can't be understood, in words.
pub fn record_in(bytes: &[u8]) -> Result<Option<Record>, String> {
    let Some(mut record) = journal::last::<Record>(bytes, kind::RECORD)? else {
        return Ok(None);
    };
    record.init = journal::last(bytes, kind::INIT)?;
    Ok(Some(record))
}

/// A container's directory, open.
#[derive(Debug)]
pub struct Place {
    id: ContainerId,
    root: PathBuf,
    dir: OwnedFd,
    /// state.json, once it was needed.
    journal: OnceCell<OwnedFd>,
}

impl Place {
    pub(super) fn new(id: &ContainerId, root: &Path, dir: OwnedFd) -> Self {
        Self {
            id: id.clone(),
            root: root.to_owned(),
            dir,
            journal: OnceCell::new(),
        }
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub(super) fn is_linked(&self) -> Result<bool> {
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

    /// The journal, open for reading; `None` if there is none yet.
    fn journal(&self) -> sys::Result<Option<BorrowedFd<'_>>> {
        if let Some(file) = self.journal.get() {
            return Ok(Some(file.as_fd()));
        }
        match journal::open(&self.dir, OFlags::RDONLY) {
            Ok(file) => Ok(Some(self.journal.get_or_init(|| file).as_fd())),
            Err(e) if e.errno == Errno::NOENT => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read(&self) -> Result<Vec<u8>> {
        let file = self.journal().map_err(|e| self.bad(e.to_string()))?;
        match file {
            Some(file) => journal::read(file).map_err(|e| self.bad(e.to_string())),
            None => Ok(Vec::new()),
        }
    }

    /// The record, with the first process where one is made; `None` if a crash came before the first record.
    ///
    /// # Errors
    /// [`Error::State`] for one that can't be understood.
    pub fn record(&self) -> Result<Option<Record>> {
        record_in(&self.read()?).map_err(|reason| self.bad(reason))
    }

    /// What `exec` needs to know, with the filter.
    ///
    /// # Errors
    /// [`Error::State`] if it is missing or can't be understood: nobody enters without a filter that should be
    /// there.
    pub(crate) fn entering(&self) -> Result<(Entering, Option<Filter>)> {
        let bytes = self.read()?;
        let entering = journal::last::<Entering>(&bytes, kind::ENTERING)
            .and_then(|found| {
                found.ok_or_else(|| format!("{JOURNAL}: {}: missing", kind::ENTERING))
            })
            .map_err(|reason| self.bad(reason))?;
        let Some(kept) = &entering.filter else {
            return Ok((entering, None));
        };
        match kept.filter() {
            Some(filter) => Ok((entering, Some(filter))),
            None => Err(self.bad(format!("{JOURNAL}: the filter is none"))),
        }
    }

    /// Writes the record, all but the first process, for the first time. The directory lies on a tmpfs, and no
    /// container outlives a power cut: nothing is synchronised.
    pub(crate) fn save(&self, record: &Record) -> Result<()> {
        self.write(|| {
            let file = journal::create(&self.dir)?;
            let file = self.journal.get_or_init(|| file);
            journal::append(file, &Line::Record(record))
        })
    }

    /// Writes a record that has grown.
    pub(crate) fn save_again(&self, record: &Record) -> Result<()> {
        self.write(|| {
            let file = journal::open(&self.dir, OFlags::WRONLY | OFlags::APPEND)?;
            journal::end_line(&file)?;
            journal::append(file, &Line::Record(record))
        })
    }

    /// Writes what `exec` will need, before the first process is written down: nobody reads it earlier.
    pub(crate) fn save_entering(&self, entering: &Entering) -> Result<()> {
        self.add(&Line::Entering(entering))
    }

    /// Writes down who the first process is: from here on the container is made.
    pub(crate) fn save_init(&self, init: ProcessId) -> Result<()> {
        self.add(&Line::Init(init))
    }

    /// Adds a line to the journal that we have made.
    fn add(&self, line: &Line<'_>) -> Result<()> {
        let unmade = || SysError::new("write", JOURNAL, Errno::NOENT);
        self.write(|| journal::append(self.journal.get().ok_or_else(unmade)?, line))
    }

    fn write(&self, writing: impl FnOnce() -> sys::Result<()>) -> Result<()> {
        writing().map_err(Error::host("save the container's state"))
    }

    fn bad(&self, reason: String) -> Error {
        Error::State {
            id: self.id.to_string(),
            reason,
        }
    }

    /// Takes the lock that says that the container's program has not begun: its first process holds it until its
    /// exec. A descriptor of its own, for a lock goes with the last copy of its descriptor, and ours stays open.
    pub(crate) fn lock_init(&self) -> Result<OwnedFd> {
        let doing = "make the start lock";
        let file = journal::open(&self.dir, OFlags::RDONLY).map_err(Error::host(doing))?;
        sys::file::lock(&file, Lock::Exclusive, Wait::Block).map_err(Error::host(doing))?;
        Ok(file)
    }

    /// Whether somebody holds that lock.
    fn waits_for_start(&self) -> sys::Result<bool> {
        match self.journal()? {
            // Shared by all who ask; it goes with our descriptor.
            Some(file) => Ok(!sys::file::lock(file, Lock::Shared, Wait::Try)?),
            None => Ok(false),
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

    /// Removes the directory with all in it: the record last, for what is left after a crash is found by it.
    pub(crate) fn remove(self) -> Result<()> {
        let unlink = |name: &str, flags| match sys::at::unlinkat(&self.dir, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(SysError::new("remove", name, errno)),
        };
        let doing = "remove the container's state";
        let root = self.root_dir().map_err(Error::host(doing))?;
        unlink(START, AtFlags::empty())
            .and_then(|()| unlink(JOURNAL, AtFlags::empty()))
            // What else may be there: CRIU's files.
            .and_then(|()| sys::file::remove_tree(root, self.id.as_str()))
            .map_err(Error::host(doing))
    }
}
