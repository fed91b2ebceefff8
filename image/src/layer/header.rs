//! One 512-byte tar header block: checksum, dialect, numbers. Not its job: what follows from it
//! (`entry.rs`).
//!
//! Our own, and not the `tar` crate's: in its raw mode that crate does not know a PAX `size` and so
//! looks for the next header in the wrong place (the fault of CVE-2025-62518), and in its other mode
//! it has no limit on extension headers, skips what it does not understand and hides both.

/// The unit of a tar file.
pub(crate) const BLOCK: usize = 512;

/// A header block whose checksum holds.
pub(crate) struct Header<'a> {
    bytes: &'a [u8; BLOCK],
    dialect: Dialect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    /// Schilling's: a shorter prefix, times behind it.
    Star,
    Gnu,
}

/// Which rule a block breaks.
pub(crate) type Rule = String;

impl<'a> Header<'a> {
    /// Checks the block's checksum, as unsigned or (old tars) signed bytes.
    pub(crate) fn parse(bytes: &'a [u8; BLOCK]) -> Result<Self, Rule> {
        let promised = number(&bytes[148..156], "checksum")?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, byte) in bytes.iter().enumerate() {
            let byte = if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if promised != unsigned && promised != signed {
            return Err(format!(
                "the tar header's checksum is {unsigned}, not {promised} as promised"
            ));
        }
        let dialect = match (&bytes[257..263], &bytes[263..265]) {
            (b"ustar\0", b"00") if &bytes[508..512] == b"tar\0" => Dialect::Star,
            (b"ustar\0", _) => Dialect::Ustar,
            (b"ustar ", b" \0") => Dialect::Gnu,
            _ => Dialect::V7,
        };
        Ok(Self { bytes, dialect })
    }

    /// The type flag.
    pub(crate) fn flag(&self) -> u8 {
        self.bytes[156]
    }

    /// The name with its prefix.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.bytes[0..100]);
        let prefix = match self.dialect {
            Dialect::Ustar => text(&self.bytes[345..500]),
            Dialect::Star => text(&self.bytes[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        match prefix.is_empty() {
            true => name.to_vec(),
            false => [prefix, b"/", name].concat(),
        }
    }

    /// The link's target.
    pub(crate) fn link_name(&self) -> Vec<u8> {
        text(&self.bytes[157..257]).to_vec()
    }

    /// The length of the data that follows.
    pub(crate) fn size(&self) -> Result<u64, Rule> {
        positive(&self.bytes[124..136], "size")
    }

    /// Permission bits, without what some writers add for the type.
    pub(crate) fn mode(&self) -> Result<u32, Rule> {
        let mode = positive(&self.bytes[100..108], "mode")?;
        // The mask leaves twelve bits.
        Ok(u32::try_from(mode & 0o7777).unwrap_or(0))
    }

    /// The owner.
    pub(crate) fn uid(&self) -> Result<u64, Rule> {
        positive(&self.bytes[108..116], "uid")
    }

    /// The group.
    pub(crate) fn gid(&self) -> Result<u64, Rule> {
        positive(&self.bytes[116..124], "gid")
    }

    /// Seconds since 1970; may be negative.
    pub(crate) fn mtime(&self) -> Result<i64, Rule> {
        number(&self.bytes[136..148], "mtime")
    }

    /// The whole block, if GNU tar's own form of it: there the map of a sparse file has its place.
    pub(crate) fn gnu_bytes(&self) -> Option<&'a [u8; BLOCK]> {
        (self.dialect == Dialect::Gnu).then_some(self.bytes)
    }

    /// Refuses what stands where only another dialect has a field: some readers look there all the same. libarchive takes
    /// the length of a sparse file for any file's, tarfile a prefix for the oldest tars' too.
    pub(crate) fn keep_to_dialect(&self) -> Result<(), Rule> {
        let foreign = match (self.dialect, self.flag()) {
            (Dialect::Gnu, b'S') => return Ok(()),
            (Dialect::Gnu, _) => (386..495, "the map of a sparse file"),
            (Dialect::V7, _) => (345..500, "a prefix"),
            (Dialect::Ustar | Dialect::Star, _) => return Ok(()),
        };
        let (place, what) = foreign;
        match self.bytes[place].iter().all(|b| *b == 0) || sys::fault::broken("no-dialect-check") {
            true => Ok(()),
            false => Err(format!("{what} in a header that has none")),
        }
    }

    /// Device numbers, for which the oldest tars have no place.
    pub(crate) fn device(&self) -> Result<(u32, u32), Rule> {
        if self.dialect == Dialect::V7 {
            return Err("a device in a header without its numbers".to_owned());
        }
        let part = |range: std::ops::Range<usize>, field| {
            let value = positive(&self.bytes[range], field)?;
            u32::try_from(value).map_err(|_| format!("{field} {value} is too large"))
        };
        Ok((
            part(329..337, "device major")?,
            part(337..345, "device minor")?,
        ))
    }
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number that can not be negative.
pub(crate) fn positive(field: &[u8], name: &str) -> Result<u64, Rule> {
    let value = number(field, name)?;
    u64::try_from(value).map_err(|_| format!("{name} {value} is negative"))
}

/// Octal digits between spaces and NULs, or (GNU) base 256 where the first bit is set. Nothing at all
/// is 0. Anything else is refused: readers differ on it.
fn number(field: &[u8], name: &str) -> Result<i64, Rule> {
    if field[0] & 0x80 != 0 {
        return base_256(field).ok_or_else(|| format!("{name} does not fit in 64 bits"));
    }
    let blank = |b: &u8| *b == b' ' || *b == 0;
    // A NUL ends the field for most readers, wherever it stands.
    let start = field.iter().position(|b| *b != b' ');
    let start = start.unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |at| at + 1);
    field[start..end].iter().try_fold(0_i64, |value, digit| {
        match digit {
            // At most twelve digits of three bits each: no overflow.
            b'0'..=b'7' => Ok(value * 8 + i64::from(digit - b'0')),
            _ => Err(format!(
                "{name} {:?} is not octal",
                String::from_utf8_lossy(field)
            )),
        }
    })
}

fn base_256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = match negative {
        // The marker bit reads as the sign.
        true => i128::from(field[0].cast_signed()),
        false => i128::from(field[0] & 0x3f),
    };
    let value = field[1..].iter().try_fold(first, |value, byte| {
        value.checked_mul(256)?.checked_add(i128::from(*byte))
    })?;
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_both_notations() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"77777777", 0o77_777_777),
            (b"\x80\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field, "size"), Ok(value), "{field:?}");
        }
    }

    #[test]
    fn numbers_that_readers_differ_on_are_refused() {
        for field in [
            &b"0000648\0"[..],
            b"-000644\0",
            b"+000644\0",
            b"0x00644\0",
            b"6 4 4  \0",
            b"644\x00644\0",
            b"\x00000644\0",
            b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(number(field, "size").is_err(), "{field:?} was taken");
        }
    }

    #[test]
    fn a_negative_size_is_refused_and_a_negative_time_is_not() {
        let mut block = [0; BLOCK];
        block[124..136].copy_from_slice(&[0xff; 12]);
        block[136..148].copy_from_slice(&[0xff; 12]);
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let header = Header::parse(&block).unwrap();
        assert_eq!(header.size(), Err("size -1 is negative".to_owned()));
        assert_eq!(header.mtime(), Ok(-1));
    }

    #[test]
    fn a_flipped_byte_breaks_the_checksum() {
        let mut block = [0; BLOCK];
        block[0] = b'a';
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(Header::parse(&block).is_ok());
        for at in (0..148).chain(156..BLOCK) {
            let mut flipped = block;
            flipped[at] ^= 1;
            assert!(Header::parse(&flipped).is_err(), "byte {at}");
        }
    }
}
