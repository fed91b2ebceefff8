//! What earlier builds of a recipe left to this one: which steps they looked for, so that a step that is not
//! found can say what has changed. Not its job: comparing keys (`explain`), and the cache.
//!
//! `STORE/builds/HEX.json`, HEX for the recipe's place: one short file for each recipe, of the newest recipes
//! alone. It is only ever used for words: nothing is taken from the cache because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use image::Store;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::at::{self, AtFlags};
use sys::file::{self, Durability};

use crate::bases::Bases;
use crate::cache::{Cache, Key};
use crate::error::{Doing, Error, Result};
use crate::explain::{Around, differences};
use crate::fingerprint::{field, hex};
use crate::instruction::{Kind, Recipe};
use crate::plan::{Plan, StagePlan};
use crate::request::{Context, Options};
use crate::stages::{self, Base};

/// Of so many recipes it is known what their last build looked for.
const RECIPES: usize = 200;

/// No more reasons are told.
const MOST: usize = 40;

/// A larger file is none of ours.
const LARGEST: u64 = 16 << 20;

/// What a build looked for.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Trace {
    steps: Vec<Looked>,
    /// The id of each stage's base image, by the stage's number and what the recipe calls the image.
    bases: BTreeMap<String, String>,
}

/// A step that was looked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Looked {
    /// The stage's name, or its number.
    stage: String,
    /// Its place among the steps of the stage.
    place: usize,
    text: String,
    /// The name of its entry in the cache.
    key: String,
}

/// What is known of earlier builds, and what is to be known of this one.
pub(crate) struct Before {
    folder: PathBuf,
    name: String,
    last: Trace,
    now: Trace,
    arguments: BTreeSet<String>,
    /// Stages that take nothing from the cache, by their numbers; `None` for all.
    anew: Option<BTreeSet<usize>>,
}

impl Before {
    /// Reads what the last build of this recipe left. What can't be read is as if there was none.
    pub(crate) fn read(
        store: &Store,
        options: &Options,
        recipe: &Recipe,
        plan: &Plan,
        bases: &Bases<'_>,
    ) -> Result<Self> {
        let folder = store.path().join("builds");
        let name = name(options);
        let last = file::read(folder.join(&name), LARGEST)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut now = Trace::default();
        for stage in &plan.stages {
            if let Base::Image(image) = &stage.base {
                let id = bases.found(image, stage.platform.as_ref())?.id.to_string();
                now.bases.insert(base_of(stage, image), id);
            }
        }
        let instructions = recipe.stages.iter().flat_map(|stage| &stage.instructions);
        let declared = instructions.filter_map(|instruction| match &instruction.kind {
            Kind::Arg(arguments) => Some(arguments),
            _ => None,
        });
        let declared = recipe.globals.iter().chain(declared.flatten());
        let anew = options.no_cache_filter.iter().map(|name| {
            stages::target(recipe, Some(name)).map_err(|why| Error::Target {
                why: format!("--no-cache-filter: {why}"),
            })
        });
        Ok(Self {
            anew: match options.no_cache {
                true => None,
                false => Some(anew.collect::<Result<_>>()?),
            },
            folder,
            name,
            last: last.unwrap_or_default(),
            now,
            arguments: declared.map(|argument| argument.name.clone()).collect(),
        })
    }

    /// Whether a stage takes nothing from the cache.
    pub(crate) fn anew(&self, stage: &StagePlan) -> bool {
        self.anew
            .as_ref()
            .is_none_or(|stages| stages.contains(&stage.index))
    }

    /// Notes what a step looked for.
    pub(crate) fn note(&mut self, stage: &StagePlan, place: usize, key: String) {
        self.now.steps.push(Looked {
            stage: called(stage),
            place,
            text: stage.steps[place].text.clone(),
            key,
        });
    }

    /// Why the cache does not have what this key stands for.
    pub(crate) fn why(
        &self,
        cache: &Cache<'_>,
        stage: &StagePlan,
        place: usize,
        key: &Key,
    ) -> Vec<String> {
        if cache.write_only {
            return vec!["all steps of the stage are to be done anew".to_owned()];
        }
        if self.last.steps.is_empty() {
            return vec!["no earlier build of this recipe is known".to_owned()];
        }
        let text = &stage.steps[place].text;
        let Some(near) = self.nearest(&called(stage), place, text) else {
            return vec!["the step is new".to_owned()];
        };
        let mut why = Vec::new();
        if near.text != *text {
            let before = near.text.lines().next().unwrap_or_default();
            why.push(format!("the instruction was {before}"));
        }
        match cache.key(&near.key) {
            Some(old) => {
                let around = Around {
                    arguments: &self.arguments,
                    below: self.below(stage),
                };
                why.extend(differences(&old, key, &around));
                if why.is_empty() {
                    why.push("the layer that it left is not in the store any more".to_owned());
                }
            }
            None => why.push("what it left before was pruned, or never finished".to_owned()),
        }
        // It is told in one message.
        why.truncate(MOST);
        why
    }

    /// The step of the last build that this one most likely was: the same text in the same stage, or the
    /// same place and kind of instruction there.
    fn nearest(&self, stage: &str, place: usize, text: &str) -> Option<&Looked> {
        let verb = |text: &str| text.split(' ').next().map(str::to_owned);
        let there = || self.last.steps.iter().filter(|step| step.stage == stage);
        there()
            .filter(|step| step.text == text)
            .min_by_key(|step| step.place.abs_diff(place))
            .or_else(|| there().find(|step| step.place == place && verb(&step.text) == verb(text)))
    }

    /// What is to be said of other layers below a step.
    fn below(&self, stage: &StagePlan) -> String {
        if let Base::Image(image) = &stage.base {
            let base = base_of(stage, image);
            if let (Some(was), Some(is)) = (self.last.bases.get(&base), self.now.bases.get(&base))
                && was != is
            {
                let short = |id: &String| id.chars().take(19).collect::<String>();
                return format!("base image {image} moved: {} -> {}", short(was), short(is));
            }
        }
        "a step before it was done anew".to_owned()
    }

    /// Leaves what was looked for to the next build. Steps that were not come to stay as they were.
    pub(crate) fn keep(mut self) -> Result<()> {
        let now = &mut self.now.steps;
        let missed = self.last.steps.into_iter().filter(|old| {
            !now.iter().any(|new| {
                new.stage == old.stage && (new.place == old.place || new.text == old.text)
            })
        });
        let missed: Vec<Looked> = missed.collect();
        now.extend(missed);
        let doing = || "note the steps of the build".to_owned();
        file::create_dir_all(&self.folder, 0o700).doing(doing)?;
        let dir = file::open_dir(&self.folder).doing(doing)?;
        let bytes = serde_json::to_vec(&self.now).unwrap_or_default();
        file::replace(&dir, &self.name, &bytes, 0o600, Durability::Memory).doing(doing)?;
        let mut all = Vec::new();
        for (name, _) in file::list(&dir).doing(doing)? {
            if let Ok(stat) = at::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                all.push((stat.st_mtime, name));
            }
        }
        all.sort();
        for (_, name) in all.iter().take(all.len().saturating_sub(RECIPES)) {
            // Another build may have done it.
            let _gone = at::unlinkat(&dir, name, AtFlags::empty());
        }
        Ok(())
    }
}

/// How a stage is known from build to build.
fn called(stage: &StagePlan) -> String {
    stage
        .name
        .clone()
        .unwrap_or_else(|| stage.index.to_string())
}

fn base_of(stage: &StagePlan, image: &str) -> String {
    format!("{} {image}", called(stage))
}

/// The name of a recipe's file: for its place, whatever it says.
fn name(options: &Options) -> String {
    let mut hasher = Sha256::new();
    let path = |path: &PathBuf| std::path::absolute(path).unwrap_or_default();
    let context = match &options.context {
        Context::Folder(folder) | Context::Archive(folder) => path(folder),
        Context::Input => PathBuf::from("-"),
        Context::Address(address) => PathBuf::from(address),
    };
    field(&mut hasher, context.as_os_str().as_encoded_bytes());
    let file = options.file.as_ref().map(path).unwrap_or_default();
    field(&mut hasher, file.as_os_str().as_encoded_bytes());
    let target = options.settings.target.as_deref().unwrap_or_default();
    field(&mut hasher, target.as_bytes());
    format!("{}.json", hex(&hasher.finalize()))
}
