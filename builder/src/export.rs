//! The tree of a stage → files in a folder of the person's (`--output type=local`). What is there already
//! stays, but for files in the way; no link in that folder is followed. Not its job: making the folder.
//!
//! The files belong to whoever runs the build. So none of them may do more than its new owner wants:
//! set-user-id bits, file capabilities and devices are left out.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use sys::at::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::error::{Doing, Error, Result};
use crate::fingerprint::{CHUNK, opened, pour, xattrs_of};
use crate::ignore::Ignore;
use crate::tree::{Item, Part, Tree, Visitor};

/// Writes all of `tree` into `folder`. Gives what was left out.
pub(crate) fn into_folder(tree: &Tree, folder: OwnedFd) -> Result<Vec<String>> {
    let doing = || "open the folder".to_owned();
    let first = folder
        .try_clone()
        .map_err(|e| SysError::from_io("dup", "", &e))
        .doing(doing)?;
    let mut exporter = Exporter {
        root: Root::new(folder),
        folders: vec![first],
        links: HashMap::new(),
        left_out: Vec::new(),
        buffer: vec![0; CHUNK],
    };
    let everything = Part {
        exclude: &Ignore::default(),
        include: None,
    };
    tree.walk("", everything, &mut exporter)?;
    Ok(exporter.left_out)
}

struct Exporter {
    root: Root,
    /// The folders from the first down to where we are.
    folders: Vec<OwnedFd>,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    left_out: Vec<String>,
    buffer: Vec<u8>,
}

impl Exporter {
    fn folder(&self) -> BorrowedFd<'_> {
        // The first one is never popped: `leave` pops only what `enter` pushed.
        self.folders[self.folders.len() - 1].as_fd()
    }

    fn enter_folder(&mut self, name: &OsStr) -> sys::Result<()> {
        match look(self.folder(), name)? {
            Some(FileType::Directory) => {}
            Some(_) => {
                return Err(SysError::new("mkdir", name.display(), Errno::EXIST)
                    .with_note("no folder has this name there"));
            }
            None => at::mkdirat(self.folder(), name, Mode::RWXU)
                .map_err(|errno| SysError::new("mkdir", name.display(), errno))?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = at::openat(self.folder(), name, flags, Mode::empty())
            .map_err(|errno| SysError::new("open", name.display(), errno))?;
        self.folders.push(folder);
        Ok(())
    }

    /// Removes what is in a file's way: a link itself, never what it leads to; no folder.
    fn clear(&self, name: &OsStr) -> sys::Result<()> {
        match look(self.folder(), name)? {
            None => Ok(()),
            Some(FileType::Directory) => Err(SysError::new("unlink", name.display(), Errno::ISDIR)
                .with_note("a folder has this name there")),
            Some(_) => at::unlinkat(self.folder(), name, AtFlags::empty())
                .map_err(|errno| SysError::new("unlink", name.display(), errno)),
        }
    }

    fn file(&mut self, item: &Item<'_>, from: &OwnedFd) -> Result<()> {
        let doing = || format!("write {}", item.shown());
        if item.stat.st_nlink > 1 {
            let inode = (item.stat.st_dev, item.stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                let (folder, last) = self.root.parent(OsStr::from_bytes(first)).doing(doing)?;
                return at::linkat(&folder, &last, self.folder(), item.name, AtFlags::empty())
                    .map_err(|errno| SysError::new("link", item.name.display(), errno))
                    .doing(doing);
            }
            self.links.insert(inode, item.path.to_vec());
        }
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = at::openat(self.folder(), item.name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| SysError::new("create", item.name.display(), errno))
            .doing(doing)?;
        pour(from, item.size(), &mut self.buffer, |bytes| {
            sys::file::write_all(&to, bytes)
        })
        .doing(doing)?;
        finish(item, from, &to)
    }

    /// A link or a FIFO.
    fn other(&self, item: &Item<'_>) -> Result<()> {
        let doing = || format!("make {}", item.shown());
        let fail = |call| move |errno| SysError::new(call, item.name.display(), errno);
        let (folder, name) = (self.folder(), item.name);
        match item.kind() {
            FileType::Symlink => {
                let target = item.target().doing(doing)?;
                at::symlinkat(&target[..], folder, name).map_err(fail("symlink"))
            }
            kind => at::mknodat(folder, name, kind, mode(item), 0).map_err(fail("mknod")),
        }
        .doing(doing)?;
        at::utimensat(folder, name, &times(item), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(fail("utimensat"))
            .doing(doing)
    }
}

impl Visitor for Exporter {
    fn enter(&mut self, item: &Item<'_>) -> Result<()> {
        let doing = || format!("write {}", item.shown());
        match item.kind() {
            FileType::Directory => self.enter_folder(item.name).doing(doing),
            FileType::RegularFile => {
                self.clear(item.name).doing(doing)?;
                match opened(item)? {
                    Some(from) => self.file(item, &from),
                    None => Err(Error::Refused(format!("{} has changed", item.shown()))),
                }
            }
            FileType::Symlink | FileType::Fifo => {
                self.clear(item.name).doing(doing)?;
                self.other(item)
            }
            // Nobody listens behind a copy of a socket.
            FileType::Socket => Ok(()),
            _ => {
                self.left_out.push(format!("{}: a device", item.shown()));
                Ok(())
            }
        }
    }

    fn leave(&mut self, item: &Item<'_>) -> Result<()> {
        match (self.folders.pop(), opened(item)?) {
            (Some(folder), Some(from)) => finish(item, &from, &folder),
            _ => Ok(()),
        }
    }
}

/// Attributes, mode and times, which nothing written later changes any more.
fn finish(item: &Item<'_>, from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let doing = || format!("finish {}", item.shown());
    for (name, value) in xattrs_of(item, Some(from))? {
        if !name.starts_with("user.") {
            continue;
        }
        match at::fsetxattr(to, name.as_str(), &value, at::XattrFlags::empty()) {
            // A file system without them: a copy carries what it can.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(SysError::new("setxattr", name, errno)).doing(doing),
        }
    }
    at::fchmod(to, mode(item))
        .and_then(|()| at::futimens(to, &times(item)))
        .map_err(|errno| SysError::new("chmod", "", errno))
        .doing(doing)
}

/// Without the bits that lend the owner's rights: it is another owner now.
fn mode(item: &Item<'_>) -> Mode {
    Mode::from_raw_mode(item.stat.st_mode & 0o1777)
}

fn times(item: &Item<'_>) -> Timestamps {
    let time = Timespec {
        tv_sec: item.stat.st_mtime,
        tv_nsec: item.stat.st_mtime_nsec as _,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// What has a name in a folder.
/// What has a name in a folder, links not followed.
pub(crate) fn look(folder: BorrowedFd<'_>, name: &OsStr) -> sys::Result<Option<FileType>> {
    match at::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(SysError::new("stat", name.display(), errno)),
    }
}
