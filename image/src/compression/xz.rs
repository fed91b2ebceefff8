//! xz, of several streams too: one with a dictionary that needs much memory waits for its turn. Not its job: the format
//! (liblzma's).

use std::io::{self, BufRead, Read};

use liblzma::stream::{Action, CONCATENATED, Error, Status, Stream};

use super::turn::{Ready, SMALL, Turn};

/// What every decoder may take: a small dictionary, and what is kept beside it.
const AT_FIRST: u64 = SMALL + (2 << 20);

/// The most memory: `xz -9` needs 65 MiB to inflate, the next larger dictionary 97, and a stream may ask for 4 GiB.
const MOST: u64 = 70 << 20;

/// Streams being inflated.
pub(crate) struct Streams<'a, R> {
    inner: R,
    stream: Stream,
    ended: bool,
    ready: &'a Ready<'a>,
    turn: Option<Turn>,
}

impl<'a, R: BufRead> Streams<'a, R> {
    pub(super) fn new(inner: R, ready: &'a Ready<'a>) -> io::Result<Self> {
        Ok(Self {
            inner,
            stream: Stream::new_stream_decoder(AT_FIRST, CONCATENATED)?,
            ended: false,
            ready,
            turn: None,
        })
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// Inflates some: how much came out.
    fn inflate(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.fill_buf()?;
        let dry = bytes.is_empty();
        let action = match dry {
            true => Action::Finish,
            false => Action::Run,
        };
        let before = (self.stream.total_in(), self.stream.total_out());
        let result = self.stream.process(bytes, buffer, action);
        let passed = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
        let count = passed(before.1, self.stream.total_out());
        self.inner.consume(passed(before.0, self.stream.total_in()));
        match result {
            // Decoding can go on behind this one (lzma/base.h), where the limit is raised.
            Err(Error::MemLimit) if self.turn.is_none() => {
                self.turn = Some(Turn::wait(self.ready).map_err(io::Error::other)?);
                self.stream.set_memlimit(MOST)?;
            }
            Err(e) => return Err(e.into()),
            Ok(Status::StreamEnd) => self.ended = true,
            Ok(_) if dry && count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
        }
        Ok(count)
    }
}

impl<R: BufRead> Read for Streams<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.ended {
                return Ok(0);
            }
            match self.inflate(buffer)? {
                0 => {}
                count => return Ok(count),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_large_dictionary_is_asked_for_once_and_a_small_one_never() {
        for (preset, turns) in [(6, 0), (7, 1), (9, 1)] {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), preset);
            encoder.write_all(b"hello").unwrap();
            let one = encoder.finish().unwrap();
            let asked = AtomicU32::new(0);
            let ready = || -> crate::Result<()> {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            let mut all = Vec::new();
            let two = one.repeat(2);
            let mut streams =
                Streams::new(io::BufReader::with_capacity(7, &two[..]), &ready).unwrap();
            streams.read_to_end(&mut all).unwrap();
            assert_eq!(
                (&all[..], asked.into_inner()),
                (&b"hellohello"[..], turns),
                "xz -{preset}"
            );
        }
    }
}
