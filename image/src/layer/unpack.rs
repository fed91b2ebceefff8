//! Applies the entries of one layer below a directory, by directory fd: no name of the archive is ever
//! resolved by a path string, and no link in it is followed out of the root.
//! Not its job: reading the tar (`entry.rs`), directories (`tree.rs`).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use sys::at::{self, AtFlags, FileType};
use sys::{Errno, SysError};

use super::below::is_whiteout;
use super::copy::{self, Place};
use super::entry::{Entries, Entry, Kind, Skip, stream_fault};
use super::kept::Owner;
use super::metadata::{self, Metadata};
use super::path::LayerPath;
use super::sparse::Fault;
use super::tree::{AskBelow, Shape, Tree};
use super::whiteout::{Marker, OverlayXattrs, marker};
use crate::owner::OwnerPolicy;
use crate::{Error, Result};

/// How a layer is unpacked.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) owners: OwnerPolicy,
    pub(crate) overlay: OverlayXattrs,
}

/// What came of a layer.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) shape: Shape,
    /// Whose files are that have no attributes, where the policy could not give them to anybody.
    pub(crate) owners: BTreeMap<LayerPath, Owner>,
    /// Devices and file capabilities left out, since we may not make them: each in words.
    pub(crate) left_out: Vec<String>,
    /// The latest time that an entry has, in seconds since 1970.
    pub(crate) newest: Option<i64>,
}

/// What entries are put on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ground {
    /// A layer of its own: `.wh.` names speak of the layers below.
    Layer,
    /// A tree that is there already, whose root stays as it is; all files become this owner's.
    Tree(Option<(u32, u32)>),
}

/// Bytes moved at a time.
const CHUNK: usize = 128 * 1024;

/// How many of the things left out are named.
const MAX_LEFT_OUT: usize = 1000;

/// Unpacks a layer into the empty directory `root`. `ask` gives the layers below if an entry needs
/// them; `go_on` is asked now and then, and `false` ends the work with [`Error::Stopped`].
pub(crate) fn unpack<R: Skip>(
    entries: &mut Entries<R>,
    root: OwnedFd,
    manner: &Manner,
    ask: &AskBelow<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<Unpacked> {
    let owner = manner.owners.on_disk(0, 0)?;
    let tree = Tree::new(root, owner, ask);
    fill(entries, tree, manner, Ground::Layer, go_on)
}

/// Puts all entries into `tree`.
pub(super) fn fill<R: Skip>(
    entries: &mut Entries<R>,
    tree: Tree<'_>,
    manner: &Manner,
    ground: Ground,
    go_on: &dyn Fn() -> bool,
) -> Result<Unpacked> {
    let mut unpacker = Unpacker {
        tree,
        ground,
        manner,
        owners: BTreeMap::new(),
        left_out: Vec::new(),
        buffer: vec![0; CHUNK],
    };
    let mut newest = None;
    while let Some(entry) = entries.next()? {
        if !go_on() {
            return Err(Error::Stopped);
        }
        newest = newest.max(Some(entry.mtime.secs));
        unpacker
            .place(&entry, entries)
            .map_err(|e| e.inside(format!("entry {}", entry.path)))?;
    }
    Ok(Unpacked {
        shape: unpacker.tree.finish(manner.overlay)?,
        owners: unpacker.owners,
        left_out: unpacker.left_out,
        newest,
    })
}

struct Unpacker<'a> {
    tree: Tree<'a>,
    ground: Ground,
    manner: &'a Manner,
    owners: BTreeMap<LayerPath, Owner>,
    left_out: Vec<String>,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn place(&mut self, entry: &Entry, data: &mut impl Read) -> Result<()> {
        let refuse = |rule| Error::refused("its name", rule);
        let marker = marker(&entry.path).map_err(refuse)?;
        if let (Ground::Tree(_), true) = (self.ground, marker != Marker::Plain) {
            return Err(refuse("no image can hold a file of that name".to_owned()));
        }
        let Some((parent, name)) = entry.path.split() else {
            if let Ground::Tree(_) = self.ground {
                return Ok(());
            }
            let metadata = self.metadata(entry, &LayerPath::ROOT)?;
            return self.tree.state(LayerPath::ROOT, metadata);
        };
        if marker != Marker::Plain && entry.kind == Kind::Directory && marker != Marker::Ignored {
            return Err(refuse("a whiteout can't be a directory".to_owned()));
        }
        match marker {
            Marker::Ignored => return Ok(()),
            Marker::Opaque => {
                let (_, place) = self.tree.directory(&parent)?;
                self.tree.make_opaque(place);
                return Ok(());
            }
            Marker::Whiteout(gone) => {
                let (dir, place) = self.tree.directory(&parent)?;
                return self.whiteout((&*dir, gone), place.join(gone));
            }
            Marker::Plain => {}
        }
        let (dir, place) = self.tree.directory(&parent)?;
        let path = place.join(name);
        let metadata = self.metadata(entry, &path)?;
        match &entry.kind {
            Kind::Directory => self.directory((&*dir, name), path, metadata),
            Kind::HardLink { target } => self.hard_link((&*dir, name), &path, target),
            _ => self.file((&*dir, name), &path, entry, &metadata, data),
        }
    }

    /// What the entry says of its file; the owner as the policy has it.
    fn metadata(&mut self, entry: &Entry, path: &LayerPath) -> Result<Metadata> {
        let (uid, gid) = match self.ground {
            Ground::Tree(Some(owner)) => owner,
            _ => (entry.uid, entry.gid),
        };
        let owner = self.manner.owners.on_disk(uid, gid)?;
        let mut kept = None;
        if owner.is_none() {
            match entry.kind {
                Kind::HardLink { .. } => {}
                Kind::File { .. } | Kind::Directory => {
                    self.owners.remove(path);
                    kept = Some((uid, gid)).filter(|owner| *owner != (0, 0));
                }
                _ => drop(self.owners.insert(path.clone(), (uid, gid))),
            }
        }
        let mut xattrs = entry.xattrs.clone();
        let count = xattrs.len();
        if owner.is_none() {
            // Only who may give files away may give them capabilities.
            xattrs.retain(|(name, _)| name != b"security.capability");
        }
        if xattrs.len() < count {
            self.leave_out(format!("file capability of {path}"));
        }
        Ok(Metadata {
            owner,
            kept,
            mode: entry.mode,
            mtime: entry.mtime,
            xattrs,
        })
    }

    fn leave_out(&mut self, what: String) {
        if self.left_out.len() < MAX_LEFT_OUT {
            self.left_out.push(what);
        }
    }

    fn directory(&mut self, place: Place<'_>, path: LayerPath, metadata: Metadata) -> Result<()> {
        match at::mkdirat(place.0, place.1, at::Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => match kind_of(place)? {
                // A directory over a directory: what it holds stays, what it is is said anew.
                FileType::Directory => {}
                _ => {
                    // Something of this very layer hid the layers below; the directory that takes
                    // its place must not show them again.
                    self.clear(place, &path)?;
                    at::mkdirat(place.0, place.1, at::Mode::RWXU)
                        .map_err(|errno| fault("mkdir", errno))?;
                    self.tree.make_opaque(path.clone());
                }
            },
            Err(errno) => return Err(fault("mkdir", errno)),
        }
        self.tree.state(path, metadata)
    }

    /// A whiteout speaks of the layers below alone, wherever it stands in the tar: what this layer has
    /// there itself stays.
    fn whiteout(&mut self, place: Place<'_>, path: LayerPath) -> Result<()> {
        match copy::whiteout(place) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                if kind_of(place)? == FileType::Directory {
                    self.tree.make_opaque(path);
                }
                Ok(())
            }
            Err(errno) => Err(fault("mknod", errno)),
        }
    }

    /// Anything but a directory or a hard link, put where nothing else may be afterwards.
    fn file(
        &mut self,
        place: Place<'_>,
        path: &LayerPath,
        entry: &Entry,
        metadata: &Metadata,
        data: &mut impl Read,
    ) -> Result<()> {
        let result = match self.make(place, entry, metadata, data) {
            Err(Error::System { source, .. }) if source.errno == Errno::EXIST => {
                self.clear(place, path)?;
                self.make(place, entry, metadata, data)
            }
            result => result,
        };
        match result {
            // Without the right to make devices they are left out, and named.
            Err(Error::System { source, .. })
                if source.call == "mknodat"
                    && source.errno == Errno::PERM
                    && self.manner.overlay == OverlayXattrs::User =>
            {
                self.leave_out(format!("device {path}"));
                Ok(())
            }
            result => result,
        }
    }

    fn make(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        metadata: &Metadata,
        data: &mut impl Read,
    ) -> Result<()> {
        let node =
            |kind, major, minor| copy::node(place, kind, at::makedev(major, minor), metadata);
        let made = match &entry.kind {
            Kind::File { .. } => return self.regular(place, entry, metadata, data),
            Kind::Symlink { target } => copy::symlink(place, target, metadata),
            Kind::Fifo => node(FileType::Fifo, 0, 0),
            Kind::Character { major, minor } => node(FileType::CharacterDevice, *major, *minor),
            Kind::Block { major, minor } => node(FileType::BlockDevice, *major, *minor),
            Kind::Directory | Kind::HardLink { .. } => Ok(()),
        };
        made.map_err(system)
    }

    fn regular(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        metadata: &Metadata,
        data: &mut impl Read,
    ) -> Result<()> {
        let mut file = copy::create(place).map_err(system)?;
        if let Some(sparse) = &entry.sparse {
            let done = sparse.write(data, &mut file, &mut self.buffer);
            done.map_err(|fault| match fault {
                Fault::Read(e) => stream_fault("its data", &e),
                Fault::Rule(rule) => Error::refused("its data", rule),
                Fault::Write(e) => system(SysError::from_io("write", "", &e)),
            })?;
            return metadata::apply(file.as_fd(), metadata).map_err(system);
        }
        loop {
            let count = data
                .read(&mut self.buffer)
                .map_err(|e| stream_fault("its data", &e))?;
            if count == 0 {
                break;
            }
            file.write_all(&self.buffer[..count])
                .map_err(|e| system(SysError::from_io("write", "", &e)))?;
        }
        metadata::apply(file.as_fd(), metadata).map_err(system)
    }

    /// Links to a file of this layer, or to one of a layer below, which is copied up first as overlay
    /// would. Owner, mode and times are those of the target: both names are one file.
    fn hard_link(&mut self, place: Place<'_>, path: &LayerPath, target: &LayerPath) -> Result<()> {
        let (parent, name) = target.split().unwrap_or((LayerPath::ROOT, b""));
        let (dir, real) = self.tree.directory(&parent)?;
        let real = real.join(name);
        if real == *path {
            return Err(Error::refused(
                format!("hard link to {target}"),
                "it is itself",
            ));
        }
        self.have_target((&*dir, name), target, &real)?;
        // Without a flag the link itself is linked to, not where it leads.
        let flags = match sys::fault::broken("no-plain-hard-link") {
            true => AtFlags::SYMLINK_FOLLOW,
            false => AtFlags::empty(),
        };
        let link = || at::linkat(&*dir, name, place.0, place.1, flags);
        match link() {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                self.clear(place, path)?;
                link().map_err(|errno| fault("link", errno))
            }
            Err(errno) => Err(fault("link", errno)),
        }
    }

    /// Makes sure that a link's target is in this layer and may be linked to.
    fn have_target(&mut self, place: Place<'_>, named: &LayerPath, real: &LayerPath) -> Result<()> {
        let refuse = |rule: &str| Err(Error::refused(format!("hard link to {named}"), rule));
        match at::statat(place.0, place.1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_whiteout(&stat) => refuse("this layer removes it"),
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => refuse("it is a directory"),
                _ => Ok(()),
            },
            Err(Errno::NOENT) => {
                let Some(found) = self.tree.find_below(real)? else {
                    return refuse("neither this layer nor one below it has that");
                };
                if found.kind() == FileType::Directory {
                    return refuse("it is a directory of a layer below");
                }
                self.tree.lean();
                copy::file((&found.dir, place.1), &found.stat, place).map_err(system)
            }
            Err(errno) => Err(fault("stat", errno)),
        }
    }

    /// Removes what this layer itself put there before: the last entry of a name wins.
    fn clear(&mut self, place: Place<'_>, path: &LayerPath) -> Result<()> {
        self.tree.forget(path);
        self.owners
            .retain(|known, _| known == path || !known.is_below(path));
        let name = std::ffi::OsStr::from_bytes(place.1);
        sys::file::remove_tree(place.0, name).map_err(system)
    }
}

use std::os::unix::ffi::OsStrExt;

fn kind_of(place: Place<'_>) -> Result<FileType> {
    at::statat(place.0, place.1, AtFlags::SYMLINK_NOFOLLOW)
        .map(|stat| FileType::from_raw_mode(stat.st_mode))
        .map_err(|errno| fault("stat", errno))
}

fn fault(call: &'static str, errno: Errno) -> Error {
    system(SysError::new(call, "", errno))
}

fn system(source: SysError) -> Error {
    Error::System {
        what: "unpack it".to_owned(),
        source,
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
