//! Unpacked layers → one plain tree, as an overlay over them would show it, by copying.
//! Not its job: mounting.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use sys::at::{self, AtFlags, FileType, Mode};
use sys::beneath::Root;
use sys::{Errno, SysError};

use super::below::{directory_flags, is_opaque, is_whiteout};
use super::copy;
use super::metadata::{self, Metadata};
use super::path::LayerPath;
use crate::error::Doing;
use crate::{Error, Result};

/// One layer of the tree.
pub(crate) struct Source {
    pub(crate) root: Root,
    /// It says what the root directory is.
    pub(crate) states_root: bool,
}

/// Copies the merged tree of `layers` (top first, none of them hidden) into the empty directory
/// `target`.
pub(crate) fn flatten(layers: Vec<Source>, target: OwnedFd) -> Result<()> {
    let mut copier = Copier {
        layers,
        target: Root::new(target),
        links: HashMap::new(),
        finals: Vec::new(),
    };
    let all = (0..copier.layers.len()).collect();
    let mut pending = vec![(LayerPath::ROOT, all)];
    while let Some((path, layers)) = pending.pop() {
        let inside = copier
            .directory(&path, layers)
            .map_err(|e| e.inside(format!("directory {path}")))?;
        pending.extend(inside);
    }
    copier.finish()
}

struct Copier {
    layers: Vec<Source>,
    target: Root,
    /// Where a file with several names was copied to first, by layer and inode.
    links: HashMap<(usize, u64), LayerPath>,
    /// What directories are in the end, parents before children.
    finals: Vec<(LayerPath, Metadata)>,
}

/// What is at one name of a merged directory.
pub(super) enum Merged {
    /// A directory of these layers (top first), and whether layers further down may add to it.
    Directory { layers: Vec<usize>, open: bool },
    /// Anything else, of this layer: it hides what is below.
    File { layer: usize, stat: at::Stat },
    /// A whiteout: nothing, and it hides what is below.
    Nothing,
}

impl Copier {
    /// Copies the files of a directory that these layers have, and makes its directories. Gives them
    /// with the layers that have each.
    fn directory(
        &mut self,
        path: &LayerPath,
        layers: Vec<usize>,
    ) -> Result<Vec<(LayerPath, Vec<usize>)>> {
        let mut opened = HashMap::new();
        for layer in &layers {
            let root = &self.layers[*layer].root;
            let fd = root
                .open(name_of(path), directory_flags())
                .map_err(system)?;
            opened.insert(*layer, fd);
        }
        self.remember(path, &layers, &opened)?;
        let mut merged: BTreeMap<Vec<u8>, Merged> = BTreeMap::new();
        for layer in &layers {
            merge(*layer, &opened[layer], &mut merged)?;
        }
        let target = self
            .target
            .open(name_of(path), directory_flags())
            .map_err(system)?;
        let mut inside = Vec::new();
        for (name, what) in merged {
            let child = path.join(&name);
            match what {
                Merged::Nothing => {}
                Merged::Directory { layers, .. } => {
                    at::mkdirat(&target, name.as_slice(), Mode::RWXU)
                        .map_err(|errno| fault("mkdir", errno))?;
                    inside.push((child, layers));
                }
                Merged::File { layer, stat } => {
                    let from = (&opened[&layer], name.as_slice());
                    self.file(layer, from, &stat, (&target, &name), &child)
                        .doing(|| format!("copy {child}"))?;
                }
            }
        }
        Ok(inside)
    }

    /// Notes what the directory is to be: as the topmost layer has it; the root as the topmost layer
    /// that says something of it.
    fn remember(
        &mut self,
        path: &LayerPath,
        layers: &[usize],
        opened: &HashMap<usize, OwnedFd>,
    ) -> Result<()> {
        let states = |layer: &&usize| !path.is_root() || self.layers[**layer].states_root;
        let Some(layer) = layers.iter().find(states).or(layers.last()) else {
            return Ok(());
        };
        let fd = &opened[layer];
        let stat = at::fstat(fd).map_err(|errno| fault("fstat", errno))?;
        let metadata = metadata::read(&stat, Some(fd)).map_err(system)?;
        self.finals.push((path.clone(), metadata));
        Ok(())
    }

    fn file(
        &mut self,
        layer: usize,
        from: copy::Place<'_>,
        stat: &at::Stat,
        to: copy::Place<'_>,
        path: &LayerPath,
    ) -> sys::Result<()> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(layer, stat.st_ino)) {
                let (dir, name) = self.target.parent(name_of(first))?;
                return at::linkat(&dir, &name, to.0, to.1, AtFlags::empty())
                    .map_err(|errno| SysError::new("linkat", first, errno));
            }
            self.links.insert((layer, stat.st_ino), path.clone());
        }
        copy::file(from, stat, to)
    }

    /// Directories last, the deepest first: their times no longer change then, and none closes the way
    /// to another.
    fn finish(self) -> Result<()> {
        for (path, metadata) in self.finals.iter().rev() {
            let doing = || format!("directory {path}");
            let fd = self
                .target
                .open(name_of(path), directory_flags())
                .doing(doing)?;
            metadata::apply(&fd, metadata).doing(doing)?;
        }
        Ok(())
    }
}

/// Adds what one more layer, below those before, has in a directory.
pub(super) fn merge(
    layer: usize,
    dir: &OwnedFd,
    merged: &mut BTreeMap<Vec<u8>, Merged>,
) -> Result<()> {
    for (name, _) in sys::file::list(dir).map_err(system)? {
        let name = name.as_bytes();
        if let Some(known) = merged.get(name)
            && !matches!(known, Merged::Directory { open: true, .. })
        {
            continue;
        }
        let stat = at::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| fault("fstatat", errno))?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let opaque = directory && {
            let fd = at::openat(dir, name, directory_flags(), Mode::empty())
                .map_err(|errno| fault("open", errno))?;
            is_opaque(&fd).map_err(|errno| fault("fgetxattr", errno))?
        };
        match merged.get_mut(name) {
            Some(Merged::Directory { layers, open }) => {
                if directory {
                    layers.push(layer);
                }
                *open = directory && !opaque;
            }
            _ => {
                let what = match (directory, is_whiteout(&stat)) {
                    (true, _) => Merged::Directory {
                        layers: vec![layer],
                        open: !opaque,
                    },
                    (false, true) => Merged::Nothing,
                    (false, false) => Merged::File { layer, stat },
                };
                merged.insert(name.to_vec(), what);
            }
        }
    }
    Ok(())
}

fn name_of(path: &LayerPath) -> &OsStr {
    match path.is_root() {
        true => OsStr::new("."),
        false => OsStr::from_bytes(path.bytes()),
    }
}

fn fault(call: &'static str, errno: Errno) -> Error {
    system(SysError::new(call, "", errno))
}

fn system(source: SysError) -> Error {
    Error::System {
        what: "merge it".to_owned(),
        source,
    }
}
