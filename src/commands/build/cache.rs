//! The flags that say what is taken from the cache, and what from registries. Not its job: the cache.

use super::super::pull::Registry;

/// What is taken from the cache and from registries.
#[derive(Debug, clap::Args)]
pub(super) struct Cache {
    /// Do every step anew
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Do every step of this stage anew; may be given several times
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(super) no_cache_filter: Vec<String>,
    /// Say of each step that is done why the cache did not have it
    #[arg(long)]
    pub(super) explain: bool,
    /// Ask registries for images that the store has, too
    #[arg(long)]
    pub(super) pull: bool,
    #[command(flatten)]
    pub(super) registry: Registry,
}
