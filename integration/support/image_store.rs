//! A store of images in a folder of its own. Not its job: the images.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::command::{Output, run};
use super::image::HandMade;
use super::sandbox::dhow;

/// A store, and beside it room for archives.
pub(crate) struct ImageStore {
    folder: tempfile::TempDir,
}

impl ImageStore {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("dhow-test-").tempdir();
        Self {
            folder: folder.unwrap(),
        }
    }

    /// A place beside the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// dhow on this store, in its folder; arguments are to be added.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(dhow());
        command.current_dir(self.folder.path());
        command.arg("--root").arg(self.path("state"));
        command.arg("--store").arg(self.path("store"));
        command
    }

    /// Runs it.
    #[track_caller]
    pub(crate) fn dhow<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        run(self.command().args(arguments))
    }

    /// Runs it, and reads what it prints.
    #[track_caller]
    pub(crate) fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Value {
        serde_json::from_str(&self.dhow(arguments).success().stdout).unwrap()
    }

    /// Loads an image made by hand.
    #[track_caller]
    pub(crate) fn load(&self, image: &HandMade) {
        let archive = self.path("hand-made.tar");
        image.archive(&archive);
        self.take(&archive);
    }

    /// Loads an archive or layout.
    #[track_caller]
    pub(crate) fn take(&self, archive: &Path) {
        self.dhow([Path::new("load"), archive]).success();
    }
}
