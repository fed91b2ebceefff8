//! The names of the layer being written, in memory: found or made, with the links of the merged tree followed inside
//! it, as a layer's folder does it (`layer/tree.rs`). Not its job: what is in files (`unpack.rs`), and how names are
//! written (`write.rs`).

use std::collections::BTreeMap;

use sys::at::{self, FileType, Mode};
use sys::{Errno, SysError};

use super::record::Kind;
use super::{Halt, Result};
use crate::Error;
use crate::error::Doing;
use crate::layer::below::{Below, Found, directory_flags};
use crate::layer::link::{one_more, through};
use crate::layer::metadata::{self, Metadata};
use crate::layer::path::{LayerPath, TOO_LONG};
use crate::layer::tree::AskBelow;

/// Memory for names and what belongs to them: who has more of them gets a folder.
const MAX_HELD: usize = 32 << 20;

/// About what a name takes beside its bytes.
const NAME: usize = 96;

/// A place in `Tree::directories` or `Tree::leaves`.
pub(super) type Id = u32;

pub(super) const ROOT: Id = 0;

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Directory(Id),
    Leaf(Id),
}

/// A directory as it will be when the layer is whole.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) parent: Id,
    pub(super) names: BTreeMap<Box<[u8]>, Child>,
    pub(super) metadata: Metadata,
    /// The layer itself said what the directory is.
    pub(super) stated: bool,
    pub(super) opaque: bool,
}

/// Anything but a directory: its inode is written already.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) links: u32,
    /// It is overlay's whiteout.
    pub(super) whiteout: bool,
    /// Where a symbolic link leads.
    target: Option<Box<[u8]>>,
}

impl Leaf {
    pub(super) fn new(number: u64, kind: Kind) -> Self {
        Self {
            number,
            kind,
            links: 0,
            whiteout: false,
            target: None,
        }
    }

    pub(super) fn symlink(number: u64, target: &[u8]) -> Self {
        Self {
            target: Some(target.into()),
            ..Self::new(number, Kind::Symlink)
        }
    }

    pub(super) fn whiteout(number: u64) -> Self {
        Self {
            whiteout: true,
            ..Self::new(number, Kind::Character)
        }
    }
}

/// The tree being filled.
pub(super) struct Tree<'a> {
    ask: &'a AskBelow<'a>,
    below: Option<Below>,
    /// The root first. What lost its name stays here, without a way to it.
    pub(super) directories: Vec<Directory>,
    pub(super) leaves: Vec<Leaf>,
    /// What was written hangs on the layers below.
    pub(super) leans: bool,
    /// What a directory is that nobody said anything about.
    plain: Metadata,
    held: usize,
}

impl<'a> Tree<'a> {
    /// `owner` is root's on this file system, as the owner policy has it.
    pub(super) fn new(owner: Option<(u32, u32)>, ask: &'a AskBelow<'a>) -> Self {
        let plain = Metadata {
            owner,
            mode: 0o755,
            ..Metadata::default()
        };
        let root = Directory {
            metadata: plain.clone(),
            ..Directory::default()
        };
        Self {
            ask,
            below: None,
            directories: vec![root],
            leaves: Vec::new(),
            leans: false,
            plain,
            held: 0,
        }
    }

    pub(super) fn child(&self, dir: Id, name: &[u8]) -> Option<Child> {
        self.at(dir).names.get(name).copied()
    }

    pub(super) fn at(&self, dir: Id) -> &Directory {
        &self.directories[dir as usize]
    }

    pub(super) fn at_mut(&mut self, dir: Id) -> &mut Directory {
        &mut self.directories[dir as usize]
    }

    pub(super) fn leaf(&self, leaf: Id) -> &Leaf {
        &self.leaves[leaf as usize]
    }

    /// The directory `path` and where it really is. What is missing is made: as it is in the layers below, or as
    /// root's with mode 0755.
    pub(super) fn directory(&mut self, path: &LayerPath) -> Result<(Id, LayerPath)> {
        self.resolve(path, 0)
    }

    fn resolve(&mut self, path: &LayerPath, links: u32) -> Result<(Id, LayerPath)> {
        let mut here = (ROOT, LayerPath::ROOT);
        for name in path.names() {
            here = self.step(&here, name, links)?;
        }
        Ok(here)
    }

    /// Goes from a directory into its `name`.
    fn step(
        &mut self,
        (dir, place): &(Id, LayerPath),
        name: &[u8],
        links: u32,
    ) -> Result<(Id, LayerPath)> {
        let path = place.join(name);
        if path.is_too_long() {
            return Err(Error::refused(format!("directory {path}"), TOO_LONG).into());
        }
        let leaf = match self.child(*dir, name) {
            Some(Child::Directory(id)) => return Ok((id, path)),
            None => return self.missing(*dir, path, name, links),
            Some(Child::Leaf(leaf)) => self.leaf(leaf),
        };
        if leaf.whiteout {
            // This layer removed what was there: the directory begins anew.
            let made = self.make(*dir, name, self.plain.clone())?;
            self.at_mut(made).opaque = true;
            return Ok((made, path));
        }
        match leaf.target.clone() {
            Some(target) => self.follow(&target, place, name, links),
            None => Err(Error::refused(
                format!("directory {path}"),
                "the layer has something else there",
            )
            .into()),
        }
    }

    /// `name` is not in this layer: as the layers below have it.
    fn missing(
        &mut self,
        dir: Id,
        path: LayerPath,
        name: &[u8],
        links: u32,
    ) -> Result<(Id, LayerPath)> {
        let found = self.find_below(&path)?;
        let metadata = match &found {
            None => self.plain.clone(),
            Some(found) => match found.kind() {
                FileType::Directory => directory_metadata(found, name)
                    .doing(|| format!("read directory {path} of a lower layer"))?,
                FileType::Symlink => {
                    self.leans = true;
                    let target = at::readlinkat(&found.dir, name, Vec::new())
                        .map_err(|errno| fault("readlink", &path, errno))?;
                    let place = path.split().map_or(LayerPath::ROOT, |(parent, _)| parent);
                    return self.follow(target.to_bytes(), &place, name, links);
                }
                _ => {
                    let rule = "a lower layer has something else there";
                    return Err(Error::refused(format!("directory {path}"), rule).into());
                }
            },
        };
        Ok((self.make(dir, name, metadata)?, path))
    }

    /// Follows the link `name` that is really at `place` and leads to `target`, within the root.
    fn follow(
        &mut self,
        target: &[u8],
        place: &LayerPath,
        name: &[u8],
        links: u32,
    ) -> Result<(Id, LayerPath)> {
        let links = one_more(links, place, name)?;
        let end = through(target, place, |here, name| {
            let dir = self.resolve(here, links)?;
            Ok::<_, Halt>(self.step(&dir, name, links)?.1)
        });
        self.resolve(&end?, links)
    }

    /// Makes the directory `name`, in the place of what is there.
    pub(super) fn make(&mut self, dir: Id, name: &[u8], metadata: Metadata) -> Result<Id> {
        let id = id(self.directories.len())?;
        self.hold(size_of::<Directory>())?;
        self.hold_metadata(&metadata)?;
        self.directories.push(Directory {
            parent: dir,
            metadata,
            ..Directory::default()
        });
        self.put(dir, name, Child::Directory(id))?;
        Ok(id)
    }

    /// Adds a leaf that has no name yet.
    pub(super) fn add(&mut self, leaf: Leaf) -> Result<Id> {
        let id = id(self.leaves.len())?;
        let target = leaf.target.as_ref().map_or(0, |target| target.len());
        self.hold(size_of::<Leaf>() + target)?;
        self.leaves.push(leaf);
        Ok(id)
    }

    /// Gives a name to what was made, and takes it from what had it.
    pub(super) fn put(&mut self, dir: Id, name: &[u8], child: Child) -> Result<()> {
        self.hold(NAME + name.len())?;
        if let Child::Leaf(leaf) = child {
            self.leaves[leaf as usize].links += 1;
        }
        if let Some(old) = self.at_mut(dir).names.insert(name.into(), child) {
            self.lose(old);
        }
        Ok(())
    }

    /// Takes a name, with all that is below it.
    pub(super) fn remove(&mut self, dir: Id, name: &[u8]) {
        if let Some(old) = self.at_mut(dir).names.remove(name) {
            self.lose(old);
        }
    }

    fn lose(&mut self, child: Child) {
        let mut lost = vec![child];
        while let Some(child) = lost.pop() {
            match child {
                Child::Leaf(leaf) => self.leaves[leaf as usize].links -= 1,
                Child::Directory(id) => {
                    let dir = std::mem::take(self.at_mut(id));
                    lost.extend(dir.names.into_values());
                }
            }
        }
    }

    /// Says what a directory is.
    pub(super) fn state(&mut self, dir: Id, metadata: Metadata) -> Result<()> {
        self.hold_metadata(&metadata)?;
        let known = self.at_mut(dir);
        known.metadata = metadata;
        known.stated = true;
        Ok(())
    }

    fn hold_metadata(&mut self, metadata: &Metadata) -> Result<()> {
        let xattrs = metadata.xattrs.iter();
        self.hold(xattrs.map(|(name, value)| name.len() + value.len()).sum())
    }

    fn hold(&mut self, bytes: usize) -> Result<()> {
        self.held += bytes;
        match self.held > MAX_HELD {
            true => Err(Halt::Unfit),
            false => Ok(()),
        }
    }

    /// What the layers below have at a real path.
    pub(super) fn find_below(&mut self, path: &LayerPath) -> Result<Option<Found>> {
        let below = match self.below.take() {
            Some(below) => below,
            None => (self.ask)()?,
        };
        let found = below
            .find(path)
            .doing(|| "look into the lower layers".to_owned());
        self.below = Some(below);
        Ok(found?)
    }
}

fn id(count: usize) -> Result<Id> {
    Id::try_from(count).map_err(|_| Halt::Unfit)
}

fn directory_metadata(found: &Found, name: &[u8]) -> sys::Result<Metadata> {
    let fd = at::openat(&found.dir, name, directory_flags(), Mode::empty())
        .map_err(|errno| SysError::new("open", "", errno))?;
    metadata::read(&found.stat, Some(&fd))
}

fn fault(call: &'static str, path: &LayerPath, errno: Errno) -> Error {
    Error::System {
        what: format!("directory {path}"),
        source: SysError::new(call, "", errno),
    }
}
