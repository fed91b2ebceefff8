//! What a builder adds to a store: a layer from an upper directory, an image from a config and layers.
//! Not its job: deciding what is in them.

use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;

use sys::file::{self, Lock};

use super::form::{Form, form_of};
use super::index::Record;
use super::layer::{self, Kept};
use super::{Image, Layer, Scratch, Store};
use crate::compression::Compression;
use crate::digest::Hasher;
use crate::error::Doing;
use crate::layer::diff;
use crate::layer::written::Written;
use crate::manifest::{self, Descriptor};
use crate::{Digest, Error, LinkOwners, Reference, Result};

/// How a layer is made of an upper directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitOptions {
    /// No file's time is later than this (SOURCE_DATE_EPOCH), in seconds since 1970.
    pub clamp_mtime: Option<i64>,
}

impl Store {
    /// Makes a layer of what was written into `scratch.upper`: a deterministic tar becomes its blob
    /// (whose digest is the diff id), and the directory itself the unpacked layer. The overlay that
    /// wrote there must be unmounted. If the store has that layer already, that one is used.
    ///
    /// # Errors
    /// Names the file that no layer can carry; nothing is left behind then.
    pub fn commit_layer(&self, scratch: Scratch, options: CommitOptions) -> Result<Layer> {
        let work = &scratch.place;
        let doing = || format!("make a layer of {}", scratch.upper.display());
        let (links, written) = (scratch.links.take(), scratch.written.take());
        let rules = diff::Rules {
            owners: &self.manner.owners,
            links: &links,
            written: &written,
            clamp_mtime: options.clamp_mtime,
            settle: true,
            only: None,
        };
        let upper = file::open_dir(&scratch.upper).doing(doing)?;
        let out = Hashing {
            out: BufWriter::with_capacity(128 * 1024, work.create("blob")?),
            hasher: Hasher::default(),
        };
        let (mut out, beside) = diff::write(upper, &rules, out).map_err(|e| e.inside(doing()))?;
        out.flush().map_err(|e| Error::System {
            what: doing(),
            source: sys::SysError::from_io("write", "blob", &e),
        })?;
        let size = out.hasher.length();
        let diff_id = out.hasher.finish();
        // What the store has is on the disk: nothing to write, and nothing to wait for.
        if let Some(known) = self.layer(diff_id)?.filter(|known| known.blob == diff_id) {
            return Ok(known);
        }
        let kept = kept(diff_id, size);
        let key = format!("{}{}", diff_id.hex(), self.manner.owners.suffix());
        let dir = work.create_dir("layer", 0o700)?;
        file::rename(&scratch.upper, dir.join("fs")).doing(doing)?;
        let fd = file::open_dir(&dir).doing(doing)?;
        file::replace(
            &fd,
            "layer.json",
            &kept.bytes()?,
            0o600,
            file::Durability::Memory,
        )
        .doing(doing)?;
        layer::keep_owners(&fd, &beside)?;
        work.sync()?;
        let _lock = self.lock(Lock::Exclusive)?;
        let layers = [("layer".to_owned(), key.clone())];
        self.publish(work, &[("blob".to_owned(), diff_id)], &layers)?;
        Ok(Layer {
            diff_id,
            tar_size: size,
            blob: diff_id,
            size,
            media_type: Compression::None.media_type().to_owned(),
            path: layer::path_of(&self.path, &key),
            form: form_of(&self.path, &key),
            covers: false,
            states_root: false,
        })
    }

    /// Writes all that is below `tree` to `out` as one tar: the same files give the same bytes, with owners as
    /// images record them; `links` are those of what has no attributes.
    ///
    /// # Errors
    /// Names the file that no tar can carry; `out` is cut short then.
    pub fn write_tar<W: Write>(&self, tree: OwnedFd, links: &LinkOwners, out: W) -> Result<W> {
        let rules = diff::Rules {
            owners: &self.manner.owners,
            links,
            written: &Written::default(),
            clamp_mtime: None,
            settle: false,
            only: None,
        };
        diff::write(tree, &rules, out).map(|(out, _)| out)
    }

    /// Writes the paths below `tree` that `takes` takes, as [`Store::write_tar`] does; a folder that it does not take is
    /// not looked into.
    ///
    /// # Errors
    /// As [`Store::write_tar`].
    pub fn write_part<W: Write>(
        &self,
        tree: OwnedFd,
        takes: &dyn Fn(&[u8]) -> bool,
        out: W,
    ) -> Result<W> {
        let rules = diff::Rules {
            owners: &self.manner.owners,
            links: &LinkOwners::default(),
            written: &Written::default(),
            clamp_mtime: None,
            settle: false,
            only: Some(takes),
        };
        diff::write(tree, &rules, out).map(|(out, _)| out)
    }

    /// Makes an image of a config (its raw bytes) and its layers, the lowest first, and gives it the
    /// names; a name that another image has moves here.
    ///
    /// # Errors
    /// If the config is malformed, its `rootfs.diff_ids` are not those of the layers, or the store has
    /// lost one of the layers meanwhile.
    pub fn commit_image(
        &self,
        config: &[u8],
        layers: &[Layer],
        names: &[Reference],
    ) -> Result<Image> {
        let doing = "make an image";
        let configuration = manifest::configuration(config).map_err(|e| e.inside(doing))?;
        let promised = manifest::diff_ids(&configuration)?;
        if !promised
            .iter()
            .eq(layers.iter().map(|layer| &layer.diff_id))
        {
            let rule = "rootfs.diff_ids are not those of the layers";
            return Err(Error::refused("image config", rule));
        }
        let id = Digest::of(config);
        let descriptors: Vec<Descriptor> = layers
            .iter()
            .map(|layer| Descriptor::new(&layer.media_type, layer.blob, layer.size))
            .collect();
        let bytes = manifest::compose(id, config.len() as u64, &descriptors)?;
        let work = self.work()?;
        let record = Record {
            manifest: Digest::of(&bytes),
            layers: layers.iter().map(Layer::unpacked).collect(),
        };
        let blobs = [
            ("config".to_owned(), id),
            ("manifest".to_owned(), record.manifest),
        ];
        for ((name, _), bytes) in blobs.iter().zip([config, &bytes]) {
            work.create(name)?
                .write_all(bytes)
                .map_err(|e| Error::System {
                    what: doing.to_owned(),
                    source: sys::SysError::from_io("write", name, &e),
                })?;
        }
        work.sync()?;
        let _lock = self.lock(Lock::Exclusive)?;
        self.check_presence(layers)?;
        let mut index = self.index()?;
        index.images.insert(id, record.clone());
        for name in names {
            index.name(name, id)?;
        }
        let staged = self.stage(&work, &index)?;
        self.publish(&work, &blobs, &[])?;
        self.show_index(&staged)?;
        self.image(&index, id, &record)
    }

    /// Another process may have removed a layer that no image referred to yet.
    pub(super) fn check_presence(&self, layers: &[Layer]) -> Result<()> {
        for layer in layers {
            let blob = self.blob_path(layer.blob);
            for path in [&layer.path, &blob] {
                if !file::exists(path).doing(|| "look for a layer".to_owned())? {
                    return Err(Error::refused(
                        format!("layer {}", layer.diff_id),
                        format!("the store has lost {}", path.display()),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What is kept beside a folder whose tar is its blob.
fn kept(diff_id: Digest, size: u64) -> Kept {
    Kept {
        diff_id,
        tar_size: size,
        covers: false,
        states_root: false,
        form: Form::Folder,
        left_out: Vec::new(),
        blobs: vec![Descriptor::new(
            Compression::None.media_type(),
            diff_id,
            size,
        )],
    }
}

/// Hashes what passes to a file.
pub(super) struct Hashing<W> {
    pub(super) out: W,
    pub(super) hasher: Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
