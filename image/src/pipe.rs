//! Bytes on their way from one thread to the next, in a few chunks that are used again and again: who
//! writes waits for who reads. Not its job: what the threads do with them.
//!
//! Whoever lets its end go ends all others: a reader sees a stream that stopped, a writer that nobody
//! reads. Nobody is left waiting, whatever thread dies. Only [`Feed::end`] makes an end that is one.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::layer::entry::Skip;

/// Some bytes of a stream.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Chunk {
    /// Those that are filled.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Fills it from `from`, up to its end or the stream's.
    pub(crate) fn fill(&mut self, from: &mut impl Read) -> io::Result<()> {
        self.filled = 0;
        while self.filled < self.bytes.len() {
            match from.read(&mut self.bytes[self.filled..]) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Part {
    Bytes(Chunk),
    End,
}

/// The other end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// The end that is written to.
#[derive(Debug)]
pub(crate) struct Feed {
    full: SyncSender<Part>,
    spare: Receiver<Chunk>,
    /// Chunks that may still be made.
    left: usize,
    size: usize,
}

impl Feed {
    /// A chunk to fill, as soon as there is one.
    pub(crate) fn chunk(&mut self) -> Result<Chunk, Gone> {
        if let Ok(chunk) = self.spare.try_recv() {
            return Ok(chunk);
        }
        if self.left == 0 {
            return self.spare.recv().map_err(|_| Gone);
        }
        self.left -= 1;
        Ok(Chunk {
            bytes: vec![0; self.size].into_boxed_slice(),
            filled: 0,
        })
    }

    /// Sends it on.
    pub(crate) fn send(&mut self, chunk: Chunk) -> Result<(), Gone> {
        self.full.send(Part::Bytes(chunk)).map_err(|_| Gone)
    }

    /// Says that this was all.
    pub(crate) fn end(self) -> Result<(), Gone> {
        self.full.send(Part::End).map_err(|_| Gone)
    }
}

/// A place between both ends where all bytes pass.
#[derive(Debug)]
pub(crate) struct Tap {
    from: Receiver<Part>,
    to: SyncSender<Part>,
}

impl Tap {
    /// Shows `look` every chunk that passes, up to the end of the stream.
    pub(crate) fn pass(self, mut look: impl FnMut(&[u8])) -> Result<(), Gone> {
        loop {
            let part = self.from.recv().map_err(|_| Gone)?;
            let ended = match &part {
                Part::Bytes(chunk) => {
                    look(chunk.bytes());
                    false
                }
                Part::End => true,
            };
            self.to.send(part).map_err(|_| Gone)?;
            if ended {
                return Ok(());
            }
        }
    }
}

/// The end that is read.
#[derive(Debug)]
pub(crate) struct Intake {
    full: Receiver<Part>,
    spare: Sender<Chunk>,
    current: Option<Chunk>,
    /// How much of the current chunk was read.
    at: usize,
    ended: bool,
}

impl Intake {
    /// Reads what is left, for those who write: they go on to their end. Says whether there was one.
    pub(crate) fn drain(mut self) -> Result<(), Gone> {
        loop {
            match self.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(bytes) => {
                    let count = bytes.len();
                    self.consume(count);
                }
                Err(_) => return Err(Gone),
            }
        }
    }
}

impl BufRead for Intake {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let empty = |chunk: &Chunk, at: usize| at >= chunk.filled;
        while !self.ended && self.current.as_ref().is_none_or(|c| empty(c, self.at)) {
            if let Some(chunk) = self.current.take() {
                // Who wrote may be through, and want no chunk any more.
                let _through = self.spare.send(chunk);
            }
            match self.full.recv() {
                Ok(Part::Bytes(chunk)) => {
                    self.current = Some(chunk);
                    self.at = 0;
                }
                Ok(Part::End) => self.ended = true,
                Err(_) => return Err(io::Error::other("who wrote it stopped")),
            }
        }
        Ok(match &self.current {
            Some(chunk) => &chunk.bytes()[self.at..],
            None => &[],
        })
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Intake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl Skip for Intake {
    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let here = self.fill_buf()?.len();
            if here == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let some = here.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consume(some);
            count -= some as u64;
        }
        Ok(())
    }
}

/// A pipe of `chunks` chunks of `size` bytes; more memory it never takes.
pub(crate) fn pipe(chunks: usize, size: usize) -> (Feed, Intake) {
    let (full, from) = sync_channel(chunks + 1);
    let (feed, spare) = feed(full, chunks, size);
    (feed, intake(from, spare))
}

/// The same with a tap, which sees all bytes before the reader does.
pub(crate) fn tapped(chunks: usize, size: usize) -> (Feed, Tap, Intake) {
    // Room for every chunk and the end: only the wait for a spare chunk holds anybody up.
    let (full, from) = sync_channel(chunks + 1);
    let (to, seen) = sync_channel(chunks + 1);
    let (feed, spare) = feed(full, chunks, size);
    (feed, Tap { from, to }, intake(seen, spare))
}

fn feed(full: SyncSender<Part>, chunks: usize, size: usize) -> (Feed, Sender<Chunk>) {
    let (back, spare) = channel();
    let feed = Feed {
        full,
        spare,
        left: chunks,
        size,
    };
    (feed, back)
}

fn intake(full: Receiver<Part>, spare: Sender<Chunk>) -> Intake {
    Intake {
        full,
        spare,
        current: None,
        at: 0,
        ended: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn write(mut feed: Feed, mut from: &[u8]) -> Result<(), Gone> {
        while !from.is_empty() {
            let mut chunk = feed.chunk()?;
            chunk.fill(&mut from).unwrap();
            feed.send(chunk)?;
        }
        feed.end()
    }

    #[test]
    fn what_is_written_is_read_past_the_tap() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        let (feed, tap, mut intake) = tapped(2, 64);
        let mut seen = Vec::new();
        let mut read = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| write(feed, &bytes).unwrap());
            scope.spawn(|| tap.pass(|some| seen.extend_from_slice(some)).unwrap());
            let mut head = [0; 100];
            intake.read_exact(&mut head).unwrap();
            intake.skip(1000).unwrap();
            read.extend_from_slice(&head);
            intake.read_to_end(&mut read).unwrap();
        });
        assert_eq!(seen, bytes);
        assert_eq!(read, [&bytes[..100], &bytes[1100..]].concat());
    }

    #[test]
    fn a_writer_that_is_gone_is_no_end() {
        let (mut feed, mut intake) = pipe(2, 8);
        let mut chunk = feed.chunk().unwrap();
        chunk.fill(&mut &b"abc"[..]).unwrap();
        feed.send(chunk).unwrap();
        drop(feed);
        let mut read = Vec::new();
        assert!(intake.read_to_end(&mut read).is_err());
        assert_eq!(read, b"abc");
        assert!(intake.fill_buf().is_err(), "still no end");
    }

    #[test]
    fn a_reader_that_is_gone_ends_who_waits_to_write() {
        let (feed, tap, intake) = tapped(1, 8);
        thread::scope(|scope| {
            let writer = scope.spawn(|| write(feed, &[0; 1000]));
            let tap = scope.spawn(|| tap.pass(|_| {}));
            let mut intake = intake;
            intake.read_exact(&mut [0; 20]).unwrap();
            drop(intake);
            assert_eq!(writer.join().unwrap(), Err(Gone));
            assert_eq!(tap.join().unwrap(), Err(Gone));
        });
    }

    #[test]
    fn a_tap_that_is_gone_ends_both_sides() {
        let (feed, tap, mut intake) = tapped(1, 8);
        drop(tap);
        assert_eq!(write(feed, &[0; 1000]), Err(Gone));
        assert!(intake.read(&mut [0; 8]).is_err());
    }

    #[test]
    fn more_than_there_is_is_not_skipped() {
        let (feed, mut intake) = pipe(2, 8);
        write(feed, b"abc").unwrap();
        let error = intake.skip(4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
