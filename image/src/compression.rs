//! Inflates layers: gzip (several members too), zstd, or nothing, found by the first bytes and never by
//! the media type. Not its job: checking what comes out.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// The largest zstd window taken: 128 MiB (2^27). A stream may ask for 2 GiB and get it byte by byte.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Looks at a blob's first bytes (six are enough).
    pub(crate) fn detect(head: &[u8]) -> Result<Self> {
        let unsupported = |what: &str| {
            Err(Error::Unsupported {
                what: format!("{what} compression"),
            })
        };
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            // A skippable frame (zstd's seekable and chunked variants may lead with one).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => unsupported("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unsupported("xz"),
            _ => Ok(Self::None),
        }
    }

    /// The media type of a layer compressed so.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A stream being inflated.
pub(crate) enum Decoder<R: BufRead> {
    None(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes and inflates accordingly.
    pub(crate) fn new(mut inner: R) -> Result<(Self, Compression)> {
        let failed = |e: &io::Error| crate::layer::entry::stream_fault("compressed data", e);
        let head = inner.fill_buf().map_err(|e| failed(&e))?;
        let compression = Compression::detect(head)?;
        let decoder = match compression {
            Compression::None => Self::None(inner),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(inner))),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(inner).map_err(|e| failed(&e))?;
                decoder
                    .window_log_max(MAX_ZSTD_WINDOW_LOG)
                    .map_err(|e| failed(&e))?;
                Self::Zstd(decoder)
            }
        };
        Ok((decoder, compression))
    }

    /// The compressed stream, wherever it stands.
    pub(crate) fn into_inner(self) -> R {
        match self {
            Self::None(inner) => inner,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(inner) => inner.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
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
        let zstd = zstd::encode_all(&b"hello"[..], 3).unwrap();
        for (bytes, compression) in [
            (b"hello".to_vec(), Compression::None),
            (gzip(b"hello"), Compression::Gzip),
            (zstd, Compression::Zstd),
        ] {
            assert_eq!(inflate(&bytes).unwrap(), (b"hello".to_vec(), compression));
        }
        assert_eq!(inflate(b"").unwrap().1, Compression::None);
        let error = inflate(b"BZh91AY").unwrap_err().to_string();
        assert_eq!(error, "bzip2 compression: not supported");
    }

    #[test]
    fn all_members_of_a_gzip_file_are_read() {
        let two = [gzip(b"hel"), gzip(b"lo")].concat();
        assert_eq!(inflate(&two).unwrap().0, b"hello");
    }

    #[test]
    fn a_stream_that_is_cut_or_has_garbage_behind_it_is_refused() {
        let whole = gzip(&[7; 5000]);
        for length in 2..whole.len() {
            assert!(inflate(&whole[..length]).is_err(), "cut at {length}");
        }
        assert!(inflate(&[&whole[..], b"garbage"].concat()).is_err());
        let zstd = zstd::encode_all(&[7; 5000][..], 3).unwrap();
        for length in 4..zstd.len() {
            assert!(inflate(&zstd[..length]).is_err(), "zstd cut at {length}");
        }
        assert!(inflate(&[&zstd[..], b"garbage"].concat()).is_err());
    }

    #[test]
    fn a_zstd_window_over_128_mib_is_refused() {
        for (log, taken) in [(27, true), (28, false)] {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            encoder.write_all(&[7; 4096]).unwrap();
            assert_eq!(
                inflate(&encoder.finish().unwrap()).is_ok(),
                taken,
                "2^{log}"
            );
        }
    }
}
