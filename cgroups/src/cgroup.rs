//! A container's cgroup: made with the controllers that its limits need, opened, asked for its processes.
//! Not its job: the limits themselves (limits, apply), ending it (kill, delete).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sys::at::{self, Mode, OFlags};
use sys::{Errno, SysError};

use crate::enable::Wanted;
use crate::location::{CGROUP2_MAGIC, Location};
use crate::{Error, Result, Write, delete, interface};

/// How often making a path is begun anew when somebody removes its parents meanwhile.
const ATTEMPTS: u32 = 8;

/// A cgroup v2 directory.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
}

impl Cgroup {
    /// Makes the cgroup at `location`, with the controllers that `writes` need and, where the tree has
    /// them, those for accounting. A cgroup that is there already is taken if it is empty and runs.
    ///
    /// # Errors
    /// [`Error::NoController`], [`Error::NotEmpty`], [`Error::Frozen`], [`Error::Directory`],
    /// [`Error::Enable`]. What was made until then is removed again.
    pub fn create(location: &Location, writes: &[Write]) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match descend(location, writes) {
                // Another container that shared the parents went away and took them along.
                Err(Error::Directory { source, .. })
                    if source.errno == Errno::NOENT && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                made => {
                    let result = made.and_then(|cgroup| cgroup.is_fit_for_use().map(|()| cgroup));
                    if result.is_err() && location.made_from.is_some() {
                        // The first error is the one to be told; what is in use stays.
                        let _ = delete::remove_empty(location);
                    }
                    return result;
                }
            }
        }
    }

    /// The cgroup whose directory is `path`; `None` if there is none any more.
    ///
    /// # Errors
    /// [`Error::NotACgroup`] for a directory of another file system, [`Error::Directory`].
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let fail = |source| Error::Directory {
            what: "open",
            path: path.to_owned(),
            source,
        };
        let dir = match sys::file::open_dir(path) {
            Ok(dir) => dir,
            Err(e) if matches!(e.errno, Errno::NOENT | Errno::NODEV) => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        let stat = at::fstatfs(&dir)
            .map_err(|errno| fail(SysError::new("fstatfs", path.display(), errno)))?;
        if u64::try_from(stat.f_type).ok() != Some(CGROUP2_MAGIC) {
            return Err(Error::NotACgroup {
                path: path.to_owned(),
            });
        }
        Ok(Some(Self {
            path: path.to_owned(),
            dir,
        }))
    }

    /// Its directory, for a clone into it.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process into it: for what can't be cloned into it. A thread's other threads come along.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn add(&self, pid: sys::process::Pid) -> Result<()> {
        self.write(
            "add a process to",
            "cgroup.procs",
            &pid.as_raw_nonzero().to_string(),
        )
    }

    /// The ids of all processes in it and in the cgroups below it, as our PID namespace knows them.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        collect(self.dir.as_fd(), &mut pids).map_err(self.interface("list the processes of"))?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether a process lives in it or below it; zombies do not count.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn populated(&self) -> Result<bool> {
        self.event("populated")
    }

    /// Waits until no process lives in it or below it, at the latest until `deadline`; says whether so.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn wait_empty(&self, deadline: Instant) -> Result<bool> {
        self.wait_event("populated", false, deadline)
    }

    /// A flag of cgroup.events.
    pub(crate) fn event(&self, key: &'static str) -> Result<bool> {
        let text = self.read("read the events of", "cgroup.events")?;
        self.flag(&text, key)
    }

    /// Waits until a flag of cgroup.events is `wanted`; says whether it came to be before `deadline`.
    pub(crate) fn wait_event(&self, key: &str, wanted: bool, deadline: Instant) -> Result<bool> {
        let fail = self.interface("watch");
        let file = match interface::open(self.dir.as_fd(), "cgroup.events", OFlags::RDONLY) {
            Ok(file) => file,
            Err(source) => return Err(fail(source)),
        };
        let mut buffer = [0_u8; 256];
        loop {
            // One fd through it all: the kernel compares with what this fd has read.
            let length = match at::pread(&file, &mut buffer, 0) {
                Ok(length) => length,
                // The cgroup has been removed: nothing lives in it.
                Err(Errno::NODEV) => return Ok(!wanted),
                Err(errno) => return Err(fail(SysError::new("read", "cgroup.events", errno))),
            };
            let text = String::from_utf8_lossy(&buffer[..length]);
            if self.flag(&text, key)? == wanted {
                return Ok(true);
            }
            if !sys::kernfs::changed(&file, deadline).map_err(&fail)? {
                return Ok(false);
            }
        }
    }

    fn flag(&self, text: &str, key: &str) -> Result<bool> {
        interface::keyed(text, key)
            .map(|value| value != 0)
            .ok_or_else(|| Error::Content {
                file: "cgroup.events",
                path: self.path.clone(),
                content: text.to_owned(),
            })
    }

    pub(crate) fn read(&self, what: &'static str, file: &str) -> Result<String> {
        interface::read(self.dir.as_fd(), file).map_err(self.interface(what))
    }

    pub(crate) fn write(&self, what: &'static str, file: &str, value: &str) -> Result<()> {
        interface::write(self.dir.as_fd(), file, value).map_err(self.interface(what))
    }

    pub(crate) fn interface(&self, what: &'static str) -> impl Fn(SysError) -> Error {
        move |source| Error::Interface {
            what,
            path: self.path.clone(),
            source,
        }
    }

    fn is_fit_for_use(&self) -> Result<()> {
        let events = self.read("read the events of", "cgroup.events")?;
        if self.flag(&events, "populated")? {
            return Err(Error::NotEmpty {
                path: self.path.clone(),
            });
        }
        // A process cloned into it would never run, and we would wait for it. `frozen` also tells of a
        // frozen parent.
        if self.flag(&events, "frozen")? {
            return Err(Error::Frozen {
                path: self.path.clone(),
            });
        }
        Ok(())
    }
}

/// Hands the controllers that `writes` need down from the tree's `root` to the cgroup at `directory`.
pub(crate) fn enable_down_to(root: &Path, directory: &Path, writes: &[Write]) -> Result<()> {
    let location = Location {
        root: root.to_owned(),
        directory: directory.to_owned(),
        made_from: None,
    };
    descend(&location, writes).map(|_| ())
}

/// Goes from the root of the tree to the cgroup, makes what is missing and hands the controllers down.
fn descend(location: &Location, writes: &[Write]) -> Result<Cgroup> {
    let mut path = location.root.clone();
    let mut dir = sys::file::open_dir(&path).map_err(|source| Error::Directory {
        what: "open",
        path: path.clone(),
        source,
    })?;
    let wanted = Wanted::new(dir.as_fd(), &path, writes)?;
    let below = location.directory.strip_prefix(&location.root);
    for component in below.unwrap_or(Path::new("")).components() {
        wanted.enable(dir.as_fd(), &path)?;
        path.push(component);
        dir = make(dir.as_fd(), Path::new(&component), &path)?;
    }
    Ok(Cgroup { path, dir })
}

/// The directory `name` below `dir`, made if it is missing.
pub(crate) fn make(dir: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<OwnedFd> {
    let fail = |what, call, errno| Error::Directory {
        what,
        path: path.to_owned(),
        source: SysError::new(call, path.display(), errno),
    };
    // cgroup v2 has no links; one here would be a mount over it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match at::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(|errno| fail("open", "open", errno)),
    }
    match at::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(explain(fail("make", "mkdir", errno))),
    }
    at::openat(dir, name, flags, Mode::empty()).map_err(|errno| fail("open", "open", errno))
}

/// The same error with what its number means in a cgroup tree.
fn explain(error: Error) -> Error {
    let Error::Directory { what, path, source } = error else {
        return error;
    };
    let note = match source.errno {
        Errno::ACCESS | Errno::PERM => "that part of the tree is not delegated to this user",
        Errno::ROFS => "the tree is mounted read-only here",
        Errno::AGAIN => "a parent's cgroup.max.depth or cgroup.max.descendants is reached",
        _ => return Error::Directory { what, path, source },
    };
    Error::Directory {
        what,
        path,
        source: source.with_note(note),
    }
}

/// Adds the processes of `dir` and of the cgroups below it to `pids`.
fn collect(dir: BorrowedFd<'_>, pids: &mut Vec<i32>) -> sys::Result<()> {
    let text = match interface::read(dir, "cgroup.procs") {
        // A threaded cgroup lists only its threads; their processes are in the domain above, and one
        // signal to a thread's id reaches its process.
        Err(e) if e.errno == Errno::OPNOTSUPP => interface::read(dir, "cgroup.threads")?,
        // Removed while we looked.
        Err(e) if matches!(e.errno, Errno::NODEV | Errno::NOENT) => return Ok(()),
        other => other?,
    };
    // A process of another PID namespace reads as 0.
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse().ok())
            .filter(|pid: &i32| *pid > 0),
    );
    for child in children(dir)? {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match at::openat(dir, &child, flags, Mode::empty()) {
            Ok(child) => collect(child.as_fd(), pids)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(SysError::new("open", child.display(), errno)),
        }
    }
    Ok(())
}

/// The names of the cgroups right below `dir`.
pub(crate) fn children(dir: BorrowedFd<'_>) -> sys::Result<Vec<PathBuf>> {
    // The link count tells without a listing of sixty files: its name, its `.`, and one `..` for each
    // cgroup below.
    if at::fstat(dir).is_ok_and(|stat| stat.st_nlink <= 2) {
        return Ok(Vec::new());
    }
    let entries = match sys::file::list(dir) {
        Err(e) if matches!(e.errno, Errno::NODEV | Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(entries
        .into_iter()
        .filter(|(_, kind)| *kind == at::FileType::Directory)
        .map(|(name, _)| PathBuf::from(name))
        .collect())
}
