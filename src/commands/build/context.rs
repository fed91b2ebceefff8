//! The flags that say where files come from. Not its job: reading them.

use std::path::{Path, PathBuf};

use builder::{Contexts, Named};

use crate::report::{Failure, because};

/// Where files come from.
#[derive(Debug, clap::Args)]
pub(super) struct Context {
    /// Where COPY takes files from: a folder, a tar, the address of a tar or a git repository; `-` reads a tar or a
    /// recipe
    context: String,
    /// Something in the place of a stage's or image's name: NAME=PATH, NAME=ADDRESS, NAME=docker-image://IMAGE,
    /// NAME=oci-layout://FOLDER:TAG, NAME=target:STAGE
    #[arg(long, value_name = "NAME=WHAT")]
    build_context: Vec<String>,
}

impl Context {
    pub(super) fn place(&self) -> Result<builder::Context, Failure> {
        match self.context.as_str() {
            "-" => Ok(builder::Context::Input),
            text => place(text),
        }
    }

    pub(super) fn named(&self) -> Result<Contexts, Failure> {
        let mut contexts = Contexts::default();
        for text in &self.build_context {
            let fail = |why: String| Failure::new(format!("--build-context {text}: {why}"));
            let (name, what) = text
                .split_once('=')
                .filter(|(name, what)| !name.is_empty() && !what.is_empty())
                .ok_or_else(|| fail("it must be NAME=WHAT".to_owned()))?;
            contexts.insert(
                name.to_owned(),
                named(what).map_err(|e| fail(e.to_string()))?,
            );
        }
        Ok(contexts)
    }
}

/// What stands in the place of a name.
fn named(what: &str) -> Result<Named, Failure> {
    if let Some(image) = what.strip_prefix("docker-image://") {
        return Ok(Named::Image(image.to_owned()));
    }
    if let Some(layout) = what.strip_prefix("oci-layout://") {
        return Ok(Named::Image(format!("oci:{layout}")));
    }
    if let Some(stage) = what.strip_prefix("target:") {
        return Ok(Named::Stage(stage.to_owned()));
    }
    match what {
        "-" => Err(Failure::new(
            "standard input is the context without a name alone",
        )),
        text => place(text).map(Named::Files),
    }
}

/// A folder or archive of this host, or an address.
fn place(text: &str) -> Result<builder::Context, Failure> {
    let path = Path::new(text);
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
