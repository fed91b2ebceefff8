//! A file that gets its name when it is whole: until then it has none, and nothing of it is left whatever happens. Not its
//! job: what is in it.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::{Result, SysError};

/// Opens a file without a name, for writing, on the file system of the directory `dir`; `None` where that file system
/// has no such files.
///
/// # Errors
/// As open(2), without EOPNOTSUPP and EISDIR.
pub fn nameless(dir: impl AsRef<Path>, mode: u32) -> Result<Option<File>> {
    let dir = dir.as_ref();
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, dir, flags, Mode::from_raw_mode(mode)) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => Ok(None),
        Err(errno) => Err(SysError::new("create a file in", dir.display(), errno)),
    }
}

/// Gives a file of [`nameless`] a name in its directory. What has that name already is replaced at once, by way of the
/// name `aside`.
///
/// # Errors
/// As link(2) and rename(2).
pub fn name(file: &File, path: impl AsRef<Path>, aside: impl AsRef<Path>) -> Result<()> {
    let (path, aside) = (path.as_ref(), aside.as_ref());
    match crate::proc::link(file.as_fd(), path) {
        Err(Errno::EXIST) => {}
        linked => return linked.map_err(|errno| SysError::new("link", path.display(), errno)),
    }
    let fail = |call| move |errno| SysError::new(call, path.display(), errno);
    loop {
        match crate::proc::link(file.as_fd(), aside) {
            Ok(()) => {}
            // Of one that was killed here, or is about to go on; what is there is whole.
            Err(Errno::EXIST) => match rustix::fs::unlinkat(CWD, aside, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(errno) => return Err(fail("unlink")(errno)),
            },
            Err(errno) => return Err(fail("link")(errno)),
        }
        match rustix::fs::renameat(CWD, aside, CWD, path) {
            // Another one took it for a left-over.
            Err(Errno::NOENT) => {}
            Err(errno) => {
                // The first failure is the one that counts.
                let _left_over = rustix::fs::unlinkat(CWD, aside, AtFlags::empty());
                return Err(fail("rename")(errno));
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Opens `path` for writing if it is no place for a file: a device, a FIFO, or what a process has open (/dev/stdout).
/// Links are followed. `None` for everything else.
///
/// # Errors
/// As open(2).
pub fn open_stream(path: impl AsRef<Path>) -> Result<Option<File>> {
    let path = path.as_ref();
    if !is_stream(path) {
        return Ok(None);
    }
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, path, flags, Mode::empty());
    let opened = opened.map_err(|errno| SysError::new("open", path.display(), errno))?;
    Ok(Some(File::from(opened)))
}

/// Whether what is at `path` is written to, and neither replaced nor removed.
pub fn is_stream(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let Ok(stat) = rustix::fs::statat(CWD, path, AtFlags::empty()) else {
        return false;
    };
    let file = [FileType::RegularFile, FileType::Directory];
    let opened = path.starts_with("/dev/fd") || path.starts_with("/proc");
    let standard = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    opened || standard.contains(&path) || !file.contains(&FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_has_no_name_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        // One was killed between its two steps.
        std::fs::write(at("aside"), "old").unwrap();
        for (text, before) in [("one", 1), ("two", 2)] {
            let file = nameless(folder.path(), 0o644).unwrap();
            let mut file = file.expect("this file system has files without a name");
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(names(), before);
            name(&file, at("file"), at("aside")).unwrap();
            assert_eq!(std::fs::read_to_string(at("file")).unwrap(), text);
        }
        assert_eq!(names(), 1);
        std::fs::create_dir(at("folder")).unwrap();
        if let Some(file) = nameless(folder.path(), 0o644).unwrap() {
            name(&file, at("folder"), at("aside")).unwrap_err();
        }
        assert_eq!(names(), 2);
    }

    #[test]
    fn devices_and_what_is_open_are_streams() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(!is_stream(&file));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("other")).unwrap();
        assert!(!is_stream(&file) && !is_stream(folder.path().join("other")));
        assert!(is_stream("/dev/null") && is_stream(folder.path().join("link")));
        open_stream("/dev/null").unwrap().unwrap();
        let open = File::open(&file).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&open);
        assert!(is_stream(format!("/proc/self/fd/{number}")));
    }
}
