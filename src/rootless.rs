//! Opens the images' store where files of many owners are made or removed in it: as root, or as root of a user
//! namespace of one's own. Not its job: making that namespace (runtime).

use image::{OwnerPolicy, Store};
use runtime::rootless::{Ids, become_root};

use crate::global::Global;
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
