//! Names of users and groups → ids, as the tree that is built knows them. Not its job: changing owners.

use image::user;
use sys::beneath::Root;

use crate::error::{Doing, Result};

/// The ids of `USER`: root if nothing is said.
pub(crate) fn of_user(root: &Root, user: &str) -> Result<(u32, u32)> {
    let found = user::lookup(root, user).doing(|| format!("USER {user}"))?;
    Ok((found.uid, found.gid))
}

/// The ids of `--chown`: a number without a group is its own group, a name brings its own.
pub(crate) fn of_chown(root: &Root, chown: &str) -> Result<(u32, u32)> {
    let doing = || format!("--chown={chown}");
    if let Ok(id) = chown.parse::<u32>() {
        return Ok((id, id));
    }
    let found = user::lookup(root, chown).doing(doing)?;
    Ok((found.uid, found.gid))
}
