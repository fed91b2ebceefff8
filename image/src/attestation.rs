//! What is said about an image beside it: in-toto statements in a manifest of their own, in one index with the image,
//! as BuildKit lays them out. Not its job: what they say (builder).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::manifest::{self, Descriptor, OCI_MANIFEST};
use crate::store::Image;
use crate::{Digest, Error, Reference, Result};

const IN_TOTO: &str = "application/vnd.in-toto+json";

/// What is said of something, and by which rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    /// The address of the rules.
    pub kind: String,
    /// What is said.
    pub body: Value,
}

impl Predicate {
    /// The statement that says it of `subjects`: names, and the digests of what they name.
    ///
    /// # Errors
    /// None that is known: any JSON value can be written.
    pub fn statement(&self, subjects: &[(String, Digest)]) -> Result<Vec<u8>> {
        let subjects = subjects
            .iter()
            .map(|(name, digest)| json!({"name": name, "digest": {"sha256": digest.hex()}}));
        bytes(&json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": self.kind,
            "subject": subjects.collect::<Vec<_>>(),
            "predicate": self.body,
        }))
    }
}

/// What is said of an image: a manifest with its config and statements.
pub(crate) struct Told {
    /// The image's manifest that it is said of.
    subject: Digest,
    pub(crate) manifest: Vec<u8>,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
}

/// The documents that say `predicates` of an image, whose manifest as it leaves is `bytes`.
pub(crate) fn told(image: &Image, bytes: &[u8], predicates: &[Predicate]) -> Result<Told> {
    let subject = Digest::of(bytes);
    let subjects = subjects(image, subject);
    let mut blobs = BTreeMap::new();
    let mut layers = Vec::new();
    for predicate in predicates {
        let statement = predicate.statement(&subjects)?;
        let descriptor = Descriptor::new(IN_TOTO, Digest::of(&statement), statement.len() as u64);
        layers.push(json!({
            "mediaType": IN_TOTO,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "annotations": {"in-toto.io/predicate-type": predicate.kind},
        }));
        blobs.insert(descriptor.digest, statement);
    }
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = bytes_of_config(&diff_ids)?;
    let manifest = self::bytes(&json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor::new(manifest::OCI_CONFIG, Digest::of(&config), config.len() as u64),
        "layers": layers,
    }))?;
    blobs.insert(Digest::of(&config), config);
    Ok(Told {
        subject,
        manifest,
        blobs,
    })
}

/// The index, of that media type, of images with their manifests, and of what is said of them.
pub(crate) fn index(kind: &str, images: &[(&Image, &[u8])], told: &[Told]) -> Result<Vec<u8>> {
    let mut manifests = Vec::new();
    for (image, bytes) in images {
        manifests.push(json!({
            "mediaType": manifest::media_type(bytes)?,
            "digest": Digest::of(bytes),
            "size": bytes.len(),
            "platform": platform(image),
        }));
    }
    let told = told.iter().map(|told| {
        json!({
            "mediaType": OCI_MANIFEST,
            "digest": Digest::of(&told.manifest),
            "size": told.manifest.len(),
            "annotations": {
                "vnd.docker.reference.digest": told.subject,
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        })
    });
    manifests.extend(told);
    self::bytes(&json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}))
}

/// It stands in a manifest that looks like an image's, but is for no machine.
fn bytes_of_config(diff_ids: &[&Value]) -> Result<Vec<u8>> {
    bytes(&json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
}

/// What an image is for, as indexes have it.
pub(crate) fn platform(image: &Image) -> Value {
    let mut platform = json!({
        "architecture": image.configuration.architecture().to_string(),
        "os": image.configuration.os().to_string(),
    });
    if let Some(variant) = image.configuration.variant() {
        platform["variant"] = json!(variant);
    }
    platform
}

/// The image by all its names; `_` where it has none.
fn subjects(image: &Image, digest: Digest) -> Vec<(String, Digest)> {
    let for_platform = platform(image);
    let part = |key: &str| for_platform.get(key).and_then(Value::as_str);
    let parts: Vec<&str> = ["os", "architecture", "variant"]
        .into_iter()
        .filter_map(part)
        .collect();
    let platform = parts.join("/");
    let named = image.names.iter();
    let mut subjects: Vec<_> = named
        .map(|name| (package_url(name, Some(&platform)), digest))
        .collect();
    subjects.sort();
    subjects.dedup();
    if subjects.is_empty() {
        subjects.push(("_".to_owned(), digest));
    }
    subjects
}

/// An image's name as a package URL: `pkg:docker/debian@12?platform=linux%2Famd64`.
pub fn package_url(name: &Reference, platform: Option<&str>) -> String {
    let familiar = name.familiar();
    let bare = familiar
        .split_once('@')
        .map_or(&*familiar, |(bare, _)| bare);
    let bare = match name.tag() {
        Some(tag) => bare.strip_suffix(&format!(":{tag}")).unwrap_or(bare),
        None => bare,
    };
    let version = name.tag().map(str::to_owned);
    let version = version.or_else(|| name.digest().map(|digest| digest.to_string()));
    let mut url = format!("pkg:docker/{}", escaped(bare, "/"));
    if let Some(version) = version {
        url.push_str(&format!("@{}", escaped(&version, "")));
    }
    if let Some(platform) = platform {
        url.push_str(&format!("?platform={}", escaped(platform, "")));
    }
    url
}

/// A text as a part of a package URL.
pub fn escaped(text: &str, beside: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:".contains(c) || beside.contains(c);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if plain(c) {
            out.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Json {
        what: "an attestation".to_owned(),
        fault: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_package_url_for_each_name() {
        for (name, platform, url) in [
            ("debian:12", None, "pkg:docker/debian@12"),
            (
                "docker.io/library/debian",
                Some("linux/arm64/v8"),
                "pkg:docker/debian@latest?platform=linux%2Farm64%2Fv8",
            ),
            ("r.io:5000/a/b:1_x", None, "pkg:docker/r.io:5000/a/b@1_x"),
        ] {
            assert_eq!(package_url(&name.parse().unwrap(), platform), url);
        }
        assert_eq!(escaped("g++ ü", ""), "g%2B%2B%20%C3%BC");
    }

    #[test]
    fn a_statement_names_what_it_is_about() {
        let predicate = Predicate {
            kind: "https://spdx.dev/Document".to_owned(),
            body: json!({"a": 1}),
        };
        let digest = Digest::of(b"x");
        let bytes = predicate.statement(&[("x".to_owned(), digest)]).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["subject"][0]["digest"]["sha256"], json!(digest.hex()));
        assert_eq!(value["predicateType"], "https://spdx.dev/Document");
        assert_eq!(value["predicate"], json!({"a": 1}));
    }
}
