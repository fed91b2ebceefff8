//! Reads one layer of an offer: its blob is hashed and kept as it passes, inflated, hashed again for its
//! diff id, and unpacked, all in one pass. Not its job: which layers to read, and their publication.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use sys::file;

use super::layer::Kept;
use super::work::Work;
use crate::compression::{Compression, Decoder};
use crate::digest::{Hasher, Verified, mismatch};
use crate::error::Doing;
use crate::layer::entry::{Entries, Limits, Skip, stream_fault};
use crate::layer::tree::{AskBelow, Shape};
use crate::layer::unpack::{Manner, Unpacked, unpack};
use crate::manifest::Descriptor;
use crate::offer::OfferedLayer;
use crate::source::missing;
use crate::{Digest, Error, Result};

/// A layer that inflates to more than this, and to more than so many times its blob, is a bomb: zeros
/// reach 230 with gzip -1 and 1,030 with gzip -9, a layer of honest files 3 to 20.
const BOMB_BYTES: u64 = 1 << 30;
const BOMB_RATIO: u64 = 100;

/// Bytes read from the source at a time.
const CHUNK: usize = 256 * 1024;

/// What to do with a layer.
pub(super) enum Task<'a> {
    /// Unpack it into the work directory `layer`, and keep its blob.
    Unpack {
        layer: String,
        manner: &'a Manner,
        ask: &'a AskBelow<'a>,
    },
    /// It is unpacked already; only check and keep its blob.
    Check,
}

/// A layer read and found to be what was promised.
pub(super) struct ReadLayer {
    pub(super) kept: Kept,
    /// What it hangs on, if it was unpacked.
    pub(super) shape: Option<Shape>,
}

/// Reads `offered` and keeps its blob in `work` as `blob`. `go_on` is asked now and then.
pub(super) fn read_layer(
    work: &Work,
    offered: &OfferedLayer,
    blob: &str,
    task: &Task<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<ReadLayer> {
    let what = format!("layer {}", offered.name);
    let source = offered.blob.as_ref().ok_or_else(|| missing(&what))?;
    let blob_size = source.length();
    let tee = Tee {
        from: source.open().map_err(|e| e.inside(&what))?,
        to: work.create(blob)?,
    };
    let verified = Verified::new(tee, offered.promise());
    let buffered = BufReader::with_capacity(CHUNK, verified);
    let (decoder, compression) = Decoder::new(buffered)?;
    let measured = Measured {
        inner: decoder,
        hasher: Hasher::default(),
        most: BOMB_BYTES.max(blob_size.saturating_mul(BOMB_RATIO)),
    };
    let mut entries = Entries::new(measured, Limits::default());
    let result = match task {
        Task::Unpack { layer, manner, ask } => {
            unpack_into(work, layer, &mut entries, manner, *ask, go_on).map(Some)
        }
        Task::Check => pass(&mut entries, go_on).map(|()| None),
    };
    let finished = finish(entries.into_inner(), offered, &what);
    // Bytes that are not those promised are the cause of whatever else is wrong with them.
    let (descriptor, tar_size, unpacked) = match (result, finished) {
        (Err(Error::Stopped), _) => return Err(Error::Stopped),
        (Ok(_), Err(e)) | (Err(_), Err(e @ Error::Mismatch { .. })) | (Err(e), _) => {
            return Err(e.inside(what));
        }
        (Ok(unpacked), Ok((blob, size, tar_size))) => (
            descriptor(offered, compression, blob, size),
            tar_size,
            unpacked,
        ),
    };
    let shape = unpacked.as_ref().map(|unpacked| unpacked.shape);
    let left_out = unpacked
        .iter()
        .flat_map(|unpacked| unpacked.left_out.clone());
    let kept = Kept {
        diff_id: offered.diff_id,
        tar_size,
        covers: shape.is_some_and(|shape| shape.covers),
        states_root: shape.is_some_and(|shape| shape.states_root),
        left_out: left_out.collect(),
        blobs: vec![descriptor],
    };
    if let (Task::Unpack { layer, .. }, Some(unpacked)) = (task, &unpacked) {
        keep_beside(work, layer, &kept, unpacked)?;
    }
    Ok(ReadLayer { kept, shape })
}

fn unpack_into<R: Skip>(
    work: &Work,
    layer: &str,
    entries: &mut Entries<R>,
    manner: &Manner,
    ask: &AskBelow<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<Unpacked> {
    work.create_dir(layer, 0o700)?;
    let root = work.create_dir(&format!("{layer}/fs"), 0o700)?;
    let root = file::open_dir(root).doing(|| "open the layer's root".to_owned())?;
    unpack(entries, root, manner, ask, go_on)
}

/// Goes through the entries: a blob that is no good tar is refused even where it is not unpacked.
fn pass<R: Skip>(entries: &mut Entries<R>, go_on: &dyn Fn() -> bool) -> Result<()> {
    while entries.next()?.is_some() {
        if !go_on() {
            return Err(Error::Stopped);
        }
    }
    Ok(())
}

type Chain = Measured<Decoder<BufReader<Verified<Tee>>>>;

/// Reads everything to its end (what stands behind the end of the tar counts too) and compares the
/// blob's digest and size and the diff id. Gives blob digest, blob size, tar size.
fn finish(mut chain: Chain, offered: &OfferedLayer, what: &str) -> Result<(Digest, u64, u64)> {
    let drained = io::copy(&mut chain, &mut io::sink());
    let tar_size = chain.hasher.length();
    let diff_id = chain.hasher.finish();
    let verified = chain.inner.into_inner().into_inner();
    let (blob, size) = verified.finish("its blob")?;
    drained.map_err(|e| stream_fault(what, &e))?;
    match diff_id == offered.diff_id {
        true => Ok((blob, size, tar_size)),
        false => Err(mismatch("its content", "diff id", offered.diff_id, diff_id)),
    }
}

fn descriptor(
    offered: &OfferedLayer,
    compression: Compression,
    blob: Digest,
    size: u64,
) -> Descriptor {
    match &offered.descriptor {
        Some(descriptor) => Descriptor::new(&descriptor.media_type, blob, size),
        None => Descriptor::new(compression.media_type(), blob, size),
    }
}

/// Writes what the directory can't say: `layer.json`, and `owners` where the files could not be given
/// to their owners (`UID GID PATH` ended by NUL).
fn keep_beside(work: &Work, layer: &str, kept: &Kept, unpacked: &Unpacked) -> Result<()> {
    let doing = || format!("write beside {layer}");
    let dir = file::open_dir(work.path.join(layer)).doing(doing)?;
    kept.write(&dir, file::Durability::Memory)?;
    if unpacked.owners.is_empty() {
        return Ok(());
    }
    let mut owners = Vec::new();
    for (path, (uid, gid)) in &unpacked.owners {
        owners.extend_from_slice(format!("{uid} {gid} ").as_bytes());
        owners.extend_from_slice(path.bytes());
        owners.push(0);
    }
    file::replace(&dir, "owners", &owners, 0o600, file::Durability::Memory).doing(doing)
}

/// Writes what is read to a file.
struct Tee {
    from: Box<dyn Read + Send>,
    to: File,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Hashes the uncompressed tar, and stops a bomb.
struct Measured<R> {
    inner: R,
    hasher: Hasher,
    most: u64,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        match self.hasher.length() > self.most.min(Limits::default().bytes) {
            true => Err(io::Error::other(format!(
                "it inflates to more than {} bytes",
                self.most.min(Limits::default().bytes)
            ))),
            false => Ok(count),
        }
    }
}

impl<R: Read> Skip for Measured<R> {}
