//! zstd, frame by frame: the window of each is known before memory is taken for it, and a large one waits for its turn.
//! Not its job: what is in a frame (libzstd's).

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::turn::{Ready, SMALL, Turn};

/// The largest window taken: 128 MiB (2^27). A stream may ask for 2 GiB and get it byte by byte.
const MAX_WINDOW_LOG: u32 = 27;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The magic number and the byte that says how long the rest of the header is.
const BEGIN: usize = 5;

/// A stream of frames being inflated.
pub(crate) struct Frames<'a, R> {
    inner: R,
    decoder: Decoder<'static>,
    /// Bytes of a frame's header that were read, but not inflated yet.
    header: Vec<u8>,
    within: bool,
    ready: &'a Ready<'a>,
    turn: Option<Turn>,
}

impl<'a, R: BufRead> Frames<'a, R> {
    pub(super) fn new(inner: R, ready: &'a Ready<'a>) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
        Ok(Self {
            inner,
            decoder,
            header: Vec::new(),
            within: false,
            ready,
            turn: None,
        })
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// Begins the next frame; `false` at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        self.header.clear();
        if !self.collect(BEGIN)? {
            return match self.header.is_empty() {
                true => Ok(false),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let length = length(&self.header);
        if !self.collect(length)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // What libzstd has grown to it keeps for the frames behind, so the turn is kept too.
        if self.turn.is_none() && window(&self.header) > SMALL {
            self.turn = Some(Turn::wait(self.ready).map_err(io::Error::other)?);
        }
        self.decoder.reinit()?;
        self.within = true;
        Ok(true)
    }

    /// Reads until the header has `length` bytes; `false` if there are not so many.
    fn collect(&mut self, length: usize) -> io::Result<bool> {
        let missing = length.saturating_sub(self.header.len());
        let mut part = (&mut self.inner).take(missing as u64);
        Ok(part.read_to_end(&mut self.header)? == missing)
    }

    /// Inflates some: how much came out, and whether the frame has ended.
    fn inflate(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut to = OutBuffer::around(buffer);
        let (hint, dry) = if self.header.is_empty() {
            let bytes = self.inner.fill_buf()?;
            let mut from = InBuffer::around(bytes);
            let hint = self.decoder.run(&mut from, &mut to)?;
            let (used, dry) = (from.pos, bytes.is_empty());
            self.inner.consume(used);
            (hint, dry)
        } else {
            let mut from = InBuffer::around(&self.header);
            let hint = self.decoder.run(&mut from, &mut to)?;
            let used = from.pos;
            self.header.drain(..used);
            (hint, false)
        };
        self.within = hint != 0;
        match to.pos() {
            0 if dry && self.within => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

impl<R: BufRead> Read for Frames<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            match self.inflate(buffer)? {
                0 => {}
                count => return Ok(count),
            }
        }
    }
}

/// How long the header is, by its first bytes (RFC 8878, 3.1.1.1). What is no frame of data has no more of it.
fn length(begin: &[u8]) -> usize {
    let [m0, m1, m2, m3, descriptor] = *begin else {
        return BEGIN;
    };
    if [m0, m1, m2, m3] != MAGIC {
        return BEGIN;
    }
    BEGIN + usize::from(!is_single(descriptor)) + dictionary(descriptor) + content(descriptor)
}

/// The window that a frame asks for; 0 for what is no frame of data.
fn window(header: &[u8]) -> u64 {
    let Some([descriptor, rest @ ..]) = header.strip_prefix(&MAGIC) else {
        return 0;
    };
    if !is_single(*descriptor) {
        let byte = rest.first().copied().unwrap_or_default();
        let base = 1_u64 << (10 + (byte >> 3));
        return base + base / 8 * u64::from(byte & 7);
    }
    // All of the content is the window.
    let size = rest.get(dictionary(*descriptor)..).unwrap_or_default();
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(size) {
        *to = *from;
    }
    // A length of two bytes begins where one of one byte ends.
    let base = if size.len() == 2 { 256 } else { 0 };
    u64::from_le_bytes(bytes).saturating_add(base)
}

fn is_single(descriptor: u8) -> bool {
    descriptor & 0x20 != 0
}

/// Bytes of the dictionary's number.
fn dictionary(descriptor: u8) -> usize {
    [0, 1, 2, 4][usize::from(descriptor & 3)]
}

/// Bytes of the content's length.
fn content(descriptor: u8) -> usize {
    match descriptor >> 6 {
        0 => usize::from(is_single(descriptor)),
        log => 1 << log,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use zstd::stream::write::Encoder;

    use super::*;
    use crate::Error;

    fn frame(window_log: u32, bytes: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The bytes of a stream, and how often it wanted a turn.
    fn inflate(stream: &[u8]) -> io::Result<(Vec<u8>, u32)> {
        let asked = AtomicU32::new(0);
        let ready = || -> crate::Result<()> {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let mut all = Vec::new();
        // One byte at a time: a header may come in any pieces.
        let slow = io::BufReader::with_capacity(1, stream);
        Frames::new(slow, &ready)?.read_to_end(&mut all)?;
        Ok((all, asked.into_inner()))
    }

    #[test]
    fn a_large_window_is_asked_for_once_and_a_small_one_never() {
        let small = frame(23, b"small");
        let large = frame(24, b"large");
        assert_eq!(inflate(&small).unwrap(), (b"small".to_vec(), 0));
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let all = [&small[..], &skipped, &large, &small, &large].concat();
        assert_eq!(
            inflate(&all).unwrap(),
            (b"smalllargesmalllarge".to_vec(), 1)
        );
    }

    #[test]
    fn the_window_of_one_segment_is_its_content() {
        let size: u32 = 8 << 20;
        for (more, asked) in [(0, 0), (1, 1)] {
            // Of one segment, with a length of four bytes, and one last block: that many equal bytes can't be one.
            let mut header = [&MAGIC[..], &[0xa0], &(size + more).to_le_bytes()].concat();
            assert_eq!(length(&header[..BEGIN]), header.len());
            assert_eq!(window(&header), u64::from(size + more));
            header.extend([1, 0, 0]);
            let wanted = AtomicU32::new(0);
            let ready = || -> crate::Result<()> {
                wanted.fetch_add(1, Ordering::Relaxed);
                Err(Error::Stopped)
            };
            let _cut = Frames::new(&header[..], &ready).unwrap().read(&mut [0]);
            assert_eq!(wanted.into_inner(), asked);
        }
    }

    #[test]
    fn headers_are_as_long_as_libzstd_has_them() {
        for bytes in [&b""[..], b"x", &[7; 300], &[7; 70_000]] {
            let all = zstd::bulk::compress(bytes, 1).unwrap();
            let (begin, length) = (&all[..BEGIN], length(&all[..BEGIN]));
            assert_eq!(window(&all[..length]), bytes.len() as u64, "{begin:?}");
            assert_eq!(inflate(&all).unwrap().0, bytes);
        }
        assert_eq!(window(&frame(27, b"x")[..6]), 1 << 27);
    }
}
