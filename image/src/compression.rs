//! Inflates layers and archives: gzip, zstd, bzip2, xz (of several members or frames too), or nothing,
//! found by the first bytes and never by the media type. Not its job: checking what comes out.

use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;

pub use self::pack::Method;
pub(crate) use self::turn::Ready;
use crate::Result;

pub(crate) mod pack;
mod turn;
mod xz;
mod zstd;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Looks at a blob's first bytes (six are enough).
    pub(crate) fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame (zstd's seekable and chunked variants may lead with one).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    /// The media type of a layer compressed so. There is none for bzip2 and xz, which nobody writes into
    /// registries; tools that look at the bytes read them.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Bzip2 => "application/vnd.oci.image.layer.v1.tar+bzip2",
            Self::Xz => "application/vnd.oci.image.layer.v1.tar+xz",
        }
    }
}

/// A stream being inflated.
pub(crate) enum Decoder<'a, R: BufRead> {
    None(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(Box<zstd::Frames<'a, R>>),
    Bzip2(Box<MultiBzDecoder<R>>),
    Xz(Box<xz::Streams<'a, R>>),
}

impl<R: BufRead> Decoder<'static, R> {
    /// Looks at the first bytes and inflates accordingly. While it reads, whoever has it waits for no other stream.
    pub(crate) fn new(inner: R) -> Result<(Self, Compression)> {
        Self::when_ready(inner, &|| Ok(()))
    }
}

impl<'a, R: BufRead> Decoder<'a, R> {
    /// The same for whom other streams may wait: `ready` is asked before a large window is taken.
    pub(crate) fn when_ready(mut inner: R, ready: &'a Ready<'a>) -> Result<(Self, Compression)> {
        let failed = |e: &io::Error| crate::layer::entry::stream_fault("compressed data", e);
        let head = inner.fill_buf().map_err(|e| failed(&e))?;
        let compression = Compression::detect(head);
        let decoder = match compression {
            Compression::None => Self::None(inner),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(inner))),
            Compression::Zstd => {
                let frames = zstd::Frames::new(inner, ready).map_err(|e| failed(&e))?;
                Self::Zstd(Box::new(frames))
            }
            Compression::Bzip2 => Self::Bzip2(Box::new(MultiBzDecoder::new(inner))),
            Compression::Xz => {
                let streams = xz::Streams::new(inner, ready).map_err(|e| failed(&e))?;
                Self::Xz(Box::new(streams))
            }
        };
        Ok((decoder, compression))
    }

    /// The compressed stream, wherever it stands.
    pub(crate) fn into_inner(self) -> R {
        match self {
            Self::None(inner) => inner,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Xz(decoder) => decoder.into_inner(),
        }
    }
}

impl<R: BufRead> Read for Decoder<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(inner) => inner.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ::zstd::encode_all(bytes, 3).unwrap()
    }

    type Compress = fn(&[u8]) -> Vec<u8>;

    const ALL: [(Compression, Compress); 4] = [
        (Compression::Gzip, gzip),
        (Compression::Zstd, zstd),
        (Compression::Bzip2, bzip2),
        (Compression::Xz, xz),
    ];

    fn inflate(bytes: &[u8]) -> Result<(Vec<u8>, Compression)> {
        let (mut decoder, compression) = Decoder::new(bytes)?;
        let mut all = Vec::new();
        decoder
            .read_to_end(&mut all)
            .map_err(|e| crate::layer::entry::stream_fault("x", &e))?;
        Ok((all, compression))
    }

    #[test]
    fn each_compression_is_found_by_its_first_bytes() {
        for (compression, compress) in ALL {
            let (bytes, found) = inflate(&compress(b"hello")).unwrap();
            assert_eq!((&bytes[..], found), (&b"hello"[..], compression));
        }
        assert_eq!(inflate(b"hello").unwrap().1, Compression::None);
        assert_eq!(inflate(b"").unwrap().1, Compression::None);
    }

    #[test]
    fn all_members_are_read() {
        for (compression, compress) in ALL {
            let two = [compress(b"hel"), compress(b""), compress(b"lo")].concat();
            assert_eq!(inflate(&two).unwrap().0, b"hello", "{compression:?}");
        }
    }

    /// NULs too: GNU gzip passes over them, Go does not.
    #[test]
    fn a_stream_that_is_cut_or_has_something_behind_it_is_refused() {
        for (compression, compress) in ALL {
            let whole = compress(&[7; 5000]);
            for length in 6..whole.len() {
                let cut = inflate(&whole[..length]);
                assert!(cut.is_err(), "{compression:?} cut at {length}");
            }
            for behind in [&b"garbage"[..], &[0; 511], &[0], &whole[..whole.len() - 1]] {
                let longer = inflate(&[&whole[..], behind].concat());
                assert!(longer.is_err(), "{compression:?} and {}", behind.len());
            }
        }
    }

    #[test]
    fn an_xz_dictionary_that_takes_too_much_memory_is_refused() {
        use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
        for (size, taken) in [(64 << 20, true), (96 << 20, false), (128 << 20, false)] {
            let mut options = LzmaOptions::new_preset(0).unwrap();
            options.dict_size(size);
            let mut filters = Filters::new();
            filters.lzma2(&options);
            let stream = Stream::new_stream_encoder(&filters, Check::Crc32).unwrap();
            let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
            encoder.write_all(b"hello").unwrap();
            let bytes = encoder.finish().unwrap();
            assert_eq!(inflate(&bytes).is_ok(), taken, "{size}");
        }
    }

    #[test]
    fn a_zstd_window_over_128_mib_is_refused() {
        for (log, taken) in [(27, true), (28, false)] {
            let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            encoder.write_all(&[7; 4096]).unwrap();
            let bytes = encoder.finish().unwrap();
            assert_eq!(inflate(&bytes).is_ok(), taken, "2^{log}");
        }
    }
}
