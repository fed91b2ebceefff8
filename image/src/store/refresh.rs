//! An OCI layout that is written again and again, as the folder of a build cache is: blobs that it has stay, those of
//! no image any more go. Not its job: layouts that are made once (`save.rs`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use sys::at::{self, AtFlags, Mode, OFlags};
use sys::beneath::Root;
use sys::file::{self, Durability, Lock, Wait};
use sys::{Errno, SysError};

use super::layout;
use super::save::{Files, Saver};
use super::{Image, Layer, Store};
use crate::digest::{Promise, Verified, mismatch};
use crate::error::Doing;
use crate::layer::entry::stream_fault;
use crate::{Digest, Error, Result};

const BLOBS: &str = "blobs/sha256/";

impl Store {
    /// Makes the folder `dir` the OCI layout of `images`: one that is there is replaced, and whoever reads it meanwhile
    /// finds the old images or the new ones. No link below it is followed out of it.
    ///
    /// # Errors
    /// If the folder holds anything else than a layout; as [`Store::save`].
    pub fn refresh_layout(&self, images: &[Image], dir: &Path) -> Result<()> {
        self.refresh(images, dir)
            .map_err(|e| e.inside(format!("save to {}", dir.display())))
    }

    fn refresh(&self, images: &[Image], dir: &Path) -> Result<()> {
        let doing = || "open the folder".to_owned();
        file::create_dir_all(dir, 0o755).doing(doing)?;
        let folder = file::open_dir(dir).doing(doing)?;
        file::lock(&folder, Lock::Exclusive, Wait::Block).doing(doing)?;
        let is_layout = |name: &std::ffi::OsStr| name == "oci-layout";
        let names = file::list(&folder).doing(doing)?;
        if !names.iter().any(|(name, _)| is_layout(name)) && !layout::begin(&folder).doing(doing)? {
            let rule = "the folder holds something else than an OCI layout";
            return Err(Error::refused("it", rule));
        }
        let layers: Vec<Layer> = images.iter().flat_map(|i| i.layers.clone()).collect();
        let _lease = self.hold_blobs(&layers)?;
        let below = folder.try_clone();
        let below = below
            .map_err(|e| SysError::from_io("dup", "", &e))
            .doing(doing)?;
        let below = Root::new(below);
        let out = Refreshed::within(&below)?;
        let mut saver = Saver {
            store: self,
            out,
            watch: None,
        };
        saver.oci(&self.parcels(images)?)?;
        saver.out.show(below.fd())?;
        layout::finish(&folder).doing(doing)
    }
}

/// A layout that is being written.
pub(super) struct Refreshed {
    blobs: OwnedFd,
    /// What names the blobs: it goes there last.
    documents: Vec<(String, Vec<u8>)>,
    /// The blobs of the new images.
    kept: BTreeSet<String>,
}

impl Files for Refreshed {
    fn file(&mut self, name: &str, size: u64, data: &mut dyn Read) -> Result<()> {
        let Some(hex) = name.strip_prefix(BLOBS) else {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes)
                .map_err(|e| stream_fault(name, &e))?;
            self.documents.push((name.to_owned(), bytes));
            return Ok(());
        };
        self.kept.insert(hex.to_owned());
        let count = match self.has(hex, size) {
            true => io::copy(data, &mut io::sink()),
            false => self.put(hex, data)?,
        };
        let count = count.map_err(|e| stream_fault(name, &e))?;
        match count == size {
            true => Ok(()),
            false => Err(mismatch(name.to_owned(), "size", size, count)),
        }
    }
}

impl Refreshed {
    /// In a folder that is ours; blobs that it has may stay.
    pub(super) fn within(below: &Root) -> Result<Self> {
        let doing = || "open the folder".to_owned();
        below.create_dir_all("blobs/sha256", 0o755).doing(doing)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let blobs = below.open("blobs/sha256", flags).doing(doing)?;
        Ok(Self {
            blobs,
            documents: Vec::new(),
            kept: BTreeSet::new(),
        })
    }

    /// Whether the blob is there, byte for byte.
    fn has(&self, hex: &str, size: u64) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(fd) = at::openat(&self.blobs, hex, flags, Mode::empty()) else {
            return false;
        };
        let promise = Promise {
            digest: Digest::from_hex(hex).ok(),
            size: Some(size),
        };
        let mut blob = Verified::new(File::from(fd), promise);
        io::copy(&mut blob, &mut io::sink()).is_ok() && blob.finish(hex).is_ok()
    }

    /// Writes the blob under another name first.
    fn put(&self, hex: &str, data: &mut dyn Read) -> Result<io::Result<u64>> {
        let part = format!(".{hex}.part");
        let doing = || format!("write {BLOBS}{hex}");
        let call = |name: &'static str| move |errno| SysError::new(name, hex, errno);
        file::remove_tree(&self.blobs, &part).doing(doing)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = at::openat(
            &self.blobs,
            part.as_str(),
            flags,
            Mode::from_raw_mode(0o644),
        )
        .map_err(call("create"))
        .doing(doing)?;
        let copied = io::copy(data, &mut File::from(fd));
        if copied.is_ok() {
            file::remove_tree(&self.blobs, hex).doing(doing)?;
            at::renameat(&self.blobs, part.as_str(), &self.blobs, hex)
                .map_err(call("rename"))
                .doing(doing)?;
        }
        Ok(copied)
    }

    /// Names the new images, and removes what only the old ones needed.
    pub(super) fn show(self, folder: BorrowedFd<'_>) -> Result<()> {
        for (name, bytes) in &self.documents {
            file::replace(folder, name, bytes, 0o644, Durability::Disk)
                .doing(|| format!("write {name}"))?;
        }
        let doing = || "remove old blobs".to_owned();
        for (name, _) in file::list(&self.blobs).doing(doing)? {
            if name.to_str().is_some_and(|name| self.kept.contains(name)) {
                continue;
            }
            match at::unlinkat(&self.blobs, &name, AtFlags::empty()) {
                // A folder is none of ours.
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => {
                    let subject = name.to_string_lossy().into_owned();
                    return Err(SysError::new("unlink", subject, errno)).doing(doing);
                }
            }
        }
        Ok(())
    }
}
