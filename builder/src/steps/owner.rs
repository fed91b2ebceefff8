//! Names of users and groups → ids, as the tree that is built knows them. Not its job: changing owners.

use image::user;
use sys::beneath::Root;

use crate::error::{Doing, Result};

/// The ids that `USER` gives a WORKDIR: root's if nothing is said.
pub(crate) fn of_user(root: &Root, user: &str) -> Result<(u32, u32)> {
    ids(root, user, || format!("USER {user}"))
}

/// The ids of `--chown`.
pub(crate) fn of_chown(root: &Root, chown: &str) -> Result<(u32, u32)> {
    ids(root, chown, || format!("--chown={chown}"))
}

/// Whose a file becomes: a number without a group is its own group, a name brings its own. (A container's USER is
/// read in another way: there a number's group is that of its account, or root's.)
fn ids(root: &Root, words: &str, doing: impl Fn() -> String) -> Result<(u32, u32)> {
    if let Ok(id) = words.parse::<u32>() {
        return Ok((id, id));
    }
    let found = user::lookup(root, words).doing(doing)?;
    Ok((found.uid, found.gid))
}
