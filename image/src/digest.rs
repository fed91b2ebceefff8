//! The digest of a blob: parsed strictly, since it becomes a file name, and computed while bytes pass.
//! Not its job: knowing which blob it is of.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// A SHA-256 digest, written `sha256:<64 lower-case hex digits>`. Other algorithms are refused: sha512
/// is legal but nobody writes it, and two spellings of one blob would be two blobs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits, without the algorithm: a safe file name.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            // Writing to a String can't fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text
    }

    /// The first twelve hex digits, as people read ids.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// Sixteen bytes of it, for a file system to be known by.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&self.0[..16]);
        uuid
    }

    /// Whether it is the digest that was promised for what it is of.
    pub(crate) fn keeps(self, promised: Self) -> bool {
        self == promised || sys::fault::broken("no-digest-check")
    }

    /// Parses exactly 64 lower-case hex digits.
    ///
    /// # Errors
    /// [`Error::BadDigest`] for any other text.
    pub fn from_hex(hex: &str) -> Result<Self> {
        let bad = |rule| Error::BadDigest {
            value: hex.chars().take(100).collect(),
            rule,
        };
        if hex.len() != 64 && !sys::fault::broken("no-digest-grammar") {
            return Err(bad("a SHA-256 digest has 64 hex digits"));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let high = hex_digit(pair[0]).ok_or_else(|| bad("its digits must be 0-9 and a-f"))?;
            let low = hex_digit(pair[1]).ok_or_else(|| bad("its digits must be 0-9 and a-f"))?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("sha256:") {
            Some(hex) => Self::from_hex(hex),
            None => Err(Error::BadDigest {
                value: text.chars().take(100).collect(),
                rule: "only sha256:<hex> is supported",
            }),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest and a length bit by bit.
#[derive(Clone, Default)]
pub(crate) struct Hasher {
    state: Sha256,
    length: u64,
}

impl Hasher {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes were taken.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all of them.
    pub(crate) fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

/// What a document promises about a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    /// The digest of its bytes; a docker archive names none for its layers.
    pub(crate) digest: Option<Digest>,
    /// Its length; what is longer is refused before it is read.
    pub(crate) size: Option<u64>,
}

/// Reads a blob and holds it to its promise: never gives a byte past the promised size, and
/// [`Verified::finish`] refuses what is shorter, longer or other.
pub(crate) struct Verified<R> {
    inner: R,
    hasher: Hasher,
    promise: Promise,
}

impl<R: Read> Verified<R> {
    /// Reads `inner` under `promise`.
    pub(crate) fn new(inner: R, promise: Promise) -> Self {
        Self {
            inner,
            hasher: Hasher::default(),
            promise,
        }
    }

    /// Reads what is left (all bytes count, also those after the end of a tar or gzip stream) and
    /// compares. `what` names the blob in the error.
    ///
    /// # Errors
    /// [`Error::Mismatch`]; [`Error::System`] if reading fails.
    pub(crate) fn finish(mut self, what: &str) -> Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink()).map_err(|e| Error::System {
            what: format!("read {what}"),
            source: sys::SysError::from_io("read", what, &e),
        })?;
        let length = self.hasher.length();
        if let Some(size) = self.promise.size.filter(|size| *size != length) {
            let found = match length > size {
                true => format!("more than {size}"),
                false => length.to_string(),
            };
            return Err(mismatch(what, "size", size, found));
        }
        let digest = self.hasher.finish();
        match self
            .promise
            .digest
            .filter(|promised| !digest.keeps(*promised))
        {
            Some(promised) => Err(mismatch(what, "digest", promised, digest)),
            None => Ok((digest, length)),
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than promised is let through to the count, so that a longer blob shows;
        // nothing after that is read.
        let left = match self.promise.size {
            Some(size) => size.saturating_add(1).saturating_sub(self.hasher.length()),
            None => u64::MAX,
        };
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..length])?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

pub(crate) fn mismatch(
    what: impl Into<String>,
    field: &'static str,
    promised: impl fmt::Display,
    found: impl fmt::Display,
) -> Error {
    Error::Mismatch {
        what: what.into(),
        field,
        promised: promised.to_string(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(bytes: &[u8], digest: Option<Digest>, size: Option<u64>) -> Result<(Digest, u64)> {
        Verified::new(bytes, Promise { digest, size }).finish("blob")
    }

    #[test]
    fn a_digest_prints_as_it_was_parsed() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(digest, Digest::of(b""));
    }

    #[test]
    fn what_is_not_exactly_a_digest_is_refused() {
        let hex = &EMPTY[7..];
        for text in [
            "",
            "sha256:",
            "sha256:../../x",
            &format!("sha256:{}", &hex[1..]),
            &format!("sha256:{hex}0"),
            &format!("sha256:{}", hex.to_uppercase()),
            &format!("SHA256:{hex}"),
            &format!("sha256:{hex}\n"),
            &format!("sha256:/{}", &hex[1..]),
            &format!("md5:{}", &hex[..32]),
            &format!("sha512:{hex}{hex}"),
            hex,
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn every_flipped_byte_is_seen() {
        let bytes = b"a layer's bytes".to_vec();
        let digest = Digest::of(&bytes);
        assert!(read(&bytes, Some(digest), Some(bytes.len() as u64)).is_ok());
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            assert!(read(&flipped, Some(digest), None).is_err());
        }
    }

    #[test]
    fn a_blob_one_byte_longer_or_shorter_is_refused() {
        let digest = Some(Digest::of(b"abc"));
        for size in [2, 4, 0, u64::MAX - 1] {
            let error = read(b"abc", digest, Some(size)).unwrap_err();
            assert!(matches!(error, Error::Mismatch { field: "size", .. }));
        }
    }

    #[test]
    fn no_more_than_the_promised_size_is_read() {
        let error = Verified::new(
            io::repeat(0),
            Promise {
                digest: None,
                size: Some(1000),
            },
        )
        .finish("blob")
        .unwrap_err();
        assert!(error.to_string().contains("more than 1000"));
    }
}
