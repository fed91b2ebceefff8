//! The forms that images come and go in: archives old and new, layouts, indexes; written by dhow and by other people's
//! tools, read by both. Images are small and made by hand. Not its job: what is in a layer (unpack), other people's tools.

pub(crate) mod packed;
pub(crate) mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use image::Digest;
use serde_json::{Value, json};

use crate::support::claims;
use crate::support::image::{HandMade, architecture, write};
use crate::support::image_store::ImageStore;

claims![
    what_is_loaded_and_saved_again_is_the_same_to_the_byte: [Dhow],
    one_image_of_two_forms_is_stored_once: [Dhow],
    an_archive_comes_and_goes_through_a_pipe: [Dhow],
    several_images_and_names_go_into_one_archive: [Dhow],
    an_old_archive_of_docker_has_links_for_layers: [Dhow],
    an_archive_of_both_forms_is_one_image: [Dhow],
    an_index_gives_this_platforms_image_and_no_attestation: [Dhow],
    dockers_media_types_stay: [Dhow],
    a_layout_is_written_where_nothing_is: [Dhow],
];

const NAME: &str = "example.test/box:1";
const FORMS: [&str; 3] = ["docker-archive", "oci-archive", "oci-dir"];

fn image() -> HandMade {
    HandMade::new(NAME, &["one", "two"]).with(json!({
        "config": {"Cmd": ["/x"], "Unknown": [1]}, "unknown": {"b": 1, "a": "\u{e9}\u{1b}"},
        "history": [{"created_by": "one", "unknown": 1}, {"created_by": "two"}],
    }))
}

/// Id and manifest.
fn identity(store: &ImageStore, name: &str) -> String {
    let words = ["inspect", "--format", "{Id} {Manifest}", name];
    store.dhow(words).success().stdout
}

#[track_caller]
fn save(store: &ImageStore, form: &str) -> PathBuf {
    let path = store.path(form);
    let words = ["save", "--format", form, "-o", path.to_str().unwrap(), NAME];
    store.dhow(words).success();
    path
}

/// All files below `path`, or the one, with their bytes.
fn bytes(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    if path.is_file() {
        return vec![(PathBuf::new(), fs::read(path).unwrap())];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let inner = entry.unwrap().path();
        let name = inner.file_name().unwrap().to_owned();
        found.extend(
            bytes(&inner)
                .into_iter()
                .map(|(rest, bytes)| (Path::new(&name).join(rest), bytes)),
        );
    }
    found.sort();
    found
}

fn what_is_loaded_and_saved_again_is_the_same_to_the_byte() {
    let first = ImageStore::new();
    first.load(&image());
    for form in FORMS {
        let saved = save(&first, form);
        let second = ImageStore::new();
        second.take(&saved);
        assert_eq!(identity(&second, NAME), identity(&first, NAME), "{form}");
        assert!(identity(&second, NAME).starts_with(&image().id()), "{form}");
        assert!(bytes(&save(&second, form)) == bytes(&saved), "{form}");
    }
}

fn one_image_of_two_forms_is_stored_once() {
    let store = ImageStore::new();
    store.load(&image());
    let saved = FORMS.map(|form| save(&store, form));
    let both = ImageStore::new();
    let mut seen = Vec::new();
    for archive in &saved {
        both.take(archive);
        let layers = fs::read_dir(both.path("store/layers")).unwrap().count();
        seen.push((identity(&both, NAME), layers));
    }
    assert_eq!(seen[0].1, 2);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
}

fn an_archive_comes_and_goes_through_a_pipe() {
    let store = ImageStore::new();
    store.load(&image());
    for (form, to, from) in [
        ("docker-archive", &["-o", "-"][..], &["-i", "-"][..]),
        ("oci-archive", &[], &[]),
    ] {
        let other = ImageStore::new();
        let mut out = store.command();
        out.args(["save", "--format", form, NAME]).args(to);
        let mut out = out.stdout(Stdio::piped()).spawn().unwrap();
        let mut into = other.command();
        into.arg("load")
            .args(from)
            .stdin(out.stdout.take().unwrap());
        let loaded = into.output().unwrap();
        assert!(out.wait().unwrap().success());
        assert!(loaded.status.success(), "{loaded:?}");
        assert_eq!(
            String::from_utf8_lossy(&loaded.stdout),
            format!("Loaded image: {NAME}\n")
        );
        assert_eq!(identity(&other, NAME), identity(&store, NAME), "{form}");
    }
    let told = store
        .dhow(["save", "--format", "oci-dir", NAME])
        .ends_with(1)
        .stderr;
    assert!(told.contains("a folder is no stream"), "{told}");
}

fn several_images_and_names_go_into_one_archive() {
    let store = ImageStore::new();
    store.load(&image());
    store.load(&HandMade::new("other", &["two", "three"]));
    store.dhow(["tag", NAME, "second"]).success();
    for form in FORMS {
        let path = store.path(&format!("all.{form}"));
        let words = [
            "save",
            "--format",
            form,
            "-o",
            path.to_str().unwrap(),
            NAME,
            "other",
            "second",
        ];
        store.dhow(words).success();
        let second = ImageStore::new();
        second.take(&path);
        for name in [NAME, "other", "second"] {
            assert_eq!(
                identity(&second, name),
                identity(&store, name),
                "{form} {name}"
            );
        }
        // One layer of both is there once.
        assert_eq!(
            fs::read_dir(second.path("store/layers")).unwrap().count(),
            3,
            "{form}"
        );
    }
    // Only the name that was asked for goes along.
    let second = ImageStore::new();
    second.take(&save(&store, "oci-archive"));
    assert_eq!(
        second
            .dhow(["images", "--format", "{Name}"])
            .success()
            .stdout,
        format!("{NAME}\n")
    );
}

/// `ID/layer.tar`, of which the second is a link to the first; `repositories`, `VERSION` and a `json` for each.
fn an_old_archive_of_docker_has_links_for_layers() {
    let mut image = image();
    image.layers[1] = image.layers[0].clone();
    let store = ImageStore::new();
    let path = store.path("old.tar");
    let config = image.config_bytes();
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest =
        json!([{"Config": name, "RepoTags": [NAME], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    write(
        &path,
        &[
            file("a/VERSION", b"1.0"),
            file("a/json", b"{\"id\":\"a\"}"),
            file("a/layer.tar", &image.layers[0]),
            file("b/VERSION", b"1.0"),
            file("b/json", b"{\"id\":\"b\",\"parent\":\"a\"}"),
            file("-> b/layer.tar", b"../a/layer.tar"),
            file(&name, &config),
            file("manifest.json", &serde_json::to_vec(&manifest).unwrap()),
            file("repositories", b"{\"example.test/box\":{\"1\":\"b\"}}"),
        ],
    );
    store.take(&path);
    assert!(identity(&store, NAME).starts_with(&image.id()));
}

/// What a descriptor says of bytes.
fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
}

const OCI: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar",
];
const DOCKER: [&str; 4] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar",
];

/// The blobs of an image by name, with these types, and its manifest's bytes.
fn blobs(image: &HandMade, types: [&str; 4]) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let config = image.config_bytes();
    let layers: Vec<Value> = image
        .layers
        .iter()
        .map(|layer| descriptor(types[3], layer))
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": types[1], "config": descriptor(types[2], &config), "layers": layers,
        "annotations": {"unknown": "kept"},
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let all = image.layers.iter().chain([&config, &manifest]);
    (all.map(|bytes| blob(bytes)).collect(), manifest)
}

fn blob(bytes: &[u8]) -> (String, Vec<u8>) {
    (
        format!("blobs/sha256/{}", Digest::of(bytes).hex()),
        bytes.to_vec(),
    )
}

/// An archive of an OCI layout with these blobs and manifests.
fn oci_archive(path: &Path, mut members: Vec<(String, Vec<u8>)>, manifests: &[Value]) {
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    members.push((
        "oci-layout".to_owned(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    ));
    members.push(("index.json".to_owned(), serde_json::to_vec(&index).unwrap()));
    members.sort();
    members.dedup();
    write(path, &members);
}

fn named(kind: &str, bytes: &[u8]) -> Value {
    let mut descriptor = descriptor(kind, bytes);
    descriptor["annotations"] = json!({"io.containerd.image.name": NAME});
    descriptor
}

fn an_archive_of_both_forms_is_one_image() {
    let image = image();
    let (mut members, manifest) = blobs(&image, OCI);
    let path_of = |bytes: &[u8]| blob(bytes).0;
    let layers: Vec<String> = image.layers.iter().map(|layer| path_of(layer)).collect();
    let docker =
        json!([{"Config": path_of(&image.config_bytes()), "RepoTags": [NAME], "Layers": layers}]);
    members.push((
        "manifest.json".to_owned(),
        serde_json::to_vec(&docker).unwrap(),
    ));
    let store = ImageStore::new();
    let path = store.path("both.tar");
    oci_archive(&path, members, &[named(OCI[1], &manifest)]);
    store.take(&path);
    assert_eq!(
        identity(&store, NAME),
        format!("{} {}\n", image.id(), Digest::of(&manifest))
    );
}

/// As BuildKit writes it: an index in the index; another platform, an attestation of each.
fn an_index_gives_this_platforms_image_and_no_attestation() {
    let ours = image();
    let other = HandMade::new(NAME, &["other"]).with(json!({"architecture": "s390x"}));
    let note =
        HandMade::new(NAME, &["note"]).with(json!({"architecture": "unknown", "os": "unknown"}));
    let mut members = Vec::new();
    let mut manifests = Vec::new();
    let platform = |os: &str, architecture: &str| json!({"os": os, "architecture": architecture});
    for (image, platform) in [
        (&other, platform("linux", "s390x")),
        (&note, platform("unknown", "unknown")),
        (&ours, platform("linux", architecture())),
    ] {
        let (more, manifest) = blobs(image, OCI);
        members.extend(more);
        let mut descriptor = descriptor(OCI[1], &manifest);
        descriptor["platform"] = platform;
        if descriptor["platform"]["os"] == "unknown" {
            descriptor["annotations"] =
                json!({"vnd.docker.reference.type": "attestation-manifest"});
        }
        manifests.push(descriptor);
    }
    let inner = json!({"schemaVersion": 2, "mediaType": OCI[0], "manifests": manifests});
    let inner = serde_json::to_vec(&inner).unwrap();
    members.push(blob(&inner));
    let store = ImageStore::new();
    let path = store.path("index.tar");
    oci_archive(&path, members.clone(), &[named(OCI[0], &inner)]);
    store.take(&path);
    assert!(identity(&store, NAME).starts_with(&ours.id()));
    assert_eq!(
        store
            .dhow(["images", "-q"])
            .success()
            .stdout
            .lines()
            .count(),
        1
    );
    // The same without ours: the others are no answer, and are named.
    oci_archive(&path, members, &manifests[..2]);
    let told = ImageStore::new()
        .dhow([Path::new("load"), &path])
        .ends_with(1)
        .stderr;
    assert!(
        told.contains("linux/s390x") && !told.contains("unknown"),
        "{told}"
    );
}

fn dockers_media_types_stay() {
    let image = image();
    let (members, manifest) = blobs(&image, DOCKER);
    let store = ImageStore::new();
    let path = store.path("docker.tar");
    oci_archive(&path, members, &[named(DOCKER[1], &manifest)]);
    store.take(&path);
    let digest = Digest::of(&manifest);
    assert_eq!(identity(&store, NAME), format!("{} {digest}\n", image.id()));
    let saved = save(&store, "oci-dir");
    let kept = fs::read(saved.join("blobs/sha256").join(digest.hex())).unwrap();
    assert_eq!(kept, manifest);
    let index: Value =
        serde_json::from_slice(&fs::read(saved.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["mediaType"], DOCKER[1]);
}

fn a_layout_is_written_where_nothing_is() {
    let store = ImageStore::new();
    store.load(&image());
    let taken = store.path("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("mine"), "mine").unwrap();
    let words = ["save", "--format", "oci-dir", "-o", "taken", NAME];
    let told = store.dhow(words).ends_with(1).stderr;
    assert!(told.contains("the directory is not empty"), "{told}");
    assert_eq!(bytes(&taken).len(), 1);
    // A blob that the store has lost: nothing of the layout is left.
    let id = image().id();
    let layer = Digest::of(&image().layers[1]).hex();
    fs::remove_file(store.path("store/blobs/sha256").join(&layer)).unwrap();
    let told = store
        .dhow(["save", "--format", "oci-dir", "-o", "new", &id])
        .ends_with(1)
        .stderr;
    assert!(told.contains(&layer), "{told}");
    assert!(!store.path("new").exists());
}
