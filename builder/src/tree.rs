//! A tree of files that COPY takes from: the context, a stage or an image, read below an fd that nothing
//! leads out of. Walks it in a fixed order, without what is left out. Not its job: writing.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use image::LinkOwners;
use sys::at::{self, AtFlags, FileType, Mode, OFlags, Stat};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::error::{Doing, Error, Result};
use crate::ignore::Ignore;
use crate::include::Include;
use crate::steps::kept::with_owner;

/// Deeper folders than this hold no sane context; each takes an fd while it is walked.
const DEEPEST: usize = 200;

/// Whose files these become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Root's: a context has owners of this machine, which mean nothing in an image.
    Root,
    /// As they are: files of a stage or image.
    Kept,
}

/// A tree to copy from.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Its root.
    pub(crate) root: Root,
    /// What it is, for people: `the context`, `stage "build"`.
    pub(crate) name: String,
    /// Whose its files become.
    pub(crate) owners: Owners,
    /// Whose its links are, where files have owners only beside them.
    pub(crate) links: Option<LinkOwners>,
    /// What of it is left out.
    pub(crate) ignore: Ignore,
    /// Where it is, if it is a folder of this host whose files may be known by their looks.
    pub(crate) place: Option<PathBuf>,
}

/// One file of a walk.
pub(crate) struct Item<'a> {
    /// Its folder.
    pub(crate) folder: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a OsStr,
    /// Its path below where the walk began.
    pub(crate) path: &'a [u8],
    /// What it is.
    pub(crate) stat: Stat,
}

impl Item<'_> {
    /// Its type.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> Option<u64> {
        self.stat.st_size.try_into().ok()
    }

    /// Opens a regular file for reading.
    pub(crate) fn open(&self) -> sys::Result<OwnedFd> {
        open(self.folder, self.name, OFlags::NOFOLLOW)
    }

    /// What a link says.
    pub(crate) fn target(&self) -> sys::Result<Vec<u8>> {
        at::readlinkat(self.folder, self.name, Vec::new())
            .map(std::ffi::CString::into_bytes)
            .map_err(|errno| SysError::new("readlink", self.shown(), errno))
    }

    /// Its path for people.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(self.path).into_owned()
    }
}

/// What is done with each file of a walk.
pub(crate) trait Visitor {
    /// A file, link or device, or a folder before what is in it.
    fn enter(&mut self, item: &Item<'_>) -> Result<()>;
    /// A folder after what is in it.
    fn leave(&mut self, item: &Item<'_>) -> Result<()>;
}

fn open(folder: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> sys::Result<OwnedFd> {
    // O_NONBLOCK: a FIFO that took the file's place must not hold us up.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    at::openat(folder, name, flags, Mode::empty())
        .map_err(|errno| SysError::new("open", name.display(), errno))
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: impl AsFd) -> sys::Result<Vec<Vec<u8>>> {
    let mut names: Vec<Vec<u8>> = sys::file::list(folder)?
        .into_iter()
        .map(|(name, _)| name.as_bytes().to_vec())
        .collect();
    names.sort_unstable();
    Ok(names)
}

impl Tree {
    /// What is remembered by the looks of its files is kept under this name: the place, and the part of it.
    pub(crate) fn subject(&self, source: &str, path: &str, exclude: &[String]) -> Option<Vec<u8>> {
        let place = self.place.as_ref()?.as_os_str().as_bytes();
        let mut name = Vec::new();
        let parts = [source, path].into_iter();
        let parts = parts.chain(exclude.iter().map(String::as_str));
        for part in std::iter::once(place).chain(parts.map(str::as_bytes)) {
            name.extend_from_slice(&(part.len() as u64).to_le_bytes());
            name.extend_from_slice(part);
        }
        Some(name)
    }

    /// What is at a path, links followed inside the tree.
    pub(crate) fn stat(&self, path: &str) -> Result<(Stat, FileType)> {
        let doing = || format!("look at {path:?} in {}", self.name);
        let fd = self.root.open_path(path_or_root(path)).doing(doing)?;
        let stat = at::fstat(&fd)
            .map_err(|errno| SysError::new("stat", path, errno))
            .doing(doing)?;
        Ok((stat, FileType::from_raw_mode(stat.st_mode)))
    }

    /// Opens a regular file of the tree, links followed inside it; anything else gives none.
    pub(crate) fn open_file(&self, path: &str) -> Result<Option<OwnedFd>> {
        if self.stat(path)?.1 != FileType::RegularFile {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = self.root.open(path_or_root(path), flags);
        opened
            .map(Some)
            .doing(|| format!("open {path:?} in {}", self.name))
    }

    /// Visits one file that is no folder, links to it followed inside the tree. Its path is its name.
    pub(crate) fn visit_file(&self, path: &str, visitor: &mut dyn Visitor) -> Result<()> {
        let doing = || format!("open {path:?} in {}", self.name);
        let (stat, kind) = self.stat(path)?;
        let name = path.rsplit('/').next().unwrap_or("");
        if kind != FileType::RegularFile {
            let (folder, last) = self.root.parent(path).doing(doing)?;
            let stat = self.owned(folder.as_fd(), &last, path.as_bytes(), stat)?;
            return visitor.enter(&Item {
                folder: folder.as_fd(),
                name: &last,
                path: name.as_bytes(),
                stat,
            });
        }
        // The file behind the link, by an fd: its name is /proc's business.
        let (folder, last) = self.resolved(path).doing(doing)?;
        let stat = self.owned(folder.as_fd(), &last, path.as_bytes(), stat)?;
        visitor.enter(&Item {
            folder: folder.as_fd(),
            name: &last,
            path: name.as_bytes(),
            stat,
        })
    }

    /// A file's stat, with the owner that it has beside it.
    fn owned(&self, folder: BorrowedFd<'_>, name: &OsStr, path: &[u8], stat: Stat) -> Result<Stat> {
        let Some(links) = &self.links else {
            return Ok(stat);
        };
        with_owner(links, folder, name, path, stat)
            .doing(|| format!("read {:?} in {}", String::from_utf8_lossy(path), self.name))
    }

    /// The folder and name of a file behind its links, inside the tree.
    fn resolved(&self, path: &str) -> sys::Result<(OwnedFd, std::ffi::OsString)> {
        let mut path = std::path::PathBuf::from(path);
        for _ in 0..40 {
            let (folder, name) = self.root.parent(&path)?;
            match at::readlinkat(&folder, &name, Vec::new()) {
                Ok(target) => {
                    let target = std::path::PathBuf::from(OsStr::from_bytes(target.as_bytes()));
                    let parent = path.parent().unwrap_or(std::path::Path::new("")).to_owned();
                    path = parent.join(target);
                }
                Err(Errno::INVAL) => return Ok((folder, name)),
                Err(errno) => return Err(SysError::new("readlink", path.display(), errno)),
            }
        }
        Err(SysError::new("open", path.display(), Errno::LOOP))
    }

    /// Visits all that is in a folder, in the order of names, without what is left out of the tree or
    /// of this walk. Links are not followed, but one that leads to the folder itself.
    pub(crate) fn walk(&self, path: &str, part: Part<'_>, visitor: &mut dyn Visitor) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = self
            .root
            .open(path_or_root(path), flags)
            .doing(|| format!("open {path:?} in {}", self.name))?;
        let mut walk = Walk {
            tree: self,
            part,
            prefix: path.len(),
            path: path.as_bytes().to_vec(),
        };
        walk.folder(folder.as_fd(), 0, visitor)
    }
}

pub(crate) fn path_or_root(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

/// What a walk sees of the files below its folder.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// What is left out.
    pub(crate) exclude: &'a Ignore,
    /// What alone is in.
    pub(crate) include: Option<&'a Include>,
}

struct Walk<'a> {
    tree: &'a Tree,
    part: Part<'a>,
    /// How much of `path` is where the walk began.
    prefix: usize,
    /// Where we are, below the tree's root.
    path: Vec<u8>,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        folder: BorrowedFd<'_>,
        depth: usize,
        visitor: &mut dyn Visitor,
    ) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::Refused(format!(
                "{:?} in {} is nested more than {DEEPEST} folders deep",
                String::from_utf8_lossy(&self.path),
                self.tree.name
            )));
        }
        let list = names(folder).doing(|| self.doing())?;
        for name in list {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            self.entry(folder, OsStr::from_bytes(&name), depth, visitor)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        depth: usize,
        visitor: &mut dyn Visitor,
    ) -> Result<()> {
        let (out, inside) = self.left_out();
        if out && !inside {
            return Ok(());
        }
        let stat = at::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| SysError::new("stat", name.display(), errno))
            .doing(|| self.doing())?;
        let stat = self.tree.owned(folder, name, &self.path, stat)?;
        let start = if self.prefix == 0 { 0 } else { self.prefix + 1 };
        let path = self.path[start.min(self.path.len())..].to_vec();
        let item = Item {
            folder,
            name,
            path: &path,
            stat,
        };
        if item.kind() != FileType::Directory {
            return if out { Ok(()) } else { visitor.enter(&item) };
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let inner = open(folder, name, flags).doing(|| self.doing())?;
        if out {
            // Only what an exception brings back, with its folders, is seen.
            let mut late = Late {
                visitor,
                item: &item,
                entered: false,
            };
            self.folder(inner.as_fd(), depth + 1, &mut late)?;
            return match late.entered {
                true => visitor.leave(&item),
                false => Ok(()),
            };
        }
        visitor.enter(&item)?;
        self.folder(inner.as_fd(), depth + 1, visitor)?;
        visitor.leave(&item)
    }

    /// Whether the entry at `path` is left out, and if so, whether something in it may not be.
    fn left_out(&self) -> (bool, bool) {
        let path = String::from_utf8_lossy(&self.path);
        let mut out = false;
        let mut inside = true;
        if !self.tree.ignore.is_empty() && self.tree.ignore.leaves_out(&path) {
            out = true;
            inside &= self.tree.ignore.has_exceptions();
        }
        let start = if self.prefix == 0 { 0 } else { self.prefix + 1 };
        let below = String::from_utf8_lossy(&self.path[start..]);
        let Part { exclude, include } = self.part;
        if !exclude.is_empty() && exclude.leaves_out(&below) {
            out = true;
            inside &= exclude.has_exceptions();
        }
        if let Some(include) = include
            && !include.takes(&below)
        {
            out = true;
            inside &= include.may_hold(&below);
        }
        (out, inside)
    }

    fn doing(&self) -> String {
        format!(
            "read {:?} in {}",
            String::from_utf8_lossy(&self.path),
            self.tree.name
        )
    }
}

/// Enters a folder only when something in it is.
struct Late<'a, 'b> {
    visitor: &'a mut dyn Visitor,
    item: &'a Item<'b>,
    entered: bool,
}

impl Visitor for Late<'_, '_> {
    fn enter(&mut self, item: &Item<'_>) -> Result<()> {
        if !self.entered {
            self.entered = true;
            self.visitor.enter(self.item)?;
        }
        self.visitor.enter(item)
    }

    fn leave(&mut self, item: &Item<'_>) -> Result<()> {
        self.visitor.leave(item)
    }
}
