//! What fuzz targets see of the inside (feature `fuzz`, in no release): the tar reader's entries as other
//! readers could list them, layers applied below a directory, inflating, documents.
//! Not its job: judging any of it.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use crate::compression::Decoder;
use crate::layer::below::Below;
use crate::layer::entry::{Entries, Entry, Kind, Limits, Skip};
use crate::layer::unpack::{Manner, unpack};
use crate::layer::whiteout::OverlayXattrs;
use crate::manifest;
use crate::{Digest, OwnerPolicy, Result};

/// An entry in words that every reader of tars has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Without slashes at its ends, doubled ones and `.`.
    pub path: Vec<u8>,
    /// `f`ile, `d`irectory, sym`l`ink, `h`ard link, `c`haracter device, `b`lock device, fifo `p`.
    pub kind: char,
    /// Of a file, with its holes.
    pub size: u64,
    /// A link's target as it stands; a hard link's as a path.
    pub link: Vec<u8>,
    /// Of a device.
    pub device: (u32, u32),
    /// Twelve bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// A file's bytes, with its holes.
    pub content: Option<Vec<u8>>,
}

impl Listed {
    /// The entry as `integration/fuzz/oracle.py` has other readers say it: one line, names in hex.
    pub fn line(&self) -> String {
        let hex = |name: &[u8]| match name {
            b"" => "-".to_owned(),
            name => name.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let (major, minor) = self.device;
        let content = self.content.as_ref();
        format!(
            "{} {} {} {} {major},{minor} {:o} {} {} {} {}",
            self.kind,
            hex(&self.path),
            self.size,
            hex(&self.link),
            self.mode,
            self.uid,
            self.gid,
            self.mtime.0,
            content.map_or("-".to_owned(), |content| Digest::of(content).hex()),
        )
    }
}

struct Slice<'a>(&'a [u8]);

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Skip for Slice<'_> {}

/// All entries of a tar, of which no file may be larger than `most` bytes.
///
/// # Errors
/// What the reader refuses.
pub fn entries(bytes: &[u8], most: u64) -> Result<Vec<Listed>> {
    let limits = Limits {
        bytes: most,
        ..Limits::default()
    };
    let mut entries = Entries::new(Slice(bytes), limits);
    let mut all = Vec::new();
    while let Some(entry) = entries.next()? {
        all.push(listed(&entry, &mut entries)?);
    }
    Ok(all)
}

fn listed(entry: &Entry, data: &mut impl Read) -> Result<Listed> {
    let mut listed = Listed {
        path: entry.path.bytes().to_vec(),
        kind: 'f',
        size: 0,
        link: Vec::new(),
        device: (0, 0),
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: (entry.mtime.secs, entry.mtime.nanos),
        content: None,
    };
    match &entry.kind {
        Kind::File { .. } => {
            let content = content(entry, data)?;
            listed.size = content.len() as u64;
            listed.content = Some(content);
        }
        Kind::Directory => listed.kind = 'd',
        Kind::Symlink { target } => (listed.kind, listed.link) = ('l', target.clone()),
        Kind::HardLink { target } => {
            (listed.kind, listed.link) = ('h', target.bytes().to_vec());
        }
        Kind::Character { major, minor } => {
            (listed.kind, listed.device) = ('c', (*major, *minor));
        }
        Kind::Block { major, minor } => (listed.kind, listed.device) = ('b', (*major, *minor)),
        Kind::Fifo => listed.kind = 'p',
    }
    Ok(listed)
}

fn content(entry: &Entry, data: &mut impl Read) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let failed = |e: &io::Error| crate::layer::entry::stream_fault("its data", e);
    let Some(sparse) = &entry.sparse else {
        data.read_to_end(&mut content).map_err(|e| failed(&e))?;
        return Ok(content);
    };
    for (offset, length) in &sparse.pieces {
        // No larger than the limit of bytes.
        content.resize(usize::try_from(*offset).unwrap_or(0), 0);
        let piece = data.by_ref().take(*length).read_to_end(&mut content);
        if piece.map_err(|e| failed(&e))? as u64 != *length {
            return Err(failed(&io::ErrorKind::UnexpectedEof.into()));
        }
    }
    content.resize(usize::try_from(sparse.size).unwrap_or(0), 0);
    Ok(content)
}

/// Unpacks a layer into the empty directory `root`, over those in `below`, the top first.
///
/// # Errors
/// What the unpacker refuses.
pub fn apply(bytes: &[u8], root: OwnedFd, below: &(dyn Fn() -> Vec<OwnedFd> + Sync)) -> Result<()> {
    let limits = Limits {
        entries: 1000,
        bytes: 1 << 20,
    };
    let manner = Manner {
        owners: OwnerPolicy::AsRecorded,
        overlay: OverlayXattrs::Trusted,
    };
    let ask = || Ok(Below { roots: below() });
    let mut entries = Entries::new(Slice(bytes), limits);
    unpack(&mut entries, root, &manner, &ask, &|| true).map(drop)
}

/// Inflates at most `most` bytes.
///
/// # Errors
/// What is no gzip or zstd stream that begins as one.
pub fn inflate(bytes: &[u8], most: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let (decoder, _) = Decoder::new(io::Cursor::new(bytes))?;
    let read = decoder.take(most).read_to_end(&mut content);
    read.map_err(|e| crate::layer::entry::stream_fault("compressed data", &e))?;
    Ok(content)
}

/// Reads an index, a manifest or a config; `true` if it is any of them.
pub fn document(bytes: &[u8]) -> bool {
    let document = manifest::document("document", bytes, None);
    let config = manifest::configuration(bytes).and_then(|config| manifest::diff_ids(&config));
    document.is_ok() || config.is_ok()
}
