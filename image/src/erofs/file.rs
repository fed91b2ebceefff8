//! The file that an image is written to: data appended as it comes, and groups of blocks for inodes, filled while data
//! goes on behind them. Not its job: what inodes and directories are.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::record::{BLOCK, LINKS_AT, SLOT};
use crate::layer::sparse::{Fault, Sparse};

/// Bytes written at a time.
const CHUNK: usize = 256 * 1024;

/// Blocks of a group of inodes: the first is small, for so are most layers.
const FIRST_GROUP: usize = 2;
const GROUP: usize = 32;

const ROOM: usize = BLOCK as usize;

/// An image being written.
#[derive(Debug)]
pub(super) struct Image {
    file: File,
    /// What is to be written at `start`.
    buffer: Vec<u8>,
    filled: usize,
    start: u64,
    group: Group,
}

/// Blocks that inodes and short ends of files are put in, wherever there is room.
#[derive(Debug, Default)]
struct Group {
    start: u64,
    bytes: Vec<u8>,
    used: Vec<usize>,
}

impl Group {
    fn holds(&self, at: u64) -> bool {
        (self.start..self.start + self.bytes.len() as u64).contains(&at)
    }
}

impl Image {
    /// Begins behind the first block, which is written last.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            buffer: vec![0; CHUNK],
            filled: 0,
            start: BLOCK,
            group: Group::default(),
        }
    }

    /// Where the next byte is appended.
    pub(super) fn end(&self) -> u64 {
        self.start + self.filled as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file
            .write_all_at(&self.buffer[..self.filled], self.start)?;
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.filled == CHUNK {
                self.flush()?;
            }
            let count = bytes.len().min(CHUNK - self.filled);
            self.buffer[self.filled..][..count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Appends zeros up to `at`, at most a block.
    pub(super) fn pad(&mut self, at: u64) -> io::Result<()> {
        const ZEROS: [u8; ROOM] = [0; ROOM];
        // Less than a block.
        let count = (at - self.end()) as usize;
        self.append(&ZEROS[..count])
    }

    /// Appends zeros until a block is full.
    pub(super) fn pad_block(&mut self) -> io::Result<()> {
        self.pad(self.end().next_multiple_of(BLOCK))
    }

    /// Appends `count` bytes of a stream.
    pub(super) fn copy(&mut self, from: &mut impl Read, count: u64) -> Result<(), Fault> {
        let mut left = count;
        while left > 0 {
            if self.filled == CHUNK {
                self.flush().map_err(Fault::Write)?;
            }
            let most = (CHUNK - self.filled).min(usize::try_from(left).unwrap_or(usize::MAX));
            let room = &mut self.buffer[self.filled..][..most];
            let got = match from.read(room) {
                Ok(0) => return Err(Fault::Read(io::ErrorKind::UnexpectedEof.into())),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                got => got.map_err(Fault::Read)?,
            };
            self.filled += got;
            left -= got as u64;
        }
        Ok(())
    }

    /// Appends a file with holes, which are holes of the image's file too.
    pub(super) fn sparse(&mut self, sparse: &Sparse, data: &mut impl Read) -> Result<(), Fault> {
        self.flush().map_err(Fault::Write)?;
        let begin = self.start;
        for (offset, length) in &sparse.pieces {
            if *length > 0 {
                self.start = begin + offset;
                self.copy(data, *length)?;
                self.flush().map_err(Fault::Write)?;
            }
        }
        self.start = begin + sparse.size.next_multiple_of(BLOCK);
        Ok(())
    }

    /// Puts down an inode with its attributes (`head`) and the end of its data, if both fit into one block; gives its
    /// number. Data that ends in the middle of a block is none of ours: call it between files.
    pub(super) fn place(&mut self, head: &[u8], tail: &[u8]) -> io::Result<u64> {
        let length = (head.len() + tail.len()).next_multiple_of(SLOT as usize);
        if length > ROOM {
            let at = self.end();
            self.append(head)?;
            self.append(tail)?;
            self.pad_block()?;
            return Ok(at / SLOT);
        }
        let block = match self.block_with(length) {
            Some(block) => block,
            None => {
                self.next_group()?;
                0
            }
        };
        let used = &mut self.group.used[block];
        let offset = block * ROOM + *used;
        *used += length;
        self.group.bytes[offset..][..head.len()].copy_from_slice(head);
        self.group.bytes[offset + head.len()..][..tail.len()].copy_from_slice(tail);
        Ok((self.group.start + offset as u64) / SLOT)
    }

    fn block_with(&self, length: usize) -> Option<usize> {
        self.group
            .used
            .iter()
            .position(|used| used + length <= ROOM)
    }

    fn next_group(&mut self) -> io::Result<()> {
        let blocks = match self.group.used.len() {
            0 => FIRST_GROUP,
            _ => GROUP,
        };
        self.write_group()?;
        self.flush()?;
        self.group.start = self.start;
        self.group.bytes.clear();
        self.group.bytes.resize(blocks * ROOM, 0);
        self.group.used.clear();
        self.group.used.resize(blocks, 0);
        self.start += (blocks * ROOM) as u64;
        Ok(())
    }

    fn write_group(&mut self) -> io::Result<()> {
        // Blocks are taken from the first on: those that none is in stay holes.
        let blocks = self.group.used.iter().take_while(|used| **used > 0).count();
        self.file
            .write_all_at(&self.group.bytes[..blocks * ROOM], self.group.start)
    }

    /// Says how many names an inode has after all.
    pub(super) fn set_links(&mut self, number: u64, links: u32) -> io::Result<()> {
        let at = number * SLOT + LINKS_AT;
        if self.group.holds(at) {
            // Within the group.
            let at = (at - self.group.start) as usize;
            self.group.bytes[at..][..4].copy_from_slice(&links.to_le_bytes());
            return Ok(());
        }
        self.flush()?;
        self.file.write_all_at(&links.to_le_bytes(), at)
    }

    /// Ends the image: writes what is not yet, and its first block.
    pub(super) fn finish(mut self, first: &[u8]) -> io::Result<()> {
        self.pad_block()?;
        self.write_group()?;
        self.flush()?;
        // A hole at the end is a part of it.
        self.file.set_len(self.start)?;
        self.file.write_all_at(first, 0)
    }
}
