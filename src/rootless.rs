//! Opens the images' store where files of many owners are made or removed in it: as root, or as root of a user
//! namespace of one's own. Not its job: making that namespace (runtime).

use image::{OwnerPolicy, Store};
use runtime::rootless::{Ids, become_root, become_root_alone};

use crate::global::Global;
use crate::log::{self, Level};
use crate::report::{Failure, because};

/// Opens the store. Without root we go on in another process, which is root of a user namespace: whatever depends
/// on who calls us must have been asked for before.
pub(crate) fn store(global: &Global) -> Result<Store, Failure> {
    let path = global.image_store()?;
    if sys::privileges::is_root() {
        return Store::open(&path).map_err(because);
    }
    let owners = match become_root()? {
        Ids::Many => OwnerPolicy::AsRecorded,
        Ids::One => OwnerPolicy::Single,
    };
    Store::open_with(&path, owners).map_err(because)
}

/// Opens the store to read layers and trees that are the caller's own: without root their folders and files may have
/// modes that shut out their owner (RHEL's /etc/shadow has none at all), and root of a namespace reads them. Where the
/// host allows no such namespace, it is done with the rights that there are.
pub(crate) fn reader(global: &Global) -> Result<Store, Failure> {
    let path = global.image_store()?;
    if sys::privileges::is_root() {
        return Store::open(&path).map_err(because);
    }
    if let Err(e) = become_root_alone() {
        log::tell(Level::Debug, format_args!("{}", runtime::chain(&e)));
    }
    Store::open_with(&path, OwnerPolicy::Single).map_err(because)
}
