//! The directories of the layer being unpacked: found or made below its root by directory fd, with the
//! links of the merged tree followed inside it; what they finally are is put on at the end.
//! Not its job: files (`unpack.rs`).

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use sys::at::{self, AtFlags, FileType, Mode, OFlags, XattrFlags};
use sys::beneath::Root;
use sys::{Errno, SysError};

use super::below::{Below, Found, directory_flags, is_whiteout};
use super::kept::Owner;
use super::link::{one_more, through};
use super::metadata::{self, Metadata};
use super::path::{LayerPath, TOO_LONG};
use super::whiteout::OverlayXattrs;
use crate::error::Doing;
use crate::{Error, Result};

/// Directory fds kept; a tar goes through a tree in order, so few are enough.
const KEPT: usize = 32;

/// Memory for what is remembered of directories: an archive of nothing but long names must not eat more.
const MAX_HELD: usize = 48 << 20;

/// Gives the layers below, when and only when they are needed.
pub(crate) type AskBelow<'a> = dyn Fn() -> Result<Below> + Sync + 'a;

/// A directory as it will be when the layer is whole.
#[derive(Debug, Default)]
struct Final {
    metadata: Metadata,
    /// The layer itself said what the directory is.
    stated: bool,
    opaque: bool,
}

/// The tree being filled.
pub(crate) struct Tree<'a> {
    root: Rc<OwnedFd>,
    ask: &'a AskBelow<'a>,
    below: Option<Below>,
    /// By the path as the tar says it: the directory, and where it really is.
    kept: HashMap<LayerPath, (Rc<OwnedFd>, LayerPath)>,
    /// By where they really are, parents before children.
    finals: BTreeMap<LayerPath, Final>,
    /// What was unpacked hangs on the layers below.
    leans: bool,
    /// What a directory is that nobody said anything about.
    plain: Metadata,
    /// About how many bytes `finals` takes.
    held: usize,
    /// It is no layer: nothing is below it that a directory could hide.
    alone: bool,
}

impl Tree<'static> {
    /// A tree that is there already, which is no layer. Directories that are made belong to `owner`, or are to be
    /// `kept`'s elsewhere.
    pub(crate) fn alone(root: OwnedFd, owner: Option<Owner>, kept: Option<Owner>) -> Self {
        let mut tree = Self::new(root, owner, &|| Ok(Below::default()));
        tree.plain.kept = kept.filter(|_| owner.is_none());
        tree.finals.clear();
        tree.alone = true;
        tree
    }
}

impl<'a> Tree<'a> {
    /// `owner` is root's on this file system, as the owner policy has it.
    pub(crate) fn new(root: OwnedFd, owner: Option<(u32, u32)>, ask: &'a AskBelow<'a>) -> Self {
        let plain = Metadata {
            owner,
            mode: 0o755,
            ..Metadata::default()
        };
        let root_final = Final {
            metadata: plain.clone(),
            ..Final::default()
        };
        Self {
            plain,
            held: 0,
            alone: false,
            root: Rc::new(root),
            ask,
            below: None,
            kept: HashMap::new(),
            finals: BTreeMap::from([(LayerPath::ROOT, root_final)]),
            leans: false,
        }
    }

    /// The directory `path` and where it really is. What is missing is made: as it is in the layers
    /// below, or as root's with mode 0755.
    pub(crate) fn directory(&mut self, path: &LayerPath) -> Result<(Rc<OwnedFd>, LayerPath)> {
        self.resolve(path, 0)
    }

    fn resolve(&mut self, path: &LayerPath, links: u32) -> Result<(Rc<OwnedFd>, LayerPath)> {
        let mut missing = Vec::new();
        let mut at = path.clone();
        let mut here = loop {
            if let Some(known) = self.kept.get(&at) {
                break known.clone();
            }
            match at.split() {
                None => break (Rc::clone(&self.root), LayerPath::ROOT),
                Some((parent, name)) => {
                    missing.push(name.to_vec());
                    at = parent;
                }
            }
        };
        while let Some(name) = missing.pop() {
            here = self.step(&here, &name, links)?;
            at = at.join(&name);
            self.keep(&at, &here);
        }
        Ok(here)
    }

    fn keep(&mut self, path: &LayerPath, here: &(Rc<OwnedFd>, LayerPath)) {
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        self.kept.insert(path.clone(), here.clone());
    }

    /// Goes from a directory into its `name`.
    fn step(
        &mut self,
        (dir, place): &(Rc<OwnedFd>, LayerPath),
        name: &[u8],
        links: u32,
    ) -> Result<(Rc<OwnedFd>, LayerPath)> {
        let path = place.join(name);
        if path.is_too_long() {
            return Err(Error::refused(format!("directory {path}"), TOO_LONG));
        }
        match at::openat(&**dir, name, walk_flags(), Mode::empty()) {
            Ok(fd) => return Ok((Rc::new(fd), path)),
            Err(Errno::NOENT) => return self.missing(dir, path, name, links),
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(fault("open", &path, errno)),
        }
        let stat = at::statat(&**dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| fault("stat", &path, errno))?;
        if is_whiteout(&stat) {
            // This layer removed what was there: the directory begins anew.
            at::unlinkat(&**dir, name, AtFlags::empty())
                .map_err(|errno| fault("unlink", &path, errno))?;
            let made = self.make(dir, &path, name, self.plain.clone())?;
            self.make_opaque(path.clone());
            return Ok((made, path));
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => self.follow(dir, place, name, links),
            _ => Err(Error::refused(
                format!("directory {path}"),
                "the layer has something else there",
            )),
        }
    }

    /// `name` is not in this layer: as the layers below have it.
    fn missing(
        &mut self,
        dir: &Rc<OwnedFd>,
        path: LayerPath,
        name: &[u8],
        links: u32,
    ) -> Result<(Rc<OwnedFd>, LayerPath)> {
        let found = self.find_below(&path)?;
        let metadata = match &found {
            None => self.plain.clone(),
            Some(found) => match found.kind() {
                FileType::Directory => directory_metadata(found, name)
                    .doing(|| format!("read directory {path} of a lower layer"))?,
                FileType::Symlink => {
                    self.leans = true;
                    let place = path.split().map_or(LayerPath::ROOT, |(parent, _)| parent);
                    return self.follow(&found.dir, &place, name, links);
                }
                _ => {
                    return Err(Error::refused(
                        format!("directory {path}"),
                        "a lower layer has something else there",
                    ));
                }
            },
        };
        let made = self.make(dir, &path, name, metadata)?;
        Ok((made, path))
    }

    /// Follows the link `name` that is in `holder` and really at `place`, within the root.
    fn follow(
        &mut self,
        holder: &OwnedFd,
        place: &LayerPath,
        name: &[u8],
        links: u32,
    ) -> Result<(Rc<OwnedFd>, LayerPath)> {
        let path = place.join(name);
        let links = one_more(links, place, name)?;
        let target = at::readlinkat(holder, name, Vec::new())
            .map_err(|errno| fault("readlink", &path, errno))?;
        let end = through(target.to_bytes(), place, |here, name| {
            let dir = self.resolve(here, links)?;
            Ok::<_, Error>(self.step(&dir, name, links)?.1)
        });
        self.resolve(&end?, links)
    }

    fn make(
        &mut self,
        dir: &Rc<OwnedFd>,
        path: &LayerPath,
        name: &[u8],
        metadata: Metadata,
    ) -> Result<Rc<OwnedFd>> {
        at::mkdirat(&**dir, name, Mode::RWXU).map_err(|errno| fault("mkdir", path, errno))?;
        let fd = at::openat(&**dir, name, directory_flags(), Mode::empty())
            .map_err(|errno| fault("open", path, errno))?;
        self.hold(path, &metadata)?;
        let known = Final {
            metadata,
            ..Final::default()
        };
        self.finals.insert(path.clone(), known);
        Ok(Rc::new(fd))
    }

    fn hold(&mut self, path: &LayerPath, metadata: &Metadata) -> Result<()> {
        let xattrs = metadata
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.held += 128 + path.bytes().len() + xattrs.sum::<usize>();
        match self.held > MAX_HELD {
            true => Err(Error::refused(
                format!("directory {path}"),
                format!("the layer's directories take more than {MAX_HELD} bytes to remember"),
            )),
            false => Ok(()),
        }
    }

    /// What the layers below have at a real path.
    pub(crate) fn find_below(&mut self, path: &LayerPath) -> Result<Option<Found>> {
        let below = match self.below.take() {
            Some(below) => below,
            None => (self.ask)()?,
        };
        let found = below
            .find(path)
            .doing(|| "look into the lower layers".to_owned());
        self.below = Some(below);
        found
    }

    /// Says what the directory at the real path `path` is.
    pub(crate) fn state(&mut self, path: LayerPath, metadata: Metadata) -> Result<()> {
        self.hold(&path, &metadata)?;
        let known = self.finals.entry(path).or_default();
        known.metadata = metadata;
        known.stated = true;
        Ok(())
    }

    /// Says that the directory at the real path hides what is below it.
    pub(crate) fn make_opaque(&mut self, path: LayerPath) {
        if self.alone {
            return;
        }
        self.finals.entry(path).or_default().opaque = true;
    }

    /// Says that what was unpacked was taken from the layers below.
    pub(crate) fn lean(&mut self) {
        self.leans = true;
    }

    /// Forgets everything about what was at `path` and below, since it is removed now.
    pub(crate) fn forget(&mut self, path: &LayerPath) {
        self.kept.clear();
        self.finals.remove(path);
        let inside = path.join(b"");
        while let Some((next, _)) = self.finals.range(inside.clone()..).next() {
            if !next.is_below(path) {
                break;
            }
            let next = next.clone();
            self.finals.remove(&next);
        }
    }

    /// Puts owner, mode, attributes and time on every directory, the deepest first: a mode may close
    /// it to us, and nothing inside changes its time any more. Gives what the whole layer turned out
    /// to be.
    pub(crate) fn finish(mut self, overlay: OverlayXattrs) -> Result<Shape> {
        self.kept.clear();
        let root = at::openat(&*self.root, ".", directory_flags(), Mode::empty())
            .map_err(|errno| fault("open", &LayerPath::ROOT, errno))?;
        let root = Root::new(root);
        let mut shape = Shape {
            leans: self.leans,
            covers: false,
            states_root: false,
        };
        for (path, last) in self.finals.iter().rev() {
            if path.is_root() {
                shape.covers = last.opaque;
                shape.states_root = last.stated;
            } else {
                shape.leans |= !last.stated;
            }
            put(&root, path, last, overlay).doing(|| format!("directory {path}"))?;
        }
        Ok(shape)
    }
}

/// A link on the way is never the kernel's to follow: it would leave the root (CVE-2026-17106).
fn walk_flags() -> OFlags {
    match sys::fault::broken("no-link-walk") {
        true => directory_flags() - OFlags::NOFOLLOW,
        false => directory_flags(),
    }
}

/// What a layer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// It hangs on the layers below: over others it would unpack to something else.
    pub(crate) leans: bool,
    /// Its root is opaque: no layer below shows at all. (Overlay does not look for that in a root.)
    pub(crate) covers: bool,
    /// It says what the root directory is; else that of a layer below holds.
    pub(crate) states_root: bool,
}

fn put(root: &Root, path: &LayerPath, last: &Final, overlay: OverlayXattrs) -> sys::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let name = match path.is_root() {
        true => std::ffi::OsStr::new("."),
        false => std::ffi::OsStr::from_bytes(path.bytes()),
    };
    let fd = root.open(name, directory_flags())?;
    if last.opaque {
        at::fsetxattr(&fd, overlay.opaque(), b"y", XattrFlags::empty())
            .map_err(|errno| SysError::new("fsetxattr", overlay.opaque(), errno))?;
    }
    metadata::apply(&fd, &last.metadata)
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
