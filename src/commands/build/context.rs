//! The flags that say where files come from. Not its job: reading them.

use std::path::{Path, PathBuf};

use crate::report::{Failure, because};

/// Where files come from.
#[derive(Debug, clap::Args)]
pub(super) struct Context {
    /// Where COPY takes files from: a folder, a tar, the address of a tar or a git repository; `-` reads a tar or a
    /// recipe
    context: String,
}

impl Context {
    pub(super) fn place(&self) -> Result<builder::Context, Failure> {
        let text = self.context.as_str();
        let path = Path::new(text);
        if text == "-" {
            return Ok(builder::Context::Input);
        }
        // A folder may be called anything.
        let there = sys::file::exists(path).map_err(because)?;
        if there && !sys::file::is_dir(path).map_err(because)? {
            return Ok(builder::Context::Archive(PathBuf::from(text)));
        }
        match there || !builder::is_address(text) {
            true => Ok(builder::Context::Folder(PathBuf::from(text))),
            false => Ok(builder::Context::Address(text.to_owned())),
        }
    }
}
