//! Copies one file that is no directory, with all that belongs to it, from one tree of ours to another.
//! Not its job: directories, and who links to the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use sys::at::{self, FileType, Mode, OFlags};
use sys::{Errno, SysError};

use super::metadata::{self, Metadata};

/// A place for a file: a directory and a name in it.
pub(crate) type Place<'a> = (&'a OwnedFd, &'a [u8]);

/// Copies what is at `from` (whose stat is given) to the free place `to`.
pub(crate) fn file(from: Place<'_>, stat: &at::Stat, to: Place<'_>) -> sys::Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::RegularFile {
        return regular(from, stat, to);
    }
    let metadata = metadata::read(stat, None)?;
    if kind == FileType::Symlink {
        let target = at::readlinkat(from.0, from.1, Vec::new())
            .map_err(|errno| SysError::new("readlinkat", "", errno))?;
        return symlink(to, target.to_bytes(), &metadata);
    }
    node(to, kind, stat.st_rdev, &metadata)
}

fn regular(from: Place<'_>, stat: &at::Stat, to: Place<'_>) -> sys::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = at::openat(from.0, from.1, flags, Mode::empty())
        .map_err(|errno| SysError::new("openat", "", errno))?;
    let metadata = metadata::read(stat, Some(&source))?;
    let target = create(to)?;
    content(&File::from(source), stat, &target).map_err(|e| SysError::from_io("copy", "", &e))?;
    metadata::apply(&target, &metadata)
}

/// Holes stay holes: what is a gigabyte of nothing in a layer takes no gigabyte in the copy.
fn content(mut source: &File, stat: &at::Stat, mut target: &File) -> io::Result<()> {
    let full = i128::from(stat.st_blocks) * 512 >= i128::from(stat.st_size);
    let mut at = 0;
    // A file system that knows of no holes shows one piece.
    while let Some(data) = piece(source, at, full)? {
        source.seek(SeekFrom::Start(data.start))?;
        target.seek(SeekFrom::Start(data.start))?;
        // The standard library asks copy_file_range first, which shares the blocks where it can.
        at = data.start + io::copy(&mut source.take(data.end - data.start), &mut target)?;
        if at < data.end {
            // To the end of the file, or it became shorter.
            break;
        }
    }
    match full {
        true => Ok(()),
        false => target.set_len(source.metadata()?.len()),
    }
}

/// The next piece of a file that holds data, from `at` on.
fn piece(source: &File, at: u64, full: bool) -> io::Result<Option<Range<u64>>> {
    if full {
        return Ok(Some(at..u64::MAX));
    }
    let start = match at::seek(source, at::SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let end = at::seek(source, at::SeekFrom::Hole(start))?;
    Ok(Some(start..end))
}

/// Makes an empty file where nothing may be yet: not even a link is followed.
pub(crate) fn create((dir, name): Place<'_>) -> sys::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    at::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|errno| SysError::new("openat", "", errno))
}

/// Makes a symbolic link where nothing may be yet.
pub(crate) fn symlink(
    (dir, name): Place<'_>,
    target: &[u8],
    metadata: &Metadata,
) -> sys::Result<()> {
    at::symlinkat(target, dir, name).map_err(|errno| SysError::new("symlinkat", "", errno))?;
    metadata::apply_at(dir, name, FileType::Symlink, metadata)
}

/// Makes a device or FIFO where nothing may be yet.
pub(crate) fn node(
    (dir, name): Place<'_>,
    kind: FileType,
    device: at::Dev,
    metadata: &Metadata,
) -> sys::Result<()> {
    at::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device)
        .map_err(|errno| SysError::new("mknodat", "", errno))?;
    metadata::apply_at(dir.as_fd(), name, kind, metadata)
}

/// Makes overlay's whiteout: allowed without privileges, since it is no device anyone could use.
pub(crate) fn whiteout((dir, name): Place<'_>) -> Result<(), Errno> {
    at::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test looks with other eyes than the code it tests"
)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn holes_stay_and_so_does_what_lies_between() {
        let dir = tempfile::tempdir().unwrap();
        let fd = OwnedFd::from(File::open(dir.path()).unwrap());
        let part = [7; 70_000];
        for (n, (length, places)) in [
            (0, &[][..]),
            (70_000, &[0]),
            (8 << 20, &[]),
            (8 << 20, &[0, 4 << 20]),
            (8 << 20, &[1 << 20, (8 << 20) - 70_000]),
            ((8 << 20) + 1, &[3 << 20]),
        ]
        .into_iter()
        .enumerate()
        {
            let (from, to) = (format!("from-{n}"), format!("to-{n}"));
            let file = File::create(dir.path().join(&from)).unwrap();
            file.set_len(length).unwrap();
            for at in places {
                file.write_all_at(&part, *at).unwrap();
            }
            let stat = at::fstat(&file).unwrap();
            super::file((&fd, from.as_bytes()), &stat, (&fd, to.as_bytes())).unwrap();
            let (from, to) = (dir.path().join(from), dir.path().join(to));
            assert!(
                std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap(),
                "{n}"
            );
            let taken = std::fs::metadata(&to).unwrap().blocks() * 512;
            let most = 200_000 * places.len() as u64;
            assert!(taken <= most, "{n}: {taken}");
        }
    }
}
