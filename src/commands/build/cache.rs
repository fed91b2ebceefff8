//! The flags that say what is taken from the cache, and what from registries. Not its job: the cache.

use image::Lender;

use super::super::pull::Registry;
use super::cache_places::{self, Target};
use crate::report::Failure;

/// What is taken from the cache and from registries.
#[derive(Debug, clap::Args)]
pub(super) struct Cache {
    /// Do every step anew
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Do every step of this stage anew; may be given several times
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(super) no_cache_filter: Vec<String>,
    /// Take steps that a cache elsewhere has: an image's name, type=registry,ref=NAME or type=local,src=PATH; may be
    /// given several times
    #[arg(long, value_name = "CACHE")]
    cache_from: Vec<String>,
    /// Bring the cache of this build there: type=registry,ref=NAME or type=local,dest=FOLDER with mode=min|max, or
    /// type=inline; may be given several times
    #[arg(long, value_name = "CACHE")]
    cache_to: Vec<String>,
    /// Say of each step that is done why the cache did not have it
    #[arg(long)]
    pub(super) explain: bool,
    /// Ask registries for images that the store has, too
    #[arg(long)]
    pub(super) pull: bool,
    #[command(flatten)]
    pub(super) registry: Registry,
}

impl Cache {
    /// Whose word is taken for steps.
    pub(super) fn lenders(&self) -> Result<Vec<Lender>, Failure> {
        let read = |text: &String| {
            cache_places::from(text)
                .map_err(|why| Failure::new(format!("--cache-from {text}: {why}")))
        };
        self.cache_from.iter().map(read).collect()
    }

    /// Where the build's cache goes.
    pub(super) fn targets(&self) -> Result<Vec<Target>, Failure> {
        let read = |text: &String| {
            cache_places::to(text).map_err(|why| Failure::new(format!("--cache-to {text}: {why}")))
        };
        self.cache_to.iter().map(read).collect()
    }
}
