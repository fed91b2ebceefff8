//! Layers that are compressed as they leave. Not its job: what is said of images (`attested`), the flags' words.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Site;
use crate::registry::server::Registry;
use crate::support::{claims, run};

claims![
    layers_leave_compressed_and_the_store_stays_as_it_is: [Root, Overlay, Dhow, Tool("skopeo"), Tool("zstd")],
    push_and_save_compress_as_they_are_told: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    a_push_by_digest_leaves_tags_alone: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    a_push_is_gzip_and_a_second_one_compresses_nothing: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
];

/// Two layers, one of some megabytes, and databases of packages.
const RECIPE: &str = "FROM scratch AS first
ARG WORD
COPY large /large
COPY --chmod=644 <<os <<status <<metadata /tree/
ID=debian
VERSION_ID=12
os
Package: bash
Status: install ok installed
Version: 5.2-1
Architecture: amd64

status
Name: Some_Thing
Version: 1.0

metadata
FROM scratch
COPY --from=first /large /large
COPY --from=first /tree/os /usr/lib/os-release
COPY --from=first /tree/status /var/lib/dpkg/status
COPY --from=first /tree/metadata /usr/lib/python3/some_thing-1.0.dist-info/METADATA
COPY Dockerfile /var/lib/rpm/rpmdb.sqlite
";

pub(super) fn site() -> Site {
    let site = Site::bare();
    let context = site.context("c", RECIPE);
    let lines = (0..600_000).map(|n| format!("line {n}\n"));
    std::fs::write(context.join("large"), lines.collect::<String>()).unwrap();
    site
}

pub(super) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

pub(super) fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    let (_, hex) = digest.as_str().unwrap().split_once(':').unwrap();
    std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
}

/// The one manifest of a layout.
pub(super) fn manifest(layout: &Path) -> Value {
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    json(&blob(layout, &index["manifests"][0]["digest"]))
}

pub(super) fn skopeo(arguments: &[&str]) -> String {
    run(Command::new("skopeo").args(arguments)).success().stdout
}

fn layers_leave_compressed_and_the_store_stays_as_it_is() {
    let site = site();
    let outputs = ["gzip", "zstd,compression-level=9", "uncompressed"]
        .map(|how| format!("-otype=oci,tar=false,dest={},compression={how}", &how[..4]));
    let mut arguments: Vec<&str> = outputs.iter().map(String::as_str).collect();
    arguments.extend(["-q", "c"]);
    let id = site.build(&arguments).success().stdout;
    let layers = |name: &str| {
        let manifest = manifest(&site.folder().join(name));
        manifest["layers"].as_array().unwrap().clone()
    };
    let plain = layers("unco");
    for (name, suffix, program) in [("gzip", "+gzip", "gzip"), ("zstd", "+zstd", "zstd")] {
        let layout = site.folder().join(name);
        let packed = layers(name);
        assert_eq!(packed.len(), plain.len());
        for (packed, plain) in packed.iter().zip(&plain) {
            let media_type = packed["mediaType"].as_str().unwrap();
            let plain_type = plain["mediaType"].as_str().unwrap();
            assert_eq!(media_type, format!("{plain_type}{suffix}"));
            let file = site.folder().join("one");
            std::fs::write(&file, blob(&layout, &packed["digest"])).unwrap();
            let mut inflate = Command::new(program);
            let inflated = inflate.arg("-dc").stdin(std::fs::File::open(file).unwrap());
            let inflated = inflated.output().unwrap();
            assert!(inflated.status.success(), "{inflated:?}");
            let plain = blob(&site.folder().join("unco"), &plain["digest"]);
            assert!(inflated.stdout == plain, "{name}");
        }
        assert!(packed[0]["size"].as_u64().unwrap() * 2 < plain[0]["size"].as_u64().unwrap());
        // Others unpack it, and so do we: the same image.
        let to = format!("dir:{}", site.folder().join("copy").display());
        skopeo(&["copy", &format!("oci:{}", layout.display()), &to]);
        let mut load = site.dhow();
        load.args(["--store", "other", "load", "-q", "-i", name]);
        let loaded = run(&mut load).success().stdout;
        assert!(loaded.contains(id.trim_end()), "{loaded}");
    }
    // The store has what it had.
    let inspected = run(site.dhow().args(["inspect", id.trim_end()])).success();
    let inspected = json(inspected.stdout.as_bytes());
    let text = inspected.to_string();
    assert!(!text.contains("+gzip") && !text.contains("+zstd"), "{text}");
}

fn a_push_is_gzip_and_a_second_one_compresses_nothing() {
    let (site, registry) = (site(), Registry::plain());
    let name = registry.name("a/one:1");
    let push = |more: &[&str]| {
        let mut arguments = vec!["--push", "-q", "-t", &name, "--metadata-file", "said.json"];
        arguments.extend(more);
        arguments.push("c");
        site.build(&arguments).success();
        json(&std::fs::read(site.folder().join("said.json")).unwrap())["containerimage.digest"]
            .clone()
    };
    let raw = || {
        let name = format!("docker://{name}");
        json(skopeo(&["inspect", "--raw", "--tls-verify=false", &name]).as_bytes())
    };
    let first = push(&[]);
    let there = raw();
    let layers = there["layers"].as_array().unwrap().clone();
    for layer in &layers {
        assert_eq!(
            layer["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+gzip"
        );
    }
    // What the registry has by our note is not read again: nobody sees that it is damaged.
    let blobs = std::fs::read_dir(site.folder().join("store/blobs/sha256")).unwrap();
    let largest = blobs
        .map(|blob| blob.unwrap().path())
        .max_by_key(|blob| blob.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    assert_eq!(push(&[]), first);
    // Who needs it packed again sees it.
    let packed = ["-otype=oci,dest=x.tar,compression=gzip", "-q", "c"];
    let refused = site.build(&packed).ends_with(1);
    assert!(refused.stderr.contains("digest"), "{refused:?}");
    // Docker's words for the same layers.
    let output = format!("-otype=registry,name={name},oci-mediatypes=false");
    site.build(&[&output, "-q", "c"]).success();
    assert_eq!(
        raw()["mediaType"],
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    assert_eq!(raw()["layers"][0]["digest"], layers[0]["digest"]);
    // Whoever pulls it has the same image.
    let mut pull = site.dhow();
    pull.args(["--store", "other", "pull", "-q", &name]);
    run(&mut pull).success();
}

fn push_and_save_compress_as_they_are_told() {
    let (site, registry) = (site(), Registry::plain());
    let id = site.build(&["-q", "-t", "app", "c"]).success().stdout;
    let dhow = |arguments: &[&str]| run(site.dhow().args(arguments));
    let name = registry.name("a/app:1");
    let kinds = || {
        let name = format!("docker://{name}");
        let raw = json(skopeo(&["inspect", "--raw", "--tls-verify=false", &name]).as_bytes());
        let layers = raw["layers"].as_array().unwrap().iter();
        let kind = |layer: &Value| layer["mediaType"].as_str().unwrap().to_owned();
        let mut kinds: Vec<String> = layers.map(kind).collect();
        kinds.dedup();
        kinds.join(" ")
    };
    let tar = "application/vnd.oci.image.layer.v1.tar";
    for (flags, suffix) in [
        (&["-q"][..], "+gzip"),
        (&["-q", "--compression-format=zstd"], "+zstd"),
        (&["-q", "-D"], ""),
    ] {
        let pushed = dhow(&[&["push"], flags, &["app", &name]].concat()).success();
        assert_eq!(kinds(), format!("{tar}{suffix}"));
        let remote = format!("docker://{name}");
        let there = skopeo(&[
            "inspect",
            "--tls-verify=false",
            "--format={{.Digest}}",
            &remote,
        ]);
        assert_eq!(there, pushed.stdout);
    }
    // What is saved is the same image to others and to us.
    for (n, format) in ["docker-archive", "oci-archive"].iter().enumerate() {
        let sizes = ["--uncompressed", "--compression-format=zstd"].map(|how| {
            let file = format!("{n}.tar");
            let flags = ["save", "-q", "--format", format, how, "-o", &file, "app"];
            dhow(&flags).success();
            let config = skopeo(&[
                "inspect",
                "--config",
                "--raw",
                &format!("{format}:{}", site.folder().join(&file).display()),
            ]);
            let path = site.folder().join("config");
            std::fs::write(&path, config).unwrap();
            let sum = run(Command::new("sha256sum").arg(path)).success().stdout;
            assert_eq!(format!("sha256:{}", &sum[..64]), id.trim_end());
            let store = format!("{n}{}", &how[..4]);
            let loaded = dhow(&["--store", &store, "load", "-q", "-i", &file]).success();
            assert!(loaded.stdout.contains(id.trim_end()), "{loaded:?}");
            std::fs::metadata(site.folder().join(file)).unwrap().len()
        });
        assert!(sizes[1] * 2 < sizes[0], "{sizes:?}");
    }
    let refused = dhow(&["push", "--compression-level=99", "app", &name]).ends_with(1);
    let why = "dhow: --compression-level=99: it is from 0 to 9\n";
    assert_eq!(refused.stderr, why);
}

fn a_push_by_digest_leaves_tags_alone() {
    let (site, registry) = (site(), Registry::plain());
    let repository = registry.name("a/one");
    let output =
        format!("-otype=image,name={repository},push-by-digest=true,name-canonical=true,push=true");
    site.build(&[&output, "-q", "--metadata-file=said.json", "c"])
        .success();
    let said = json(&std::fs::read(site.folder().join("said.json")).unwrap());
    let digest = said["containerimage.digest"].as_str().unwrap();
    let remote = format!("docker://{repository}@{digest}");
    let raw = json(skopeo(&["inspect", "--raw", "--tls-verify=false", &remote]).as_bytes());
    assert_eq!(
        raw["config"]["digest"],
        said["containerimage.config.digest"]
    );
    let tagged = format!("docker://{repository}:latest");
    let absent = run(Command::new("skopeo").args(["inspect", "--tls-verify=false", &tagged]));
    assert!(absent.stderr.contains("manifest unknown"), "{absent:?}");
    let refused = site.build(&[&output, "-t", "x", "c"]).ends_with(1);
    let why = "dhow: --output push-by-digest=true: no name is given by -t then\n";
    assert_eq!(refused.stderr, why);
}
