//! Steps that were done before, found by what they read. An entry keeps the parts of its key, so that it
//! can be said later why another step is not this one. Not its job: doing steps.
//!
//! `STORE/cache/HEX.json`, HEX the SHA-256 of the key's parts. A key never holds a name that somebody may
//! choose so as to meet another recipe's step (CVE-2024-24557): it holds the parent's diff ids, the whole
//! operation, and digests of all bytes that are read. Pruning a store reads the field `layer` of an entry, and
//! takes the time of its file for the time of its last use.

use image::{Digest, Layer, Lease, Store};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::Errno;
use sys::file::{self, Durability};

use crate::error::{Doing, Result};
use crate::fingerprint::{field, hex};

/// The parts of a step's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    parts: Vec<Part>,
    /// Files that one of the parts stands for: path and short digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    name: String,
    value: String,
}

/// Changed whenever steps are done differently, so that no older result is taken.
pub(crate) const VERSION: &str = "1";

impl Key {
    /// The key of a step of this kind upon these layers.
    pub(crate) fn new(kind: &str, parent: &[Layer]) -> Self {
        let mut key = Self::default();
        key.add("version", VERSION);
        key.add("kind", kind);
        let mut hasher = Sha256::new();
        for layer in parent {
            field(&mut hasher, layer.diff_id.to_string().as_bytes());
        }
        key.add("parent", hex(&hasher.finalize()));
        key
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.parts.push(Part {
            name: name.to_owned(),
            value: value.into(),
        });
    }

    /// Adds a part that stands for files.
    pub(crate) fn add_files(&mut self, name: &str, sum: String, files: Vec<(String, String)>) {
        self.add(name, sum);
        self.files.extend(files.into_iter().take(MOST_FILES));
    }

    /// Its parts: name and value.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts
            .iter()
            .map(|part| (part.name.as_str(), part.value.as_str()))
    }

    /// The files that parts stand for: path and short digest.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, sum)| (path.as_str(), sum.as_str()))
    }

    /// The name of its entry.
    fn name(&self) -> String {
        format!("{}.json", self.hex())
    }

    /// A digest of its parts.
    pub(crate) fn hex(&self) -> String {
        let mut hasher = Sha256::new();
        for part in &self.parts {
            field(&mut hasher, part.name.as_bytes());
            field(&mut hasher, part.value.as_bytes());
        }
        hex(&hasher.finalize())
    }
}

/// More files are not listed in an entry: their digest is in the key all the same.
const MOST_FILES: usize = 20_000;

/// A larger entry is none of ours.
const LARGEST: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The layer that came of it; none if nothing changed.
    layer: Option<String>,
    #[serde(flatten)]
    key: Key,
}

/// An entry, without the files that its key names: these are many, and only asked for to explain.
#[derive(Deserialize)]
struct Known {
    layer: Option<String>,
    parts: Vec<Part>,
}

/// What a step left.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A layer.
    Layer(Layer),
    /// No change.
    Nothing,
}

/// The cache of a store.
pub(crate) struct Cache<'a> {
    store: &'a Store,
    /// Results are written but not looked for.
    pub(crate) write_only: bool,
}

impl<'a> Cache<'a> {
    /// The cache of `store`.
    pub(crate) fn new(store: &'a Store, write_only: bool) -> Self {
        Self { store, write_only }
    }

    /// Keeps what the cache has and what steps make from being pruned while they are at work.
    pub(crate) fn hold(store: &Store) -> Result<Lease> {
        let doing = || "hold the build cache".to_owned();
        store.hold_for_build().doing(doing)
    }

    /// What a step with this key left before, if its layer is still there.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Outcome>> {
        if self.write_only {
            return Ok(None);
        }
        let name = key.name();
        let path = self.store.path().join("cache").join(&name);
        let bytes = match file::read(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(e) if e.errno == Errno::NOENT => return Ok(None),
            Err(e) => return Err(e).doing(|| format!("read cache entry {name}")),
        };
        // An entry that can't be read, or whose key is another, is none: the step is done again.
        let Ok(entry) = serde_json::from_slice::<Known>(&bytes) else {
            return Ok(None);
        };
        // One from another store has its name alone, which is the digest of the parts.
        if !entry.parts.is_empty() && entry.parts != key.parts {
            return Ok(None);
        }
        let Some(diff_id) = entry.layer else {
            return used(&path, Outcome::Nothing);
        };
        let Ok(diff_id) = diff_id.parse::<Digest>() else {
            return Ok(None);
        };
        let layer = self
            .store
            .layer(diff_id)
            .doing(|| format!("look for layer {diff_id}"))?;
        match layer {
            Some(layer) => used(&path, Outcome::Layer(layer)),
            None => Ok(None),
        }
    }

    /// The key of an entry, by its digest in hex; `None` if there is none that can be read.
    pub(crate) fn key(&self, digest: &str) -> Option<Key> {
        let path = self.store.path().join("cache");
        let bytes = file::read(path.join(format!("{digest}.json")), LARGEST).ok()?;
        let entry: Entry = serde_json::from_slice(&bytes).ok()?;
        Some(entry.key)
    }

    /// The digests of all keys, those that were of use last first.
    pub(crate) fn newest(&self) -> Result<Vec<String>> {
        let doing = || "read the build cache".to_owned();
        let path = self.store.path().join("cache");
        if !file::exists(&path).doing(doing)? {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (name, _) in file::list(file::open_dir(&path).doing(doing)?).doing(doing)? {
            let Some(digest) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            // What was pruned meanwhile is of no use any more.
            if is_digest(digest)
                && let Ok(used) = file::last_used(path.join(&name))
            {
                found.push((std::cmp::Reverse(used), digest.to_owned()));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, digest)| digest).collect())
    }

    /// What the step with this key's digest left; `None` if that is not known, or not in the store.
    pub(crate) fn left(&self, digest: &str) -> Result<Option<Outcome>> {
        let path = self.store.path().join("cache");
        let Ok(bytes) = file::read(path.join(format!("{digest}.json")), LARGEST) else {
            return Ok(None);
        };
        let Ok(entry) = serde_json::from_slice::<Entry>(&bytes) else {
            return Ok(None);
        };
        let Some(layer) = entry.layer else {
            return Ok(Some(Outcome::Nothing));
        };
        let Ok(layer) = layer.parse() else {
            return Ok(None);
        };
        let layer = self
            .store
            .layer(layer)
            .doing(|| format!("look for layer {layer}"))?;
        Ok(layer.map(Outcome::Layer))
    }

    /// Remembers, of another store's word, what a step left; `false` if something is known of it already.
    pub(crate) fn admit(&self, digest: &str, layer: Option<Digest>) -> Result<bool> {
        if self.left(digest)?.is_some() {
            return Ok(false);
        }
        let entry = Entry {
            layer: layer.map(|layer| layer.to_string()),
            key: Key::default(),
        };
        self.write(&format!("{digest}.json"), &entry)?;
        Ok(true)
    }

    /// Remembers what a step left.
    pub(crate) fn keep(&self, key: &Key, outcome: &Outcome) -> Result<()> {
        let entry = Entry {
            layer: match outcome {
                Outcome::Layer(layer) => Some(layer.diff_id.to_string()),
                Outcome::Nothing => None,
            },
            key: key.clone(),
        };
        self.write(&key.name(), &entry)
    }

    fn write(&self, name: &str, entry: &Entry) -> Result<()> {
        let doing = || "write a cache entry".to_owned();
        let path = self.store.path().join("cache");
        file::create_dir_all(&path, 0o700).doing(doing)?;
        let dir = file::open_dir(&path).doing(doing)?;
        let bytes = serde_json::to_vec(entry).unwrap_or_default();
        // After a power cut a missing entry costs time, a torn one is not taken.
        match file::replace(&dir, name, &bytes, 0o600, Durability::Memory) {
            // Another build writes the same entry right now.
            Err(e) if [Errno::NOENT, Errno::EXIST].contains(&e.errno) => Ok(()),
            result => result.doing(doing),
        }
    }
}

/// Whether it is a digest in hex.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 64 && text.bytes().all(hex)
}

/// Notes that the entry was of use: pruning takes it later than others.
fn used(path: &std::path::Path, outcome: Outcome) -> Result<Option<Outcome>> {
    file::use_now(path).doing(|| "note the use of a cache entry".to_owned())?;
    Ok(Some(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_can_not_be_shifted_into_each_other() {
        let mut one = Key::default();
        one.add("a", "bc");
        let mut two = Key::default();
        two.add("ab", "c");
        let mut three = Key::default();
        three.add("a", "b");
        three.add("c", "");
        assert_ne!(one.name(), two.name());
        assert_ne!(one.name(), three.name());
        assert_eq!(one.name(), one.clone().name());
    }
}
