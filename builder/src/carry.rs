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
use crate::course::Record;
use crate::error::{Doing, Error, Result};
use crate::passing::{self, Passing};
use crate::plan::Plan;
use crate::stages::Base;

/// A manifest holds no more layers.
const LAYERS: usize = 500;

/// A config may be 4 MiB; a step takes some 170 bytes of it.
const STEPS: usize = 20_000;

/// The field of the config.
pub(crate) const FIELD: &str = "dhow.cache";

/// Which steps of a build a cache has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those whose layers are in the image.
    Image,
    /// Those of all stages.
    All,
}

/// The steps of a build.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// Those of the target and of the stages that it stands on.
    image: Vec<Record>,
    others: Vec<Record>,
}

/// Sorts a build's steps by whether the image has their layers.
pub(crate) fn steps(plan: &Plan, records: &[Record]) -> Steps {
    let mut chain = Vec::new();
    let mut next = plan.stages.last().map(|stage| stage.index);
    while let Some(index) = next {
        chain.push(index);
        let stage = plan.stages.iter().find(|stage| stage.index == index);
        next = stage.and_then(|stage| match stage.base {
            Base::Stage(earlier) => Some(earlier),
            _ => None,
        });
    }
    let (image, others) = records
        .iter()
        .cloned()
        .partition(|record| chain.contains(&record.stage));
    Steps { image, others }
}

/// A cache that is on its way out.
#[derive(Debug)]
pub struct Carried<'a> {
    /// The image that carries it.
    pub image: Passing<'a>,
    /// How many steps it has.
    pub steps: usize,
    /// How many had no room in it, those of longest ago.
    pub left_out: usize,
}

/// What a config says of steps: by the digest of the key, the diff id of the layer if one came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Carrying {
    version: u32,
    pub(crate) steps: BTreeMap<String, Option<Digest>>,
}

/// Makes an image of the cache. The same steps give the same image.
///
/// # Errors
/// If the store can't be read or written.
pub fn export(store: &Store) -> Result<Carried<'_>> {
    let lease = Cache::hold(store)?;
    let cache = Cache::new(store, false);
    let mut packed = Packed::default();
    for digest in cache.newest()? {
        match cache.left(&digest)? {
            Some(Outcome::Layer(layer)) => packed.add(digest, Some(layer)),
            Some(Outcome::Nothing) => packed.add(digest, None),
            None => {}
        }
    }
    packed.carried(store, lease)
}

/// Makes an image of one build's steps.
pub(crate) fn carried<'a>(store: &'a Store, steps: &Steps, extent: Extent) -> Result<Carried<'a>> {
    let lease = Cache::hold(store)?;
    let others = steps.others.iter().filter(|_| extent == Extent::All);
    let mut packed = Packed::default();
    for record in steps.image.iter().chain(others) {
        packed.add(record.key.clone(), record.layer.clone());
    }
    packed.carried(store, lease)
}

/// Lets an image itself say which steps have left its layers.
pub(crate) fn inline(config: &mut Vec<u8>, steps: &Steps, layers: &[Layer]) {
    let there = |record: &&Record| {
        let layer = record.layer.as_ref();
        layer.is_none_or(|layer| layers.iter().any(|one| one.diff_id == layer.diff_id))
    };
    let steps = steps.image.iter().filter(there).map(|record| {
        let layer = record.layer.as_ref().map(|layer| layer.diff_id);
        (record.key.clone(), layer)
    });
    let carrying = Carrying {
        version: 1,
        steps: steps.take(STEPS).collect(),
    };
    if let Ok(mut fields) = serde_json::from_slice::<serde_json::Map<String, Value>>(config) {
        fields.insert(FIELD.to_owned(), json!(carrying));
        // Strings and digests always can be written.
        *config = serde_json::to_vec(&fields).unwrap_or_default();
    }
}

/// Steps that go into one image, with their layers.
#[derive(Default)]
struct Packed {
    steps: BTreeMap<String, Option<Digest>>,
    layers: BTreeMap<Digest, Layer>,
    left_out: usize,
}

impl Packed {
    fn add(&mut self, key: String, layer: Option<Layer>) {
        let known = layer
            .as_ref()
            .is_none_or(|layer| self.layers.contains_key(&layer.diff_id));
        if self.steps.len() == STEPS || (!known && self.layers.len() == LAYERS) {
            self.left_out += 1;
            return;
        }
        self.steps
            .insert(key, layer.as_ref().map(|layer| layer.diff_id));
        if let Some(layer) = layer {
            self.layers.insert(layer.diff_id, layer);
        }
    }

    fn carried(self, store: &Store, lease: Lease) -> Result<Carried<'_>> {
        let layers: Vec<Layer> = self.layers.into_values().collect();
        let carrying = Carrying {
            version: 1,
            steps: self.steps,
        };
        Ok(Carried {
            steps: carrying.steps.len(),
            image: Passing::made(store, lease, (FIELD, json!(carrying)), &layers)?,
            left_out: self.left_out,
        })
    }
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
pub(crate) fn carrying(config: &[u8]) -> Result<Carrying> {
    const WHAT: &str = "the build cache";
    let refuse = |why: String| Error::Refused(format!("{WHAT}: {why}"));
    let field = passing::carried(config, FIELD, WHAT)?;
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
