//! Removes a cgroup with those below it, and the parents that were made for it. Not its job: ending
//! processes (kill).

use std::path::Path;
use std::time::{Duration, Instant};

use sys::{Errno, SysError};

use crate::cgroup::children;
use crate::{Cgroup, Error, Location, Result};

/// A killed process leaves its cgroup only when it has let go of its memory; a big one takes a while.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes the cgroup at `directory` and every cgroup below it, then its parents as long as they are empty,
/// up to `made_from` (see [`Location::made_from`]). What is gone already counts as removed.
///
/// Its processes must have been killed; it waits for their end.
///
/// # Errors
/// [`Error::Timeout`] if processes are left after ten seconds, [`Error::Directory`].
pub fn delete(directory: &Path, made_from: Option<&Path>) -> Result<()> {
    remove(directory, Instant::now() + PATIENCE)?;
    prune(directory, made_from)
}

/// Takes back a creation that failed: what is empty goes, what is not stays.
pub(crate) fn remove_empty(location: &Location) -> Result<()> {
    match sys::file::remove_dir(&location.directory) {
        Ok(()) => {}
        Err(e) if is_gone(&e) || is_in_use(&e) => {}
        Err(e) => return Err(failed(&location.directory, e)),
    }
    prune(&location.directory, location.made_from.as_deref())
}

fn remove(directory: &Path, deadline: Instant) -> Result<()> {
    loop {
        match sys::file::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(e) if is_gone(&e) => return Ok(()),
            Err(e) if !is_in_use(&e) => return Err(failed(directory, e)),
            Err(_) => {}
        }
        let Some(cgroup) = Cgroup::open(directory)? else {
            return Ok(());
        };
        let below = children(cgroup.dir()).map_err(cgroup.interface("list the cgroups below"))?;
        for child in &below {
            remove(&directory.join(child), deadline)?;
        }
        // Busy without children: by processes, whose end is an event; or, for a moment after that, by the
        // kernel's own, and then the next try comes at once until the time is over.
        if !cgroup.wait_empty(deadline)? || Instant::now() >= deadline {
            return Err(cgroup.too_slow("remove"));
        }
    }
}

/// Removes the empty parents of `directory`, the outermost being `made_from`.
fn prune(directory: &Path, made_from: Option<&Path>) -> Result<()> {
    let Some(made_from) = made_from else {
        return Ok(());
    };
    for parent in directory.ancestors().skip(1) {
        if !parent.starts_with(made_from) {
            break;
        }
        match sys::file::remove_dir(parent) {
            Ok(()) => {}
            Err(e) if is_gone(&e) => {}
            // Another container lives below it by now, and it is that one's.
            Err(e) if is_in_use(&e) => break,
            Err(e) => return Err(failed(parent, e)),
        }
    }
    Ok(())
}

fn is_gone(error: &SysError) -> bool {
    matches!(error.errno, Errno::NOENT | Errno::NODEV)
}

fn is_in_use(error: &SysError) -> bool {
    matches!(error.errno, Errno::BUSY | Errno::NOTEMPTY)
}

fn failed(path: &Path, source: SysError) -> Error {
    Error::Directory {
        what: "remove",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain directories obey rmdir in the same way.
    fn made(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            sys::file::create_dir_all(dir.path().join(path), 0o755).unwrap();
        }
        dir
    }

    #[test]
    fn only_the_parents_that_were_made_for_it_are_removed() {
        let dir = made(&["a/b/c"]);
        let path = |name| dir.path().join(name);
        delete(&path("a/b/c"), Some(&path("a/b"))).unwrap();
        assert!(!sys::file::exists(path("a/b")).unwrap());
        assert!(sys::file::exists(path("a")).unwrap());
    }

    #[test]
    fn a_parent_that_another_container_uses_stays() {
        let dir = made(&["a/b", "a/other"]);
        let path = |name| dir.path().join(name);
        delete(&path("a/b"), Some(&path("a"))).unwrap();
        assert!(sys::file::exists(path("a/other")).unwrap());
    }

    #[test]
    fn what_is_gone_counts_as_removed() {
        let dir = made(&[]);
        let path = |name| dir.path().join(name);
        delete(&path("a/b"), Some(&path("a"))).unwrap();
        delete(&path("a/b"), None).unwrap();
    }

    #[test]
    fn a_full_directory_of_another_file_system_is_not_touched() {
        let dir = made(&["a/b"]);
        let error = delete(&dir.path().join("a"), None).unwrap_err();
        assert!(matches!(error, Error::NotACgroup { .. }), "{error}");
        assert!(sys::file::exists(dir.path().join("a/b")).unwrap());
    }
}
