//! Whether an unpacked layer of the store is what its blob unpacks to. Not its job: the blob itself
//! (`check.rs` has hashed it), and what follows from a difference.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sys::file;
use sys::mount::own_file;

use super::Store;
use super::check::Depth;
use super::form::Form;
use super::index::{Index, Unpacked};
use super::layer::{Kept, MAX_OWNERS, OWNERS, path_of};
use super::parallel::each;
use super::read_layer::{Task, read_layer};
use super::work::Work;
use crate::budget::Budget;
use crate::error::Doing;
use crate::layer::below::Below;
use crate::layer::compare::{difference, same_bytes};
use crate::offer::OfferedLayer;
use crate::source::Window;
use crate::{Digest, Error, Result};

/// What is wrong with a layer, if anything.
type Verdict = Option<String>;

/// Compares layers with their blobs.
pub(super) struct Verifier<'a> {
    store: &'a Store,
    /// Blobs that are what their names say.
    whole: &'a HashSet<Digest>,
    depth: Depth,
    /// The layers below one that hangs on them, top first.
    below: HashMap<&'a str, Vec<&'a Unpacked>>,
    work: Work,
    count: AtomicUsize,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(
        store: &'a Store,
        index: &'a Index,
        whole: &'a HashSet<Digest>,
        depth: Depth,
    ) -> Result<Self> {
        let mut below = HashMap::new();
        for record in index.images.values() {
            for (n, layer) in record.layers.iter().enumerate() {
                below
                    .entry(layer.key.as_str())
                    .or_insert_with(|| record.layers[..n].iter().rev().collect());
            }
        }
        Ok(Self {
            store,
            whole,
            depth,
            below,
            work: store.work()?,
            count: AtomicUsize::new(0),
        })
    }

    /// The verdict on each of these layers. One that hangs on a damaged or missing one is not judged.
    ///
    /// # Errors
    /// If a layer can't be unpacked for want of room or rights.
    pub(super) fn all(&self, keys: &BTreeSet<String>) -> Result<Vec<(String, Verdict)>> {
        let (leaning, free): (Vec<&String>, Vec<&String>) =
            keys.iter().partition(|key| key.contains('.'));
        let mut verdicts = Vec::new();
        let mut damaged = HashSet::new();
        for group in [free, leaning] {
            let judged: Vec<&String> = group
                .into_iter()
                .filter(|key| {
                    let below = self.below.get(key.as_str()).into_iter().flatten();
                    let hangs = key.contains('.');
                    let lost = |l: &&Unpacked| damaged.contains(&l.key) || !keys.contains(&l.key);
                    !hangs || !below.into_iter().any(lost)
                })
                .collect();
            let found = each(&judged, |key| self.one(key));
            for (key, verdict) in judged.into_iter().zip(found) {
                let verdict = verdict?;
                if verdict.is_some() {
                    damaged.insert(key.clone());
                }
                verdicts.push((key.clone(), verdict));
            }
        }
        Ok(verdicts)
    }

    fn one(&self, key: &str) -> Result<Verdict> {
        let wrong = |what: &str| Ok(Some(what.to_owned()));
        let kept = match Kept::read(&self.store.path, key) {
            Ok(Some(kept)) => kept,
            Ok(None) => return wrong("its layer.json is missing"),
            Err(e) => return Ok(Some(e.chain())),
        };
        let path = path_of(&self.store.path, key);
        let doing = || format!("look at layer {key}");
        match (file::is_dir(&path).doing(doing)?, kept.form) {
            (true, Form::Folder) => {}
            (false, Form::Image) if file::exists(&path).doing(doing)? => {}
            (_, Form::Folder) => return wrong("its folder is missing"),
            (_, Form::Image) => return wrong("its image is missing"),
        }
        if sys::fault::broken("no-layer-compare") {
            return Ok(None);
        }
        let Some(rest) = key.strip_prefix(&kept.diff_id.hex()) else {
            return wrong("its layer.json is another layer's");
        };
        let blob = kept.blobs.iter().find(|b| self.whole.contains(&b.digest));
        let (Depth::Whole, Some(blob)) = (self.depth, blob) else {
            return Ok(None);
        };
        let suffix = self.store.manner.owners.suffix();
        let hangs = rest.starts_with('.');
        if !rest.ends_with(&suffix) || (!hangs && rest != suffix) {
            // Made for other owners: not ours to make again.
            return Ok(None);
        }
        if hangs && !self.below.contains_key(key) {
            return wrong("no image says what it hangs on");
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let (layer, copy) = (format!("layer-{number}"), format!("blob-{number}"));
        let verdict = self.compare(key, &kept, blob.digest, &layer, &copy);
        for name in [layer, copy] {
            file::remove_tree(&self.work.dir, &name).doing(|| format!("remove {name}"))?;
        }
        match verdict {
            Err(e) if !e.is_of_the_system() => Ok(Some(e.chain())),
            verdict => verdict,
        }
    }

    fn compare(
        &self,
        key: &str,
        kept: &Kept,
        blob: Digest,
        layer: &str,
        copy: &str,
    ) -> Result<Verdict> {
        let file = file::open(self.store.blob_path(blob)).doing(|| format!("read blob {blob}"))?;
        let window = Window::whole(file).doing(|| format!("read blob {blob}"))?;
        let offered = OfferedLayer {
            diff_id: kept.diff_id,
            descriptor: None,
            name: kept.diff_id.to_string(),
            blob: Some(Arc::new(window)),
        };
        let ask = || self.below(key);
        let task = Task::Unpack {
            layer: layer.to_owned(),
            manner: &self.store.manner,
            form: kept.form,
            ask: &ask,
        };
        let budget = Budget::default();
        let read = read_layer(&self.work, &offered, copy, &task, &budget, &|| true)?;
        let wanted = self.work.path.join(layer);
        let found = path_of(&self.store.path, key);
        let owners = |path: std::path::PathBuf| file::read(path, MAX_OWNERS).ok();
        if owners(wanted.join(OWNERS)) != owners(found.with_file_name(OWNERS)) {
            return Ok(Some("its list of owners is another".to_owned()));
        }
        if kept.form == Form::Image {
            return Ok(match read.kept.form {
                Form::Image => unlike(&wanted.join("fs"), &found),
                Form::Folder => Some("it is an image, and must be a folder".to_owned()),
            });
        }
        let open =
            |path: std::path::PathBuf| file::open_dir(path).doing(|| format!("open layer {key}"));
        let states_root = read.kept.states_root && kept.states_root;
        let (wanted, found) = (open(wanted.join("fs"))?, open(found)?);
        Ok(match difference(wanted, found, states_root) {
            Ok(None) => None,
            Ok(Some((path, what))) => Some(format!("{path}: {what}")),
            Err(e) => Some(format!("it can't be read: {e}")),
        })
    }

    fn below(&self, key: &str) -> Result<Below> {
        let mut roots = Vec::new();
        for lower in self.below.get(key).into_iter().flatten() {
            let doing = || format!("open layer {}", lower.key);
            roots.push(self.store.tree(&lower.key).open().doing(doing)?);
            if lower.covers {
                break;
            }
        }
        Ok(Below { roots })
    }
}

/// How the image `found` is not the one just made, if at all. It is read as any file: the kernel need not make sense of it.
fn unlike(wanted: &Path, found: &Path) -> Verdict {
    let open = |path| own_file(path).map(File::from);
    let (wanted, found) = match (open(wanted), open(found)) {
        (Ok(wanted), Ok(found)) => (wanted, found),
        (Err(e), _) | (_, Err(e)) => return Some(format!("it can't be used: {e}")),
    };
    match same_bytes(wanted, found) {
        Ok(true) => None,
        Ok(false) => Some("its image is not the one that its blob makes".to_owned()),
        Err(e) => Some(format!("it can't be read: {e}")),
    }
}

impl Error {
    /// Whether what failed is the system below us, and not what was read.
    fn is_of_the_system(&self) -> bool {
        match self {
            Self::System { .. } => true,
            Self::Inside { source, .. } => source.is_of_the_system(),
            _ => false,
        }
    }
}
