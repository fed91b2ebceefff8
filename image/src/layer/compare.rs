//! Whether two unpacked layers are one and the same: names, kinds, bytes, owners, modes, times, attributes,
//! and which names are one file. Not its job: what follows from a difference.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use sys::at::{self, AtFlags, FileType, Mode, OFlags};
use sys::beneath::Root;
use sys::{Errno, SysError};

use super::below::{directory_flags, is_opaque, is_whiteout};
use super::metadata::{self, Metadata};
use super::path::LayerPath;

/// Bytes compared at a time.
const CHUNK: usize = 128 * 1024;

/// Finds the first way in which the tree `found` is not the tree `wanted`: the path and what is wrong with
/// it. What the root directory itself is counts if `states_root` says so.
///
/// # Errors
/// If one of them can't be read.
pub(crate) fn difference(
    wanted: OwnedFd,
    found: OwnedFd,
    states_root: bool,
) -> sys::Result<Option<(LayerPath, &'static str)>> {
    let mut walk = Walk {
        wanted: Root::new(wanted),
        found: Root::new(found),
        links: [HashMap::new(), HashMap::new()],
    };
    let mut pending = vec![LayerPath::ROOT];
    while let Some(path) = pending.pop() {
        if let Some(different) = walk.directory(&path, states_root, &mut pending)? {
            return Ok(Some(different));
        }
    }
    Ok(None)
}

struct Walk {
    wanted: Root,
    found: Root,
    /// The first path of each file that has several, in both trees.
    links: [HashMap<(u64, u64), LayerPath>; 2],
}

type Different = Option<(LayerPath, &'static str)>;

impl Walk {
    fn directory(
        &mut self,
        path: &LayerPath,
        states_root: bool,
        pending: &mut Vec<LayerPath>,
    ) -> sys::Result<Different> {
        let name = match path.is_root() {
            true => OsStr::new("."),
            false => OsStr::from_bytes(path.bytes()),
        };
        let open = |root: &Root| match root.open(name, directory_flags()) {
            Ok(dir) => Ok(Some(dir)),
            // Without root's rights, a directory may be closed to its owner.
            Err(e) if e.errno == Errno::ACCESS => Ok(None),
            Err(e) => Err(e),
        };
        let (wanted, found) = match (open(&self.wanted)?, open(&self.found)?) {
            (Some(wanted), Some(found)) => (wanted, found),
            (None, None) => return Ok(None),
            _ => return Ok(Some((path.clone(), "its mode is another"))),
        };
        let fail = |call| move |errno| SysError::new(call, "", errno);
        let names = |dir: &OwnedFd| -> sys::Result<Vec<Vec<u8>>> {
            let names = sys::file::list(dir)?.into_iter();
            let mut names: Vec<_> = names.map(|(name, _)| name.as_bytes().to_vec()).collect();
            names.sort();
            Ok(names)
        };
        let (names, there) = (names(&wanted)?, names(&found)?);
        if let Some(lost) = names.iter().find(|name| there.binary_search(name).is_err()) {
            return Ok(Some((path.join(lost), "it is missing")));
        }
        if let Some(new) = there.iter().find(|name| names.binary_search(name).is_err()) {
            return Ok(Some((path.join(new), "it is none of the layer's")));
        }
        for name in names {
            let path = path.join(&name);
            if let Some(what) = self.file([&wanted, &found], &name, &path, pending)? {
                return Ok(Some((path, what)));
            }
        }
        if !path.is_root() || states_root {
            let read = |dir: &OwnedFd| {
                let stat = at::fstat(dir).map_err(fail("fstat"))?;
                metadata::read(&stat, Some(dir))
            };
            if let Some(what) = other(&read(&wanted)?, &read(&found)?) {
                return Ok(Some((path.clone(), what)));
            }
        }
        let opaque = |dir: &OwnedFd| is_opaque(dir).map_err(fail("fgetxattr"));
        if opaque(&wanted)? != opaque(&found)? {
            return Ok(Some((path.clone(), "it is opaque in one of two ways")));
        }
        Ok(None)
    }

    fn file(
        &mut self,
        dirs: [&OwnedFd; 2],
        name: &[u8],
        path: &LayerPath,
        pending: &mut Vec<LayerPath>,
    ) -> sys::Result<Option<&'static str>> {
        let stat = |dir: &OwnedFd| {
            at::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| SysError::new("fstatat", path, errno))
        };
        let stats = [stat(dirs[0])?, stat(dirs[1])?];
        if stats[0].st_mode & 0o170_000 != stats[1].st_mode & 0o170_000
            || stats[0].st_rdev != stats[1].st_rdev
        {
            return Ok(Some("it is of another kind"));
        }
        let kind = FileType::from_raw_mode(stats[0].st_mode);
        if is_whiteout(&stats[0]) {
            return Ok(None);
        }
        if kind == FileType::Directory {
            pending.push(path.clone());
            return Ok(None);
        }
        let [first, second] = [0, 1].map(|n| self.first_name(n, &stats[n], path));
        if first != second {
            return Ok(Some("it is linked to another file"));
        }
        if first != *path {
            return Ok(None);
        }
        match kind {
            FileType::RegularFile => regular(dirs, name, &stats),
            FileType::Symlink => {
                let target = |dir| {
                    at::readlinkat(dir, name, Vec::new())
                        .map_err(|errno| SysError::new("readlinkat", path, errno))
                };
                match target(dirs[0])? == target(dirs[1])? {
                    true => bare(&stats),
                    false => Ok(Some("it leads elsewhere")),
                }
            }
            _ => bare(&stats),
        }
    }

    /// The name by which the tree's file was met first.
    fn first_name(&mut self, tree: usize, stat: &at::Stat, path: &LayerPath) -> LayerPath {
        match stat.st_nlink {
            0 | 1 => path.clone(),
            _ => self.links[tree]
                .entry((stat.st_dev, stat.st_ino))
                .or_insert_with(|| path.clone())
                .clone(),
        }
    }
}

/// What has no bytes and no attributes.
fn bare(stats: &[at::Stat; 2]) -> sys::Result<Option<&'static str>> {
    let [wanted, found] = [&stats[0], &stats[1]].map(|stat| metadata::read(stat, None));
    Ok(other(&wanted?, &found?))
}

fn regular(
    dirs: [&OwnedFd; 2],
    name: &[u8],
    stats: &[at::Stat; 2],
) -> sys::Result<Option<&'static str>> {
    if stats[0].st_size != stats[1].st_size {
        return Ok(Some("it is longer or shorter than it was"));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |dir: &OwnedFd| match at::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ACCESS) => Ok(None),
        Err(errno) => Err(SysError::new(
            "open",
            OsStr::from_bytes(name).display(),
            errno,
        )),
    };
    let (Some(wanted), Some(found)) = (open(dirs[0])?, open(dirs[1])?) else {
        return bare(stats);
    };
    let read = |stat, fd| metadata::read(stat, Some(fd));
    let metadata = other(&read(&stats[0], &wanted)?, &read(&stats[1], &found)?);
    match same_bytes(File::from(wanted), File::from(found)) {
        Ok(true) => Ok(metadata),
        Ok(false) => Ok(Some("its content is another")),
        Err(e) => Err(SysError::from_io(
            "read",
            OsStr::from_bytes(name).display(),
            &e,
        )),
    }
}

/// Whether two files hold the same, each read from where it stands.
pub(crate) fn same_bytes(mut one: File, mut two: File) -> std::io::Result<bool> {
    let mut buffers = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let count = one.read(&mut buffers.0)?;
        if count == 0 {
            return Ok(two.read(&mut buffers.1)? == 0);
        }
        match two.read_exact(&mut buffers.1[..count]) {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        if buffers.0[..count] != buffers.1[..count] {
            return Ok(false);
        }
    }
}

fn other(wanted: &Metadata, found: &Metadata) -> Option<&'static str> {
    if wanted.owner != found.owner || wanted.kept != found.kept {
        Some("its owner is another")
    } else if wanted.mode != found.mode {
        Some("its mode is another")
    } else if wanted.xattrs != found.xattrs {
        Some("its attributes are others")
    } else if wanted.mtime != found.mtime {
        Some("its time is another")
    } else {
        None
    }
}
