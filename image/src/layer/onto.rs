//! A tar, compressed or not, onto a tree that is there already: what a recipe's ADD and a context need. Its
//! entries are refused and placed by the rules of a layer's, so no name and no link leads out of the tree.
//! Not its job: layers.

use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;

use super::entry::{Entries, Limits, Skip, stream_fault};
use super::header::{BLOCK, Header};
use super::kept::{LinkOwners, Owner};
use super::tree::Tree;
use super::unpack::{Ground, Manner, fill};
use super::whiteout::OverlayXattrs;
use crate::Result;
use crate::budget::most;
use crate::compression::Decoder;
use crate::owner::OwnerPolicy;

/// Whether a stream is a tar, by its first bytes: inflated if they say so, and with a checksum that holds.
pub fn is_tar(stream: impl Read) -> bool {
    let Ok((mut decoder, _)) = Decoder::new(BufReader::new(stream)) else {
        return false;
    };
    let mut block = [0; BLOCK];
    decoder.read_exact(&mut block).is_ok() && Header::parse(&block).is_ok()
}

/// A tar that was unpacked.
#[derive(Debug)]
pub struct Onto {
    /// The owners that are kept beside the files.
    pub links: LinkOwners,
    /// The latest time that an entry has, in seconds since 1970; none of no entry.
    pub newest: Option<i64>,
}

/// Unpacks a tar of `length` bytes (as it comes, compressed or not) below the directory `into`, as docker's
/// ADD does: an entry takes the place of what has its name, a folder over a folder gives it its mode and
/// owner, a folder that the tar only passes through stays as it is, `into` itself too. Files belong to
/// `owner`, or to whom the tar gives them, as the policy has it.
///
/// # Errors
/// Names the entry that is refused; what was unpacked before it stays.
pub fn unpack_onto(
    stream: impl Read,
    length: u64,
    into: OwnedFd,
    owner: Option<Owner>,
    owners: OwnerPolicy,
) -> Result<Onto> {
    let (decoder, _) = Decoder::new(BufReader::new(stream))?;
    let bounded = Bounded {
        inner: decoder,
        left: most(length),
    };
    let mut entries = Entries::new(bounded, Limits::default());
    let manner = Manner {
        owners,
        overlay: OverlayXattrs::Trusted,
    };
    let (uid, gid) = owner.unwrap_or((0, 0));
    let tree = Tree::alone(into, manner.owners.on_disk(uid, gid)?, owner);
    let unpacked = fill(&mut entries, tree, &manner, Ground::Tree(owner), &|| true)?;
    // The checksum of what is compressed stands at its end.
    io::copy(&mut entries.into_inner(), &mut io::sink())
        .map_err(|e| stream_fault("the archive", &e))?;
    Ok(Onto {
        links: LinkOwners(unpacked.owners),
        newest: unpacked.newest,
    })
}

/// A stream that may not give more than so many bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => Err(io::Error::other("it inflates to far more than its length")),
        }
    }
}

impl<R: Read> Skip for Bounded<R> {}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn header(name: &str) -> Vec<u8> {
        let mut block = vec![0_u8; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[156] = b'0';
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        block[148..155].copy_from_slice(format!("{sum:07o}").as_bytes());
        block
    }

    #[test]
    fn a_tar_is_known_by_its_content_alone() {
        let tar = header("a");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let mut text = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        text.write_all(&[b'x'; 2000]).unwrap();
        let mut wrong = tar.clone();
        wrong[0] = b'b';
        for (bytes, is) in [
            (tar.clone(), true),
            (gzip.finish().unwrap(), true),
            (zstd::encode_all(&tar[..], 1).unwrap(), true),
            (text.finish().unwrap(), false),
            (wrong, false),
            (tar[..511].to_vec(), false),
            (vec![0; 1024], false),
            (Vec::new(), false),
            (b"\x1f\x8b\x08 and so on".to_vec(), false),
        ] {
            assert_eq!(is_tar(&bytes[..]), is, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_stream_ends_where_it_may() {
        let mut bounded = Bounded {
            inner: &[7_u8; 100][..],
            left: 100,
        };
        assert_eq!(io::copy(&mut bounded, &mut io::sink()).unwrap(), 100);
        let mut bounded = Bounded {
            inner: &[7_u8; 101][..],
            left: 100,
        };
        assert!(io::copy(&mut bounded, &mut io::sink()).is_err());
    }
}
