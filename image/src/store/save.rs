//! Images → one archive, or a layout folder, that docker, podman and skopeo read; the same images always give the same
//! bytes. Not its job: where the archive goes.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sys::file;

use super::outgoing::{Leaving, Parcel};
use super::{Image, Layer, Store};
use crate::compression::Decoder;
use crate::digest::{Promise, Verified, mismatch};
use crate::error::Doing;
use crate::layer::entry::{Entry, Kind, stream_fault};
use crate::layer::path::LayerPath;
use crate::layer::pax::Time;
use crate::layer::write::Writer;
use crate::watch::{Event, Watch, Watched};
use crate::{Digest, Error, Result};

/// The form of a saved archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// What `docker save` has always written: a manifest.json, layers not compressed unless that is asked for.
    #[default]
    DockerArchive,
    /// A tar of an OCI layout: every blob as it came, so that all digests stay.
    OciArchive,
}

impl Store {
    /// Writes `images` to `out`. Every blob is checked against its digest as it passes.
    ///
    /// # Errors
    /// Names the blob that is missing or not what it should be; `out` is cut short then.
    pub fn save<W: Write>(&self, images: &[Image], format: Format, out: W) -> Result<W> {
        let mut outgoing = self.outgoing(images, Leaving::default())?;
        outgoing.save(format, out, None)
    }

    /// Images of the store as they are there.
    pub(super) fn parcels(&self, images: &[Image]) -> Result<Vec<Parcel>> {
        images.iter().map(|image| Parcel::of(self, image)).collect()
    }

    /// Writes what leaves to `out`; somebody holds it.
    pub(super) fn save_parcels<W: Write>(
        &self,
        parcels: &[Parcel],
        format: Format,
        out: W,
        watch: Option<Watch>,
    ) -> Result<W> {
        let mut saver = Saver {
            store: self,
            out: Writer::new(out),
            watch,
        };
        match format {
            Format::DockerArchive => saver.docker(parcels)?,
            Format::OciArchive => saver.oci(parcels)?,
        }
        let mut out = saver.out.finish().map_err(|e| written("its end", &e))?;
        out.flush().map_err(|e| written("its end", &e))?;
        Ok(out)
    }
}

/// Where the files of a saved image go.
pub(super) trait Files {
    /// A file of exactly `size` bytes of `data`.
    fn file(&mut self, name: &str, size: u64, data: &mut dyn Read) -> Result<()>;
}

impl<W: Write> Files for Writer<W> {
    /// Nothing about a member but its name and bytes varies.
    fn file(&mut self, name: &str, size: u64, data: &mut dyn Read) -> Result<()> {
        let path = LayerPath::parse(name.as_bytes()).map_err(|rule| Error::refused(name, rule))?;
        let entry = Entry {
            sparse: None,
            path,
            kind: Kind::File { size },
            uid: 0,
            gid: 0,
            mode: 0o644,
            mtime: Time::default(),
            xattrs: Vec::new(),
        };
        self.entry(&entry, data).map_err(|e| written(name, &e))
    }
}

pub(super) struct Saver<'a, F> {
    pub(super) store: &'a Store,
    pub(super) out: F,
    pub(super) watch: Option<Watch>,
}

impl<F: Files> Saver<'_, F> {
    fn docker(&mut self, parcels: &[Parcel]) -> Result<()> {
        let images = || parcels.iter().flat_map(|parcel| &parcel.images);
        let mut layers: BTreeMap<Digest, (&Layer, &Parcel)> = BTreeMap::new();
        for parcel in parcels {
            for layer in parcel.layers() {
                layers.entry(layer.diff_id).or_insert((layer, parcel));
            }
        }
        let size = |(layer, parcel): &(&Layer, &Parcel)| match parcel.packed {
            true => layer.size,
            false => layer.tar_size,
        };
        self.begin(layers.values().map(size));
        for (diff_id, (layer, parcel)) in &layers {
            let name = format!("{}.tar", diff_id.hex());
            match parcel.packed {
                true => self.blob(&name, layer.blob, &self.place(layer, parcel))?,
                false => self.inflated(&name, layer)?,
            }
        }
        let configs: BTreeMap<Digest, &Image> = images().map(|i| (i.id, i)).collect();
        let mut documents = Vec::new();
        for (id, image) in &configs {
            let config = format!("{}.json", id.hex());
            self.bytes(&config, &image.config)?;
            let layers = image
                .layers
                .iter()
                .map(|layer| format!("{}.tar", layer.diff_id.hex()));
            documents.push(json!({
                "Config": config,
                "RepoTags": image.names.iter().map(|name| name.familiar()).collect::<Vec<_>>(),
                "Layers": layers.collect::<Vec<_>>(),
            }));
        }
        self.bytes("manifest.json", &bytes_of(&Value::Array(documents))?)
    }

    pub(super) fn oci(&mut self, parcels: &[Parcel]) -> Result<()> {
        let layout = bytes_of(&json!({"imageLayoutVersion": "1.0.0"}))?;
        self.bytes("oci-layout", &layout)?;
        let layers = parcels.iter().flat_map(Parcel::layers);
        let sizes: BTreeMap<Digest, u64> = layers.map(|l| (l.blob, l.size)).collect();
        self.begin(sizes.into_values());
        let mut descriptors = Vec::new();
        let mut blobs: BTreeMap<Digest, Blob<'_>> = BTreeMap::new();
        for parcel in parcels
            .iter()
            .map(|parcel| (parcel.images.first().map(|image| image.id), parcel))
            .collect::<BTreeMap<_, _>>()
            .values()
        {
            descriptors.extend(parcel.descriptors());
            let small = parcel.blobs.values();
            let small = small.chain(parcel.manifests.iter().map(|(_, bytes)| bytes));
            blobs.extend(small.map(|bytes| (Digest::of(bytes), Blob::Bytes(bytes))));
            for layer in parcel.layers() {
                blobs.insert(layer.blob, Blob::File(self.place(layer, parcel)));
            }
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": descriptors,
        });
        self.bytes("index.json", &bytes_of(&index)?)?;
        for (digest, blob) in blobs {
            let name = format!("blobs/sha256/{}", digest.hex());
            match blob {
                Blob::File(path) => self.blob(&name, digest, &path)?,
                Blob::Bytes(bytes) => self.bytes(&name, bytes)?,
            }
        }
        Ok(())
    }

    /// Says which layers there are before the first one goes.
    fn begin(&self, sizes: impl Iterator<Item = u64>) {
        if let Some(watch) = &self.watch {
            sizes.for_each(|size| watch(&Event::Begin { size }));
        }
    }

    /// What goes, with somebody who is told of it.
    fn watched<'r>(&self, inner: impl Read + 'r) -> Box<dyn Read + 'r> {
        match &self.watch {
            None => Box::new(inner),
            Some(watch) => Box::new(Watched {
                inner,
                watch: Arc::clone(watch),
                say: Event::Passed,
            }),
        }
    }

    /// Where a layer's blob is as it leaves.
    fn place(&self, layer: &Layer, parcel: &Parcel) -> PathBuf {
        let path = parcel.aside(layer.blob);
        path.unwrap_or_else(|| self.store.blob_path(layer.blob))
    }

    /// A layer's blob, from its file.
    fn blob(&mut self, name: &str, digest: Digest, path: &Path) -> Result<()> {
        let what = format!("blob {digest}");
        let (blob, size) = open(digest, path)?;
        let promise = Promise {
            digest: Some(digest),
            size: Some(size),
        };
        let mut verified = Verified::new(self.watched(blob), promise);
        self.out.file(name, size, &mut verified)?;
        verified.finish(&what).map(drop)
    }

    /// A layer's tar, inflated.
    fn inflated(&mut self, name: &str, layer: &Layer) -> Result<()> {
        let what = format!("layer {}", layer.diff_id);
        let (blob, _) = open(layer.blob, &self.store.blob_path(layer.blob))?;
        let (decoder, _) = Decoder::new(BufReader::with_capacity(128 * 1024, blob))?;
        let promise = Promise {
            digest: Some(layer.diff_id),
            size: Some(layer.tar_size),
        };
        let mut verified = Verified::new(self.watched(decoder), promise);
        self.out.file(name, layer.tar_size, &mut verified)?;
        let (diff_id, _) = verified.finish(&what)?;
        match diff_id == layer.diff_id {
            true => Ok(()),
            false => Err(mismatch(what, "diff id", layer.diff_id, diff_id)),
        }
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.out.file(name, bytes.len() as u64, &mut &*bytes)
    }
}

/// A file of a layout.
enum Blob<'b> {
    File(PathBuf),
    Bytes(&'b [u8]),
}

fn open(digest: Digest, path: &Path) -> Result<(std::fs::File, u64)> {
    let doing = || format!("read blob {digest}");
    let file = file::open(path).doing(doing)?;
    let length = file
        .metadata()
        .map_err(|e| sys::SysError::from_io("fstat", path.display(), &e))
        .doing(doing)?
        .len();
    Ok((file, length))
}

fn written(what: &str, error: &io::Error) -> Error {
    stream_fault(&format!("write {what} to the archive"), error)
}

fn bytes_of(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Json {
        what: "a document of the archive".to_owned(),
        fault: e.to_string(),
    })
}
