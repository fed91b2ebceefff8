//! Index → manifest → config, for this platform: what the documents of an image say, read strictly.
//! Not its job: where their bytes come from.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use crate::platform::{Platform, host};
use crate::{Digest, Error, Result, json};

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a registry may answer with where it is asked for an image.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Layers of an image at most: overlay takes 500.
const MAX_LAYERS: usize = 500;

/// A blob as a document refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Descriptor {
    #[serde(rename = "mediaType")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(skip)]
    pub(crate) platform: Option<Platform>,
    #[serde(skip)]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    fn parse(what: &str, value: &Value) -> Result<Self> {
        let known = [
            "mediaType",
            "digest",
            "size",
            "platform",
            "annotations",
            "urls",
            "data",
        ];
        let object = json::object(what, value, &known)?;
        let media_type = text(what, object.get("mediaType"), "mediaType")?;
        let digest = text(what, object.get("digest"), "digest")?
            .parse()
            .map_err(|e: Error| e.inside(what))?;
        let size = match object.get("size") {
            Some(size) => size
                .as_u64()
                .filter(|size| i64::try_from(*size).is_ok())
                .ok_or_else(|| {
                    Error::refused(what, format!("size {size} is not from 0 to 2^63-1"))
                })?,
            None => return Err(Error::refused(what, "size is missing")),
        };
        Ok(Self {
            platform: object
                .get("platform")
                .map(|p| platform(what, p))
                .transpose()?
                .flatten(),
            annotations: annotations(what, object.get("annotations"))?,
            ..Self::new(&media_type, digest, size)
        })
    }

    /// Whether it is no image but what BuildKit says about one.
    fn is_attestation(&self) -> bool {
        let kind = self.annotations.get("vnd.docker.reference.type");
        let unknown = |p: &Platform| p.os == "unknown" && p.architecture == "unknown";
        kind.is_some_and(|kind| kind == "attestation-manifest")
            || self.platform.as_ref().is_some_and(unknown)
    }

    pub(crate) fn is_index(&self) -> bool {
        [OCI_INDEX, DOCKER_INDEX].contains(&self.media_type.as_str())
    }

    pub(crate) fn is_manifest(&self) -> bool {
        [OCI_MANIFEST, DOCKER_MANIFEST].contains(&self.media_type.as_str())
    }
}

/// What an index or manifest holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

/// Reads an index or a manifest. What could be taken for the other is refused (CVE-2021-41190).
/// `media_type` is what the descriptor said that led here.
pub(crate) fn document(what: &str, bytes: &[u8], media_type: Option<&str>) -> Result<Document> {
    let value = json::parse(what, bytes)?;
    let known = [
        "schemaVersion",
        "mediaType",
        "manifests",
        "config",
        "layers",
        "fsLayers",
    ];
    let object = json::object(what, &value, &known)?;
    if object.contains_key("fsLayers") || object.get("schemaVersion") == Some(&json!(1)) {
        return Err(Error::Unsupported {
            what: format!("{what}: manifest schema 1"),
        });
    }
    if object.get("schemaVersion") != Some(&json!(2)) {
        return Err(Error::refused(what, "schemaVersion is not 2"));
    }
    let said = match object.get("mediaType") {
        None | Some(Value::Null) => None,
        said => Some(text(what, said, "mediaType")?),
    };
    if let (Some(said), Some(expected)) = (&said, media_type)
        && said != expected
    {
        let rule = format!("its mediaType is {said:?}, its descriptor's {expected:?}");
        return Err(Error::refused(what, rule));
    }
    let said = said.as_deref().or(media_type);
    let has = |key| object.get(key).is_some_and(|value| !value.is_null());
    match (has("manifests"), has("config") || has("layers")) {
        (true, true) if !sys::fault::broken("no-document-kind") => Err(Error::refused(
            what,
            "it holds both manifests and layers or a config",
        )),
        (false, false) => Err(Error::refused(
            what,
            "it holds neither manifests nor layers",
        )),
        (true, _) => {
            expect_type(what, said, &[OCI_INDEX, DOCKER_INDEX])?;
            let manifests = descriptors(what, object.get("manifests"), "manifests")?;
            Ok(Document::Index(manifests))
        }
        (false, true) => {
            expect_type(what, said, &[OCI_MANIFEST, DOCKER_MANIFEST])?;
            let config = object.get("config").unwrap_or(&Value::Null);
            let config = Descriptor::parse(&format!("{what}, config"), config)?;
            let layers = descriptors(what, object.get("layers"), "layers")?;
            check_image(what, &config, &layers)?;
            Ok(Document::Manifest { config, layers })
        }
    }
}

fn expect_type(what: &str, said: Option<&str>, known: &[&str]) -> Result<()> {
    match said {
        Some(said) if !known.contains(&said) => {
            Err(Error::refused(what, format!("its mediaType is {said:?}")))
        }
        _ => Ok(()),
    }
}

/// A manifest may be of anything; only container images are taken.
fn check_image(what: &str, config: &Descriptor, layers: &[Descriptor]) -> Result<()> {
    let unsupported = |part: &str, media_type: &str| {
        let what = format!("{what}: {part} of type {media_type:?}");
        Err(Error::Unsupported { what })
    };
    if ![OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str()) {
        return unsupported("config", &config.media_type);
    }
    if layers.len() > MAX_LAYERS {
        return Err(Error::refused(
            what,
            format!("more than {MAX_LAYERS} layers"),
        ));
    }
    let tar = |media_type: &str| {
        [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        ]
        .into_iter()
        .filter_map(|known| media_type.strip_prefix(known))
        // bzip2 and xz are in no specification: our own words for docker archives that have them.
        .any(|rest| {
            let name = rest.strip_prefix(['+', '.']);
            matches!(name, Some("gzip" | "zstd" | "bzip2" | "xz")) || rest.is_empty()
        })
    };
    match layers.iter().find(|layer| !tar(&layer.media_type)) {
        Some(_) if sys::fault::broken("no-layer-types") => Ok(()),
        Some(layer) => unsupported("layer", &layer.media_type),
        None => Ok(()),
    }
}

/// The images of an index that are for `host` (attestations are none), the best variant first. With no
/// platform said, an image may be for it.
pub(crate) fn for_platform<'a>(index: &'a [Descriptor], host: &Platform) -> Vec<&'a Descriptor> {
    let fits = |descriptor: &&Descriptor| {
        !descriptor.is_attestation()
            && descriptor.platform.as_ref().is_none_or(|p| {
                p.os == host.os
                    && p.architecture == host.architecture
                    && (p.variant.is_none() || p.variant == host.variant)
            })
    };
    let mut found: Vec<&Descriptor> = index.iter().filter(fits).collect();
    found.sort_by_key(|descriptor| descriptor.platform.is_none());
    found
}

/// The platforms that an index has, for a message.
pub(crate) fn platforms(index: &[Descriptor]) -> String {
    let known = index
        .iter()
        .filter(|descriptor| !descriptor.is_attestation());
    let names: Vec<String> = known
        .filter_map(|d| d.platform.as_ref().map(Platform::to_string))
        .collect();
    format!("{:?}", names.join(", "))
}

/// Reads a config. Whatever it has beside the fields of the type is kept in its bytes alone.
pub(crate) fn configuration(bytes: &[u8]) -> Result<ImageConfiguration> {
    let what = "image config";
    let value = json::parse(what, bytes)?;
    let known = ["architecture", "os", "config", "rootfs", "history"];
    let object = json::object(what, &value, &known)?;
    let rootfs = object.get("rootfs").unwrap_or(&Value::Null);
    let rootfs = json::object("image config, rootfs", rootfs, &["type", "diff_ids"])?;
    if rootfs.get("type") != Some(&json!("layers")) {
        return Err(Error::refused(what, "rootfs.type is not \"layers\""));
    }
    serde_json::from_value(value).map_err(|e| Error::Json {
        what: what.to_owned(),
        fault: e.to_string(),
    })
}

/// The digests of a config's uncompressed layers, the lowest first.
pub(crate) fn diff_ids(configuration: &ImageConfiguration) -> Result<Vec<Digest>> {
    let diff_ids = configuration.rootfs().diff_ids().iter();
    diff_ids
        .map(|text| {
            text.parse()
                .map_err(|e: Error| e.inside("image config, rootfs.diff_ids"))
        })
        .collect()
}

/// The layers of a manifest that is known to be one.
pub(crate) fn layers(bytes: &[u8]) -> Result<Vec<Descriptor>> {
    match document("manifest", bytes, None)? {
        Document::Manifest { layers, .. } => Ok(layers),
        Document::Index(_) => Err(Error::refused("manifest", "it is an index")),
    }
}

/// The manifest of an image that came without one, or is ours.
pub(crate) fn compose(config: Digest, size: u64, layers: &[Descriptor]) -> Result<Vec<u8>> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor::new(OCI_CONFIG, config, size),
        "layers": layers,
    });
    serde_json::to_vec(&manifest).map_err(|e| Error::Json {
        what: "manifest".to_owned(),
        fault: e.to_string(),
    })
}

/// The media type of a manifest's bytes: what it says, or OCI's.
pub(crate) fn media_type(bytes: &[u8]) -> Result<String> {
    let value = json::parse("manifest", bytes)?;
    let said = value.get("mediaType").and_then(Value::as_str);
    Ok(said.unwrap_or(OCI_MANIFEST).to_owned())
}

fn descriptors(what: &str, value: Option<&Value>, key: &str) -> Result<Vec<Descriptor>> {
    match value {
        // Go writes an empty list as null.
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(values)) => values
            .iter()
            .enumerate()
            .map(|(n, value)| Descriptor::parse(&format!("{what}, {key}[{n}]"), value))
            .collect(),
        Some(_) => Err(Error::refused(what, format!("{key} is no list"))),
    }
}

fn platform(what: &str, value: &Value) -> Result<Option<Platform>> {
    if value.is_null() {
        return Ok(None);
    }
    let object = json::object(what, value, &["os", "architecture", "variant"])?;
    let variant = match object.get("variant") {
        None | Some(Value::Null) => None,
        variant => Some(text(what, variant, "platform.variant")?).filter(|text| !text.is_empty()),
    };
    Ok(Some(Platform {
        os: text(what, object.get("os"), "platform.os")?,
        architecture: text(what, object.get("architecture"), "platform.architecture")?,
        variant,
    }))
}

fn annotations(what: &str, value: Option<&Value>) -> Result<BTreeMap<String, String>> {
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(object)) => object
            .iter()
            .map(|(key, value)| Ok((key.clone(), text(what, Some(value), "an annotation")?)))
            .collect(),
        Some(_) => Err(Error::refused(what, "annotations is no object")),
    }
}

fn text(what: &str, value: Option<&Value>, key: &str) -> Result<String> {
    match value {
        Some(Value::String(text)) => Ok(text.clone()),
        None => Err(Error::refused(what, format!("{key} is missing"))),
        Some(_) => Err(Error::refused(what, format!("{key} is no text"))),
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
