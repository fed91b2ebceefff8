//! Where nothing of a COPY meets anything that is there: its layer follows from the files and from the folders above them
//! alone, and is written straight into the layer's directory; an overlay would look for every file below, and keep a
//! second inode of each. Not its job: writing.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use sys::SysError;
use sys::at::{self, FileType, Mode, OFlags, Stat, Timespec};
use sys::beneath::Root;

use crate::error::{Doing, Result};
use crate::fingerprint::{Xattrs, attributes};
use crate::steps::copy::times;
use crate::steps::place::look;

/// A place where nothing is in the way.
pub(crate) struct Fresh {
    /// The folders that are there, from the root (without it) to the one that changes.
    pub(crate) above: Vec<Above>,
    /// The last of them, or the root.
    last: OwnedFd,
    /// Not even the target is there.
    pub(crate) absent: bool,
}

/// A folder that is there already: it comes into the layer with all that it is.
pub(crate) struct Above {
    pub(crate) name: String,
    pub(crate) stat: Stat,
    pub(crate) xattrs: Xattrs,
}

/// The place at `target`, where `names` are to be; `None` if anything is there that they could meet, or a link is on the
/// way. `root` is the tree so far.
pub(crate) fn fresh(root: &Root, target: &str, names: &BTreeSet<String>) -> Result<Option<Fresh>> {
    let doing = || format!("look at {target}");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut last = root.open("/", flags).doing(doing)?;
    let mut above = Vec::new();
    for name in target.split('/').filter(|name| !name.is_empty()) {
        if [".", ".."].contains(&name) {
            return Ok(None);
        }
        match look(&last, name).doing(doing)? {
            None => {
                return Ok(Some(Fresh {
                    above,
                    last,
                    absent: true,
                }));
            }
            Some(FileType::Directory) => {}
            Some(_) => return Ok(None),
        }
        last = at::openat(&last, name, flags, Mode::empty())
            .map_err(|errno| SysError::new("open", name, errno))
            .doing(doing)?;
        above.push(Above {
            name: name.to_owned(),
            stat: at::fstat(&last)
                .map_err(|errno| SysError::new("stat", name, errno))
                .doing(doing)?,
            xattrs: attributes(&last, |_| true).doing(doing)?,
        });
    }
    for name in names {
        if look(&last, name).doing(doing)?.is_some() {
            return Ok(None);
        }
    }
    // Without a name the folder stays as it is, and so does the layer.
    Ok((!names.is_empty()).then_some(Fresh {
        above,
        last,
        absent: false,
    }))
}

impl Fresh {
    /// Has the overlay bring the folders above into its upper directory: the last of them changes, as it would if files
    /// were made in it. The overlay can be unmounted then.
    pub(crate) fn bring_up(self, newest: i64) -> Result<()> {
        if self.above.is_empty() {
            return Ok(());
        }
        let time = Timespec {
            tv_sec: newest,
            tv_nsec: 0,
        };
        at::futimens(&self.last, &times(time))
            .map_err(|errno| SysError::new("utimens", "", errno))
            .doing(|| "bring up the folders above a copy".to_owned())
    }
}

/// The first names of these paths.
pub(crate) fn first_names<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    paths
        .filter_map(|path| path.split('/').next())
        .map(str::to_owned)
        .collect()
}
