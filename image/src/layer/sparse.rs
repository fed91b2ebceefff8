//! Sparse files, in the four ways that GNU tar has written them: which pieces of a file are stored, the
//! rest being holes. Not its job: the headers they stand in (`header.rs`, `pax.rs`).
//!
//! Refused is what readers take in two ways: pieces out of order or over one another, a sum that is not
//! the stored data, and a piece that ends within a block with another behind it (GNU tar begins each in
//! a block of its own, others do not).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::header::{BLOCK, Header, Rule, positive};

/// Pieces of one file at most (CVE-2025-58183).
const MAX_PIECES: usize = 100_000;

/// A file with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// Its length, holes included.
    pub(crate) size: u64,
    /// Where it has data: offset and length, in order; stored one behind the other.
    pub(crate) pieces: Vec<(u64, u64)>,
}

impl Sparse {
    /// Checks a map against the length of the file and of the data that is stored.
    pub(crate) fn new(size: u64, pieces: Vec<(u64, u64)>, stored: u64) -> Result<Self, Rule> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for (offset, length) in &pieces {
            let Some(next) = offset.checked_add(*length).filter(|next| *next <= size) else {
                return Err(format!(
                    "a piece of a sparse file ends behind its {size} bytes"
                ));
            };
            if *offset < end {
                return Err("the pieces of a sparse file overlap".to_owned());
            }
            if *length > 0 && !sum.is_multiple_of(BLOCK as u64) {
                return Err("a piece of a sparse file ends within a block".to_owned());
            }
            end = next;
            // No more than `size`: they do not overlap.
            sum += length;
        }
        match sum == stored {
            true => Ok(Self { size, pieces }),
            false => Err(format!(
                "{sum} bytes in the map of a sparse file, {stored} stored"
            )),
        }
    }

    /// Writes the pieces to an empty file; what is between them becomes holes where the file system can.
    pub(crate) fn write(
        &self,
        data: &mut impl Read,
        file: &mut File,
        buffer: &mut [u8],
    ) -> Result<(), Fault> {
        for (offset, length) in &self.pieces {
            let mut left = *length;
            if left > 0 {
                file.seek(SeekFrom::Start(*offset)).map_err(Fault::Write)?;
            }
            while left > 0 {
                let most = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let count = data.read(&mut buffer[..most]).map_err(Fault::Read)?;
                if count == 0 {
                    return Err(Fault::Read(io::ErrorKind::UnexpectedEof.into()));
                }
                file.write_all(&buffer[..count]).map_err(Fault::Write)?;
                left -= count as u64;
            }
        }
        file.set_len(self.size).map_err(Fault::Write)
    }
}

/// What went wrong between an archive and a file.
#[derive(Debug)]
pub(crate) enum Fault {
    Read(io::Error),
    Write(io::Error),
    Rule(Rule),
}

/// The `GNU.sparse.*` records of one extended header, each as it stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    version: [Option<u64>; 2],
    name: Option<Vec<u8>>,
    /// The file's length in 1.0, and before.
    real_size: Option<u64>,
    size: Option<u64>,
    count: Option<u64>,
    /// 0.0: offset and length in turn, a record each.
    numbers: Vec<u64>,
    /// 0.1: the same in one record.
    map: Option<Vec<u64>>,
}

/// Where the map of a file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Before the data (1.0).
    Ahead { size: u64 },
    /// In the records (0.0 and 0.1).
    Here { size: u64, pieces: Vec<(u64, u64)> },
}

impl Records {
    /// Takes the record `GNU.sparse.<key>`.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Rule> {
        let shown = || String::from_utf8_lossy(key).escape_debug().to_string();
        if key == b"name" {
            if value.contains(&0) || value.is_empty() {
                return Err("GNU.sparse.name is no name".to_owned());
            }
            return once(&mut self.name, value.to_vec(), "name");
        }
        if key == b"map" {
            let numbers = match value {
                b"" => Vec::new(),
                value => value
                    .split(|b| *b == b',')
                    .map(decimal)
                    .collect::<Result<_, _>>()?,
            };
            few(numbers.len() / 2)?;
            return once(&mut self.map, numbers, "map");
        }
        let number = decimal(value)?;
        match key {
            b"major" => once(&mut self.version[0], number, "major"),
            b"minor" => once(&mut self.version[1], number, "minor"),
            b"realsize" => once(&mut self.real_size, number, "realsize"),
            b"size" => once(&mut self.size, number, "size"),
            b"numblocks" => once(&mut self.count, number, "numblocks"),
            b"offset" | b"numbytes" => {
                if (key == b"offset") != self.numbers.len().is_multiple_of(2) {
                    return Err("GNU.sparse.offset and numbytes do not stand in turn".to_owned());
                }
                few(self.numbers.len() / 2)?;
                self.numbers.push(number);
                Ok(())
            }
            _ => Err(format!("GNU.sparse.{} is not supported", shown())),
        }
    }

    /// The file's name, where these records have it.
    pub(crate) fn name(&mut self) -> Option<Vec<u8>> {
        self.name.take()
    }

    /// Which of the three ways this is; `None` if the file is not sparse.
    pub(crate) fn form(self) -> Result<Option<Form>, Rule> {
        let mixed = || Err("records of several kinds of sparse files".to_owned());
        let old = self.size.is_some() || self.count.is_some() || self.map.is_some();
        match self.version {
            [None, None] if self == Self::default() => return Ok(None),
            [None, None] => {}
            [Some(1), Some(0)] if old || !self.numbers.is_empty() => return mixed(),
            [Some(1), Some(0)] => {
                let size = self.real_size.ok_or("GNU.sparse.realsize is missing")?;
                return Ok(Some(Form::Ahead { size }));
            }
            _ => return Err("a sparse file of another version than 1.0".to_owned()),
        }
        if self.real_size.is_some() || (self.map.is_some() && !self.numbers.is_empty()) {
            return mixed();
        }
        let size = self.size.ok_or("GNU.sparse.size is missing")?;
        let pieces = pairs(self.map.as_deref().unwrap_or(&self.numbers))?;
        match self.count {
            Some(count) if count != pieces.len() as u64 => Err(format!(
                "GNU.sparse.numblocks is {count}, of {}",
                pieces.len()
            )),
            _ => Ok(Some(Form::Here { size, pieces })),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T, key: &str) -> Result<(), Rule> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("GNU.sparse.{key} stands twice")),
    }
}

fn few(pieces: usize) -> Result<(), Rule> {
    match pieces > MAX_PIECES {
        true => Err(format!("a sparse file of more than {MAX_PIECES} pieces")),
        false => Ok(()),
    }
}

fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, Rule> {
    match numbers.len().is_multiple_of(2) {
        true => Ok(numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect()),
        false => Err("half a piece in the map of a sparse file".to_owned()),
    }
}

fn decimal(text: &[u8]) -> Result<u64, Rule> {
    let number = std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| {
        let shown = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
        format!("{shown:?} in the map of a sparse file is no number")
    })
}

/// A table of pieces in a block, ended by an empty place or by its own length.
fn table(bytes: &[u8], pieces: &mut Vec<(u64, u64)>) -> Result<bool, Rule> {
    for (n, place) in bytes.chunks_exact(24).enumerate() {
        if place[12] == 0 {
            return match bytes[n * 24..].iter().all(|b| *b == 0) {
                true => Ok(true),
                false => Err("a gap in the map of a sparse file".to_owned()),
            };
        }
        few(pieces.len())?;
        let offset = positive(&place[..12], "offset")?;
        pieces.push((offset, positive(&place[12..], "numbytes")?));
    }
    Ok(false)
}

/// The map that begins in the header of an old GNU sparse file (type `S`) and goes on in the blocks
/// behind it.
pub(crate) struct OldMap {
    pieces: Vec<(u64, u64)>,
    size: u64,
    goes_on: bool,
}

impl OldMap {
    /// Reads the header's part.
    pub(crate) fn begin(header: &Header<'_>) -> Result<Self, Rule> {
        let bytes = header
            .gnu_bytes()
            .ok_or("a sparse file that is not GNU's")?;
        let mut pieces = Vec::new();
        let ended = table(&bytes[386..482], &mut pieces)?;
        Ok(Self {
            pieces,
            size: positive(&bytes[483..495], "real size")?,
            goes_on: flag(bytes[482], ended)?,
        })
    }

    /// Whether a block of the map comes next.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Reads the next block.
    pub(crate) fn more(&mut self, bytes: &[u8; BLOCK]) -> Result<(), Rule> {
        let ended = table(&bytes[..504], &mut self.pieces)?;
        self.goes_on = flag(bytes[504], ended)?;
        Ok(())
    }

    /// The whole of it, of which `stored` bytes follow.
    pub(crate) fn end(self, stored: u64) -> Result<Sparse, Rule> {
        Sparse::new(self.size, self.pieces, stored)
    }
}

fn flag(byte: u8, ended: bool) -> Result<bool, Rule> {
    match (byte, ended) {
        (0, _) => Ok(false),
        (1 | b'1', false) => Ok(true),
        _ => Err("the map of a sparse file goes on behind its end".to_owned()),
    }
}

/// The map that stands before the data (1.0): a count, then offsets and lengths, a line each, filled up
/// to a block. Reads whole blocks of `data`; gives the map and how many bytes it took.
pub(crate) fn ahead(data: &mut impl Read) -> Result<(Vec<(u64, u64)>, u64), Fault> {
    let mut numbers = Vec::new();
    let mut wanted = None;
    let mut line = Vec::new();
    let mut taken = 0;
    loop {
        let mut block = [0; BLOCK];
        data.read_exact(&mut block).map_err(Fault::Read)?;
        taken += BLOCK as u64;
        for (at, byte) in block.iter().enumerate() {
            if *byte != b'\n' {
                line.push(*byte);
                if line.len() > 20 {
                    return Err(Fault::Rule(decimal(&line).err().unwrap_or_default()));
                }
                continue;
            }
            let number = decimal(&line).map_err(Fault::Rule)?;
            line.clear();
            match wanted {
                None => {
                    let pieces = usize::try_from(number).unwrap_or(usize::MAX);
                    few(pieces).map_err(Fault::Rule)?;
                    wanted = Some(2 * pieces);
                }
                Some(_) => numbers.push(number),
            }
            if wanted == Some(numbers.len()) {
                return match block[at + 1..].iter().all(|b| *b == 0) {
                    true => Ok((pairs(&numbers).map_err(Fault::Rule)?, taken)),
                    false => Err(Fault::Rule(
                        "more behind the map of a sparse file".to_owned(),
                    )),
                };
            }
        }
    }
}

#[cfg(test)]
#[path = "sparse_tests.rs"]
mod tests;
