//! Brings an image from a registry into a store: what the store has is not asked for, and what comes is
//! hashed, inflated and unpacked while it comes. Not its job: the requests, and the store's order of things.

use std::sync::Arc;

use super::Access;
use super::client::Scope;
use super::repository::Tagged;
use crate::manifest::{self, Platform};
use crate::offer::{self, Offer};
use crate::store::{LoadOptions, Loaded, Names, Store};
use crate::watch::Watch;
use crate::{Digest, Error, Reference, Result};

/// How an image is pulled.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// For another platform than this host's.
    pub platform: Option<Platform>,
    /// Who is told of it while it runs.
    pub watch: Option<Watch>,
    /// The image gets no name: it is for whoever pulls it.
    pub nameless: bool,
}

/// An image that was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// The image in the store.
    pub loaded: Loaded,
    /// The digest that the registry knows it by: of its index, if it has one.
    pub digest: Digest,
}

impl Store {
    /// Brings the image `name` here and gives it its tag; another image that had it loses it.
    ///
    /// # Errors
    /// Names what was asked of whom, and what is wrong with the answer. Nothing has changed then.
    pub fn pull(&self, name: &Reference, access: &Access, options: &PullOptions) -> Result<Pulled> {
        self.pull_from(name, access, options)
            .map_err(|e| e.inside(format!("pull {}", name.familiar())))
    }

    fn pull_from(
        &self,
        name: &Reference,
        access: &Access,
        options: &PullOptions,
    ) -> Result<Pulled> {
        let tagged = tagged(name, access, options.watch.clone())?;
        let platform = options.platform.clone().unwrap_or_else(manifest::host);
        let mut offer = offer::image(&tagged, &tagged.descriptor, &platform)?;
        if options.platform.is_some() {
            check_platform(&offer.config, &platform)?;
        }
        if !options.nameless {
            offer.names = name.tagged().into_iter().collect();
        }
        let load = LoadOptions {
            names: Names::Move,
            // Another platform's image is not what others mean who ask for the same index.
            index: options
                .platform
                .is_none()
                .then_some(tagged.descriptor.digest),
            ..LoadOptions::default()
        };
        let mut loaded = self.load_offers(&self.work()?, vec![offer], &load)?;
        let loaded = loaded
            .pop()
            .ok_or_else(|| crate::source::missing("the image"))?;
        Ok(Pulled {
            loaded,
            digest: tagged.descriptor.digest,
        })
    }
}

/// The config of the image `name` for a platform (this host's, if none is said), as its registry has it now; nothing else is brought.
///
/// # Errors
/// As [`Store::pull`].
pub fn config(name: &Reference, access: &Access, platform: Option<Platform>) -> Result<Vec<u8>> {
    let doing = || format!("ask for {}", name.familiar());
    let tagged = tagged(name, access, None).map_err(|e| e.inside(doing()))?;
    let platform = platform.unwrap_or_else(manifest::host);
    let offer = offer::image(&tagged, &tagged.descriptor, &platform);
    Ok(offer.map_err(|e| e.inside(doing()))?.config)
}

/// The image `name` for this platform, none of its layers brought yet; and its name by digest.
pub(crate) fn offer(name: &Reference, access: &Access) -> Result<(Reference, Offer)> {
    let tagged = tagged(name, access, None)?;
    let offer = offer::image(&tagged, &tagged.descriptor, &manifest::host())?;
    Ok((name.at(tagged.descriptor.digest), offer))
}

/// What a registry has under a name.
fn tagged(name: &Reference, access: &Access, watch: Option<Watch>) -> Result<Tagged> {
    let scope = Scope::Pull(name.path().to_owned());
    let repository = access.repository(name, scope, watch)?;
    Arc::new(repository).resolve(name)
}

/// An image that stands alone says in its config what it is for.
fn check_platform(config: &[u8], wanted: &Platform) -> Result<()> {
    let configuration = manifest::configuration(config)?;
    let (os, architecture) = (configuration.os(), configuration.architecture());
    let (os, architecture) = (os.to_string(), architecture.to_string());
    match os == wanted.os && architecture == wanted.architecture {
        true => Ok(()),
        false => Err(Error::refused(
            "the image",
            format!(
                "it is for {:?}, not for {wanted}",
                format!("{os}/{architecture}")
            ),
        )),
    }
}
