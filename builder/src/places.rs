//! All contexts of a build: the one without a name, and those of the others that are needed. Not its job: getting one
//! (`context`).

use std::collections::BTreeMap;

use image::Store;

use crate::context::{Files, For, files};
use crate::error::{Error, Result};
use crate::graph;
use crate::material::Material;
use crate::plan::Plan;
use crate::request::Options;
use crate::stages::Origin;
use crate::tree::Tree;

/// All contexts of a build.
pub(crate) struct Places {
    /// The one without a name.
    pub(crate) own: Files,
    /// The others, as far as they are needed.
    named: BTreeMap<String, Files>,
}

impl Places {
    /// Gets those at hand that the plan needs.
    ///
    /// # Errors
    /// As [`files`].
    pub(crate) fn of(own: Files, options: &Options, plan: &Plan, store: &Store) -> Result<Self> {
        let contexts = &options.settings.contexts;
        let mut named = BTreeMap::new();
        let origins = plan.stages.iter().flat_map(|stage| &stage.steps);
        for origin in origins.flat_map(graph::origins) {
            if let Origin::Named(name) = origin
                && let Some(context) = contexts.files(name)
                && !named.contains_key(name)
            {
                named.insert(name.clone(), files(context, options, || Ok(store))?);
            }
        }
        Ok(Self { own, named })
    }

    /// What came from servers: the own context first, then the others by their names.
    pub(crate) fn materials(&self) -> impl Iterator<Item = &Material> {
        let named = self.named.values();
        [&self.own]
            .into_iter()
            .chain(named)
            .filter_map(Files::material)
    }

    /// Whether one of them is of this host.
    pub(crate) fn any_local(&self) -> bool {
        let mut all = [&self.own].into_iter().chain(self.named.values());
        all.any(|files| files.material().is_none())
    }

    /// Opens the files of a named one. Only an ignore file of its own, `.dockerignore`, counts.
    ///
    /// # Errors
    /// As [`Files::tree`].
    pub(crate) fn named(&self, name: &str) -> Result<Tree> {
        match self.named.get(name) {
            Some(files) => files.seen(&For::Name(name)),
            None => Err(Error::Refused(format!("context {name:?} is not at hand"))),
        }
    }
}
