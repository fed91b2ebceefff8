//! The index of a store: which images there are, and what they are called. Not its job: the files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Reference, Result};

/// An index larger than this is no index.
pub(super) const MAX_INDEX: u64 = 256 << 20;

/// A short id must have so many digits at least.
const MIN_PREFIX: usize = 2;

/// What the store says of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The digest of the manifest.
    pub(super) manifest: Digest,
    /// Its unpacked layers, the lowest first.
    pub(super) layers: Vec<Unpacked>,
}

/// One unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unpacked {
    /// Its name below `layers`.
    pub(super) key: String,
    /// Its root is opaque.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) covers: bool,
    /// It says what the root directory is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) states_root: bool,
    /// The length of its tar.
    pub(super) tar_size: u64,
}

/// All images and names of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) images: BTreeMap<Digest, Record>,
    /// By full name with tag.
    names: BTreeMap<String, Digest>,
    /// Documents of registries (indexes for several platforms) that led to an image, by their digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    leading: BTreeMap<Digest, Digest>,
}

impl Index {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::Json {
            what: "the store's index.json".to_owned(),
            fault: e.to_string(),
        })
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|e| Error::Json {
            what: "the store's index.json".to_owned(),
            fault: e.to_string(),
        })
    }

    /// The id of the image that a person calls `wanted`.
    pub(super) fn find(&self, wanted: &str, store: &Path) -> Result<Digest> {
        if let Ok(reference) = wanted.parse::<Reference>()
            && let Some(id) = self.by_name(&reference)
        {
            return Ok(id);
        }
        let prefix = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let fits: Vec<Digest> = match prefix.len() >= MIN_PREFIX && prefix.bytes().all(hex) {
            true => self
                .images
                .keys()
                .filter(|id| id.hex().starts_with(prefix))
                .copied()
                .collect(),
            false => Vec::new(),
        };
        match fits[..] {
            [id] => Ok(id),
            [] => Err(Error::NoSuchImage {
                wanted: wanted.to_owned(),
                store: store.to_owned(),
            }),
            _ => Err(Error::AmbiguousId {
                wanted: wanted.to_owned(),
                count: fits.len(),
            }),
        }
    }

    /// The image of a name. With a digest, only one whose manifest or config has it, or that a document
    /// with this digest led to.
    pub(super) fn by_name(&self, reference: &Reference) -> Option<Digest> {
        let Some(digest) = reference.digest() else {
            return self.names.get(&reference.to_string()).copied();
        };
        let fits = |id: &Digest, record: &Record| *id == digest || record.manifest == digest;
        self.images
            .iter()
            .find(|(id, record)| fits(id, record))
            .map(|(id, _)| *id)
            .or_else(|| self.leading.get(&digest).copied())
    }

    /// Notes that a document leads to an image, unless that shows by itself.
    pub(super) fn lead(&mut self, document: Digest, id: Digest) {
        if self
            .images
            .get(&id)
            .is_some_and(|record| record.manifest != document)
        {
            self.leading.insert(document, id);
        }
    }

    /// Gives an image a name; an image that had it loses it. A digest in the name is left out: it is
    /// the image's own or a lie.
    pub(super) fn name(&mut self, name: &Reference, id: Digest) -> Result<()> {
        let tagged = name.tagged().ok_or_else(|| {
            Error::refused(
                format!("name {name}"),
                "it has a digest where a tag is needed",
            )
        })?;
        self.names.insert(tagged.to_string(), id);
        Ok(())
    }

    /// Takes a name away; `true` if it was there.
    pub(super) fn unname(&mut self, name: &Reference) -> bool {
        self.names.remove(&name.to_string()).is_some()
    }

    /// Forgets an image and its names.
    pub(super) fn remove(&mut self, id: Digest) -> Option<Record> {
        self.names.retain(|_, named| *named != id);
        self.leading.retain(|_, led| *led != id);
        self.images.remove(&id)
    }

    /// Names of images that are not there.
    pub(super) fn dangling(&self) -> Vec<&str> {
        let names = self.names.iter();
        let dangling = names.filter(|(_, id)| !self.images.contains_key(id));
        dangling.map(|(name, _)| name.as_str()).collect()
    }

    /// All names of an image, sorted.
    pub(super) fn names_of(&self, id: Digest) -> Vec<Reference> {
        self.names
            .iter()
            .filter(|(_, named)| **named == id)
            .filter_map(|(name, _)| name.parse().ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> (Index, [Digest; 2]) {
        let ids = [Digest::of(b"a"), Digest::of(b"b")];
        let mut index = Index::default();
        for id in ids {
            let manifest = Digest::of(id.hex().as_bytes());
            let layers = Vec::new();
            index.images.insert(id, Record { manifest, layers });
        }
        index.name(&"debian".parse().unwrap(), ids[0]).unwrap();
        (index, ids)
    }

    #[test]
    fn an_image_is_found_by_every_spelling_of_its_name_and_by_its_id() {
        let (index, ids) = index();
        let find = |wanted: &str| index.find(wanted, Path::new("/s")).unwrap();
        for wanted in ["debian", "debian:latest", "docker.io/library/debian"] {
            assert_eq!(find(wanted), ids[0]);
        }
        assert_eq!(find(&ids[1].short()), ids[1]);
        assert_eq!(find(&ids[1].to_string()), ids[1]);
        assert_eq!(
            find(&format!("debian@{}", Digest::of(ids[0].hex().as_bytes()))),
            ids[0]
        );
        for wanted in ["debian:12", "", "3", "zz", "sha256:"] {
            assert!(index.find(wanted, Path::new("/s")).is_err(), "{wanted:?}");
        }
    }

    #[test]
    fn a_name_moves_and_goes_with_its_image() {
        let (mut index, ids) = index();
        let name = "debian".parse().unwrap();
        index.name(&name, ids[1]).unwrap();
        assert_eq!(index.names_of(ids[0]), []);
        assert_eq!(index.names_of(ids[1]), [name]);
        index.remove(ids[1]);
        assert!(index.find("debian", Path::new("/s")).is_err());
    }

    #[test]
    fn an_image_is_found_by_the_digest_of_what_led_to_it() {
        let (mut index, ids) = index();
        let leading = Digest::of(b"for many platforms");
        let wanted = format!("debian@{leading}");
        let find = |index: &Index| index.find(&wanted, Path::new("/s")).ok();
        assert_eq!(find(&index), None);
        index.lead(leading, ids[0]);
        assert_eq!(
            find(&Index::parse(&index.bytes().unwrap()).unwrap()),
            Some(ids[0])
        );
        index.remove(ids[0]);
        assert_eq!(find(&index), None);
    }

    #[test]
    fn an_index_reads_back_as_it_was_written() {
        let (index, _) = index();
        assert_eq!(Index::parse(&index.bytes().unwrap()).unwrap(), index);
    }
}
