//! The flags that say what is taken from the cache, and what from registries. Not its job: the cache.

use super::super::pull::Registry;

/// What is taken from the cache and from registries.
#[derive(Debug, clap::Args)]
pub(super) struct Cache {
    /// Do every step anew
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Ask registries for images that the store has, too
    #[arg(long)]
    pub(super) pull: bool,
    #[command(flatten)]
    pub(super) registry: Registry,
}
