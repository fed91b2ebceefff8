//! The store for who only asks about a recipe: opened when the recipe wants it, not before. Not its job: what is asked.

use image::Store;

use crate::global::Global;
use crate::report::{Failure, because};

/// How the store is had.
pub(super) type Open<'a> = dyn FnMut() -> Result<Store, image::Error> + 'a;

/// Asks; a store that has no place is a fault only where one is wanted.
pub(super) fn ask<T>(
    global: &Global,
    about: impl FnOnce(&mut Open<'_>) -> builder::Result<T>,
) -> Result<T, Failure> {
    let mut open = || match global.image_store() {
        Ok(path) => Store::open(&path),
        Err(failure) => Err(image::Error::Refused {
            what: "ask for a base image".to_owned(),
            rule: failure.to_string(),
        }),
    };
    about(&mut open).map_err(because)
}
