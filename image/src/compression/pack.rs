//! Compresses what leaves, on several cores: in blocks of one size each, so that the same bytes come out however many
//! cores there are. Not its job: what is compressed, and where it goes.

use std::io::{self, Read, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Crc, FlushCompress, Status};

/// Memory is some four blocks for each thread.
const MAX_THREADS: usize = 8;

/// What layers are compressed with as they leave, and how much work goes into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// With nothing.
    #[default]
    None,
    /// One gzip member; 0 to 9.
    Gzip(u32),
    /// Frames of zstd; 1 to 22.
    Zstd(i32),
}

impl Method {
    /// gzip as most have it.
    pub const GZIP: Self = Self::Gzip(6);

    /// zstd as most have it.
    pub const ZSTD: Self = Self::Zstd(3);

    /// Bytes that are compressed by themselves.
    fn block(self) -> usize {
        match self {
            Self::None | Self::Gzip(_) => 1 << 20,
            Self::Zstd(_) => 2 << 20,
        }
    }
}

/// As many threads as there are CPUs.
pub(crate) fn threads() -> usize {
    thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MAX_THREADS)
}

/// A block that was compressed.
struct Packed {
    bytes: Vec<u8>,
    /// Of what it was before; gzip alone wants it.
    crc: Crc,
}

/// A block to compress, and who waits for it.
type Order = (Vec<u8>, SyncSender<io::Result<Packed>>);

/// Writes all of `from` to `to`, compressed by `threads` threads beside this one.
pub(crate) fn pack<W: Write + Send>(
    method: Method,
    threads: usize,
    mut from: impl Read,
    mut to: W,
) -> io::Result<W> {
    if method == Method::None {
        io::copy(&mut from, &mut to)?;
        return Ok(to);
    }
    let (orders, waiting) = sync_channel::<Order>(1);
    let waiting = Mutex::new(waiting);
    let (promises, ready) = sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| work(method, &waiting));
        }
        let writer = scope.spawn(move || write(method, &ready, to));
        let read = feed(method.block(), &mut from, &orders, &promises);
        drop((orders, promises));
        let written = writer.join();
        read?;
        written.unwrap_or_else(|_| Err(io::Error::other("the writing thread has ended")))
    })
}

/// Cuts what is read into blocks; there is one at least. Ends early where the writer has ended: it knows why.
fn feed(
    size: usize,
    from: &mut impl Read,
    orders: &SyncSender<Order>,
    promises: &SyncSender<Receiver<io::Result<Packed>>>,
) -> io::Result<()> {
    let mut first = true;
    loop {
        let mut block = Vec::with_capacity(size);
        from.by_ref().take(size as u64).read_to_end(&mut block)?;
        if block.is_empty() && !first {
            return Ok(());
        }
        first = false;
        let (to, promise) = sync_channel(1);
        if promises.send(promise).is_err() || orders.send((block, to)).is_err() {
            return Ok(());
        }
    }
}

/// Compresses blocks until there are no more.
fn work(method: Method, waiting: &Mutex<Receiver<Order>>) {
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((block, to)) = next else {
            return;
        };
        // Nobody waits any more where the writer has failed.
        let _unwanted = to.send(one(method, &block));
    }
}

fn one(method: Method, block: &[u8]) -> io::Result<Packed> {
    let mut crc = Crc::new();
    let bytes = match method {
        Method::None => block.to_vec(),
        Method::Gzip(level) => {
            crc.update(block);
            deflate(level, block)?
        }
        Method::Zstd(level) => zstd::bulk::compress(block, level)?,
    };
    Ok(Packed { bytes, crc })
}

/// A block that ends at a whole byte, and that needs nothing of the one before it.
fn deflate(level: u32, block: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = Compress::new(flate2::Compression::new(level), false);
    // What can't be compressed grows by some bytes for each 16 KiB.
    let mut bytes = Vec::with_capacity(block.len() + block.len() / 64 + 1024);
    let status = stream.compress_vec(block, &mut bytes, FlushCompress::Sync)?;
    let whole = stream.total_in() == block.len() as u64 && bytes.len() < bytes.capacity();
    match status {
        Status::Ok if whole => Ok(bytes),
        _ => Err(io::Error::other("a block has grown beyond all bounds")),
    }
}

/// Writes the blocks in their order.
fn write<W: Write>(
    method: Method,
    ready: &Receiver<Receiver<io::Result<Packed>>>,
    mut to: W,
) -> io::Result<W> {
    let is_gzip = matches!(method, Method::Gzip(_));
    if is_gzip {
        // RFC 1952: deflate, no name, no time, from no system in particular.
        to.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])?;
    }
    let mut crc = Crc::new();
    while let Ok(promise) = ready.recv() {
        let packed = promise
            .recv()
            .map_err(|_| io::Error::other("the compressing thread has ended"))??;
        to.write_all(&packed.bytes)?;
        crc.combine(&packed.crc);
    }
    if is_gzip {
        // The last block of deflate, which is empty; then CRC and length, modulo 2^32.
        to.write_all(&[3, 0])?;
        to.write_all(&crc.sum().to_le_bytes())?;
        to.write_all(&crc.amount().to_le_bytes())?;
    }
    to.flush()?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;

    /// Bytes that can be compressed somewhat.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state & 0x100 == 0 {
                b'a'
            } else {
                (state >> 24) as u8
            }
        };
        std::iter::repeat_with(&mut next).take(length).collect()
    }

    fn packed(method: Method, threads: usize, bytes: &[u8]) -> Vec<u8> {
        pack(method, threads, bytes, Vec::new()).unwrap()
    }

    #[test]
    fn what_is_compressed_is_read_back_and_is_the_same_for_any_number_of_threads() {
        for method in [Method::None, Method::Gzip(1), Method::GZIP, Method::ZSTD] {
            let block = method.block();
            for length in [0, 1, block - 1, block, block + 1, 2 * block + 17] {
                let bytes = sample(length);
                let one = packed(method, 1, &bytes);
                assert!(one == packed(method, 5, &bytes), "{method:?} {length}");
                let (mut decoder, _) = Decoder::new(&one[..]).unwrap();
                let mut all = Vec::new();
                decoder.read_to_end(&mut all).unwrap();
                assert!(all == bytes, "{method:?} {length}");
            }
        }
    }

    #[test]
    fn gzip_is_one_member_and_takes_what_cannot_be_compressed() {
        let noise: Vec<u8> = (0..2_500_000_u64)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect();
        for level in [0, 1, 9] {
            let bytes = packed(Method::Gzip(level), 3, &noise);
            let mut all = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..])
                .read_to_end(&mut all)
                .unwrap();
            assert!(all == noise, "level {level}");
        }
    }

    /// Takes some bytes, then fails.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0 {
                0 => Err(io::ErrorKind::StorageFull.into()),
                left => {
                    self.0 -= left.min(bytes.len());
                    Ok(left.min(bytes.len()))
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_fault_at_either_end_is_told_and_nobody_waits() {
        let bytes = sample(8 << 20);
        let full = pack(Method::GZIP, 2, &bytes[..], Full(100_000));
        assert_eq!(full.err().unwrap().kind(), io::ErrorKind::StorageFull);
        let broken = (&bytes[..]).chain(Broken);
        let cut = pack(Method::ZSTD, 2, broken, io::sink());
        assert_eq!(cut.err().unwrap().kind(), io::ErrorKind::BrokenPipe);
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}
