//! A tar stream → typed [`Entry`]s; hostile input is refused here. Not its job: writing them anywhere
//! (`unpack.rs`).
//!
//! The rule for dialects: what all readers (GNU tar, Go, libarchive, Python) take for the same is taken,
//! what they differ on is refused by name, and nothing is skipped in silence.

mod ahead;

use std::io::{self, Read};

use self::ahead::Ahead;
use super::header::{BLOCK, Header, Rule};
pub(crate) use super::kind::Kind;
use super::kind::{kind_of, owner};
use super::path::LayerPath;
use super::pax::Time;
use super::sparse::{self, Fault, Form, OldMap, Sparse};
use crate::{Error, Result};

/// How much one archive may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries of a tar.
    pub(crate) entries: u64,
    /// Bytes of the uncompressed tar.
    pub(crate) bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4 << 20,
            bytes: 64 << 30,
        }
    }
}

/// One entry, everything checked that can be without looking at a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: LayerPath,
    pub(crate) kind: Kind,
    /// Where a file with holes has its data; [`Kind::File`] says how much is stored.
    pub(crate) sparse: Option<Sparse>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Twelve permission bits.
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A stream in which bytes can be passed over.
pub(crate) trait Skip: Read {
    /// Passes over `count` bytes; fewer are an error (UnexpectedEof).
    fn skip(&mut self, count: u64) -> io::Result<()>
    where
        Self: Sized,
    {
        let mut rest = self.by_ref().take(count);
        match io::copy(&mut rest, &mut io::sink())? == count {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Reads entries, and as [`Read`] the data of the entry it gave last.
pub(crate) struct Entries<R> {
    inner: R,
    limits: Limits,
    count: u64,
    offset: u64,
    /// Data of the current entry not yet read, and the padding behind it.
    data_left: u64,
    padding: u64,
    ended: bool,
    /// Bytes of holes: they cost nothing here, but whoever copies or packs the file goes through them.
    holes: u64,
}

impl<R: Skip> Entries<R> {
    pub(crate) fn new(inner: R, limits: Limits) -> Self {
        Self {
            inner,
            limits,
            count: 0,
            offset: 0,
            data_left: 0,
            padding: 0,
            ended: false,
            holes: 0,
        }
    }

    /// The stream behind, to read what follows the end of the tar.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// Where in the stream the data of the current entry (what is left of it) begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry, `None` at the end of the tar. Unread data of the one before is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut ahead = Ahead::default();
        loop {
            self.pass_over()?;
            let Some(block) = self.header_block()? else {
                return match ahead == Ahead::default() {
                    true => Ok(None),
                    false => Err(self.refuse("an extended header has no entry behind it")),
                };
            };
            let header = Header::parse(&block).map_err(|rule| self.refuse(rule))?;
            self.count += 1;
            if self.count > self.limits.entries {
                return Err(self.refuse(format!("more than {} entries", self.limits.entries)));
            }
            if !self.extension(&header, &mut ahead)? {
                return self.entry(&header, ahead).map(Some);
            }
        }
    }

    fn entry(&mut self, header: &Header<'_>, ahead: Ahead) -> Result<Entry> {
        let mut pax = ahead.pax.unwrap_or_default();
        let sparse_name = pax.sparse.name();
        if (ahead.gnu_path.is_some() && pax.path.is_some())
            || (ahead.gnu_link.is_some() && pax.link.is_some())
        {
            return Err(self.refuse("both a GNU and a PAX long name"));
        }
        let raw = sparse_name
            .or(pax.path)
            .or(ahead.gnu_path)
            .unwrap_or_else(|| header.name());
        let path = LayerPath::parse(&raw).map_err(|rule| refuse_entry(&raw, rule))?;
        let refuse = |rule: Rule| refuse_entry(&raw, rule);
        let link = pax
            .link
            .or(ahead.gnu_link)
            .unwrap_or_else(|| header.link_name());
        let size = match pax.size {
            Some(size) if !sys::fault::broken("no-pax-size") => size,
            _ => header.size().map_err(refuse)?,
        };
        let kind = kind_of(header, &raw, size, link).map_err(refuse)?;
        if path.is_root() && kind != Kind::Directory && !sys::fault::broken("no-root-check") {
            // CVE-2021-29136: a link in place of the root leads all others out.
            return Err(refuse("the root can only be a directory".to_owned()));
        }
        let mtime = match pax.mtime {
            Some(time) => time,
            None => Time {
                secs: header.mtime().map_err(refuse)?,
                nanos: 0,
            },
        };
        let uid = owner(pax.uid.map_or_else(|| header.uid(), Ok), "uid").map_err(refuse)?;
        let gid = owner(pax.gid.map_or_else(|| header.gid(), Ok), "gid").map_err(refuse)?;
        let mode = header.mode().map_err(refuse)?;
        let form = pax.sparse.form().map_err(refuse)?;
        if form.is_some() && !matches!(kind, Kind::File { .. }) {
            return Err(refuse("a sparse file that is no file".to_owned()));
        }
        let sparse = self
            .sparse(header, form, size)
            .map_err(|e| e.inside(shown(&raw)))?;
        Ok(Entry {
            path,
            kind,
            sparse,
            uid,
            gid,
            mode,
            mtime,
            xattrs: pax.xattrs,
        })
    }

    /// Comes to the data of a file, `stored` bytes, by way of the map that a sparse one has before it.
    fn sparse(
        &mut self,
        header: &Header<'_>,
        form: Option<Form>,
        stored: u64,
    ) -> Result<Option<Sparse>> {
        let old = match (header.flag(), &form) {
            (b'S', None) => Some(OldMap::begin(header).map_err(|rule| self.refuse(rule))?),
            (b'S', Some(_)) => return Err(self.refuse("a sparse file in two ways")),
            _ => None,
        };
        let found = match (old, form) {
            (Some(mut map), _) => {
                while map.goes_on() {
                    let cut = |block: Option<_>| block.ok_or(io::ErrorKind::UnexpectedEof.into());
                    let block = cut(self.block()?).map_err(|e| self.failed(&e))?;
                    map.more(&block).map_err(|rule| self.refuse(rule))?;
                }
                self.expect_data(stored)?;
                map.end(stored)
            }
            (None, None) => return self.expect_data(stored).map(|()| None),
            (None, Some(Form::Here { size, pieces })) => {
                self.expect_data(stored)?;
                Sparse::new(size, pieces, stored)
            }
            (None, Some(Form::Ahead { size })) => {
                self.expect_data(stored)?;
                let (pieces, taken) = sparse::ahead(self).map_err(|fault| match fault {
                    Fault::Read(e) | Fault::Write(e) => self.failed(&e),
                    Fault::Rule(rule) => self.refuse(rule),
                })?;
                Sparse::new(size, pieces, stored - taken)
            }
        };
        let found = found.map_err(|rule| self.refuse(rule))?;
        self.holes = self.holes.saturating_add(found.size);
        self.within(self.holes)?;
        Ok(Some(found))
    }

    /// Says that `size` bytes of data come next.
    fn expect_data(&mut self, size: u64) -> Result<()> {
        self.within(self.offset.saturating_add(size))?;
        self.data_left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn within(&self, bytes: u64) -> Result<()> {
        match bytes > self.limits.bytes {
            true => Err(self.refuse(format!("more than {} bytes", self.limits.bytes))),
            false => Ok(()),
        }
    }

    fn pass_over(&mut self) -> Result<()> {
        let count = self.data_left + self.padding;
        self.data_left = 0;
        self.padding = 0;
        if count == 0 {
            return Ok(());
        }
        self.inner.skip(count).map_err(|e| self.failed(&e))?;
        self.offset += count;
        Ok(())
    }

    /// The next block; `None` at the end: two blocks of zeros, or the end of the stream.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            self.ended = true;
            return Ok(None);
        };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        self.ended = true;
        match self.block()? {
            None => Ok(None),
            Some(second) if second == [0; BLOCK] => Ok(None),
            Some(_) => Err(self.refuse("a lone block of zeros in the middle")),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.failed(&io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(&e)),
            }
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    fn refuse(&self, rule: impl Into<String>) -> Error {
        Error::refused(format!("tar, byte {}", self.offset), rule)
    }

    fn failed(&self, error: &io::Error) -> Error {
        stream_fault(&format!("tar, byte {}", self.offset), error)
    }
}

impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.data_left).unwrap_or(usize::MAX);
        let length = buffer.len().min(most);
        if length == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..length])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.data_left -= count as u64;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A fault of the bytes (cut short, not inflatable) or of the disk they come from.
pub(crate) fn stream_fault(what: &str, error: &io::Error) -> Error {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::UnexpectedEof, _) => Error::refused(what, "it is cut short"),
        (_, None) => Error::refused(what, error.to_string()),
        (_, Some(_)) => Error::System {
            what: format!("read {what}"),
            source: sys::SysError::from_io("read", "", error),
        },
    }
}

fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let text: String = text.chars().take(300).collect();
    format!("entry {text:?}")
}

fn refuse_entry(raw: &[u8], rule: Rule) -> Error {
    Error::refused(shown(raw), rule)
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
