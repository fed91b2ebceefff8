//! WORKDIR: its key, and the directory itself. Not its job: the config that it sets (`metadata`).

use image::Layer;

use crate::cache::Outcome;
use crate::error::Result;
use crate::layers::root;
use crate::steps::metadata::clean;
use crate::steps::{directories, owner};
use crate::work::Work;

/// Makes the working directory, unless it is there.
pub(crate) fn workdir(
    work: &Work<'_>,
    layers: &[Layer],
    path: &str,
    user: &str,
) -> Result<Outcome> {
    let path = clean(path);
    if path == "/" {
        return Ok(Outcome::Nothing);
    }
    let mut key = work.key("directory", layers);
    key.add("path", path.as_str());
    key.add("user", user);
    work.once(&key, layers, |mount, _| {
        let root = root(mount)?;
        let (uid, gid) = owner::of_user(&root, user)?;
        directories::make_directories(&root, &path, uid, gid, 0o755)?;
        Ok(None)
    })
}
