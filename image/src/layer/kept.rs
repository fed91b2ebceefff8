//! Owners that files can't be given to, for want of ids: kept with the file as an attribute, which goes where the file
//! goes, or beside the layer for what has no attributes (links, FIFOs). Not its job: when owners are kept so
//! (`owner.rs`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sys::at::{self, XattrFlags};
use sys::{Errno, SysError};

use super::metadata::read_xattr;
use super::path::LayerPath;

/// The attribute: `UID:GID`. No image may set it, and none has it in its tar.
pub const OWNER_XATTR: &str = "user.dhow.owner";

/// A user and a group id.
pub type Owner = (u32, u32);

/// Keeps the owner of an open file or directory; root's is kept by saying nothing.
///
/// # Errors
/// As fsetxattr(2), where the file system has no attributes of users.
pub fn keep_owner(fd: impl AsFd, (uid, gid): Owner) -> sys::Result<()> {
    let fail = |errno| SysError::new("fsetxattr", OWNER_XATTR, errno);
    if (uid, gid) != (0, 0) {
        let value = format!("{uid}:{gid}");
        return at::fsetxattr(fd, OWNER_XATTR, value.as_bytes(), XattrFlags::empty()).map_err(fail);
    }
    match at::fremovexattr(fd, OWNER_XATTR) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(fail(errno)),
    }
}

/// The owner that is kept with an open file or directory.
///
/// # Errors
/// As fgetxattr(2).
pub fn kept_owner(fd: impl AsFd) -> sys::Result<Option<Owner>> {
    let value = read_xattr(fd, OWNER_XATTR.as_bytes())?;
    Ok(value.and_then(|value| {
        let (uid, gid) = std::str::from_utf8(&value).ok()?.split_once(':')?;
        Some((uid.parse().ok()?, gid.parse().ok()?))
    }))
}

/// The owners of what has no attributes, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkOwners(pub(crate) BTreeMap<LayerPath, Owner>);

impl LinkOwners {
    /// Says whose the file is at a path below the root.
    pub fn insert(&mut self, path: &Path, owner: Owner) {
        if let Ok(path) = LayerPath::parse(path.as_os_str().as_bytes()) {
            self.0.insert(path, owner);
        }
    }

    /// Says the same of another's files, which lie below a folder here.
    pub fn insert_below(&mut self, folder: &Path, others: &Self) {
        for (path, owner) in &others.0 {
            self.insert(&folder.join(OsStr::from_bytes(path.bytes())), *owner);
        }
    }

    /// Whose the file at a path is; root's if nobody said anything.
    pub fn get(&self, path: &[u8]) -> Owner {
        let path = LayerPath::parse(path).unwrap_or_default();
        self.0.get(&path).copied().unwrap_or((0, 0))
    }
}

/// The list as a layer's file `owners` has it: `UID GID PATH`, each ended by NUL.
pub(crate) fn list(owners: &BTreeMap<LayerPath, Owner>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, (uid, gid)) in owners {
        bytes.extend_from_slice(format!("{uid} {gid} ").as_bytes());
        bytes.extend_from_slice(path.bytes());
        bytes.push(0);
    }
    bytes
}

/// Reads such a list; `None` if it is none.
pub(crate) fn parse(bytes: &[u8]) -> Option<BTreeMap<LayerPath, Owner>> {
    let lines = bytes.split(|b| *b == 0).filter(|line| !line.is_empty());
    let mut all = BTreeMap::new();
    for line in lines {
        let mut fields = line.splitn(3, |b| *b == b' ');
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let owner = (number()?, number()?);
        all.insert(LayerPath::parse(fields.next()?).ok()?, owner);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_it_was_written_and_later_layers_have_the_last_word() {
        let mut owners = LinkOwners::default();
        owners.insert(Path::new("/a/link with\nwords"), (33, 44));
        owners.insert(Path::new("b"), (0, 0));
        assert_eq!(parse(&list(&owners.0)), Some(owners.0.clone()));
        assert_eq!(parse(b"1 2"), None);
        assert_eq!(parse(b"1 x a\0"), None);
        let mut all = LinkOwners::default();
        all.insert(Path::new("top/b"), (9, 9));
        all.insert_below(Path::new("/top"), &owners);
        assert_eq!(all.get(b"top/b"), (0, 0));
        assert_eq!(all.get(b"/top/a/link with\nwords"), (33, 44));
        assert_eq!(all.get(b"top"), (0, 0));
    }
}
