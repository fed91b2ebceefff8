//! Carries out COPY: files of one tree into another, owners, modes, links and attributes as BuildKit has
//! them. Both trees are hostile: every path is resolved below an fd. Not its job: finding the sources, and
//! layers.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use image::{LinkOwners, Written, WrittenFile};
use sys::at::{self, AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::error::{Doing, Error, Result};
use crate::fingerprint::{CHUNK, Content, Fingerprint, Sum, Xattrs, opened, pour, xattrs_of};
use crate::ignore::Ignore;
use crate::mode::ModeChange;
use crate::ready::{Ready, ReadyFile};
use crate::select::Match;
use crate::steps::directories::{own, own_new};
use crate::steps::kept::give_at;
use crate::steps::place::{clear, create, directory, look, place};
use crate::tree::{Item, Part, Tree, Visitor};

/// How files get to their place.
pub(crate) struct Manner<'a> {
    /// The tree that is written.
    pub(crate) root: &'a Root,
    /// Whose links there are, where they can't be theirs.
    pub(crate) links: &'a RefCell<LinkOwners>,
    /// Where to: absolute; a trailing slash says that it is a directory.
    pub(crate) target: &'a str,
    /// In place of the files' own owners.
    pub(crate) owner: Option<(u32, u32)>,
    /// In place of the files' own modes.
    pub(crate) mode: Option<&'a ModeChange>,
    /// What is left out, below each source.
    pub(crate) exclude: &'a Ignore,
    /// Who is told of files that are as they were written, where nobody else writes the tree.
    pub(crate) written: Option<&'a RefCell<Written>>,
    /// Where the copies become a layer, the newest time that a file of it has, in seconds since 1970.
    pub(crate) newest: Option<i64>,
}

impl Manner<'_> {
    /// The time that a copy of a file gets: its own, or the one that the layer will say, so that making the layer need
    /// not change it again.
    fn time(&self, stat: &Stat) -> Timestamps {
        times(match self.newest {
            Some(newest) => Timespec {
                tv_sec: stat.st_mtime.min(newest),
                tv_nsec: 0,
            },
            None => Timespec {
                tv_sec: stat.st_mtime,
                tv_nsec: stat.st_mtime_nsec as _,
            },
        })
    }

    /// Something that was written may have been replaced.
    pub(super) fn replaced(&self) {
        if let Some(written) = self.written {
            written.borrow_mut().give_up();
        }
    }
}

/// Copies what a source names, and takes the fingerprint of what was really copied. Files that are ready are not read
/// again.
pub(crate) fn source(
    manner: &Manner<'_>,
    (tree, ready): (&Tree, &Ready),
    found: &Match,
    seen: &mut Fingerprint,
) -> Result<()> {
    if tree.stat(&found.path)?.1 == FileType::Directory {
        let folder = directory(manner, manner.target)?;
        let base = manner.target.trim_end_matches('/');
        let mut copier = Copier::new(manner, (seen, ready), folder, base);
        let part = Part {
            exclude: manner.exclude,
            include: found.include.as_ref(),
        };
        return tree.walk(&found.path, part, &mut copier);
    }
    let (folder, path) = place(manner, found.name())?;
    let name = path.rsplit('/').next().unwrap_or("").to_owned();
    let parent = path.strip_suffix(&name).unwrap_or("").trim_end_matches('/');
    let mut copier = Copier::new(manner, (seen, ready), folder, parent);
    copier.rename = Some(name);
    tree.visit_file(&found.path, &mut copier)
}

/// Where a file's bytes come from.
#[derive(Clone, Copy)]
enum From<'a> {
    Ready(&'a ReadyFile),
    File(&'a OwnedFd),
}

/// Writes the files of a walk.
struct Copier<'a> {
    manner: &'a Manner<'a>,
    seen: &'a mut Fingerprint,
    ready: &'a Ready,
    /// The folders from the target down to where we are.
    folders: Vec<OwnedFd>,
    /// The target's path, for links between copied files and for messages.
    base: String,
    /// The one file's name there, where it is not its own.
    rename: Option<String>,
    buffer: Vec<u8>,
    /// Owner and mode that files of this folder have from the beginning.
    born: Option<((u32, u32), u32)>,
}

impl<'a> Copier<'a> {
    fn new(
        manner: &'a Manner<'a>,
        (seen, ready): (&'a mut Fingerprint, &'a Ready),
        folder: OwnedFd,
        base: &str,
    ) -> Self {
        Self {
            manner,
            seen,
            ready,
            folders: vec![folder],
            base: base.to_owned(),
            rename: None,
            buffer: vec![0; CHUNK],
            born: None,
        }
    }

    fn path(&self, item: &Item<'_>) -> String {
        match &self.rename {
            Some(name) => format!("{}/{name}", self.base),
            None => format!("{}/{}", self.base, item.shown()),
        }
    }

    fn name(&self, item: &Item<'_>) -> Result<String> {
        if let Some(name) = &self.rename {
            return Ok(name.clone());
        }
        item.name
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::Refused(format!("{:?}: a name that is not UTF-8", item.shown())))
    }

    fn folder(&self) -> BorrowedFd<'_> {
        // The target's own folder is never popped: `leave` pops only what `enter` pushed.
        self.folders[self.folders.len() - 1].as_fd()
    }

    fn mode(&self, item: &Item<'_>, directory: bool) -> u32 {
        let mode = item.stat.st_mode & 0o7777;
        self.manner
            .mode
            .map_or(mode, |change| change.apply(mode, directory))
    }

    fn owner(&self, item: &Item<'_>) -> (u32, u32) {
        self.manner.owner.unwrap_or_else(|| self.seen.owner(item))
    }

    fn enter_folder(&mut self, item: &Item<'_>, name: &str) -> Result<()> {
        let path = self.path(item);
        let doing = || format!("make the directory {path}");
        match look(self.folder(), name).doing(doing)? {
            Some(FileType::Directory) => {}
            Some(_) => {
                return Err(Error::Refused(format!(
                    "cannot copy a directory onto {path}, which is none"
                )));
            }
            None => at::mkdirat(self.folder(), name, Mode::RWXU)
                .map_err(|errno| SysError::new("mkdir", name, errno))
                .doing(doing)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = at::openat(self.folder(), name, flags, Mode::empty())
            .map_err(|errno| SysError::new("open", name, errno))
            .doing(doing)?;
        self.folders.push(folder);
        self.born = None;
        Ok(())
    }

    fn file(
        &mut self,
        item: &Item<'_>,
        name: &str,
        from: From<'_>,
        xattrs: &Xattrs,
    ) -> Result<Content> {
        let path = self.path(item);
        let doing = || format!("copy to {path}");
        if let Some(earlier) = self.seen.earlier_name(item) {
            let first = format!("{}/{}", self.base, String::from_utf8_lossy(&earlier));
            clear(self.manner, self.folder(), name, &path)?;
            // Where the earlier name is not below this target, this is a file of its own.
            if let Ok((folder, last)) = self.manner.root.parent(Path::new(&first))
                && at::linkat(&folder, &last, self.folder(), name, AtFlags::empty()).is_ok()
            {
                return Ok(Content::Same(earlier));
            }
            self.write(item, name, from, xattrs).doing(doing)?;
            return Ok(Content::Same(earlier));
        }
        let sum = match self.write(item, name, from, xattrs) {
            // Mostly there is nothing in the way, and asking first would cost as much as writing a small file.
            Err(e) if e.errno == Errno::EXIST => {
                clear(self.manner, self.folder(), name, &path)?;
                self.write(item, name, from, xattrs)
            }
            written => written,
        };
        Ok(Content::Bytes(sum.doing(doing)?))
    }

    fn write(
        &mut self,
        item: &Item<'_>,
        name: &str,
        from: From<'_>,
        xattrs: &Xattrs,
    ) -> sys::Result<Sum> {
        let (owner, mode) = (self.owner(item), self.mode(item, false));
        let to = create(self.folder(), name, mode)?;
        let mut kept = self.place(item, xattrs);
        let (sum, bytes) = match from {
            From::Ready(file) => {
                sys::file::write_all(&to, &file.bytes)?;
                (file.sum, kept.map(|_| file.bytes.clone()))
            }
            From::File(fd) => {
                let sum = pour(fd, item.size(), &mut self.buffer, |bytes| {
                    if let Some(kept) = &mut kept {
                        kept.extend_from_slice(bytes);
                    }
                    sys::file::write_all(&to, bytes)
                })?;
                (sum, kept.map(Arc::new))
            }
        };
        if self.born != Some((owner, mode)) && own_new(&to, owner, mode)? {
            self.born = Some((owner, mode));
        }
        finish(&to, xattrs, self.manner.time(&item.stat))?;
        if let (Some(written), Some(bytes)) = (self.manner.written, bytes) {
            let file = WrittenFile {
                owner,
                mode,
                modified: self.manner.time(&item.stat).last_modification.tv_sec,
                bytes,
            };
            let path = below_root(&self.path(item));
            written.borrow_mut().insert(path, file);
        }
        Ok(sum)
    }

    /// Somewhere for a file's bytes, if whoever makes the layer is to have them.
    fn place(&self, item: &Item<'_>, xattrs: &Xattrs) -> Option<Vec<u8>> {
        let written = self.manner.written?.borrow();
        let length = usize::try_from(item.size()?).ok()?;
        let plain = xattrs.is_empty() && item.stat.st_nlink == 1;
        (plain && written.takes(length)).then(Vec::new)
    }

    /// A link or a device.
    fn other(&mut self, item: &Item<'_>, name: &str) -> Result<Content> {
        let path = self.path(item);
        let doing = || format!("make {path}");
        let fail = |call| move |errno| SysError::new(call, "", errno);
        let folder = self.folder();
        let content = if item.kind() == FileType::Symlink {
            let target = item.target().doing(doing)?;
            at::symlinkat(&target[..], folder, name)
                .map_err(fail("symlink"))
                .doing(doing)?;
            Content::Link(target)
        } else if item.kind() == FileType::CharacterDevice && item.stat.st_rdev == 0 {
            let why = "a device 0:0 would remove a file of the layers below";
            return Err(Error::Refused(format!("cannot copy to {path}: {why}")));
        } else {
            let mode = Mode::from_raw_mode(self.mode(item, false));
            at::mknodat(folder, name, item.kind(), mode, item.stat.st_rdev)
                .map_err(fail("mknod"))
                .doing(doing)?;
            Content::None
        };
        let (uid, gid) = self.owner(item);
        let place = (self.manner.root, self.manner.links);
        give_at(place, folder, name, (uid, gid)).doing(doing)?;
        if item.kind() != FileType::Symlink {
            let mode = Mode::from_raw_mode(self.mode(item, false));
            at::chmodat(folder, name, mode, AtFlags::empty())
                .map_err(fail("chmod"))
                .doing(doing)?;
        }
        at::utimensat(
            folder,
            name,
            &self.manner.time(&item.stat),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(fail("utimens"))
        .doing(doing)?;
        Ok(content)
    }
}

impl Visitor for Copier<'_> {
    fn enter(&mut self, item: &Item<'_>) -> Result<()> {
        // No layer can carry a socket, and nobody listens behind a copy of one.
        if item.kind() == FileType::Socket {
            return Ok(());
        }
        let name = self.name(item)?;
        if let Some(file) = self.ready.find(item.path, &item.stat) {
            let content = self.file(item, &name, From::Ready(file), &file.xattrs)?;
            self.seen.take(item, &file.xattrs, &content);
            return Ok(());
        }
        let fd = opened(item)?;
        let xattrs = xattrs_of(item, fd.as_ref())?;
        let content = match item.kind() {
            FileType::Directory => {
                self.enter_folder(item, &name)?;
                Content::None
            }
            kind => match (kind, &fd) {
                (FileType::RegularFile, Some(fd)) => {
                    self.file(item, &name, From::File(fd), &xattrs)?
                }
                _ => {
                    clear(self.manner, self.folder(), &name, &self.path(item))?;
                    self.other(item, &name)?
                }
            },
        };
        self.seen.take(item, &xattrs, &content);
        Ok(())
    }

    fn leave(&mut self, item: &Item<'_>) -> Result<()> {
        let path = self.path(item);
        let doing = || format!("finish the directory {path}");
        let Some(folder) = self.folders.pop() else {
            return Ok(());
        };
        self.born = None;
        let (uid, gid) = self.owner(item);
        own(&folder, uid, gid, self.mode(item, true)).doing(doing)?;
        finish(
            &folder,
            &xattrs_of(item, opened(item)?.as_ref())?,
            self.manner.time(&item.stat),
        )
        .doing(doing)
    }
}

/// Attributes after the owner (a change of owner drops capabilities), times last.
fn finish(fd: impl AsFd, xattrs: &Xattrs, time: Timestamps) -> sys::Result<()> {
    for (name, value) in xattrs {
        match at::fsetxattr(&fd, name.as_str(), value, at::XattrFlags::empty()) {
            // A file system without them: a copy carries what it can.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(SysError::new("setxattr", name, errno)),
        }
    }
    at::futimens(&fd, &time).map_err(|errno| SysError::new("utimens", "", errno))
}

/// A path as layers have it.
fn below_root(path: &str) -> Vec<u8> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.join("/").into_bytes()
}

pub(super) fn times(time: Timespec) -> Timestamps {
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
