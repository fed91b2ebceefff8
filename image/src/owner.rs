//! Who owns unpacked files: a policy, given to the unpacker. Not its job: making user namespaces.

use crate::{Digest, Error, Result};

/// A run of ids: `inside + n` of the image is `outside + n` on this host, for `n < count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdRange {
    /// The first id as the image has it.
    pub inside: u32,
    /// The first id on the file system.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Who owns what is unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OwnerPolicy {
    /// The owners that the layer records: as root, or inside a user namespace.
    AsRecorded,
    /// The recorded owners, moved through the ranges of a user namespace that will use the layer.
    /// An id outside all ranges is refused.
    Mapped {
        /// For users.
        uids: Vec<IdRange>,
        /// For groups.
        gids: Vec<IdRange>,
    },
    /// Everything is ours, since we may not give files away; the recorded owners are kept with the files
    /// (`layer/kept.rs`), and beside the layer, in its file `owners`, for what has no attributes.
    Single,
}

impl OwnerPolicy {
    /// What this process can do: root of more than one id gives files away.
    pub fn ours() -> Self {
        match sys::privileges::is_root() && !sys::privileges::has_one_id() {
            true => Self::AsRecorded,
            false => Self::Single,
        }
    }

    /// What a layer unpacked so is called in the store beside its diff id.
    pub(crate) fn suffix(&self) -> String {
        match self {
            Self::AsRecorded => String::new(),
            Self::Single => "-kept".to_owned(),
            Self::Mapped { uids, gids } => {
                let text = format!("{uids:?}{gids:?}");
                format!("-map{}", Digest::of(text.as_bytes()).short())
            }
        }
    }

    /// The owner on the file system for a recorded one; `None` leaves the file ours.
    pub(crate) fn on_disk(&self, uid: u32, gid: u32) -> Result<Option<(u32, u32)>> {
        match self {
            Self::AsRecorded => Ok(Some((uid, gid))),
            Self::Mapped { uids, gids } => {
                Ok(Some((map(uids, uid, "uid")?, map(gids, gid, "gid")?)))
            }
            Self::Single => Ok(None),
        }
    }

    /// The owner to record for one on the file system: [`OwnerPolicy::on_disk`] the other way.
    pub(crate) fn recorded(&self, uid: u32, gid: u32) -> Result<(u32, u32)> {
        let back = |ranges: &[IdRange]| -> Vec<IdRange> {
            let turned = |range: &IdRange| IdRange {
                inside: range.outside,
                outside: range.inside,
                count: range.count,
            };
            ranges.iter().map(turned).collect()
        };
        match self {
            Self::AsRecorded => Ok((uid, gid)),
            Self::Mapped { uids, gids } => {
                Ok((map(&back(uids), uid, "uid")?, map(&back(gids), gid, "gid")?))
            }
            // Everything is ours, and we are root inside.
            Self::Single => Ok((0, 0)),
        }
    }
}

fn map(ranges: &[IdRange], id: u32, field: &str) -> Result<u32> {
    ranges
        .iter()
        .find_map(|range| {
            let offset = id.checked_sub(range.inside).filter(|n| *n < range.count)?;
            range.outside.checked_add(offset)
        })
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| Error::refused(format!("{field} {id}"), "it is in no id map's range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_move_through_the_ranges_and_never_wrap() {
        let range = |inside, outside, count| IdRange {
            inside,
            outside,
            count,
        };
        let ranges = [range(0, 1000, 1), range(1, 100_000, 65_535)];
        assert_eq!(map(&ranges, 0, "uid").unwrap(), 1000);
        assert_eq!(map(&ranges, 1, "uid").unwrap(), 100_000);
        assert_eq!(map(&ranges, 65_535, "uid").unwrap(), 165_534);
        assert!(map(&ranges, 65_536, "uid").is_err());
        assert!(map(&[range(0, u32::MAX - 1, 10)], 2, "uid").is_err());
        assert!(map(&[range(0, u32::MAX - 1, 10)], 1, "uid").is_err());
    }
}
