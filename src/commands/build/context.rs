//! The flags that say where files come from. Not its job: reading them.

use std::path::PathBuf;

use crate::report::Failure;

/// Where files come from.
#[derive(Debug, clap::Args)]
pub(super) struct Context {
    /// The folder that COPY takes files from
    context: String,
}

impl Context {
    pub(super) fn folder(&self) -> Result<PathBuf, Failure> {
        if self.context == "-" || self.context.contains("://") {
            return Err(Failure::new(format!(
                "context {}: not supported yet (only a folder)",
                self.context
            )));
        }
        Ok(PathBuf::from(&self.context))
    }
}
