//! An overlay's upper directory → a layer tar that depends on nothing but its content: entries in a
//! fixed order, whiteouts and opaque directories under their tar names, overlay's own attributes left
//! out. Not its job: what becomes of the directory.
//!
//! The root itself is not among the entries (as docker has it): its time changes with every build.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt as _};

use sys::at::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use sys::beneath::Root;
use sys::{Errno, SysError};

use super::below::{directory_flags, is_opaque, is_whiteout};
use super::changes::{Change, ChangeKind};
use super::entry::{Entry, Kind};
use super::kept::{LinkOwners, Owner, kept_owner};
use super::metadata::{mtime, own_xattrs};
use super::path::LayerPath;
use super::pax::Time;
use super::whiteout::{OPAQUE, is_marker, whiteout_name};
use super::write::Writer;
use super::written::{Written, WrittenFile};
use crate::owner::OwnerPolicy;
use crate::{Error, Result};

/// What decides the bytes beside the directory's content.
pub(crate) struct Rules<'a> {
    pub(crate) owners: &'a OwnerPolicy,
    /// Whose files are that have no attributes, where owners are kept beside them.
    pub(crate) links: &'a LinkOwners,
    /// Files that need not be read.
    pub(crate) written: &'a Written,
    /// No time is later than this.
    pub(crate) clamp_mtime: Option<i64>,
    /// The files themselves get the times that are written, so that directory and tar are one layer.
    pub(crate) settle: bool,
    /// Which paths are written, and looked into: all without.
    pub(crate) only: Option<&'a Takes<'a>>,
}

/// Whether a path is taken.
pub(crate) type Takes<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// Writes the tar of `upper` to `out`. Times are cut to whole seconds, as every builder does. Gives the owners that are
/// kept beside the files, too.
pub(crate) fn write<W: Write>(
    upper: OwnedFd,
    rules: &Rules<'_>,
    out: W,
) -> Result<(W, BTreeMap<LayerPath, Owner>)> {
    let mut walk = Walk::new(upper, rules, out);
    let mut pending = vec![LayerPath::ROOT];
    while let Some(path) = pending.pop() {
        let mut inside = walk
            .directory(&path)
            .map_err(|e| e.inside(format!("directory {path}")))?;
        // A stack gives the last first.
        inside.reverse();
        pending.append(&mut inside);
    }
    let beside = std::mem::take(&mut walk.beside);
    Ok((walk.finish()?, beside))
}

/// Writes the tar of these changes alone; `tree` has what was added and changed.
pub(crate) fn write_changes<W: Write>(
    tree: OwnedFd,
    changes: &[Change],
    rules: &Rules<'_>,
    out: W,
) -> Result<W> {
    let mut walk = Walk::new(tree, rules, out);
    for change in changes {
        let path = &change.path;
        let Some((parent, name)) = path.split() else {
            continue;
        };
        let result = match change.kind {
            ChangeKind::Deleted => walk.marker(parent.join(&whiteout_name(name))),
            ChangeKind::Added | ChangeKind::Changed => walk.one(path),
        };
        result.map_err(|e| e.inside(format!("file {path}")))?;
    }
    walk.finish()
}

/// What is known of a file that is no directory.
enum Seen<'a> {
    Looked(at::Stat),
    Written(&'a WrittenFile),
}

struct Walk<'a, W> {
    root: Root,
    rules: &'a Rules<'a>,
    writer: Writer<W>,
    /// The first path of each file that has several, and whose it is.
    links: HashMap<(u64, u64), (LayerPath, Owner)>,
    /// Owners of what has no attributes.
    beside: BTreeMap<LayerPath, Owner>,
}

impl<'a, W: Write> Walk<'a, W> {
    fn new(root: OwnedFd, rules: &'a Rules<'a>, out: W) -> Self {
        Self {
            root: Root::new(root),
            rules,
            writer: Writer::new(out),
            links: HashMap::new(),
            beside: BTreeMap::new(),
        }
    }

    fn finish(self) -> Result<W> {
        let failed = |e: std::io::Error| io("write the layer's tar", &e);
        self.writer.finish().map_err(failed)
    }

    /// Writes what is at one path, a directory without what is in it.
    fn one(&mut self, path: &LayerPath) -> Result<()> {
        let place = OsStr::from_bytes(path.bytes());
        let (dir, name) = self.root.parent(place).map_err(system)?;
        let name = name.as_bytes();
        let stat = at::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| fault("fstatat", errno))?;
        if is_marker(name) || is_whiteout(&stat) {
            return Err(Error::refused("it", "in a layer it means a whiteout"));
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return self.file(&dir, name, path, &stat);
        }
        let dir = self.root.open(place, directory_flags()).map_err(system)?;
        self.itself(path, &dir, &stat)
    }

    /// Writes a directory's own entry.
    fn itself(&mut self, path: &LayerPath, dir: &OwnedFd, stat: &at::Stat) -> Result<()> {
        let xattrs = own_xattrs(dir)?;
        let owner = self.owner(stat, Some(dir), path)?;
        let entry = self.entry(path.clone(), Kind::Directory, (stat, owner), xattrs);
        self.put(&entry, std::io::empty())?;
        self.settle(dir, b".", stat, entry.mtime)
    }

    /// Writes a directory: itself, what it removes, its files, all by name. Gives its directories.
    fn directory(&mut self, path: &LayerPath) -> Result<Vec<LayerPath>> {
        let name = match path.is_root() {
            true => OsStr::new("."),
            false => OsStr::from_bytes(path.bytes()),
        };
        let dir = self.root.open(name, directory_flags()).map_err(system)?;
        let stat = at::fstat(&dir).map_err(|errno| fault("fstat", errno))?;
        if !path.is_root() {
            self.itself(path, &dir, &stat)?;
        }
        let mut names: Vec<(Vec<u8>, FileType)> = sys::file::list(&dir)
            .map_err(system)?
            .into_iter()
            .map(|(name, kind)| (name.into_vec(), kind))
            .collect();
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut files = Vec::new();
        let mut directories = Vec::new();
        if is_opaque(&dir).map_err(|errno| fault("fgetxattr", errno))? {
            self.marker(path.join(OPAQUE))?;
        }
        for (name, kind) in names {
            let whole = path.join(&name);
            if self.rules.only.is_some_and(|takes| !takes(whole.bytes())) {
                continue;
            }
            if kind == FileType::RegularFile
                && !is_marker(&name)
                && let Some(written) = self.rules.written.get(whole.bytes())
            {
                files.push((name, Seen::Written(written)));
                continue;
            }
            let stat = at::statat(&dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| fault("fstatat", errno))?;
            if is_marker(&name) {
                let what = format!("file {whole}");
                return Err(Error::refused(what, "in a layer its name means a whiteout"));
            } else if is_whiteout(&stat) {
                self.marker(path.join(&whiteout_name(&name)))?;
            } else if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                directories.push(whole);
            } else {
                files.push((name, Seen::Looked(stat)));
            }
        }
        for (name, seen) in files {
            let path = path.join(&name);
            match seen {
                Seen::Looked(stat) => self.file(&dir, &name, &path, &stat),
                Seen::Written(file) => self.written(&dir, &name, &path, file),
            }
            .map_err(|e| e.inside(format!("file {path}")))?;
        }
        Ok(directories)
    }

    fn file(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: &LayerPath,
        stat: &at::Stat,
    ) -> Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            // No tar can hold it, and it means nothing without its process.
            return Ok(());
        }
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some((first, owner)) = self.links.get(&inode).cloned() {
                let link = Kind::HardLink { target: first };
                let entry = self.entry(path.clone(), link, (stat, owner), Vec::new());
                return self.put(&entry, std::io::empty());
            }
        }
        let (open, xattrs) = match kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = at::openat(dir, name, flags, Mode::empty())
                    .map_err(|errno| fault("open", errno))?;
                let xattrs = own_xattrs(&fd)?;
                (Some(fd), xattrs)
            }
            _ => (None, Vec::new()),
        };
        let owner = self.owner(stat, open.as_ref(), path)?;
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            self.links.insert(inode, (path.clone(), owner));
        }
        let kind = tar_kind(dir, name, stat)?;
        let entry = self.entry(path.clone(), kind, (stat, owner), xattrs);
        match open {
            Some(file) => self.put(&entry, File::from(file))?,
            None => self.put(&entry, std::io::empty())?,
        }
        self.settle(dir, name, stat, entry.mtime)
    }

    /// Writes a file that is known as it was written.
    fn written(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: &LayerPath,
        file: &WrittenFile,
    ) -> Result<()> {
        let (uid, gid) = match self.rules.owners {
            OwnerPolicy::Single => file.owner,
            owners => owners.recorded(file.owner.0, file.owner.1)?,
        };
        let entry = file.entry(path.clone(), (uid, gid), self.time(file.modified));
        self.put(&entry, &file.bytes[..])?;
        match !self.rules.settle || entry.mtime.secs == file.modified {
            true => Ok(()),
            false => settle(dir, name, entry.mtime),
        }
    }

    /// The time that is written for a file.
    fn time(&self, secs: i64) -> Time {
        Time {
            secs: self.rules.clamp_mtime.map_or(secs, |most| secs.min(most)),
            nanos: 0,
        }
    }

    /// Gives the file the time that was written for it.
    fn settle(&self, dir: &OwnedFd, name: &[u8], stat: &at::Stat, time: Time) -> Result<()> {
        match !self.rules.settle || mtime(stat) == time {
            true => Ok(()),
            false => settle(dir, name, time),
        }
    }

    /// Whose the image has a file: `fd` is open where it can be.
    fn owner(&mut self, stat: &at::Stat, fd: Option<&OwnedFd>, path: &LayerPath) -> Result<Owner> {
        if *self.rules.owners != OwnerPolicy::Single {
            return self.rules.owners.recorded(stat.st_uid, stat.st_gid);
        }
        if let Some(fd) = fd {
            return Ok(kept_owner(fd).map_err(system)?.unwrap_or((0, 0)));
        }
        let owner = self.rules.links.get(path.bytes());
        self.beside.insert(path.clone(), owner);
        Ok(owner)
    }

    fn entry(
        &self,
        path: LayerPath,
        kind: Kind,
        (stat, (uid, gid)): (&at::Stat, Owner),
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Entry {
        Entry {
            sparse: None,
            path,
            kind,
            uid,
            gid,
            mode: stat.st_mode & 0o7777,
            mtime: self.time(mtime(stat).secs),
            xattrs,
        }
    }

    /// An empty file whose name alone counts.
    fn marker(&mut self, path: LayerPath) -> Result<()> {
        let entry = Entry {
            sparse: None,
            path,
            kind: Kind::File { size: 0 },
            uid: 0,
            gid: 0,
            mode: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
        };
        self.put(&entry, std::io::empty())
    }

    fn put(&mut self, entry: &Entry, data: impl Read) -> Result<()> {
        self.writer
            .entry(entry, data)
            .map_err(|e| io("write the layer's tar", &e))
    }
}

fn tar_kind(dir: &OwnedFd, name: &[u8], stat: &at::Stat) -> Result<Kind> {
    let (major, minor) = (at::major(stat.st_rdev), at::minor(stat.st_rdev));
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File {
            size: u64::try_from(stat.st_size).unwrap_or(0),
        },
        FileType::Symlink => Kind::Symlink {
            target: at::readlinkat(dir, name, Vec::new())
                .map_err(|errno| fault("readlinkat", errno))?
                .into_bytes(),
        },
        FileType::CharacterDevice => Kind::Character { major, minor },
        FileType::BlockDevice => Kind::Block { major, minor },
        FileType::Fifo => Kind::Fifo,
        other => {
            let what = format!("a file of type {other:?}");
            return Err(Error::Unsupported { what });
        }
    })
}

fn settle(dir: &OwnedFd, name: &[u8], time: Time) -> Result<()> {
    let time = Timespec {
        tv_sec: time.secs,
        tv_nsec: time.nanos.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    at::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| fault("utimensat", errno))
}

fn fault(call: &'static str, errno: Errno) -> Error {
    system(SysError::new(call, "", errno))
}

fn system(source: SysError) -> Error {
    Error::System {
        what: "read it".to_owned(),
        source,
    }
}

fn io(what: &str, error: &std::io::Error) -> Error {
    Error::System {
        what: what.to_owned(),
        source: SysError::from_io("write", "", error),
    }
}
