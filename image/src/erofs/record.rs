//! The records of an EROFS image, byte by byte: superblock, inodes, attributes, names. Pure. Not its job: where they
//! stand (`file.rs`, `write.rs`).

use crate::layer::pax::Time;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;

/// Inodes stand at multiples of this; an inode's number is its place counted in them.
pub(super) const SLOT: u64 = 32;

/// Bytes of an inode, without what follows it.
pub(super) const INODE: u64 = 64;

/// Where the superblock stands.
pub(super) const SUPERBLOCK_AT: u64 = 1024;

/// Where the root's inode stands: its number must fit into 16 bits.
pub(super) const ROOT_AT: u64 = SUPERBLOCK_AT + 128;

/// Where an inode keeps the count of its names.
pub(super) const LINKS_AT: u64 = 44;

const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_BITS: u8 = 12;

/// Bytes of a directory's entry, without its name.
const ENTRY: u64 = 12;

/// What an image says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Superblock {
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) uuid: [u8; 16],
}

impl Superblock {
    pub(super) fn bytes(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[12] = BLOCK_BITS;
        // At a fixed place in block 0.
        bytes[14..16].copy_from_slice(&((ROOT_AT / SLOT) as u16).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.inodes.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[48..64].copy_from_slice(&self.uuid);
        bytes
    }
}

/// What an inode is of: the numbers are those of directory entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File = 1,
    Directory = 2,
    Character = 3,
    Block = 4,
    Fifo = 5,
    Symlink = 7,
}

impl Kind {
    fn mode(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::Character => 0o020_000,
            Self::Directory => 0o040_000,
            Self::Block => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
        }
    }
}

/// Where an inode's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// From this block on.
    Blocks(u32),
    /// Whole blocks from this one on; what is left over stands behind the inode.
    Tail(u32),
    /// It is a device of this number.
    Device { major: u32, minor: u32 },
}

/// One file, directory or other thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// Twelve permission bits.
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: Time,
    pub(super) size: u64,
    pub(super) links: u32,
    pub(super) data: Data,
    /// Bytes of the attributes that follow.
    pub(super) attributes: usize,
}

impl Inode {
    pub(super) fn bytes(&self) -> [u8; INODE as usize] {
        let (layout, place) = match self.data {
            Data::Blocks(block) => (0, block),
            Data::Tail(block) => (2, block),
            Data::Device { major, minor } => (0, device(major, minor)),
        };
        // The first bit says that the inode is one of 64 bytes.
        let format: u16 = 1 | layout << 1;
        // Of the attributes, the header counts as one, and then each four bytes. They were measured before.
        let count = match self.attributes {
            0 => 0,
            length => 1 + (length - HEADER) / 4,
        };
        let mut bytes = [0; INODE as usize];
        bytes[0..2].copy_from_slice(&format.to_le_bytes());
        bytes[2..4].copy_from_slice(&(count as u16).to_le_bytes());
        bytes[4..6].copy_from_slice(&((self.kind.mode() | self.mode) as u16).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..20].copy_from_slice(&place.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.owner.0.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.owner.1.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.mtime.secs.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.mtime.nanos.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.links.to_le_bytes());
        bytes
    }
}

/// As the kernel packs a device's numbers into 32 bits.
fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// Bytes before the first attribute.
const HEADER: usize = 12;

/// Whole names start with one of these, for which a number stands.
const PREFIXES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];

/// The attributes behind an inode; nothing if there are none, `None` if they can't be kept so. A name that comes
/// twice has its last value.
pub(super) fn attributes(pairs: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    for (n, (name, value)) in pairs.iter().enumerate() {
        if pairs[n + 1..].iter().any(|(later, _)| later == name) {
            continue;
        }
        let (suffix, prefix) = PREFIXES
            .iter()
            .find_map(|(prefix, number)| Some((name.strip_prefix(*prefix)?, *number)))?;
        let length = u8::try_from(suffix.len()).ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&[length, prefix]);
        bytes.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(suffix);
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    match bytes.len() {
        HEADER => Some(Vec::new()),
        length if (length - HEADER) / 4 < usize::from(u16::MAX) => Some(bytes),
        _ => None,
    }
}

/// How a directory's names lie in blocks: so many full ones, and the bytes of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extent {
    pub(super) full: u64,
    pub(super) tail: u64,
}

impl Extent {
    /// Adds the next name, by its length; whether a new block begins with it.
    pub(super) fn add(&mut self, name: usize) -> bool {
        let bytes = ENTRY + name as u64;
        let full = self.tail + bytes > BLOCK;
        if full {
            self.full += 1;
            self.tail = 0;
        }
        self.tail += bytes;
        full
    }

    pub(super) fn size(&self) -> u64 {
        self.full * BLOCK + self.tail
    }
}

/// One block of a directory, of its names in the order of their bytes; no longer than they need.
pub(super) fn names(entries: &[(&[u8], u64, Kind)]) -> Vec<u8> {
    let mut at = entries.len() * ENTRY as usize;
    let mut bytes = Vec::with_capacity(BLOCK as usize);
    for (name, number, kind) in entries {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&(at as u16).to_le_bytes());
        bytes.extend_from_slice(&[*kind as u8, 0]);
        at += name.len();
    }
    for (name, ..) in entries {
        bytes.extend_from_slice(name);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_counted_by_words_and_named_by_numbers() {
        assert_eq!(attributes(&[]).unwrap(), b"");
        let pairs: [(&[u8], &[u8]); 3] = [
            (b"user.a", b"1"),
            (b"security.capability", b"xyz"),
            (b"user.a", b"22"),
        ];
        let bytes = attributes(&pairs).unwrap();
        let expected =
            b"\0\0\0\0\0\0\0\0\0\0\0\0\x0a\x06\x03\0capabilityxyz\0\0\0\x01\x01\x02\0a22\0";
        assert_eq!(bytes, expected);
        let inode = Inode {
            kind: Kind::File,
            mode: 0o4755,
            owner: (1, 2),
            mtime: Time::default(),
            size: 5,
            links: 1,
            data: Data::Tail(7),
            attributes: bytes.len(),
        };
        let words = (bytes.len() - 12) / 4 + 1;
        assert_eq!(inode.bytes()[..6], [5, 0, words as u8, 0, 0xed, 0x89]);
    }

    #[test]
    fn what_no_record_can_hold_is_not_kept() {
        let long = vec![b'x'; 65536];
        for pair in [
            (&b"system.x"[..], &b""[..]),
            (b"user.", b""),
            (b"user.a", &long),
            (&[&b"user."[..], &long[..256]].concat(), b""),
        ] {
            assert_eq!(attributes(&[pair]), None);
        }
        let names: Vec<_> = (0..5).map(|n| format!("user.{n}")).collect();
        let pairs: Vec<(&[u8], &[u8])> = names
            .iter()
            .map(|name| (name.as_bytes(), &long[1..]))
            .collect();
        assert_eq!(attributes(&pairs), None);
        assert!(attributes(&pairs[..3]).is_some());
    }

    #[test]
    fn a_block_of_names_is_filled_to_its_end_and_no_further() {
        let mut extent = Extent::default();
        for _ in 0..15 {
            assert!(!extent.add(255));
        }
        assert!(!extent.add(79));
        assert_eq!(extent.size(), BLOCK);
        assert!(extent.add(1));
        assert_eq!(extent, Extent { full: 1, tail: 13 });
    }

    #[test]
    fn names_stand_behind_their_entries() {
        let bytes = names(&[(b".", 36, Kind::Directory), (b"ab", 70, Kind::File)]);
        let entry = |number: u8, at: u8, kind: u8| [number, 0, 0, 0, 0, 0, 0, 0, at, 0, kind, 0];
        let expected = [&entry(36, 24, 2)[..], &entry(70, 25, 1), b".ab"].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn devices_have_the_kernels_numbers() {
        assert_eq!(device(1, 3), 0x103);
        assert_eq!(device(259, 0x12345), 0x1231_0345);
    }
}
