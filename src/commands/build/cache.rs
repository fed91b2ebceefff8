//! The flags that say what is taken from the cache. Not its job: the cache.

/// What is taken from the cache.
#[derive(Debug, clap::Args)]
pub(super) struct Cache {
    /// Do every step anew
    #[arg(long)]
    pub(super) no_cache: bool,
}
