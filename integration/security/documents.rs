//! E10, E11, E23: documents that promise other bytes than there are, that are two things at once, or that name what the
//! kernel would have to read. Not its job: the JSON they are written in (json), layers.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::Canary;
use super::archive::{archive, config, digest, file, kept, put, tar};
use crate::build::Site;
use crate::support::{Output, claims, run};

claims![
    e10_cve_2024_3727_content_is_what_its_digest_says: [Dhow],
    e10_cve_2014_9358_a_digest_is_a_digest_and_no_path: [Dhow],
    e10_a_layout_reads_no_file_beside_it: [Dhow],
    e11_cve_2021_41190_a_document_is_one_thing: [Dhow],
    e23_cve_2023_30549_no_layer_is_a_file_system_for_the_kernel: [Dhow],
];

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Changes a document, and writes it down.
type Edit = fn(Value) -> Vec<u8>;

/// An image as an OCI layout. Each document is text, so that it may say what no writer of JSON would; the one above always
/// promises what the one below has become.
pub(super) struct Layout {
    pub(super) layer: Vec<u8>,
    pub(super) config: Vec<u8>,
    /// Changes the manifest, the index, and the layout's own file.
    pub(super) manifest: Edit,
    pub(super) index: Edit,
    pub(super) layout: Vec<u8>,
}

pub(super) fn text(value: Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

impl Layout {
    pub(super) fn new() -> Self {
        let layer = tar(&[file("f")]);
        Self {
            config: text(config(std::slice::from_ref(&layer))),
            layer,
            manifest: text,
            index: text,
            layout: text(json!({"imageLayoutVersion": "1.0.0"})),
        }
    }

    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
        let manifest = (self.manifest)(json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &self.config),
            "layers": [descriptor(LAYER, &self.layer)],
        }));
        let index = (self.index)(json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [descriptor(MANIFEST, &manifest)],
        }));
        let blob = |bytes: &[u8]| {
            let name = digest(bytes).replace(':', "/");
            (format!("blobs/{name}"), bytes.to_vec())
        };
        vec![
            ("oci-layout".to_owned(), self.layout.clone()),
            ("index.json".to_owned(), index),
            blob(&manifest),
            blob(&self.config),
            blob(&self.layer),
        ]
    }
}

pub(super) fn load(site: &Site, bytes: &[u8]) -> Output {
    let path = put(&site.sandbox, bytes);
    run(site.dhow().args(["load", "--quiet", "--force", &path]))
}

/// Refused in one line with these words; nothing is kept.
#[track_caller]
pub(super) fn refused(site: &Site, bytes: &[u8], words: &str) {
    let told = load(site, bytes).ends_with(1).stderr;
    assert!(told.contains(words) && told.lines().count() == 1, "{told}");
    assert!(told.len() < 2000, "{} bytes are said", told.len());
    assert_eq!(
        kept(&site.folder().join("store")),
        Vec::<String>::new(),
        "{told}"
    );
}

fn e10_cve_2024_3727_content_is_what_its_digest_says() {
    let site = Site::bare();
    let honest = Layout::new().files();
    for n in 2..5 {
        let length = honest[n].1.len();
        for at in (0..length).step_by(length / 8 + 1) {
            let mut files = honest.clone();
            files[n].1[at] ^= 1;
            refused(&site, &archive(&files), "as promised");
        }
        let mut longer = honest.clone();
        longer[n].1.push(b' ');
        refused(&site, &archive(&longer), "size is");
        let mut shorter = honest.clone();
        shorter[n].1.pop();
        refused(&site, &archive(&shorter), "size is");
    }
    // The content itself, of which the config has another digest than the manifest of the blob.
    let mut other = Layout::new();
    other.config = text(config(&[tar(&[file("g")])]));
    refused(&site, &archive(&other.files()), "diff id is");
    load(&site, &archive(&honest)).success();
}

/// The value of one field of the manifest's descriptors, of the index's, and of the config's list.
fn e10_cve_2014_9358_a_digest_is_a_digest_and_no_path() {
    let site = Site::bare();
    let hex = "0123456789abcdef".repeat(4);
    for bad in [
        "sha256:../../../etc/passwd".to_owned(),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha256:{hex}\n"),
        format!("sha256:{hex}/"),
        format!("sha256 :{hex}"),
        format!("sha512:{hex}{hex}"),
        format!("md5:{}", &hex[..32]),
        hex.clone(),
        "sha256:".to_owned(),
        String::new(),
    ] {
        let said = json!(bad).to_string();
        let place = |n: usize| {
            let mut files = Layout::new().files();
            let text = String::from_utf8(files[n].1.clone()).unwrap();
            let at = text.find("\"sha256:").unwrap();
            files[n].1 = [&text[..at], &said, &text[at + 73..]].concat().into_bytes();
            files
        };
        // The index is believed as it stands; what is below it, only under its digest.
        refused(&site, &archive(&place(1)), "digest \"");
        let mut broken = Layout::new();
        broken.config = place(3)[3].1.clone();
        refused(&site, &archive(&broken.files()), "digest \"");
    }
    for size in [
        "-1",
        "1.5",
        "1e3",
        "9223372036854775808",
        "18446744073709551616",
        "\"1\"",
        "null",
    ] {
        let mut files = Layout::new().files();
        let text = String::from_utf8(files[1].1.clone()).unwrap();
        let at = text.find("\"size\":").unwrap() + 7;
        let end = at + text[at..].find('}').unwrap();
        files[1].1 = [&text[..at], size, &text[end..]].concat().into_bytes();
        refused(&site, &archive(&files), "manifests[0]: size");
    }
}

/// A layout is a folder, with links in it if its maker likes: they end in it.
fn e10_a_layout_reads_no_file_beside_it() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let folder = site.folder().join("layout");
    let made = || {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (name, bytes) in Layout::new().files() {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    };
    let names: Vec<String> = Layout::new()
        .files()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for name in &names {
        made();
        // The very bytes that are wanted, but outside.
        let outside = site.folder().join("outside");
        std::fs::rename(folder.join(name), &outside).unwrap();
        symlink(&outside, folder.join(name)).unwrap();
        let told = run(site.dhow().arg("load").arg(&folder))
            .ends_with(1)
            .stderr;
        assert_eq!(told.lines().count(), 1, "{told}");
        std::fs::remove_file(folder.join(name)).unwrap();
        symlink(canary.path().join("secret"), folder.join(name)).unwrap();
        let told = run(site.dhow().arg("load").arg(&folder))
            .ends_with(1)
            .stderr;
        canary.assert_unseen(&told);
    }
    made();
    run(site.dhow().arg("load").arg(&folder)).success();
}

fn e11_cve_2021_41190_a_document_is_one_thing() {
    let site = Site::bare();
    let manifests: &[(Edit, &str)] = &[
        (
            |m| changed(m, "manifests", json!([])),
            "both manifests and layers",
        ),
        (
            |m| changed(m, "mediaType", json!(INDEX)),
            "its mediaType is",
        ),
        (
            |m| changed(m, "mediaType", json!("application/json")),
            "its mediaType is",
        ),
        (
            |m| changed(m, "schemaVersion", json!(1)),
            "manifest schema 1: not supported",
        ),
        (
            |m| changed(m, "fsLayers", json!([])),
            "manifest schema 1: not supported",
        ),
        (
            |m| changed(m, "schemaVersion", json!("2")),
            "schemaVersion is not 2",
        ),
    ];
    for (manifest, words) in manifests {
        let layout = Layout {
            manifest: *manifest,
            ..Layout::new()
        };
        refused(&site, &archive(&layout.files()), words);
    }
    let indexes: &[(Edit, &str)] = &[
        (
            |i| changed(i, "layers", json!([])),
            "both manifests and layers",
        ),
        (
            |i| changed(i, "config", json!({})),
            "both manifests and layers",
        ),
        (
            |i| changed(i, "mediaType", json!(MANIFEST)),
            "its mediaType is",
        ),
    ];
    for (index, words) in indexes {
        let layout = Layout {
            index: *index,
            ..Layout::new()
        };
        refused(&site, &archive(&layout.files()), words);
    }
    two_faced(&site);
}

/// One archive that is one image to docker and another to the tools of OCI.
fn two_faced(site: &Site) {
    let mut files = Layout::new().files();
    let other = config(&[tar(&[file("g")])]).to_string().into_bytes();
    let name = format!("blobs/{}", digest(&other).replace(':', "/"));
    let docker = json!([{"Config": name, "RepoTags": ["evil:latest"], "Layers": []}]);
    files.extend([("manifest.json".to_owned(), text(docker)), (name, other)]);
    refused(site, &archive(&files), "which index.json does not");
}

fn changed(mut document: Value, key: &str, value: Value) -> Vec<u8> {
    document[key] = value;
    text(document)
}

/// Layers that the kernel would have to mount are refused by their type, and by what they are: nothing is mounted to read
/// an image.
fn e23_cve_2023_30549_no_layer_is_a_file_system_for_the_kernel() {
    let site = Site::bare();
    for kind in [
        "application/vnd.erofs.layer.v1",
        "application/vnd.oci.image.layer.v1.erofs",
        "application/vnd.oci.image.layer.v1.squashfs",
        "application/vnd.sylabs.sif.layer.v1.sif",
        "application/octet-stream",
    ] {
        let mut files = Layout::new().files();
        let manifest = String::from_utf8(files[2].1.clone())
            .unwrap()
            .replace(LAYER, kind);
        let old = digest(&files[2].1);
        let size = format!("\"size\":{}", files[2].1.len());
        let index = String::from_utf8(files[1].1.clone()).unwrap();
        let index = index.replace(&old, &digest(manifest.as_bytes()));
        files[1].1 = index
            .replace(&size, &format!("\"size\":{}", manifest.len()))
            .into_bytes();
        files[2] = (
            format!("blobs/{}", digest(manifest.as_bytes()).replace(':', "/")),
            manifest.into_bytes(),
        );
        refused(
            &site,
            &archive(&files),
            &format!("layer of type \"{kind}\": not supported"),
        );
    }
    // By their bytes they are no tars, or (where they begin with zeros) empty ones.
    let image = |at: usize, magic: &[u8]| {
        let mut bytes = vec![0; 8192];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        Layout {
            config: text(config(std::slice::from_ref(&bytes))),
            layer: bytes,
            ..Layout::new()
        }
    };
    let squashfs = archive(&image(0, b"hsqs").files());
    refused(&site, &squashfs, "the tar header's checksum");
    for (n, empty) in [image(1024, b"\xe2\xe1\xf5\xe0"), image(1080, b"\x53\xef")]
        .iter()
        .enumerate()
    {
        let loaded = load(&site, &archive(&empty.files())).success();
        let bundle = site.folder().join(format!("bundle-{n}"));
        run(site
            .dhow()
            .args(["unpack", loaded.stdout.trim()])
            .arg(&bundle))
        .success();
        assert_eq!(std::fs::read_dir(bundle.join("rootfs")).unwrap().count(), 0);
    }
}
