//! Where a file of COPY or ADD goes, and files that are of no tree. Not its job: the files of a walk
//! (`copy`).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::at::{self, AtFlags, FileType, Mode, OFlags, Timespec};
use sys::{Errno, SysError};

use crate::error::{Doing, Error, Result};
use crate::steps::copy::{Manner, times};
use crate::steps::directories::{make_directories, own};

/// Writes a file from the recipe itself.
pub(crate) fn text(manner: &Manner<'_>, name: &str, content: &str) -> Result<()> {
    new_file(manner, name, 0o644, &mut content.as_bytes(), None)
}

/// Writes a file that is of no tree: `name` counts where the target is a folder, `mode` unless there is
/// another for all.
pub(crate) fn new_file(
    manner: &Manner<'_>,
    name: &str,
    mode: u32,
    from: &mut dyn Read,
    modified: Option<i64>,
) -> Result<()> {
    let (folder, path) = place(manner, name)?;
    let name = path.rsplit('/').next().unwrap_or("");
    let doing = || format!("write {path}");
    clear(manner, folder.as_fd(), name, &path)?;
    let mut file: File = create(folder.as_fd(), name, 0o600).doing(doing)?.into();
    std::io::copy(from, &mut file)
        .map_err(|e| SysError::from_io("write", "", &e))
        .doing(doing)?;
    let mode = manner.mode.map_or(mode, |change| change.apply(mode, false));
    let (uid, gid) = manner.owner.unwrap_or((0, 0));
    own(&file, uid, gid, mode).doing(doing)?;
    let Some(seconds) = modified else {
        return Ok(());
    };
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    at::futimens(&file, &times(time))
        .map_err(|errno| SysError::new("utimens", "", errno))
        .doing(doing)
}

/// The folder that a file goes to, and the file's whole path there.
pub(super) fn place(manner: &Manner<'_>, name: &str) -> Result<(OwnedFd, String)> {
    let target = manner.target;
    let is_directory = target.ends_with('/') || {
        let found = manner
            .root
            .find(target)
            .doing(|| format!("look at {target}"))?;
        match found {
            Some(fd) => {
                file_type(&fd).doing(|| format!("look at {target}"))? == FileType::Directory
            }
            None => false,
        }
    };
    let path = if is_directory {
        format!("{}/{name}", target.trim_end_matches('/'))
    } else {
        behind_links(manner, target)?
    };
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let folder = directory(manner, if parent.is_empty() { "/" } else { parent })?;
    Ok((folder, path))
}

/// As the kernel has it.
const MOST_LINKS: usize = 40;

/// Where a target leads that is a link itself: its own name is what the recipe says, so the link is meant to be
/// followed (inside the root). Links that other files of a COPY meet are replaced instead.
fn behind_links(manner: &Manner<'_>, target: &str) -> Result<String> {
    let doing = || format!("look at {target}");
    let mut path = target.to_owned();
    for _ in 0..MOST_LINKS {
        let (folder, name) = match manner.root.parent(&path) {
            Ok(found) => found,
            // What is missing is made, and is no link then.
            Err(e) if e.errno == Errno::NOENT => return Ok(path),
            Err(e) => return Err(e).doing(doing),
        };
        let to = match at::readlinkat(&folder, &name, Vec::new()) {
            Ok(to) => to,
            Err(Errno::INVAL | Errno::NOENT) => return Ok(path),
            Err(errno) => return Err(SysError::new("readlink", &path, errno)).doing(doing),
        };
        let to = to.into_string().map_err(|to| {
            Error::Refused(format!(
                "{target}: the link leads to {to:?}, which is no UTF-8"
            ))
        })?;
        path = match to.starts_with('/') {
            true => to,
            false => format!(
                "{}/{to}",
                path.rsplit_once('/').map_or("", |(parent, _)| parent)
            ),
        };
    }
    Err(SysError::new("open", target, Errno::LOOP)).doing(doing)
}

fn file_type(fd: impl AsFd) -> sys::Result<FileType> {
    let stat = at::fstat(fd).map_err(|errno| SysError::new("stat", "", errno))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Opens a directory of the written tree, made with its parents if it is missing: these belong to root
/// (or whom `--chown` names). `--chmod` is about what is copied, and says nothing of them.
pub(super) fn directory(manner: &Manner<'_>, path: &str) -> Result<OwnedFd> {
    let (uid, gid) = manner.owner.unwrap_or((0, 0));
    make_directories(manner.root, path, uid, gid, 0o755)
}

/// Makes a file with as much of `mode` as we would let everybody have: what makes programs more than they are is for
/// when they are whole.
pub(super) fn create(folder: BorrowedFd<'_>, name: &str, mode: u32) -> sys::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    at::openat(folder, name, flags, Mode::from_raw_mode(mode & 0o777))
        .map_err(|errno| SysError::new("create", name, errno))
}

/// What has a name in a folder.
pub(super) fn look(folder: impl AsFd, name: &str) -> sys::Result<Option<FileType>> {
    match at::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(SysError::new("stat", name, errno)),
    }
}

/// Removes what a new file replaces: a link itself, never what it leads to; no directory.
pub(super) fn clear(
    manner: &Manner<'_>,
    folder: BorrowedFd<'_>,
    name: &str,
    path: &str,
) -> Result<()> {
    match look(folder, name).doing(|| format!("look at {path}"))? {
        None => Ok(()),
        Some(FileType::Directory) => Err(Error::Refused(format!(
            "cannot replace directory {path} with a file"
        ))),
        Some(_) => {
            manner.replaced();
            at::unlinkat(folder, name, AtFlags::empty())
                .map_err(|errno| SysError::new("unlink", name, errno))
                .doing(|| format!("replace {path}"))
        }
    }
}
