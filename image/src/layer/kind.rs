//! What one tar entry is, and whose: the type flag and what must go with it. Not its job: names and the
//! stream (`entry.rs`).

use super::header::{Header, Rule};
use super::path::LayerPath;

/// Targets of symbolic links, as long as the kernel takes them.
const MAX_TARGET: usize = 4095;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File { size: u64 },
    Directory,
    Symlink { target: Vec<u8> },
    HardLink { target: LayerPath },
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

/// What a header is of, with its size and link as the extended headers have them.
pub(crate) fn kind_of(
    header: &Header<'_>,
    raw: &[u8],
    size: u64,
    link: Vec<u8>,
) -> Result<Kind, Rule> {
    header.keep_to_dialect()?;
    let device = || header.device();
    let kind = match header.flag() {
        // Tars older than POSIX mark a directory by its slash.
        0 | b'0' | b'7' if raw.ends_with(b"/") => Kind::Directory,
        b'S' if raw.ends_with(b"/") => {
            return Err("a sparse file called like a directory".to_owned());
        }
        0 | b'0' | b'7' | b'S' => return Ok(Kind::File { size }),
        b'1' => Kind::HardLink {
            target: hard_link_target(&link)?,
        },
        b'2' => Kind::Symlink {
            target: symlink_target(link)?,
        },
        b'3' => {
            let (major, minor) = device()?;
            if (major, minor) == (0, 0) {
                return Err("a character device 0:0 is overlay's own whiteout".to_owned());
            }
            Kind::Character { major, minor }
        }
        b'4' => {
            let (major, minor) = device()?;
            Kind::Block { major, minor }
        }
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        flag => {
            return Err(format!(
                "the tar type {:?} is not supported",
                char::from(flag)
            ));
        }
    };
    // Go passes over such data, others take it for the next header.
    match size {
        0 => Ok(kind),
        size => Err(format!("{size} bytes of data behind what is no file")),
    }
}

fn hard_link_target(link: &[u8]) -> Result<LayerPath, Rule> {
    let target = LayerPath::parse(link).map_err(|rule| format!("its target: {rule}"))?;
    match target.is_root() {
        true => Err("a hard link to the root".to_owned()),
        false => Ok(target),
    }
}

fn symlink_target(target: Vec<u8>) -> Result<Vec<u8>, Rule> {
    match target.len() {
        0 => Err("a link without a target".to_owned()),
        1..=MAX_TARGET => Ok(target),
        _ => Err(format!("a link's target longer than {MAX_TARGET} bytes")),
    }
}

/// A uid or gid. 2^32-1 is refused: chown(2) takes it for "leave as it is", and the file would stay
/// root's. Nothing wraps around.
pub(crate) fn owner(id: Result<u64, Rule>, field: &str) -> Result<u32, Rule> {
    let id = id?;
    match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        Ok(id) if sys::fault::broken("no-owner-range") => Ok(id),
        _ => Err(format!("{field} {id} is not from 0 to 4294967294")),
    }
}
