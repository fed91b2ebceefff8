//! Applies the entries of one layer to an image, with the meaning that they have for a folder (`layer/unpack.rs`).
//! Not its job: reading the tar (`layer/entry.rs`), names (`tree.rs`), and what stands at the end (`write.rs`).

use std::fs::File;
use std::io::Read;

use sys::SysError;
use sys::at::{self, FileType, Mode, OFlags};

use super::file::Image;
use super::metadata::{attributes, bare};
use super::record::{BLOCK, Data, INODE, Inode, Kind};
use super::tree::{Child, Id, Leaf, ROOT, Tree};
use super::{Halt, Result, unwritten, write};
use crate::Error;
use crate::layer::below::Found;
use crate::layer::entry::{Entries, Entry, Skip, stream_fault};
use crate::layer::kind::Kind as EntryKind;
use crate::layer::metadata::{self, Metadata};
use crate::layer::path::LayerPath;
use crate::layer::sparse::Fault;
use crate::layer::tree::{AskBelow, Shape};
use crate::layer::whiteout::{Marker, marker};
use crate::owner::OwnerPolicy;

/// What came of a layer.
#[derive(Debug)]
pub(crate) enum Made {
    /// An image.
    Image(Shape),
    /// Nothing: it holds something that no image can, and is to be a folder.
    Unfit,
}

/// Writes a layer as an image into the empty `file`. `ask` gives the layers below if an entry needs them; `go_on` is
/// asked now and then, and `false` ends the work with [`Error::Stopped`]. `uuid` is what overlay knows the image by.
pub(crate) fn unpack<R: Skip>(
    entries: &mut Entries<R>,
    file: File,
    owners: &OwnerPolicy,
    uuid: [u8; 16],
    ask: &AskBelow<'_>,
    go_on: &dyn Fn() -> bool,
) -> crate::Result<Made> {
    let mut unpacker = Unpacker {
        tree: Tree::new(owners.on_disk(0, 0)?, ask),
        image: Image::new(file),
        owners,
        whiteout: None,
        tail: Vec::new(),
    };
    match unpacker
        .all(entries, go_on)
        .and_then(|()| unpacker.finish(uuid))
    {
        Ok(shape) => Ok(Made::Image(shape)),
        Err(Halt::Unfit) => Ok(Made::Unfit),
        Err(Halt::Fault(error)) => Err(error),
    }
}

struct Unpacker<'a> {
    tree: Tree<'a>,
    image: Image,
    owners: &'a OwnerPolicy,
    /// The one inode of all whiteouts.
    whiteout: Option<Id>,
    tail: Vec<u8>,
}

impl Unpacker<'_> {
    fn all<R: Skip>(&mut self, entries: &mut Entries<R>, go_on: &dyn Fn() -> bool) -> Result<()> {
        while let Some(entry) = entries.next()? {
            if !go_on() {
                return Err(Error::Stopped.into());
            }
            self.place(&entry, entries).map_err(|halt| match halt {
                Halt::Fault(e) => Halt::Fault(e.inside(format!("entry {}", entry.path))),
                Halt::Unfit => Halt::Unfit,
            })?;
        }
        Ok(())
    }

    fn finish(self, uuid: [u8; 16]) -> Result<Shape> {
        write::finish(&self.tree, self.image, uuid)
    }

    fn place(&mut self, entry: &Entry, data: &mut impl Read) -> Result<()> {
        let refuse = |rule: String| Halt::from(Error::refused("its name", rule));
        let marker = marker(&entry.path).map_err(refuse)?;
        let Some((parent, name)) = entry.path.split() else {
            let metadata = self.metadata(entry)?;
            return self.tree.state(ROOT, metadata);
        };
        if marker != Marker::Plain
            && entry.kind == EntryKind::Directory
            && marker != Marker::Ignored
        {
            return Err(refuse("a whiteout can't be a directory".to_owned()));
        }
        if marker == Marker::Ignored {
            return Ok(());
        }
        let (dir, place) = self.tree.directory(&parent)?;
        match marker {
            Marker::Opaque => {
                self.tree.at_mut(dir).opaque = true;
                return Ok(());
            }
            Marker::Whiteout(gone) => return self.remove(dir, gone),
            Marker::Ignored | Marker::Plain => {}
        }
        match &entry.kind {
            EntryKind::Directory => self.directory(dir, name, entry),
            EntryKind::HardLink { target } => {
                self.hard_link((dir, name), &place.join(name), target)
            }
            _ => {
                let leaf = self.leaf(entry, data)?;
                self.name(dir, name, leaf)
            }
        }
    }

    /// What the entry says of its file; the owner as the policy has it.
    fn metadata(&self, entry: &Entry) -> Result<Metadata> {
        Ok(Metadata {
            owner: self.owners.on_disk(entry.uid, entry.gid)?,
            kept: None,
            mode: entry.mode,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        })
    }

    fn name(&mut self, dir: Id, name: &[u8], leaf: Leaf) -> Result<()> {
        let leaf = self.tree.add(leaf)?;
        self.tree.put(dir, name, Child::Leaf(leaf))
    }

    fn directory(&mut self, dir: Id, name: &[u8], entry: &Entry) -> Result<()> {
        let metadata = self.metadata(entry)?;
        let made = match self.tree.child(dir, name) {
            // A directory over a directory: what it holds stays, what it is is said anew.
            Some(Child::Directory(there)) => there,
            None => self.tree.make(dir, name, Metadata::default())?,
            Some(Child::Leaf(_)) => {
                // Something of this very layer hid the layers below; the directory that takes its place must not
                // show them again.
                let made = self.tree.make(dir, name, Metadata::default())?;
                self.tree.at_mut(made).opaque = true;
                made
            }
        };
        self.tree.state(made, metadata)
    }

    /// A whiteout speaks of the layers below alone, wherever it stands in the tar: what this layer has there itself
    /// stays.
    fn remove(&mut self, dir: Id, name: &[u8]) -> Result<()> {
        match self.tree.child(dir, name) {
            Some(Child::Directory(there)) => self.tree.at_mut(there).opaque = true,
            Some(Child::Leaf(_)) => {}
            None => {
                let whiteout = match self.whiteout {
                    Some(whiteout) => whiteout,
                    None => {
                        let device = Data::Device { major: 0, minor: 0 };
                        let bare = Metadata {
                            owner: self.owners.on_disk(0, 0)?,
                            ..Metadata::default()
                        };
                        let number = self.node(Kind::Character, device, &bare)?;
                        let whiteout = self.tree.add(Leaf::whiteout(number))?;
                        *self.whiteout.insert(whiteout)
                    }
                };
                self.tree.put(dir, name, Child::Leaf(whiteout))?;
            }
        }
        Ok(())
    }

    /// Anything but a directory or a hard link, written.
    fn leaf(&mut self, entry: &Entry, data: &mut impl Read) -> Result<Leaf> {
        let metadata = self.metadata(entry)?;
        let device = |major: &u32, minor: &u32| Data::Device {
            major: *major,
            minor: *minor,
        };
        let (kind, place) = match &entry.kind {
            EntryKind::File { size } => {
                let stored = match &entry.sparse {
                    Some(sparse) => {
                        let begin = self.block()?;
                        self.image.sparse(sparse, data).map_err(broken)?;
                        (sparse.size, Some(Data::Blocks(begin)))
                    }
                    None => (*size, None),
                };
                return self.regular(&metadata, stored, data);
            }
            EntryKind::Symlink { target } => return self.symlink(target, &metadata),
            EntryKind::Character { major, minor } => (Kind::Character, device(major, minor)),
            EntryKind::Block { major, minor } => (Kind::Block, device(major, minor)),
            EntryKind::Fifo | EntryKind::Directory | EntryKind::HardLink { .. } => {
                (Kind::Fifo, Data::Blocks(0))
            }
        };
        Ok(Leaf::new(self.node(kind, place, &metadata)?, kind))
    }

    /// The block that is appended next.
    fn block(&self) -> Result<u32> {
        u32::try_from(self.image.end() / BLOCK).map_err(|_| Halt::Unfit)
    }

    /// A file of so many bytes; they are at a place already, or follow in `data`.
    fn regular(
        &mut self,
        metadata: &Metadata,
        (size, written): (u64, Option<Data>),
        data: &mut impl Read,
    ) -> Result<Leaf> {
        let attributes = attributes(metadata)?;
        self.tail.clear();
        let place = match written {
            Some(place) => place,
            None => {
                let tail = size % BLOCK;
                let inline = tail > 0 && INODE + attributes.len() as u64 + tail <= BLOCK;
                let begin = self.block()?;
                let appended = if inline { size - tail } else { size };
                self.image.copy(data, appended).map_err(broken)?;
                if inline {
                    // Less than a block.
                    self.tail.resize(tail as usize, 0);
                    data.read_exact(&mut self.tail)
                        .map_err(|e| broken(Fault::Read(e)))?;
                    Data::Tail(begin)
                } else {
                    self.image.pad_block().map_err(unwritten)?;
                    Data::Blocks(begin)
                }
            }
        };
        let mut inode = bare(Kind::File, metadata, size, place);
        inode.attributes = attributes.len();
        let head = [&inode.bytes()[..], &attributes].concat();
        let tail = std::mem::take(&mut self.tail);
        let number = self.image.place(&head, &tail).map_err(unwritten)?;
        self.tail = tail;
        Ok(Leaf::new(number, Kind::File))
    }

    /// A link has no mode and no attributes an image may set.
    fn symlink(&mut self, target: &[u8], metadata: &Metadata) -> Result<Leaf> {
        let length = target.len() as u64;
        let inline = INODE + length <= BLOCK;
        let place = match inline {
            true => Data::Tail(0),
            false => {
                let begin = self.block()?;
                self.image.append(target).map_err(unwritten)?;
                self.image.pad_block().map_err(unwritten)?;
                Data::Blocks(begin)
            }
        };
        let inode = Inode {
            mode: 0o777,
            ..bare(Kind::Symlink, metadata, length, place)
        };
        let tail = if inline { target } else { b"" };
        let number = self.image.place(&inode.bytes(), tail).map_err(unwritten)?;
        Ok(Leaf::symlink(number, target))
    }

    /// What has no bytes, and no attributes that an image may set.
    fn node(&mut self, kind: Kind, place: Data, metadata: &Metadata) -> Result<u64> {
        let inode = bare(kind, metadata, 0, place);
        self.image.place(&inode.bytes(), b"").map_err(unwritten)
    }

    /// Links to a file of this layer, or to one of a layer below, which is copied up first as overlay would. Owner,
    /// mode and times are those of the target: both names are one file.
    fn hard_link(
        &mut self,
        (dir, name): (Id, &[u8]),
        path: &LayerPath,
        target: &LayerPath,
    ) -> Result<()> {
        let refuse =
            |rule: &str| Err(Error::refused(format!("hard link to {target}"), rule).into());
        let (parent, last) = target.split().unwrap_or((LayerPath::ROOT, b""));
        let (holder, real) = self.tree.directory(&parent)?;
        let real = real.join(last);
        if real == *path {
            return refuse("it is itself");
        }
        let leaf = match self.tree.child(holder, last) {
            Some(Child::Directory(_)) => return refuse("it is a directory"),
            Some(Child::Leaf(leaf)) if self.tree.leaf(leaf).whiteout => {
                return refuse("this layer removes it");
            }
            Some(Child::Leaf(leaf)) => leaf,
            None => {
                let Some(found) = self.tree.find_below(&real)? else {
                    return refuse("neither this layer nor one below it has that");
                };
                if found.kind() == FileType::Directory {
                    return refuse("it is a directory of a layer below");
                }
                self.tree.leans = true;
                let leaf = self.copy(&found, last)?;
                let leaf = self.tree.add(leaf)?;
                self.tree.put(holder, last, Child::Leaf(leaf))?;
                leaf
            }
        };
        self.tree.remove(dir, name);
        if self.tree.leaf(leaf).links == 0 {
            return refuse("it goes with what the link takes the place of");
        }
        self.tree.put(dir, name, Child::Leaf(leaf))
    }

    /// Copies one file of a layer below.
    fn copy(&mut self, found: &Found, name: &[u8]) -> Result<Leaf> {
        let fault = |source: SysError| Error::System {
            what: "unpack it".to_owned(),
            source,
        };
        let kind = match found.kind() {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = at::openat(&found.dir, name, flags, Mode::empty())
                    .map_err(|errno| fault(SysError::new("openat", "", errno)))?;
                let metadata = metadata::read(&found.stat, Some(&file)).map_err(fault)?;
                let size = u64::try_from(found.stat.st_size).unwrap_or(0);
                return self.regular(&metadata, (size, None), &mut File::from(file));
            }
            FileType::Symlink => {
                let target = at::readlinkat(&found.dir, name, Vec::new())
                    .map_err(|errno| fault(SysError::new("readlinkat", "", errno)))?;
                let metadata = metadata::read(&found.stat, None).map_err(fault)?;
                return self.symlink(target.to_bytes(), &metadata);
            }
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            _ => Kind::Fifo,
        };
        let place = match kind {
            Kind::Fifo => Data::Blocks(0),
            _ => Data::Device {
                major: at::major(found.stat.st_rdev),
                minor: at::minor(found.stat.st_rdev),
            },
        };
        let metadata = metadata::read(&found.stat, None).map_err(fault)?;
        Ok(Leaf::new(self.node(kind, place, &metadata)?, kind))
    }
}

fn broken(fault: Fault) -> Halt {
    match fault {
        Fault::Read(e) => stream_fault("its data", &e).into(),
        Fault::Rule(rule) => Error::refused("its data", rule).into(),
        Fault::Write(e) => unwritten(e),
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
