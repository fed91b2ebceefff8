//! What a build has made, and the ways out of it: an image of the store, files in a folder, a tar. Not its
//! job: making it, and what an archive or a registry wants.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use image::{Digest, Image, Layer, Lease, LinkOwners, Predicate, Reference, Store};
use sys::at::OFlags;
use sys::beneath::Root;

use crate::attest::{self, Attest, Beside, Said};
use crate::cache::Cache;
use crate::carry::{self, Carried, Extent, Steps};
use crate::error::{Doing, Result};
use crate::export;
use crate::ignore::Ignore;
use crate::layers::{empty, overlay};
use crate::provenance::Facts;
use crate::tree::{Owners, Tree};

/// The target stage after its last step. Nobody prunes its layers until it is dropped.
#[derive(Debug)]
pub struct Finished<'a> {
    store: &'a Store,
    config: Vec<u8>,
    layers: Vec<Layer>,
    /// What its steps have left, those of the last stage first.
    steps: Steps,
    /// How it came about.
    facts: Facts,
    _lease: Lease,
    _building: Lease,
}

impl<'a> Finished<'a> {
    /// Takes hold of what was made.
    pub(crate) fn new(
        store: &'a Store,
        config: Vec<u8>,
        layers: Vec<Layer>,
        (steps, facts): (Steps, Facts),
    ) -> Result<Self> {
        // Layers of other stages may be wanted for a cache.
        let building = Cache::hold(store)?;
        let lease = store.hold(&layers).doing(|| "hold the layers".to_owned())?;
        Ok(Self {
            store,
            config,
            layers,
            steps,
            facts,
            _lease: lease,
            _building: building,
        })
    }

    /// The cache of its steps as an image, for another place (`--cache-to`).
    ///
    /// # Errors
    /// If the store can't be written.
    pub fn carried(&self, extent: Extent) -> Result<Carried<'a>> {
        carry::carried(self.store, &self.steps, extent)
    }

    /// The id that the image has, or would have.
    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// The image, in the store, with these names; names that other images have move here.
    ///
    /// # Errors
    /// If the store can't be written.
    pub fn image(&self, names: &[Reference]) -> Result<Image> {
        // The same image with its names again: nothing to write, nothing to wait for.
        if let Ok(image) = self.store.find(&self.id().to_string())
            && names.iter().all(|name| image.names.contains(name))
        {
            return Ok(image);
        }
        self.store
            .commit_image(&self.config, &self.layers, names)
            .doing(|| "make the image".to_owned())
    }

    /// What is asked for of provenance and SBOM.
    ///
    /// # Errors
    /// Names the file of the image that can't be read.
    pub fn said(&self, asked: &Attest) -> Result<Said> {
        if *asked == Attest::default() {
            return Ok(Said::default());
        }
        attest::said(asked, &self.facts, &tree(self.mount()?), self.id())
    }

    /// Writes all files into the folder `path`, or into the one of the name `inner` in it, made if they are missing; what
    /// is there stays where it is not in the way. `predicates` become files among them, by names with a prefix. Gives what
    /// was left out.
    ///
    /// # Errors
    /// Names the file that can't be written, or that has the name of a predicate's.
    pub fn write_files(
        &self,
        (path, inner): (&Path, Option<&str>),
        predicates: (&[Predicate], &str),
    ) -> Result<Vec<String>> {
        let with = self.with(predicates)?;
        let doing = || format!("open the folder {}", path.display());
        sys::file::create_dir_all(path, 0o755).doing(doing)?;
        let mut folder = sys::file::open_dir(path).doing(doing)?;
        if let Some(name) = inner {
            // An earlier result may have left a link there: it leads nowhere else.
            let root = Root::new(sys::file::open_path(path).doing(doing)?);
            root.create_dir_all(name, 0o755).doing(doing)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            folder = root.open(name, flags).doing(doing)?;
        }
        export::into_folder(&tree(self.shown(with.as_ref())?), folder)
    }

    /// Writes all files as one tar; the same files give the same bytes. `predicates` become files among them, by
    /// names with a prefix.
    ///
    /// # Errors
    /// Names the file that can't be read, or that has the name of a predicate's; `out` is cut short then.
    pub fn write_tar<W: Write>(&self, out: W, predicates: (&[Predicate], &str)) -> Result<W> {
        let doing = || "write the tar".to_owned();
        let with = self.with(predicates)?;
        let tree = self.shown(with.as_ref())?;
        let links = LinkOwners::of(&self.layers).doing(doing)?;
        self.store.write_tar(tree, &links, out).doing(doing)
    }

    /// The tree with predicates' files, if there are any.
    fn with(&self, predicates: (&[Predicate], &str)) -> Result<Option<Beside>> {
        if predicates.0.is_empty() {
            return Ok(None);
        }
        let (tree, epoch) = (tree(self.mount()?), self.facts.epoch());
        attest::beside(self.store, (&tree, &self.layers), predicates, epoch).map(Some)
    }

    /// What is written: with predicates' files, or without.
    fn shown(&self, with: Option<&Beside>) -> Result<OwnedFd> {
        match with {
            None => self.mount(),
            Some(beside) => beside
                .mount
                .try_clone()
                .map_err(|e| sys::SysError::from_io("dup", "", &e))
                .doing(|| "open the tree".to_owned()),
        }
    }

    /// All layers as one tree.
    fn mount(&self) -> Result<OwnedFd> {
        match self.layers.is_empty() {
            true => empty(),
            false => overlay(&self.layers, None),
        }
    }
}

/// The image's files.
fn tree(mount: OwnedFd) -> Tree {
    Tree {
        root: Root::new(mount),
        name: "the image".to_owned(),
        owners: Owners::Kept,
        links: None,
        ignore: Ignore::default(),
        place: None,
    }
}
