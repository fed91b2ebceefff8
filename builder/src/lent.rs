//! `--cache-from`: steps that this one build takes on the word of other caches. Their records stay in memory and a
//! layer comes when its step is due; no entry of our own cache is made of them, so no other build takes them. A cache
//! that can't be reached is a warning. Not its job: how layers come (image), what a cache's image looks like (`carry`).

use std::collections::HashMap;

use image::registry::Access;
use image::{Digest, Lent as Lends, Store};

use crate::cache::Outcome;
use crate::carry;
use crate::error::{Doing, Error, Result};
use crate::request::{Event, Options};

/// Caches may speak of no more steps together.
const STEPS: usize = 200_000;

/// What the caches know.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    lenders: Vec<Lends>,
    /// By the digest of a step's key: who knows the step, and the layer that it leaves.
    steps: HashMap<String, (usize, Option<Digest>)>,
}

impl Lent {
    /// Asks the caches that the person names. Of two that know a step the first counts.
    pub(crate) fn ask(store: &Store, options: &Options, tell: &mut dyn FnMut(Event<'_>)) -> Self {
        let mut lent = Self::default();
        if options.no_cache {
            return lent;
        }
        for lender in &options.cache_from {
            let asked = store
                .lent(lender, &options.access)
                .doing(|| "the cache is not used".to_owned())
                .and_then(|found| lent.add(found));
            if let Err(error) = asked {
                let text = format!("--cache-from {lender}: {}", runtime::chain(&error));
                tell(Event::Warning(&text));
            }
        }
        lent
    }

    fn add(&mut self, found: Lends) -> Result<()> {
        let number = self.lenders.len();
        let mut carried = Err(Error::Refused("it holds no image".to_owned()));
        for config in &found.configs {
            match carry::carrying(config) {
                Ok(carrying) => {
                    for (key, layer) in carrying.steps {
                        if self.steps.len() < STEPS {
                            self.steps.entry(key).or_insert((number, layer));
                        }
                    }
                    carried = Ok(());
                }
                Err(error) if carried.is_err() => carried = Err(error),
                Err(_) => {}
            }
        }
        self.lenders.push(found);
        carried
    }

    /// What a step leaves, by the digest of its key; a layer that the store lacks is brought here.
    ///
    /// # Errors
    /// If the layer can't be had: the step must be done then.
    pub(crate) fn find(
        &self,
        store: &Store,
        access: &Access,
        key: &str,
    ) -> Result<Option<Outcome>> {
        let Some((lender, layer)) = self.steps.get(key) else {
            return Ok(None);
        };
        let Some(diff_id) = *layer else {
            return Ok(Some(Outcome::Nothing));
        };
        let doing = || "the cache is not used".to_owned();
        let layer = match store.layer(diff_id).doing(doing)? {
            Some(layer) => layer,
            None => {
                let lender = &self.lenders[*lender];
                let borrowed = store.borrow_layer(lender, access, diff_id);
                // It came by several threads; what follows needs a process of one.
                sys::process::outlive_threads().doing(doing)?;
                borrowed.doing(doing)?
            }
        };
        Ok(Some(Outcome::Layer(layer)))
    }
}
