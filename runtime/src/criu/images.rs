//! The folder of a checkpoint. Whoever wrote it may be hostile: what CRIU would follow or create through it is
//! looked at first (the CVEs of archives, 2024-8676 and 2026-53489, are links in it that are read or written
//! through). Not its job: the images themselves (CRIU), what they make (life/restore/confined).

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::at::{AtFlags, FileType};

use crate::{Error, Result};

/// The file in which a checkpoint's stdio is written down.
const DESCRIPTORS: &str = "descriptors.json";

/// The largest one: three names.
const MAX_DESCRIPTORS: u64 = 64 << 10;

/// What CRIU writes into its work folder, by name.
const OF_CRIU: [&str; 5] = [
    "dump.log",
    "restore.log",
    "stats-dump",
    "stats-restore",
    "irmap-cache",
];

/// How many checkpoints may lean on each other.
const MAX_PARENTS: usize = 64;

/// An open folder of images.
#[derive(Debug)]
pub(crate) struct Images {
    /// The folder.
    pub(crate) dir: OwnedFd,
    path: PathBuf,
}

impl Images {
    /// Makes the folder if it is missing, with nobody else's rights, and opens it for a checkpoint. What lies
    /// in it already may be written over, but not through a link.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        make_folder(path)?;
        Self::open(path)
    }

    /// Makes the folder of CRIU's log and counts if it is missing, and opens it. It may hold whatever else: podman
    /// names the folder in which it keeps all of a container, with a `/dev/shm` mounted and a socket. What CRIU
    /// writes over is looked at.
    pub(crate) fn make_work(path: &Path) -> Result<Self> {
        make_folder(path)?;
        let work = Self::open_one(path)?;
        work.check(0, &|name| OF_CRIU.iter().any(|written| name == *written))?;
        Ok(work)
    }

    /// Opens the folder, and refuses one with anything else in it than plain files, and `parent`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let images = Self::open_one(path)?;
        images.check(0, &|_| true)?;
        Ok(images)
    }

    fn open_one(path: &Path) -> Result<Self> {
        let doing = || format!("open the folder {}", path.display());
        let dir = sys::file::open_dir(path).map_err(Error::host(doing()))?;
        let stat = sys::at::fstat(&dir)
            .map_err(|e| Error::host(doing())(sys::SysError::new("stat", "", e)))?;
        // Whoever writes to it could change what was looked at.
        let owned = stat.st_uid == 0 || stat.st_uid == sys::privileges::ids().0;
        if !owned || stat.st_mode & 0o022 != 0 {
            return Err(Error::Words(format!(
                "checkpoint {}: others may write to the folder",
                path.display()
            )));
        }
        Ok(Self {
            dir,
            path: path.to_owned(),
        })
    }

    /// Looks at all that `concerns` CRIU.
    fn check(&self, depth: usize, concerns: &dyn Fn(&OsStr) -> bool) -> Result<()> {
        if sys::fault::broken("no-image-check") {
            return Ok(());
        }
        let bad = |name: &str, reason: &str| {
            Err(Error::Words(format!(
                "checkpoint {}: {name}: {reason}",
                self.path.display()
            )))
        };
        let doing = || format!("look through {}", self.path.display());
        for (name, _) in sys::file::list(self.dir.as_fd()).map_err(Error::host(doing()))? {
            if !concerns(&name) {
                continue;
            }
            let shown = name.to_string_lossy();
            let stat = sys::at::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| Error::host(doing())(sys::SysError::new("stat", &shown, e)))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if stat.st_nlink == 1 => {}
                // Another name of it may be a file of somebody else's.
                FileType::RegularFile => return bad(&shown, "has more than one name"),
                FileType::Symlink if name == "parent" => self.check_parent(depth)?,
                FileType::Symlink => return bad(&shown, "is a link"),
                _ => return bad(&shown, "is no plain file"),
            }
        }
        Ok(())
    }

    /// An earlier checkpoint, on which this one leans.
    fn check_parent(&self, depth: usize) -> Result<()> {
        if depth == MAX_PARENTS {
            return Err(Error::Words(format!(
                "checkpoint {}: more than {MAX_PARENTS} earlier ones lean on each other",
                self.path.display()
            )));
        }
        Self::open_one(&self.path.join("parent"))?.check(depth + 1, &|_| true)
    }

    /// Writes down which files the process has as stdio.
    pub(crate) fn write_descriptors(&self, names: &[String; 3]) -> Result<()> {
        let bytes = serde_json::to_vec(names).expect("strings always serialize");
        sys::file::replace(
            &self.dir,
            DESCRIPTORS,
            &bytes,
            0o600,
            sys::file::Durability::Memory,
        )
        .map_err(Error::host(format!("write {DESCRIPTORS}")))
    }

    /// What was written there: at most three names.
    pub(crate) fn descriptors(&self) -> Result<Vec<String>> {
        let path = self.path.join(DESCRIPTORS);
        let bytes = sys::file::read(&path, MAX_DESCRIPTORS)
            .map_err(Error::host("read which stdio the container had"))?;
        let names: Vec<String> = serde_json::from_slice(&bytes).map_err(|e| Error::Config {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        match names.len() {
            0..=3 => Ok(names),
            count => Err(Error::Config {
                path,
                reason: format!("has {count} names, stdio has three"),
            }),
        }
    }
}

fn make_folder(path: &Path) -> Result<()> {
    match sys::file::create_dir(path, 0o700) {
        Err(e) if e.errno != sys::Errno::EXIST => Err(Error::host(format!(
            "make the folder {}",
            path.display()
        ))(e)),
        _ => Ok(()),
    }
}

/// The end of CRIU's log: the lines that say what failed, on one line.
pub(crate) fn complaints(dir: impl AsFd, log: &str) -> Option<String> {
    const MOST: u64 = 64 << 20;
    const SHOWN: usize = 3;
    let flags = sys::at::OFlags::RDONLY | sys::at::OFlags::NOFOLLOW | sys::at::OFlags::CLOEXEC;
    let fd = sys::at::openat(dir, log, flags, sys::at::Mode::empty()).ok()?;
    let bytes = sys::file::read_fd(fd, &log, MOST).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("Error ").map(|(_, rest)| rest))
        // Where in its source it failed is nobody's business here: `(criu/mount.c:12): `.
        .map(|rest| rest.split_once("): ").map_or(rest, |(_, words)| words))
        .filter(|words| !words.is_empty())
        .collect();
    lines.truncate(SHOWN);
    (!lines.is_empty()).then(|| lines.join("; "))
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests make by path what they then look at"
)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_folder_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("images");
        drop(Images::make(&images).unwrap());
        std::fs::write(images.join("core-1.img"), "x").unwrap();
        Images::open(&images).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", images.join("restore.log")).unwrap();
        let error = Images::open(&images).unwrap_err().to_string();
        assert!(error.ends_with("restore.log: is a link"), "{error}");
        std::fs::remove_file(images.join("restore.log")).unwrap();
        std::fs::hard_link(images.join("core-1.img"), images.join("b")).unwrap();
        let error = Images::open(&images).unwrap_err().to_string();
        assert!(error.ends_with("has more than one name"), "{error}");
    }

    #[test]
    fn a_work_folder_may_hold_more_but_no_link_under_a_name_of_crius() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("userdata");
        drop(Images::make_work(&work).unwrap());
        std::fs::create_dir(work.join("shm")).unwrap();
        std::os::unix::fs::symlink("/run/socket", work.join("attach")).unwrap();
        std::fs::write(work.join("dump.log"), "an earlier one").unwrap();
        Images::make_work(&work).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", work.join("stats-dump")).unwrap();
        let error = Images::make_work(&work).unwrap_err().to_string();
        assert!(error.ends_with("stats-dump: is a link"), "{error}");
    }

    #[test]
    fn a_folder_that_others_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let error = Images::open(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("others may write to the folder"), "{error}");
    }

    #[test]
    fn an_earlier_checkpoint_is_looked_through_too() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("1"), dir.path().join("2"));
        drop(Images::make(&first).unwrap());
        drop(Images::make(&second).unwrap());
        std::os::unix::fs::symlink("../1", second.join("parent")).unwrap();
        Images::open(&second).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", first.join("pages-1.img")).unwrap();
        let error = Images::open(&second).unwrap_err().to_string();
        assert!(error.ends_with("pages-1.img: is a link"), "{error}");
    }

    #[test]
    fn a_log_is_cut_to_what_failed() {
        let dir = tempfile::tempdir().unwrap();
        let log = "(00.1) Warn\n(00.2) Error (criu/mount.c:12): no such mount\n(00.3) Error (x.c:1): done\n";
        std::fs::write(dir.path().join("dump.log"), log).unwrap();
        let fd = sys::file::open_dir(dir.path()).unwrap();
        assert_eq!(
            complaints(&fd, "dump.log").as_deref(),
            Some("no such mount; done")
        );
    }
}
