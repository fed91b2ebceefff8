//! Owner, mode, extended attributes and time of a file: read from it, or put on it in the one order
//! that works. Not its job: deciding what they are.

use std::os::fd::{AsFd, OwnedFd};

use sys::at::{
    self, AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags,
    spare_capacity as spare,
};
use sys::{Errno, SysError};

use super::kept::{OWNER_XATTR, Owner, keep_owner, kept_owner};
use super::pax::Time;
use super::whiteout::is_overlay_xattr;
use crate::{Error, Result};

/// Room for one attribute's value, and for the list of names: the kernel's own limits.
const MAX_VALUE: usize = 64 * 1024;

/// What a file is apart from its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Metadata {
    /// `None`: as it is.
    pub(crate) owner: Option<Owner>,
    /// Whose it is to be elsewhere, where it can't be theirs here.
    pub(crate) kept: Option<Owner>,
    /// Twelve permission bits.
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Whether an image may set the attribute. Not `security.selinux` or `security.ima` (the host's
/// policy), not `trusted.*` and `*.overlay.*` (they steer overlay), not `system.*`.
pub(crate) fn is_allowed_xattr(name: &[u8]) -> bool {
    sys::fault::broken("no-attribute-list")
        || name == b"security.capability"
        || (name.starts_with(b"user.") && !is_overlay_xattr(name) && name != OWNER_XATTR.as_bytes())
}

/// Whether the kernel would take the bytes for the capabilities of a file (capabilities(7)): version 2 or 3, each of
/// its own length.
pub(crate) fn is_capability(value: &[u8]) -> bool {
    matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)))
}

/// Puts everything on an open file or directory. The order matters: chown clears setuid bits and file
/// capabilities, so mode and attributes come behind it; the time comes last, since all of them change
/// what the file system thinks of it.
pub(crate) fn apply(fd: impl AsFd, metadata: &Metadata) -> sys::Result<()> {
    let fd = fd.as_fd();
    let fail = |call| move |errno| SysError::new(call, "", errno);
    if let Some((uid, gid)) = metadata.owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        at::fchown(fd, Some(uid), Some(gid)).map_err(fail("fchown"))?;
    }
    if metadata.owner.is_none() || metadata.kept.is_some() {
        // Before the mode: one that forbids writing forbids attributes of users, too.
        keep_owner(fd, metadata.kept.unwrap_or((0, 0)))?;
    }
    at::fchmod(fd, Mode::from_raw_mode(metadata.mode)).map_err(fail("fchmod"))?;
    for (name, value) in allowed(metadata) {
        at::fsetxattr(fd, name, value, XattrFlags::empty()).map_err(|errno| {
            SysError::new(
                "fsetxattr",
                String::from_utf8_lossy(name).escape_debug(),
                errno,
            )
        })?;
    }
    at::futimens(fd, &times(metadata.mtime)).map_err(fail("futimens"))
}

/// The same for what can't be opened: a link, a device, a FIFO, just made as `name` in `dir`, a
/// directory that nobody else can reach. A link has no mode and no attributes an image may set.
pub(crate) fn apply_at(
    dir: impl AsFd,
    name: &[u8],
    kind: FileType,
    metadata: &Metadata,
) -> sys::Result<()> {
    let dir = dir.as_fd();
    let fail = |call| move |errno| SysError::new(call, "", errno);
    // CVE-2021-32760: what is said of a link is never said of where it leads.
    let this = match sys::fault::broken("no-link-care") {
        true => AtFlags::empty(),
        false => AtFlags::SYMLINK_NOFOLLOW,
    };
    if let Some((uid, gid)) = metadata.owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        at::chownat(dir, name, Some(uid), Some(gid), this).map_err(fail("fchownat"))?;
    }
    if kind != FileType::Symlink {
        // We made `name` with mknod: it is no link that could be followed.
        let mode = Mode::from_raw_mode(metadata.mode);
        at::chmodat(dir, name, mode, AtFlags::empty()).map_err(fail("fchmodat"))?;
    }
    let times = times(metadata.mtime);
    at::utimensat(dir, name, &times, this).map_err(fail("utimensat"))
}

/// The attributes that an image may set, with their values.
pub(crate) fn allowed(metadata: &Metadata) -> impl Iterator<Item = (&[u8], &[u8])> {
    metadata
        .xattrs
        .iter()
        .filter(|(name, _)| is_allowed_xattr(name))
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
}

fn times(mtime: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.secs,
        tv_nsec: mtime.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Reads what [`apply`] puts, of a stat'ed file; `fd` is open for reading where the file can be.
pub(crate) fn read(stat: &at::Stat, fd: Option<&OwnedFd>) -> sys::Result<Metadata> {
    let xattrs = match fd {
        Some(fd) => read_xattrs(fd, is_allowed_xattr)?,
        None => Vec::new(),
    };
    let kept = match fd {
        Some(fd) => kept_owner(fd)?,
        None => None,
    };
    Ok(Metadata {
        owner: Some((stat.st_uid, stat.st_gid)),
        kept,
        mode: stat.st_mode & 0o7777,
        mtime: mtime(stat),
        xattrs,
    })
}

/// A file's time of last change.
pub(crate) fn mtime(stat: &at::Stat) -> Time {
    Time {
        secs: stat.st_mtime,
        nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}

/// The attributes whose names `wanted` likes, sorted by name.
pub(crate) fn read_xattrs(
    fd: &OwnedFd,
    wanted: impl Fn(&[u8]) -> bool,
) -> sys::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = Vec::with_capacity(MAX_VALUE);
    match at::flistxattr(fd, spare(&mut names)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(SysError::new("flistxattr", "", errno)),
    }
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if wanted(name) {
            found.push((name.to_vec(), read_xattr(fd, name)?.unwrap_or_default()));
        }
    }
    found.sort();
    Ok(found)
}

/// The attributes a layer carries. Refused is what makes the file more than it seems: an overlay that
/// was mounted with `redirect_dir` or `metacopy` keeps a part of it elsewhere.
pub(crate) fn own_xattrs(fd: &OwnedFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let all = read_xattrs(fd, |name| is_allowed_xattr(name) || is_overlay_xattr(name));
    let mut all = all.map_err(|source| Error::System {
        what: "read it".to_owned(),
        source,
    })?;
    for (name, _) in &all {
        if is_overlay_xattr(name) && (name.ends_with(b".redirect") || name.ends_with(b".metacopy"))
        {
            let what = format!("attribute {}", String::from_utf8_lossy(name));
            return Err(Error::refused(what, "its content is in another layer"));
        }
    }
    all.retain(|(name, _)| is_allowed_xattr(name));
    Ok(all)
}

/// One attribute; `None` if the file lacks it.
pub(crate) fn read_xattr(fd: impl AsFd, name: &[u8]) -> sys::Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(MAX_VALUE);
    match at::fgetxattr(fd, name, spare(&mut value)) {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => {
            let name = String::from_utf8_lossy(name);
            Err(SysError::new("fgetxattr", name.escape_debug(), errno))
        }
    }
}
