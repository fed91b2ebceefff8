//! Where a container's hooks run and where their output goes. Not its job: running them.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::state::Record;
use crate::{Error, Result};

/// The annotation that names a file for the hooks' output (crun's name).
pub(crate) const STDOUT: &str = "run.oci.hooks.stdout";

/// The same for what they complain of.
pub(crate) const STDERR: &str = "run.oci.hooks.stderr";

/// The surroundings of a container's hooks.
#[derive(Debug, Default)]
pub struct Setting {
    /// Their working directory; ours where there is none.
    pub(super) folder: Option<PathBuf>,
    /// Where their output goes; nowhere without.
    pub(super) stdout: Option<File>,
    /// Where their complaints go; without, their end is quoted when one fails.
    pub(super) stderr: Option<File>,
    /// They end when the process ends that started them.
    pub(super) ends_with_us: bool,
}

impl Setting {
    /// For hooks in the runtime's namespaces. They begin in the bundle, which the caller made: a folder of
    /// the container's could hold a library that a hook's program loads from where it stands
    /// (CVE-2025-23266).
    ///
    /// # Errors
    /// As opening the files that the annotations name.
    pub(crate) fn of(record: &Record) -> Result<Self> {
        let open = |name: &str| match record.annotations.get(name).filter(|path| !path.is_empty()) {
            Some(path) => sys::file::append(path)
                .map(Some)
                .map_err(Error::host(format!("annotations.{name}"))),
            None => Ok(None),
        };
        Ok(Self {
            folder: Some(record.bundle.clone()).filter(|_| !sys::fault::broken("hooks-anywhere")),
            stdout: open(STDOUT)?,
            stderr: open(STDERR)?,
            ends_with_us: false,
        })
    }

    /// For a hook of the first process, as long as that sees the host's tree; the bundle may be out of
    /// its user's reach.
    pub(crate) fn outside_root(&mut self) {
        let reached = |folder: &PathBuf| sys::file::open_path(folder.join(".")).is_ok();
        self.folder = self.folder.take().filter(reached);
        self.ends_with_us = true;
    }

    /// What a process that closes its descriptors must keep for its hooks.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let files = [&self.stdout, &self.stderr];
        files.into_iter().flatten().map(AsFd::as_fd)
    }

    /// For a hook inside the container's root, where the program begins.
    pub(crate) fn inside_root(&mut self) {
        self.folder = None;
        self.ends_with_us = true;
    }
}
