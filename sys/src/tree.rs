//! Removes a tree by fd. Not its job: trees that a container can change meanwhile.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::{Errno, Result, SysError};

/// Directories open at a time. What lies deeper is moved up first, so that neither a deep tree nor a
/// wide one needs more.
const MAX_DEPTH: usize = 32;

/// Removes `name` in `dir` with all that is below it: by fd, so that no link leads out, and never
/// across a mount. What is not there is no error.
///
/// # Errors
/// As unlink(2) and openat2(2); EXDEV or EBUSY where something is mounted.
pub fn remove_tree(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    let bytes = name.as_os_str().as_bytes();
    let fail = |errno| SysError::new("remove", name.display(), errno);
    match remove_one(&dir, bytes).map_err(fail)? {
        Removed::Yes => Ok(()),
        Removed::HoldsSomething => remove_full(&dir, bytes).map_err(fail),
    }
}

enum Removed {
    Yes,
    /// It is a directory with something in it.
    HoldsSomething,
}

fn remove_one(dir: impl AsFd, name: &[u8]) -> Result<Removed, Errno> {
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(Removed::Yes),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Removed::Yes),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Removed::HoldsSomething),
        Err(errno) => Err(errno),
    }
}

/// A directory being emptied: its fd, its name in the one before, its directories still to be removed.
struct Level {
    dir: OwnedFd,
    name: OsString,
    inside: Vec<OsString>,
}

fn remove_full(dir: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    let mut stack = vec![empty(&dir, name)?];
    let mut moved = 0_u64;
    while let Some(level) = stack.last_mut() {
        let Some(child) = level.inside.pop() else {
            let Some(done) = stack.pop() else { break };
            let parent = stack.last().map_or(dir.as_fd(), |level| level.dir.as_fd());
            match rustix::fs::unlinkat(parent, done.name.as_os_str(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            }
        };
        if let Removed::Yes = remove_one(&level.dir, child.as_bytes())? {
            continue;
        }
        if stack.len() < MAX_DEPTH {
            let parent = stack.last().map_or(dir.as_fd(), |level| level.dir.as_fd());
            let next = empty(parent, child.as_bytes())?;
            stack.push(next);
        } else {
            move_up(&mut stack, &child, &mut moved)?;
        }
    }
    Ok(())
}

/// Moves the deepest level's `child` to the topmost level, under a name that nothing there has.
fn move_up(stack: &mut [Level], child: &OsString, moved: &mut u64) -> Result<(), Errno> {
    let [top, .., deepest] = stack else {
        return Err(Errno::INVAL);
    };
    loop {
        let name = OsString::from(format!(".removed-{moved}"));
        *moved += 1;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&deepest.dir, child, &top.dir, &name, flags) {
            Ok(()) => {
                top.inside.push(name);
                return Ok(());
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Opens the directory `name` and removes what is no directory in it.
fn empty(parent: impl AsFd, name: &[u8]) -> Result<Level, Errno> {
    let dir = open_ours(&parent, name)?;
    let mut inside = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let child = entry.file_name().to_bytes();
        if child == b"." || child == b".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            inside.push(OsString::from_vec(child.to_vec()));
            continue;
        }
        match rustix::fs::unlinkat(&dir, child, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Not every file system says the type of a name.
            Err(Errno::ISDIR | Errno::PERM) => inside.push(OsString::from_vec(child.to_vec())),
            Err(errno) => return Err(errno),
        }
    }
    Ok(Level {
        dir,
        name: OsString::from_vec(name.to_vec()),
        inside,
    })
}

/// Opens a directory that is to be emptied. Its owner may have no right to do that: images have folders of mode 0555 and
/// less, which are a user's own where root did not unpack them.
fn open_ours(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let dir = match open_below(&parent, name, OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            let shut = open_below(&parent, name, OFlags::PATH)?;
            crate::proc::change_mode(&shut, Mode::RWXU)?;
            return open_below(&parent, name, OFlags::RDONLY);
        }
        opened => opened?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // Whose it is not, and who may remove it all the same, is root.
        let _not_ours = rustix::fs::fchmod(&dir, Mode::RWXU);
    }
    Ok(dir)
}

fn open_below(parent: impl AsFd, name: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if crate::probe::Feature::Openat2.present() {
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        return rustix::fs::openat2(&parent, name, flags, Mode::empty(), resolve);
    }
    let dir = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
    if rustix::fs::fstat(&dir)?.st_dev == rustix::fs::fstat(&parent)?.st_dev {
        Ok(dir)
    } else {
        Err(Errno::XDEV)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &Path) -> OwnedFd {
        crate::file::open_dir(path).unwrap()
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_tree_of_many_directories_and_one_of_many_levels_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let wide = place.path().join("t/wide");
        for n in 0..3000 {
            std::fs::create_dir_all(wide.join(format!("{n}/x"))).unwrap();
        }
        let mut fd = directory(&place.path().join("t"));
        for _ in 0..3000 {
            rustix::fs::mkdirat(&fd, "d", Mode::RWXU).unwrap();
            let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
            fd = rustix::fs::openat(&fd, "d", flags, Mode::empty()).unwrap();
        }
        drop(fd);
        let before = open_descriptors();
        remove_tree(directory(place.path()), "t").unwrap();
        assert!(!place.path().join("t").exists());
        assert!(open_descriptors() <= before + 10);
    }

    #[test]
    fn what_is_not_there_is_no_error_and_a_link_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let dir = directory(place.path());
        remove_tree(&dir, "nothing").unwrap();
        std::fs::create_dir_all(place.path().join("kept/x")).unwrap();
        std::os::unix::fs::symlink("kept", place.path().join("link")).unwrap();
        remove_tree(&dir, "link").unwrap();
        assert!(place.path().join("kept/x").exists());
        assert!(!place.path().join("link").exists());
    }
}
