//! Archives and layouts, honest and hostile, into a store and out again.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at the world by path, and fails where it can't"
)]

mod store;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use dhow_image::{
    Digest, Error, Format, LoadOptions, Loaded, Names, Removal, Result, Source, Store,
};
use serde_json::{Value, json};

/// A store in a directory of its own.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.dir.path().join("store")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Loads an archive of these files.
    fn load(&self, files: &Files) -> Result<Vec<Loaded>> {
        let path = self.path("archive.tar");
        fs::write(&path, tar_of(files)).unwrap();
        self.store()
            .load(Source::Path(path), &LoadOptions::default())
    }

    /// What a failed load must leave: nothing.
    #[track_caller]
    fn is_empty(&self) {
        for room in ["blobs/sha256", "layers", "work"] {
            let path = self.dir.path().join("store").join(room);
            assert_eq!(fs::read_dir(path).unwrap().count(), 0, "{room}");
        }
        assert!(self.store().images().unwrap().is_empty());
    }
}

type Files = BTreeMap<String, Vec<u8>>;

fn tar_of(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match name.strip_suffix('@') {
            Some(name) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                let target = std::str::from_utf8(bytes).unwrap();
                builder.append_link(&mut header, name, target).unwrap();
            }
            None => {
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, &bytes[..]).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn layer(names: &[&str]) -> Vec<u8> {
    tar_of(
        &names
            .iter()
            .map(|name| ((*name).to_owned(), name.as_bytes().to_vec()))
            .collect(),
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn config(layers: &[Vec<u8>]) -> Value {
    let ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({
        "architecture": arch(), "os": "linux", "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": ids},
    })
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An OCI layout of one image; `edit` may change its manifest.
fn oci(layers: &[Vec<u8>], blobs: &[Vec<u8>], edit: impl Fn(&mut Value)) -> Files {
    let config = config(layers).to_string().into_bytes();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config),
        "layers": blobs.iter().map(|blob| descriptor(LAYER, blob)).collect::<Vec<_>>(),
    });
    edit(&mut manifest);
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "hello:1"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    let mut files: Files = [&config, &manifest]
        .into_iter()
        .chain(blobs)
        .map(|bytes| {
            (
                format!("blobs/sha256/{}", Digest::of(bytes).hex()),
                bytes.clone(),
            )
        })
        .collect();
    files.insert(
        "oci-layout".into(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    );
    files.insert("index.json".into(), index.to_string().into_bytes());
    files
}

fn simple() -> Files {
    let layers = [layer(&["a", "b"]), layer(&["c"])];
    let blobs = [gzip(&layers[0]), zstd(&layers[1])];
    oci(&layers, &blobs, |_| {})
}

/// docker save of old: layers in folders, one of them a link to the other.
fn docker() -> Files {
    let layers = [layer(&["a"]), layer(&["a"])];
    let config = config(&layers).to_string().into_bytes();
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{
        "Config": name, "RepoTags": ["hello:1"], "Layers": ["one/layer.tar", "two/layer.tar"],
    }]);
    Files::from([
        (name, config),
        ("one/layer.tar".into(), layers[0].clone()),
        ("two/layer.tar@".into(), b"../one/layer.tar".to_vec()),
        ("manifest.json".into(), manifest.to_string().into_bytes()),
    ])
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text += &format!(": {error}");
        next = error.source();
    }
    text
}

#[track_caller]
fn refused(files: &Files, because: &str) {
    let place = Place::new();
    let text = chain(&place.load(files).unwrap_err());
    assert!(text.contains(because), "{text:?} does not say {because:?}");
    assert!(!text.contains('\n'), "{text:?}");
    place.is_empty();
}

#[test]
fn an_oci_archive_loads_and_its_tree_is_there() {
    let place = Place::new();
    let loaded = place.load(&simple()).unwrap();
    let image = &loaded[0].image;
    assert_eq!(image.names[0].familiar(), "hello:1");
    let [top, base] = &image.lower()[..] else {
        panic!("two layers")
    };
    assert_eq!(fs::read(top.path().join("c")).unwrap(), b"c");
    assert_eq!(fs::read(base.path().join("b")).unwrap(), b"b");
    // Again: the store has it, and nothing is read; also not what is broken by now.
    let mut files = simple();
    let blob = image.layers[0].blob.hex();
    files.insert(format!("blobs/sha256/{blob}"), b"broken".to_vec());
    assert_eq!(place.load(&files).unwrap()[0].image.id, image.id);
}

#[test]
fn the_three_forms_of_one_image_are_one_image() {
    let layers = [layer(&["a"])];
    let files = oci(&layers, &[gzip(&layers[0])], |_| {});
    let place = Place::new();
    for (name, bytes) in &files {
        let path = place.path("layout").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let archive = place.path("a.tar");
    fs::write(&archive, tar_of(&files)).unwrap();
    let packed = place.path("a.tar.gz");
    fs::write(&packed, gzip(&tar_of(&files))).unwrap();
    let stream = || Source::Stream {
        name: "stdin".into(),
        fd: fs::File::open(&archive).unwrap().into(),
    };
    let sources = [
        Source::Path(place.path("layout")),
        Source::Path(archive.clone()),
        Source::Path(packed),
        stream(),
    ];
    let ids = sources.map(|source| {
        let place = Place::new();
        place.store().load(source, &LoadOptions::default()).unwrap()[0]
            .image
            .id
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[test]
fn a_docker_archive_with_linked_layers_loads() {
    let place = Place::new();
    let loaded = place.load(&docker()).unwrap();
    assert_eq!(loaded[0].image.layers.len(), 2);
    assert_eq!(loaded[0].image.names[0].familiar(), "hello:1");
}

#[test]
fn an_archive_that_is_two_things_at_once_must_be_one() {
    let layers = [layer(&["a"])];
    let mut files = oci(&layers, &[gzip(&layers[0])], |_| {});
    let config = config(&layers).to_string();
    let config = format!("blobs/sha256/{}", Digest::of(config.as_bytes()).hex());
    let blob = format!("blobs/sha256/{}", Digest::of(&gzip(&layers[0])).hex());
    let both =
        |config: &str| json!([{"Config": config, "RepoTags": ["hello:1"], "Layers": [blob]}]);
    files.insert(
        "manifest.json".into(),
        both(&config).to_string().into_bytes(),
    );
    assert_eq!(Place::new().load(&files).unwrap().len(), 1);
    files.insert("other.json".into(), b"{}".to_vec());
    files.insert(
        "manifest.json".into(),
        both("other.json").to_string().into_bytes(),
    );
    refused(&files, "which index.json does not");
}

#[test]
fn every_flipped_byte_is_refused_and_leaves_nothing() {
    let files = simple();
    let place = Place::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
        // All bytes of the documents, every seventh of the layers.
        let step = if bytes.starts_with(b"{") { 1 } else { 7 };
        for at in (0..bytes.len()).step_by(step) {
            let mut broken = files.clone();
            broken.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            let text = chain(&place.load(&broken).unwrap_err());
            assert!(
                text.contains("digest") || text.contains("size"),
                "{name} {at}: {text}"
            );
        }
    }
    place.is_empty();
}

#[test]
fn promises_that_do_not_hold_are_refused() {
    let layers = [layer(&["a", "b"]), layer(&["c"])];
    let blobs = [gzip(&layers[0]), gzip(&layers[1])];
    let size = blobs[0].len() as u64;
    let edit = |key: &'static str, value: Value| {
        oci(&layers, &blobs, move |m| {
            m["layers"][0][key] = value.clone()
        })
    };
    refused(&edit("size", json!(size + 1)), "size");
    refused(&edit("size", json!(size - 1)), "size");
    refused(&edit("size", json!(-1)), "not from 0 to");
    refused(
        &edit("digest", json!("sha256:../../../etc/passwd")),
        "64 hex digits",
    );
    refused(&edit("digest", json!(Digest::of(b"other"))), "no such file");
    refused(&edit("mediaType", json!("text/html")), "text/html");
    let swapped = [layers[1].clone(), layers[0].clone()];
    refused(&oci(&swapped, &blobs, |_| {}), "diff id");
    refused(
        &oci(&layers[..1], &blobs, |_| {}),
        "2 layers, but rootfs.diff_ids has 1",
    );
    refused(
        &oci(&layers, &blobs, |m| m["manifests"] = json!([])),
        "both",
    );
    let truncated = [gzip(&layers[0][..layers[0].len() - 1500]), blobs[1].clone()];
    refused(&oci(&layers, &truncated, |_| {}), "diff id");
}

#[test]
fn hostile_members_of_an_archive_are_refused() {
    let with = |name: &str, bytes: &[u8]| {
        let mut files = docker();
        files.remove("two/layer.tar@");
        files.insert(name.to_owned(), bytes.to_vec());
        files
    };
    refused(
        &with("two/layer.tar@", b"/etc/passwd"),
        "links out of the archive",
    );
    refused(
        &with("two/layer.tar@", b"../../x"),
        "links out of the archive",
    );
    refused(&with("two/layer.tar@", b"layer.tar"), "in circles");
    refused(&with("two/other", b""), "two/layer.tar");
    let manifest = br#"[{"Config":"../../etc/passwd","Layers":[]}]"#;
    refused(
        &Files::from([("manifest.json".into(), manifest.to_vec())]),
        "'..'",
    );
    refused(
        &Files::from([("x".into(), Vec::new())]),
        "neither oci-layout nor manifest.json",
    );
    refused(&Files::new(), "neither oci-layout nor manifest.json");
    let tag = br#"[{"Config":"x.json","RepoTags":["../x"],"Layers":[]}]"#;
    refused(
        &Files::from([("manifest.json".into(), tag.to_vec())]),
        "image name \"../x\"",
    );
}

#[test]
fn an_entry_that_leads_out_is_named_and_nothing_is_left() {
    let place = Place::new();
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..9].copy_from_slice(b"../escape");
    header.set_size(0);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, &b""[..]).unwrap();
    let layers = [layer(&["a"]), builder.into_inner().unwrap()];
    let text = chain(&place.load(&oci(&layers, &layers, |_| {})).unwrap_err());
    assert!(
        text.contains("entry \"../escape\": a path can't hold '..'"),
        "{text}"
    );
    place.is_empty();
}

#[test]
fn a_foreign_platform_is_named() {
    let mut files = simple();
    let index = String::from_utf8(files["index.json"].clone()).unwrap();
    let mut index: Value = serde_json::from_str(&index).unwrap();
    index["manifests"][0]["platform"] = json!({"os": "linux", "architecture": "s390x"});
    files.insert("index.json".into(), index.to_string().into_bytes());
    refused(&files, "linux/s390x");
}
