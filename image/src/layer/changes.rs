//! What differs between two trees, each a stack of layers or a plain folder: what must be added, changed and removed to
//! make one of the other. Not its job: making it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use sys::at::{self, FileType, Mode, OFlags};
use sys::{Errno, SysError};

use super::below::directory_flags;
use super::flatten::{Merged, Source, merge};
use super::metadata::{self, Metadata};
use super::path::LayerPath;
use super::pax::Time;
use crate::Result;
use crate::error::Doing;

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It was there, and is another now; a directory too in which something changed.
    Changed,
    /// It is gone, with all that was in it.
    Deleted,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: LayerPath,
    pub(crate) kind: ChangeKind,
}

/// A tree: layers, the top first, as an overlay over them would show them; or one folder.
pub(crate) struct Tree(pub(crate) Vec<Source>);

/// What makes `new` of `old`, parents before what is in them. A file counts as changed by its content, target, owner,
/// mode, attributes or time; a directory not by its time, which says nothing but that something in it changed.
pub(crate) fn changes(old: &Tree, new: &Tree) -> Result<Vec<Change>> {
    let all = |tree: &Tree| Some((0..tree.0.len()).collect());
    let mut walk = Walk {
        old,
        new,
        found: BTreeMap::new(),
    };
    let mut pending = vec![(LayerPath::ROOT, all(old), all(new))];
    while let Some((path, before, after)) = pending.pop() {
        let inside = walk
            .directory(&path, before, after)
            .map_err(|e| e.inside(format!("compare directory {path}")))?;
        pending.extend(inside);
    }
    Ok(walk.found.into_values().collect())
}

/// A directory to look into: the layers of either tree that have it.
type Pending = (LayerPath, Option<Vec<usize>>, Option<Vec<usize>>);

struct Walk<'a> {
    old: &'a Tree,
    new: &'a Tree,
    /// By the names of their paths, so that what is in a directory comes behind it.
    found: BTreeMap<Vec<Vec<u8>>, Change>,
}

/// One directory of one tree.
#[derive(Default)]
struct Opened {
    folders: HashMap<usize, OwnedFd>,
    names: BTreeMap<Vec<u8>, Merged>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        path: &LayerPath,
        before: Option<Vec<usize>>,
        after: Option<Vec<usize>>,
    ) -> Result<Vec<Pending>> {
        let mut old = open(self.old, path, before)?;
        let mut new = open(self.new, path, after)?;
        let names: BTreeSet<Vec<u8>> = old.names.keys().chain(new.names.keys()).cloned().collect();
        let mut inside = Vec::new();
        for name in names {
            let child = path.join(&name);
            let (was, is) = (old.names.remove(&name), new.names.remove(&name));
            let kind = match (&was, &is) {
                (None, None) => continue,
                (None, Some(_)) => Some(ChangeKind::Added),
                (Some(_), None) => Some(ChangeKind::Deleted),
                (Some(was), Some(is)) => differ((&old, was), (&new, is), &name)
                    .doing(|| format!("compare {child}"))?
                    .then_some(ChangeKind::Changed),
            };
            if let Some(kind) = kind {
                self.note(&child, kind);
            }
            if let Some(Merged::Directory { layers, .. }) = is {
                let before = match was {
                    Some(Merged::Directory { layers, .. }) => Some(layers),
                    _ => None,
                };
                inside.push((child, before, Some(layers)));
            }
        }
        Ok(inside)
    }

    /// Notes a change; each directory above has changed with it.
    fn note(&mut self, path: &LayerPath, kind: ChangeKind) {
        let names: Vec<Vec<u8>> = path
            .bytes()
            .split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect();
        let mut above = LayerPath::ROOT;
        for depth in 1..names.len() {
            above = above.join(&names[depth - 1]);
            self.found
                .entry(names[..depth].to_vec())
                .or_insert_with(|| Change {
                    path: above.clone(),
                    kind: ChangeKind::Changed,
                });
        }
        let path = path.clone();
        self.found.insert(names, Change { path, kind });
    }
}

fn open(tree: &Tree, path: &LayerPath, layers: Option<Vec<usize>>) -> Result<Opened> {
    let mut opened = Opened::default();
    let name = match path.is_root() {
        true => OsStr::new("."),
        false => OsStr::from_bytes(path.bytes()),
    };
    for layer in layers.into_iter().flatten() {
        let folder = tree.0[layer].root.open(name, directory_flags());
        let folder = folder.doing(|| "open it".to_owned())?;
        merge(layer, &folder, &mut opened.names)?;
        opened.folders.insert(layer, folder);
    }
    opened
        .names
        .retain(|_, what| !matches!(what, Merged::Nothing));
    Ok(opened)
}

type Side<'a> = (&'a Opened, &'a Merged);

/// Whether a name is two things in two trees; a directory is compared without what is in it.
fn differ(old: Side<'_>, new: Side<'_>, name: &[u8]) -> sys::Result<bool> {
    let (was, is) = (look(old, name)?, look(new, name)?);
    if (was.stat.st_dev, was.stat.st_ino) == (is.stat.st_dev, is.stat.st_ino) {
        return Ok(false);
    }
    let kind = FileType::from_raw_mode(is.stat.st_mode);
    if FileType::from_raw_mode(was.stat.st_mode) != kind {
        return Ok(true);
    }
    let (mut before, mut after) = (was.metadata()?, is.metadata()?);
    if kind == FileType::Directory || is_same_time(before.mtime, after.mtime) {
        before.mtime = Time::default();
        after.mtime = Time::default();
    }
    if before != after {
        return Ok(true);
    }
    match kind {
        FileType::RegularFile => was.has_other_bytes(&is),
        FileType::Symlink => Ok(was.target()? != is.target()?),
        FileType::CharacterDevice | FileType::BlockDevice => {
            Ok(was.stat.st_rdev != is.stat.st_rdev)
        }
        _ => Ok(false),
    }
}

/// Whole seconds on one side alone are a time that went through a tar.
fn is_same_time(a: Time, b: Time) -> bool {
    a.secs == b.secs && (a.nanos == b.nanos || a.nanos == 0 || b.nanos == 0)
}

/// A file of one tree.
struct Looked<'a> {
    folder: &'a OwnedFd,
    name: &'a [u8],
    stat: at::Stat,
    /// Open for reading, if it is a file or a directory.
    fd: Option<OwnedFd>,
}

fn look<'a>((opened, what): Side<'a>, name: &'a [u8]) -> sys::Result<Looked<'a>> {
    let layer = match what {
        Merged::Directory { layers, .. } => layers.first(),
        Merged::File { layer, .. } => Some(layer),
        Merged::Nothing => None,
    };
    let folder = layer.and_then(|layer| opened.folders.get(layer));
    let folder = folder.ok_or_else(|| SysError::new("open", "", Errno::NOENT))?;
    let flags = match what {
        Merged::Directory { .. } => Some(directory_flags()),
        Merged::File { stat, .. }
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile =>
        {
            // What became a FIFO meanwhile is not waited for.
            Some(OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC)
        }
        _ => None,
    };
    let fail = |call| move |errno| SysError::new(call, "", errno);
    let fd = flags.map(|flags| at::openat(folder, name, flags, Mode::empty()));
    let fd = fd.transpose().map_err(fail("openat"))?;
    let stat = match (&fd, what) {
        (Some(fd), _) => at::fstat(fd).map_err(fail("fstat"))?,
        (None, Merged::File { stat, .. }) => *stat,
        (None, _) => return Err(SysError::new("open", "", Errno::NOENT)),
    };
    Ok(Looked {
        folder,
        name,
        stat,
        fd,
    })
}

impl Looked<'_> {
    fn metadata(&self) -> sys::Result<Metadata> {
        metadata::read(&self.stat, self.fd.as_ref())
    }

    fn target(&self) -> sys::Result<Vec<u8>> {
        at::readlinkat(self.folder, self.name, Vec::new())
            .map(std::ffi::CString::into_bytes)
            .map_err(|errno| SysError::new("readlinkat", "", errno))
    }

    fn has_other_bytes(&self, other: &Self) -> sys::Result<bool> {
        if self.stat.st_size != other.stat.st_size {
            return Ok(true);
        }
        let again = |fd: &Option<OwnedFd>| match fd {
            Some(fd) => fd.try_clone().map(File::from),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let compare = || -> io::Result<bool> {
            let (mut a, mut b) = (again(&self.fd)?, again(&other.fd)?);
            let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
            loop {
                let count = a.read(&mut left)?;
                if count == 0 {
                    return Ok(b.read(&mut right)? != 0);
                }
                match b.read_exact(&mut right[..count]) {
                    Ok(()) if left[..count] == right[..count] => {}
                    Ok(()) => return Ok(true),
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
                    Err(e) => return Err(e),
                }
            }
        };
        compare().map_err(|e| SysError::from_io("read", "", &e))
    }
}
