//! Images elsewhere that lend single layers: what they say of themselves is read first, and a layer comes when it is
//! asked for, checked as that of any image. Not its job: which layer is asked for, and whether it may be.

use std::collections::HashMap;
use std::path::PathBuf;

use sys::file::Lock;

use super::gather::Ready;
use super::{Layer, Store};
use crate::offer::{Offer, offers};
use crate::registry::{self, Access};
use crate::source::Source;
use crate::{Digest, Error, Reference, Result};

/// Where images are that lend layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lender {
    /// In a registry.
    Registry(Reference),
    /// In the folder of an OCI layout, or an archive, and which of its images: by tag or name; all without.
    Path(PathBuf, Option<String>),
}

/// What a lender has.
#[derive(Debug, Clone)]
pub struct Lent {
    /// The lender, at what it has now: a tag that moves changes nothing.
    pub lender: Lender,
    /// The configs of its images.
    pub configs: Vec<Vec<u8>>,
}

impl std::fmt::Display for Lender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(name) => write!(f, "{}", name.familiar()),
            Self::Path(path, None) => write!(f, "{}", path.display()),
            Self::Path(path, Some(tag)) => write!(f, "{}:{tag}", path.display()),
        }
    }
}

impl Store {
    /// What a lender has, without any layer.
    ///
    /// # Errors
    /// Names what can't be read there.
    pub fn lent(&self, lender: &Lender, access: &Access) -> Result<Lent> {
        let (lender, offers) = self
            .offers_of(lender, access)
            .map_err(|e| e.inside(format!("look at {lender}")))?;
        Ok(Lent {
            lender,
            configs: offers.into_iter().map(|offer| offer.config).collect(),
        })
    }

    /// Brings the layer `diff_id` from a lender, which must be held ([`Store::hold_for_build`]): nothing refers to it.
    ///
    /// # Errors
    /// If the lender has no such layer any more, or it is not what it must be.
    pub fn borrow_layer(&self, lent: &Lent, access: &Access, diff_id: Digest) -> Result<Layer> {
        let doing = || format!("take layer {diff_id} from {}", lent.lender);
        self.borrow(lent, access, diff_id)
            .map_err(|e| e.inside(doing()))
    }

    fn borrow(&self, lent: &Lent, access: &Access, diff_id: Digest) -> Result<Layer> {
        let (_, offers) = self.offers_of(&lent.lender, access)?;
        let lacking = || Error::refused("the lender", "it has no such layer");
        let offer = offers.into_iter().find_map(|mut offer| {
            offer.layers.retain(|layer| layer.diff_id == diff_id);
            offer.layers.truncate(1);
            (!offer.layers.is_empty()).then_some(offer)
        });
        let offers = [offer.ok_or_else(lacking)?];
        let work = self.work()?;
        loop {
            self.hold_offered(&work, &offers)?;
            let mut new = HashMap::new();
            let ready = self.layers_of(&work, &offers[0], &mut new)?;
            if !new.is_empty() {
                work.sync()?;
            }
            let _lock = self.lock(Lock::Exclusive)?;
            // Else a layer was removed by another process between our look and our publication.
            if self.are_present(&ready)? {
                let (blobs, layers) = pieces(&ready);
                self.publish(&work, &blobs, &layers)?;
                for known in ready
                    .iter()
                    .filter(|r| r.layer.is_none() && r.blob.is_some())
                {
                    self.add_blob(known)?;
                }
                // One that hangs on the layers below it is none that a step has left.
                return self.layer(diff_id)?.ok_or_else(lacking);
            }
        }
    }

    fn offers_of(&self, lender: &Lender, access: &Access) -> Result<(Lender, Vec<Offer>)> {
        match lender {
            Lender::Registry(name) => {
                let (name, offer) = registry::offer(name, access)?;
                Ok((Lender::Registry(name), vec![offer]))
            }
            Lender::Path(path, only) => {
                let work = self.work()?;
                let files = Source::Path(path.clone()).open(&work.path, None)?;
                let mut offers = offers(&files, None)?;
                if let Some(wanted) = only {
                    offers.retain(|offer| offer.names.iter().any(|name| name.is_called(wanted)));
                }
                Ok((lender.clone(), offers))
            }
        }
    }
}

/// Names in a work directory, with what they become in the store.
type Pieces<T> = Vec<(String, T)>;

/// What of layers is new.
pub(super) fn pieces(ready: &[Ready]) -> (Pieces<Digest>, Pieces<String>) {
    let blobs = ready.iter().filter_map(|ready| {
        let blob = ready.kept.blobs.first()?;
        Some((ready.blob.clone()?, blob.digest))
    });
    let layers = ready
        .iter()
        .filter_map(|ready| Some((ready.layer.clone()?, ready.key.clone())));
    (blobs.collect(), layers.collect())
}
