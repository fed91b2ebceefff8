//! Brings the cache of a build to where `--cache-to` says. Not its job: the flag, and what a cache is (builder).

use super::cache_places::{Place, Target};
use super::deliver::Delivery;
use crate::commands::cache;
use crate::report::{Failure, because};

/// To all places, in their order.
pub(super) fn deliver(delivery: &Delivery<'_>, targets: &[Target]) -> Result<(), Failure> {
    for target in targets {
        match one(delivery, target) {
            Err(failure) if target.ignore_error => {
                delivery.aside.warn(&format!("--cache-to: {failure}"));
            }
            done => done?,
        }
    }
    Ok(())
}

fn one(delivery: &Delivery<'_>, target: &Target) -> Result<(), Failure> {
    // An inline one went with the image.
    let (false, Some(made)) = (target.place == Place::Inline, delivery.made.first()) else {
        return Ok(());
    };
    let carried = made.finished.carried(target.extent).map_err(because)?;
    if let Some(text) = cache::left_out(&carried) {
        delivery.aside.warn(&format!("--cache-to: {text}"));
    }
    match &target.place {
        Place::Inline => Ok(()),
        Place::Registry(name) => {
            let quiet = delivery.is_quiet();
            cache::push(delivery.store, &carried.image, name, delivery.access, quiet)
        }
        Place::Folder(path) => delivery
            .store
            .refresh_layout(std::slice::from_ref(&*carried.image), path)
            .map_err(because),
    }
}
