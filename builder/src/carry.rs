//! The build cache on its way to another store: as an image, whose layers are what steps left and whose config
//! says which steps. So it is an ordinary archive, registries take it, and its way into a store is that of any
//! image, every digest checked. Not its job: archives and registries.
//!
//! Of a step there is only the digest of its key: values of ARGs and scripts stay here. Whoever imports it believes
//! that those steps leave these layers; nobody finds them who does not have the same key.

use std::collections::{BTreeMap, BTreeSet};

use image::{Digest, Image, Layer, Lease, Removal, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cache::{Cache, Outcome, is_digest};
use crate::error::{Doing, Error, Result};

/// A manifest holds no more layers.
const LAYERS: usize = 500;

/// A config may be 4 MiB; a step takes some 170 bytes of it.
const STEPS: usize = 20_000;

/// The field of the config.
const FIELD: &str = "dhow.cache";

/// A cache that is on its way out; the image is gone from the store when it is dropped.
#[derive(Debug)]
pub struct Carried<'a> {
    store: &'a Store,
    /// The image that carries it.
    pub image: Image,
    /// How many steps it has.
    pub steps: usize,
    /// How many had no room in it, those of longest ago.
    pub left_out: usize,
    _lease: Lease,
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        // One that stays has no name: the next pruning takes it.
        let _stays = self
            .store
            .remove(&self.image.id.to_string(), Removal::Careful);
    }
}

/// What a config says of steps: by the digest of the key, the diff id of the layer if one came of it.
#[derive(Debug, Serialize, Deserialize)]
struct Carrying {
    version: u32,
    steps: BTreeMap<String, Option<Digest>>,
}

/// Makes an image of the cache. The same steps give the same image.
///
/// # Errors
/// If the store can't be read or written.
pub fn export(store: &Store) -> Result<Carried<'_>> {
    let lease = Cache::hold(store)?;
    let cache = Cache::new(store, false);
    let mut steps = BTreeMap::new();
    let mut layers: BTreeMap<Digest, Layer> = BTreeMap::new();
    let mut left_out = 0;
    for digest in cache.newest()? {
        let layer = match cache.left(&digest)? {
            Some(Outcome::Layer(layer)) => Some(layer),
            Some(Outcome::Nothing) => None,
            None => continue,
        };
        let known = layer
            .as_ref()
            .is_none_or(|layer| layers.contains_key(&layer.diff_id));
        if steps.len() == STEPS || (!known && layers.len() == LAYERS) {
            left_out += 1;
            continue;
        }
        steps.insert(digest, layer.as_ref().map(|layer| layer.diff_id));
        if let Some(layer) = layer {
            layers.insert(layer.diff_id, layer);
        }
    }
    let layers: Vec<Layer> = layers.into_values().collect();
    let count = steps.len();
    let config = config(&Carrying { version: 1, steps }, &layers);
    let image = store
        .commit_image(&config, &layers, &[])
        .doing(|| "make an image of the build cache".to_owned())?;
    Ok(Carried {
        store,
        image,
        steps: count,
        left_out,
        _lease: lease,
    })
}

fn config(carrying: &Carrying, layers: &[Layer]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    let config = json!({
        "architecture": crate::plan::architecture(),
        "os": "linux",
        "created": crate::commit::timestamp(0),
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        FIELD: carrying,
    });
    // Strings and digests always can be written.
    serde_json::to_vec(&config).unwrap_or_default()
}

/// Takes the steps of an image that carries a cache, and the image away if it has no name. Gives how many steps
/// the cache did not have.
///
/// # Errors
/// If the image carries none, or steps that its layers do not bear out.
pub fn import(store: &Store, image: &Image) -> Result<usize> {
    // Held until the image is gone: its layers are the steps' now.
    let _lease = Cache::hold(store)?;
    let taken = take(store, image);
    if image.names.is_empty() {
        store
            .remove(&image.id.to_string(), Removal::Careful)
            .doing(|| "take away the image of the build cache".to_owned())?;
    }
    taken
}

fn take(store: &Store, image: &Image) -> Result<usize> {
    let carrying = carrying(&image.config)?;
    let cache = Cache::new(store, false);
    let known: BTreeSet<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let mut added = 0;
    for (digest, layer) in &carrying.steps {
        if layer.is_some_and(|layer| !known.contains(&layer)) {
            return Err(Error::Refused(format!(
                "the build cache: step {digest:?} has a layer that the image lacks"
            )));
        }
        added += usize::from(cache.admit(digest, *layer)?);
    }
    Ok(added)
}

/// Reads what a config says of steps.
fn carrying(config: &[u8]) -> Result<Carrying> {
    let refuse = |why: String| Error::Refused(format!("the build cache: {why}"));
    let mut config: Value = serde_json::from_slice(config).map_err(|e| refuse(e.to_string()))?;
    let Some(field) = config.get_mut(FIELD).map(Value::take) else {
        return Err(refuse("it is an image that carries none".to_owned()));
    };
    let carrying: Carrying = serde_json::from_value(field).map_err(|e| refuse(e.to_string()))?;
    if carrying.version != 1 {
        return Err(refuse(format!(
            "its version is {}, not 1",
            carrying.version
        )));
    }
    match carrying.steps.keys().find(|name| !is_digest(name)) {
        Some(name) => Err(refuse(format!("{name:?} is no digest of a step"))),
        None => Ok(carrying),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_no_cache_is_refused_by_what_is_wrong() {
        let step = "a".repeat(64);
        let good = format!(r#"{{"dhow.cache":{{"version":1,"steps":{{"{step}":null}}}}}}"#);
        assert_eq!(carrying(good.as_bytes()).unwrap().steps.len(), 1);
        for (text, why) in [
            ("{}", "it is an image that carries none"),
            (
                r#"{"dhow.cache":{"version":2,"steps":{}}}"#,
                "its version is 2, not 1",
            ),
            (
                r#"{"dhow.cache":{"version":1,"steps":{"../x":null}}}"#,
                "\"../x\" is no digest of a step",
            ),
        ] {
            let error = carrying(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("the build cache: {why}"));
        }
        let odd = good.replace("null", "\"sha256:1\"");
        assert!(carrying(odd.as_bytes()).is_err());
    }
}
