//! Reads a whole store again, and names what is not as it should be. Nothing is changed but the marks by which
//! the next load knows what to make again (`damage.rs`). Not its job: making it again.
//!
//! Blobs are hashed. An unpacked layer is compared with what its blob unpacks to: nothing need be kept or
//! computed when layers are loaded, and no difference escapes. That costs as much as loading the store's
//! images once more, without the final sync, and room for the largest layers meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sys::file::{self, Lock};

use super::Store;
use super::damage::{blob_mark, layer_mark};
use super::index::{Index, Record};
use super::lease::{Held, Lease};
use super::parallel::each;
use super::references::References;
use super::verify_layer::Verifier;
use crate::digest::{Promise, Verified};
use crate::error::Doing;
use crate::{Digest, Result};

/// How far a check goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Every blob is hashed, every unpacked layer compared with its blob.
    #[default]
    Whole,
    /// Every blob is hashed; of unpacked layers it is only seen that they are there.
    Blobs,
}

/// A part of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What names the images.
    Index,
    /// An image: its config or manifest.
    Image(Digest),
    /// A blob.
    Blob(Digest),
    /// An unpacked layer, by its name in the store.
    Layer(String),
}

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What is damaged.
    pub part: Part,
    /// How.
    pub what: String,
    /// The images that need it.
    pub images: Vec<Digest>,
}

/// Something that nothing needs: no damage, and the next `prune` takes it.
#[derive(Debug, Clone)]
pub struct Left {
    /// `blob`, `layer`, `work` or `file`.
    pub kind: &'static str,
    /// Its name in the store.
    pub name: String,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What is damaged or missing; none if the store is whole.
    pub faults: Vec<Fault>,
    /// What nothing refers to.
    pub left: Vec<Left>,
    /// How many images there are.
    pub images: usize,
    /// How many unpacked layers.
    pub layers: usize,
    /// How many blobs.
    pub blobs: usize,
    /// Bytes of all blobs.
    pub bytes: u64,
}

/// What a store had at one moment.
struct Inventory {
    index: Index,
    blobs: Vec<Digest>,
    layers: BTreeSet<String>,
    /// What each image refers to.
    images: BTreeMap<Digest, References>,
    /// What the build cache refers to.
    cache: References,
    /// Layers that only a container still has.
    outlived: HashSet<String>,
}

impl Store {
    /// Checks everything. Other processes may go on meanwhile; what is in the store now is not removed.
    ///
    /// # Errors
    /// If that can't be found out: no room to unpack a layer in, say. What is damaged is no error.
    pub fn check(&self, depth: Depth) -> Result<Checked> {
        let mut checked = Checked::default();
        let (inventory, _lease) = self.inventory(&mut checked)?;
        checked.images = inventory.index.images.len();
        checked.layers = inventory.layers.len();
        checked.blobs = inventory.blobs.len();
        let mut whole = HashSet::new();
        let hashed = each(&inventory.blobs, |digest| self.hash(*digest));
        for (digest, hashed) in inventory.blobs.iter().zip(hashed) {
            match hashed {
                Ok(length) => {
                    checked.bytes += length;
                    whole.insert(*digest);
                    self.unmark(&blob_mark(*digest))?;
                }
                Err(e) => {
                    self.mark(&blob_mark(*digest))?;
                    let fault = inventory.fault(Part::Blob(*digest), e.chain());
                    checked.tell(&inventory, fault);
                }
            }
        }
        for (id, record) in &inventory.index.images {
            self.check_image(*id, record, &inventory, &whole, &mut checked);
        }
        let verifier = Verifier::new(self, &inventory.index, &whole, depth)?;
        let needed = inventory.images.values().flat_map(|needs| &needs.layers);
        for key in needed.collect::<BTreeSet<_>>() {
            if !inventory.layers.contains(key) {
                let fault = inventory.fault(Part::Layer(key.clone()), "it is missing".to_owned());
                checked.tell(&inventory, fault);
            }
        }
        for (key, verdict) in verifier.all(&inventory.layers)? {
            match verdict {
                // A removed image's, which a container goes on with.
                Some(_) if inventory.outlived.contains(&key) => {}
                Some(what) => {
                    self.mark(&layer_mark(&key))?;
                    let fault = inventory.fault(Part::Layer(key), what);
                    checked.tell(&inventory, fault);
                }
                None if depth == Depth::Whole => self.unmark(&layer_mark(&key))?,
                None => {}
            }
        }
        checked.faults.sort_by(|a, b| a.part.cmp(&b.part));
        checked.faults.dedup_by(|a, b| a.part == b.part);
        Ok(checked)
    }

    /// What the store has and what refers to what; it is held from here on.
    fn inventory(&self, checked: &mut Checked) -> Result<(Inventory, Lease)> {
        let lease = self.lease(&Held::default())?;
        let _lock = self.lock(Lock::Exclusive)?;
        let index = self.index().unwrap_or_else(|e| {
            checked.faults.push(Fault {
                part: Part::Index,
                what: e.chain(),
                images: Vec::new(),
            });
            Index::default()
        });
        for name in index.dangling() {
            checked.faults.push(Fault {
                part: Part::Index,
                what: format!("no image has the id of the name {name}"),
                images: Vec::new(),
            });
        }
        let mut blobs = Vec::new();
        for name in self.names(&self.path.join("blobs/sha256"))? {
            match Digest::from_hex(&name) {
                Ok(digest) => blobs.push(digest),
                Err(_) => checked.leave("file", format!("blobs/sha256/{name}")),
            }
        }
        let layers = self.names(&self.path.join("layers"))?;
        let mut cache = References::default();
        for entry in self.cache_entries()? {
            cache.add(&entry.needs);
        }
        let needs = |(id, record): (&Digest, &Record)| (*id, self.needs_at_least(*id, record));
        let images = index.images.iter().map(needs).collect();
        let mut inventory = Inventory {
            index,
            blobs,
            layers,
            images,
            cache,
            outlived: HashSet::new(),
        };
        self.leave_unused(&mut inventory, checked)?;
        lease.put(&Held {
            layers: inventory.layers.iter().cloned().collect(),
            blobs: inventory.blobs.iter().copied().collect(),
            ..Held::default()
        })?;
        Ok((inventory, lease))
    }

    /// Names what nothing refers to; the exclusive lock is held.
    fn leave_unused(&self, inventory: &mut Inventory, checked: &mut Checked) -> Result<()> {
        let held = self.holds()?.held;
        for digest in &inventory.blobs {
            if !inventory.needs_blob(*digest) && !held.blobs.contains(digest) {
                checked.leave("blob", digest.to_string());
            }
        }
        for key in &inventory.layers {
            match (inventory.needs_layer(key), held.layers.contains(key)) {
                (true, _) => {}
                (false, true) => drop(inventory.outlived.insert(key.clone())),
                (false, false) => checked.leave("layer", key.clone()),
            }
        }
        let left = self
            .leftovers()
            .doing(|| "look for left-overs".to_owned())?;
        for (name, _lock) in left {
            checked.leave("work", name.to_string_lossy().into_owned());
        }
        Ok(())
    }

    /// What an image refers to, as far as that can be said.
    fn needs_at_least(&self, id: Digest, record: &Record) -> References {
        self.needs(id, record).unwrap_or_else(|_| {
            let mut needs = References::default();
            needs.blobs.extend([id, record.manifest]);
            needs
                .layers
                .extend(record.layers.iter().map(|l| l.key.clone()));
            for layer in &record.layers {
                needs.add(&self.needs_of_layer(&layer.key));
            }
            needs
        })
    }

    /// Hashes a blob; gives its length.
    fn hash(&self, digest: Digest) -> Result<u64> {
        let file = file::open(self.blob_path(digest)).doing(|| "read it".to_owned())?;
        let promise = Promise {
            digest: Some(digest).filter(|_| !sys::fault::broken("no-blob-hash")),
            size: None,
        };
        let (_, length) = Verified::new(file, promise).finish("its content")?;
        Ok(length)
    }

    fn check_image(
        &self,
        id: Digest,
        record: &Record,
        inventory: &Inventory,
        whole: &HashSet<Digest>,
        checked: &mut Checked,
    ) {
        let missing = |digest: &Digest| inventory.blobs.binary_search(digest).is_err();
        let blobs = &inventory.images[&id].blobs;
        for digest in blobs.iter().filter(|digest| missing(digest)) {
            let fault = inventory.fault(Part::Blob(*digest), "it is missing".to_owned());
            checked.faults.push(fault);
        }
        if ![id, record.manifest]
            .iter()
            .all(|digest| whole.contains(digest))
        {
            return;
        }
        match self.image(&inventory.index, id, record) {
            Err(e) => {
                let fault = inventory.fault(Part::Image(id), e.chain());
                checked.faults.push(fault);
            }
            Ok(image) => {
                for layer in image.layers {
                    let length = file::follow(self.blob_path(layer.blob)).map_or(0, |m| m.len());
                    if whole.contains(&layer.blob) && length != layer.size {
                        let what = format!("its layer {} has another size", layer.blob);
                        checked.faults.push(inventory.fault(Part::Image(id), what));
                    }
                }
            }
        }
    }
}

impl Inventory {
    fn needs_blob(&self, digest: Digest) -> bool {
        let mut needs = self.images.values().chain([&self.cache]);
        needs.any(|needs| needs.blobs.contains(&digest))
    }

    fn needs_layer(&self, key: &str) -> bool {
        let mut needs = self.images.values().chain([&self.cache]);
        needs.any(|needs| needs.layers.contains(key))
    }

    fn fault(&self, part: Part, what: String) -> Fault {
        let needs = |needs: &References| match &part {
            Part::Blob(digest) => needs.blobs.contains(digest),
            Part::Layer(key) => needs.layers.contains(key),
            Part::Image(_) | Part::Index => false,
        };
        let images = self.images.iter().filter(|(_, n)| needs(n));
        let mut images: Vec<Digest> = images.map(|(id, _)| *id).collect();
        if let Part::Image(id) = part {
            images.push(id);
        }
        Fault { part, what, images }
    }
}

impl Checked {
    fn leave(&mut self, kind: &'static str, name: String) {
        self.left.push(Left { kind, name });
    }

    /// Damage of what nothing needs is none: the mark is enough.
    fn tell(&mut self, inventory: &Inventory, fault: Fault) {
        let needed = match &fault.part {
            Part::Blob(digest) => inventory.needs_blob(*digest),
            Part::Layer(key) => inventory.needs_layer(key),
            Part::Image(_) | Part::Index => true,
        };
        if needed {
            self.faults.push(fault);
        }
    }
}
