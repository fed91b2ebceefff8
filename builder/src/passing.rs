//! Images that are in the store only on their way to or from another place: their config has a field of ours that says
//! what their layers carry. Not their job: what that is (`carry`, `caches`).

use std::ops::Deref;

use image::{Digest, Image, Layer, Lease, Removal, Store};
use serde_json::{Value, json};

use crate::cache::Cache;
use crate::error::{Doing, Error, Result};

/// An image on its way; it is gone from the store when this is dropped, unless it has a name.
#[derive(Debug)]
pub struct Passing<'a> {
    store: &'a Store,
    image: Image,
    _lease: Lease,
}

impl Deref for Passing<'_> {
    type Target = Image;

    fn deref(&self) -> &Image {
        &self.image
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if self.image.names.is_empty() {
            // One that stays has no name: the next pruning takes it.
            let _stays = self
                .store
                .remove(&self.image.id.to_string(), Removal::Careful);
        }
    }
}

impl<'a> Passing<'a> {
    /// Makes an image of these layers whose config has this field. The same ones give the same image.
    pub(crate) fn made(
        store: &'a Store,
        lease: Lease,
        (name, value): (&str, Value),
        layers: &[Layer],
    ) -> Result<Self> {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let config = json!({
            "architecture": crate::platform::native(),
            "os": "linux",
            "created": crate::commit::timestamp(0),
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            name: value,
        });
        // Strings and digests always can be written.
        let config = serde_json::to_vec(&config).unwrap_or_default();
        let image = store
            .commit_image(&config, layers, &[])
            .doing(|| "make an image of a cache".to_owned())?;
        Ok(Self {
            store,
            image,
            _lease: lease,
        })
    }

    /// One that came.
    pub(crate) fn came(store: &'a Store, image: Image) -> Result<Self> {
        let lease = Cache::hold(store)?;
        Ok(Self {
            store,
            image,
            _lease: lease,
        })
    }
}

/// What the field of a config says; `what` is what it carries, for who reads why it is refused.
pub(crate) fn carried(config: &[u8], name: &str, what: &str) -> Result<Value> {
    let refuse = |why: String| Error::Refused(format!("{what}: {why}"));
    let mut config: Value = serde_json::from_slice(config).map_err(|e| refuse(e.to_string()))?;
    let field = config.get_mut(name).map(Value::take);
    field.ok_or_else(|| refuse("it is an image that carries none".to_owned()))
}
