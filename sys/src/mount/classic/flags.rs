//! The flags of mount(2) for what the newer calls name by attributes and words. Pure, but for asking a
//! mount what it has.

use std::os::fd::BorrowedFd;

use rustix::fs::StatVfsMountFlags;
use rustix::mount::MountFlags;

use crate::mount::{Attr, Change};
use crate::{Result, SysError};

/// MS_NOSYMFOLLOW and ST_NOSYMFOLLOW (Linux 5.10), which rustix does not name.
const MS_NOSYMFOLLOW: MountFlags = MountFlags::from_bits_retain(1 << 8);
const ST_NOSYMFOLLOW: StatVfsMountFlags = StatVfsMountFlags::from_bits_retain(1 << 13);

/// Attributes that are bits on both sides.
const BITS: [(Attr, StatVfsMountFlags, MountFlags); 6] = [
    (
        Attr::MOUNT_ATTR_RDONLY,
        StatVfsMountFlags::RDONLY,
        MountFlags::RDONLY,
    ),
    (
        Attr::MOUNT_ATTR_NOSUID,
        StatVfsMountFlags::NOSUID,
        MountFlags::NOSUID,
    ),
    (
        Attr::MOUNT_ATTR_NODEV,
        StatVfsMountFlags::NODEV,
        MountFlags::NODEV,
    ),
    (
        Attr::MOUNT_ATTR_NOEXEC,
        StatVfsMountFlags::NOEXEC,
        MountFlags::NOEXEC,
    ),
    (
        Attr::MOUNT_ATTR_NODIRATIME,
        StatVfsMountFlags::NODIRATIME,
        MountFlags::NODIRATIME,
    ),
    (Attr::MOUNT_ATTR_NOSYMFOLLOW, ST_NOSYMFOLLOW, MS_NOSYMFOLLOW),
];

/// The three modes of access times, of which a mount has one.
const ATIME: MountFlags = MountFlags::NOATIME
    .union(MountFlags::RELATIME)
    .union(MountFlags::STRICTATIME);

/// The flags of a new mount with these attributes (MOUNT_ATTR_*).
pub(super) fn of_attributes(attributes: u64) -> MountFlags {
    let mut flags = atime(attributes);
    for (attr, _, flag) in BITS {
        if attributes & u64::from(attr.bits()) != 0 {
            flags |= flag;
        }
    }
    flags
}

fn atime(attributes: u64) -> MountFlags {
    let mode = attributes & u64::from(Attr::MOUNT_ATTR__ATIME.bits());
    if mode == u64::from(Attr::MOUNT_ATTR_NOATIME.bits()) {
        MountFlags::NOATIME
    } else if mode == u64::from(Attr::MOUNT_ATTR_STRICTATIME.bits()) {
        MountFlags::STRICTATIME
    } else {
        MountFlags::RELATIME
    }
}

/// The flags that the mount has now.
pub(super) fn of_mount(mount: BorrowedFd<'_>) -> Result<MountFlags> {
    let has = rustix::fs::fstatvfs(mount)
        .map_err(|errno| SysError::new("statfs", "", errno))?
        .f_flag;
    let mut flags = if has.contains(StatVfsMountFlags::NOATIME) {
        MountFlags::NOATIME
    } else if has.contains(StatVfsMountFlags::RELATIME) {
        MountFlags::RELATIME
    } else {
        MountFlags::STRICTATIME
    };
    for (_, bit, flag) in BITS {
        if has.contains(bit) {
            flags |= flag;
        }
    }
    Ok(flags)
}

/// The flags after a change: what it neither sets nor clears stays.
pub(super) fn after(mut flags: MountFlags, change: &Change<'_>) -> MountFlags {
    for (attr, _, flag) in BITS {
        let bit = u64::from(attr.bits());
        if change.clear & bit != 0 {
            flags -= flag;
        }
        if change.set & bit != 0 {
            flags |= flag;
        }
    }
    if change.clear & u64::from(Attr::MOUNT_ATTR__ATIME.bits()) != 0 {
        flags = (flags - ATIME) | atime(change.set);
    }
    flags
}

/// What fsconfig(2) knows as a word and mount(2) as a flag.
pub(super) fn of_word(word: &str) -> Option<MountFlags> {
    match word {
        "ro" => Some(MountFlags::RDONLY),
        "sync" => Some(MountFlags::SYNCHRONOUS),
        "dirsync" => Some(MountFlags::DIRSYNC),
        "lazytime" => Some(MountFlags::LAZYTIME),
        "mand" => Some(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_set_nor_cleared_stays() {
        let bits = |attr: Attr| u64::from(attr.bits());
        let has = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
        let change = Change {
            set: bits(Attr::MOUNT_ATTR_RDONLY),
            clear: bits(Attr::MOUNT_ATTR_NOEXEC),
            ..Change::default()
        };
        let wanted = MountFlags::NOSUID | MountFlags::RDONLY | MountFlags::NOATIME;
        assert_eq!(after(has, &change), wanted);
    }

    #[test]
    fn one_mode_of_access_times_replaces_the_other() {
        let change = |set: Attr| Change {
            set: u64::from(set.bits()),
            clear: u64::from(Attr::MOUNT_ATTR__ATIME.bits()),
            ..Change::default()
        };
        let table = [
            (Attr::MOUNT_ATTR_RELATIME, MountFlags::RELATIME),
            (Attr::MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME),
            (Attr::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        ];
        for (set, flags) in table {
            assert_eq!(after(MountFlags::NOATIME, &change(set)), flags);
        }
    }
}
