//! ADD of an archive: its files instead of itself. Not its job: reading archives (image), and which sources
//! are unpacked.

use std::fs::File;
use std::io::{self, Read, Seek as _};

use sha2::{Digest as _, Sha256};
use sys::SysError;

use crate::error::{Doing, Result};
use crate::fingerprint::{CHUNK, Sum, changed, hex, pour};
use crate::select::Match;
use crate::steps::copy::Manner;
use crate::steps::directories::make_directories;
use crate::steps::kept;
use crate::tree::Tree;

/// An archive, open, and the digest of its bytes.
pub(crate) struct Archive {
    file: File,
    name: String,
    sum: Sum,
}

impl Archive {
    /// The archive that a path of the tree is, by its content.
    pub(crate) fn of_tree(tree: &Tree, found: &Match) -> Result<Option<Self>> {
        match tree.open_file(&found.path)? {
            Some(fd) => Self::of_file(fd.into(), &found.path),
            None => Ok(None),
        }
    }

    /// The archive that a file is, by its content.
    pub(crate) fn of_file(mut file: File, name: &str) -> Result<Option<Self>> {
        let doing = || format!("read {name:?}");
        let rewind = |file: &mut File| {
            file.rewind()
                .map_err(|e| SysError::from_io("lseek", "", &e))
                .doing(doing)
        };
        let is = image::is_tar(&mut file);
        rewind(&mut file)?;
        if !is {
            return Ok(None);
        }
        let sum = pour(&file, None, &mut vec![0; CHUNK], |_| Ok(())).doing(doing)?;
        Ok(Some(Self {
            file,
            name: name.to_owned(),
            sum,
        }))
    }

    /// The digest of its bytes.
    pub(crate) fn sum(&self) -> String {
        hex(&self.sum)
    }

    /// Unpacks it into the target, which is a folder whatever its path ends in. `--chmod` says nothing of
    /// files that have modes of their own.
    pub(crate) fn unpack(&self, manner: &Manner<'_>) -> Result<()> {
        let doing = || format!("unpack {:?}", self.name);
        let (uid, gid) = manner.owner.unwrap_or((0, 0));
        let into = make_directories(manner.root, manner.target, uid, gid, 0o755)?;
        let failed = |e: io::Error| SysError::from_io("read", "", &e);
        let mut file = &self.file;
        file.rewind().map_err(failed).doing(doing)?;
        let length = file.metadata().map_err(failed).doing(doing)?.len();
        let mut reader = Hashing {
            inner: file,
            hasher: Sha256::new(),
        };
        let place = kept::path_below(manner.root, &into).doing(doing)?;
        let owners = image::OwnerPolicy::ours();
        let onto = image::unpack_onto(&mut reader, length, into, manner.owner, owners);
        let links = onto.doing(doing)?.links;
        manner.links.borrow_mut().insert_below(&place, &links);
        io::copy(&mut reader, &mut io::sink())
            .map_err(failed)
            .doing(doing)?;
        // A cache entry must hold what its key says, also while somebody writes the archive.
        match Sum::from(reader.hasher.finalize()) == self.sum {
            true => Ok(()),
            false => Err(changed(&self.name)),
        }
    }
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
