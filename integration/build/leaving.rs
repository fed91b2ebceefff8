//! Layers that are compressed as they leave, and what is said of an image beside it. Not its job: the flags' words.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Site;
use crate::registry::server::Registry;
use crate::support::{claims, run};

claims![
    layers_leave_compressed_and_the_store_stays_as_it_is: [Root, Overlay, Dhow, Tool("skopeo"), Tool("zstd")],
    a_push_is_gzip_and_a_second_one_compresses_nothing: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    an_image_in_company_is_found_by_others_and_by_us: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    what_is_said_stands_among_the_files: [Root, Overlay, Dhow, Tool("tar")],
    what_is_said_must_have_a_place: [Root, Overlay, Dhow],
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

fn site() -> Site {
    let site = Site::bare();
    let context = site.context("c", RECIPE);
    let lines = (0..600_000).map(|n| format!("line {n}\n"));
    std::fs::write(context.join("large"), lines.collect::<String>()).unwrap();
    site
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    let (_, hex) = digest.as_str().unwrap().split_once(':').unwrap();
    std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
}

/// The one manifest of a layout.
fn manifest(layout: &Path) -> Value {
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    json(&blob(layout, &index["manifests"][0]["digest"]))
}

fn skopeo(arguments: &[&str]) -> String {
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
    push(&[&output]);
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

/// The statements beside an image, by the kinds of their predicates.
fn statements(layout: &Path) -> Vec<(String, Value)> {
    let index = manifest(layout);
    let parts = index["manifests"].as_array().unwrap();
    assert_eq!(parts.len(), 2, "{index}");
    let beside = &parts[1];
    assert_eq!(
        beside["annotations"]["vnd.docker.reference.type"],
        "attestation-manifest"
    );
    assert_eq!(
        beside["annotations"]["vnd.docker.reference.digest"],
        parts[0]["digest"]
    );
    assert_eq!(beside["platform"]["os"], "unknown");
    let said = json(&blob(layout, &beside["digest"]));
    let layers = said["layers"].as_array().unwrap().iter();
    let statement = |layer: &Value| {
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        let statement = json(&blob(layout, &layer["digest"]));
        let (_, image) = parts[0]["digest"]
            .as_str()
            .unwrap()
            .split_once(':')
            .unwrap();
        assert_eq!(statement["subject"][0]["digest"]["sha256"], image);
        let kind = layer["annotations"]["in-toto.io/predicate-type"]
            .as_str()
            .unwrap();
        assert_eq!(statement["predicateType"], kind);
        (kind.to_owned(), statement["predicate"].clone())
    };
    layers.map(statement).collect()
}

fn an_image_in_company_is_found_by_others_and_by_us() {
    let (site, registry) = (site(), Registry::plain());
    let name = registry.name("a/one:1");
    std::fs::write(site.folder().join("key"), "very secret").unwrap();
    let build = |layout: &str| {
        let output = format!("-otype=oci,tar=false,dest={layout},compression=gzip");
        site.build(&[
            "--provenance=mode=max",
            "--sbom",
            "--secret=id=key,src=key",
            "--build-arg=SOURCE_DATE_EPOCH=86400",
            "--build-arg=WORD=a word",
            "--build-arg=HTTP_PROXY=http://me:mine@proxy.example",
            "--push",
            &output,
            "-t",
            &name,
            "--metadata-file=said.json",
            "c",
        ])
        .success()
    };
    let built = build("one");
    assert!(
        built
            .stderr
            .contains("packages of var/lib/rpm/rpmdb.sqlite are not in it"),
        "{built:?}"
    );
    let said = json(&std::fs::read(site.folder().join("said.json")).unwrap());
    let layout = site.folder().join("one");
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    let top = &index["manifests"][0]["digest"];
    assert_eq!(&said["containerimage.digest"], top);
    let statements = statements(&layout);
    let [(sbom, packages), (provenance, how)] = &statements[..] else {
        panic!("{statements:?}");
    };
    assert_eq!(sbom, "https://spdx.dev/Document");
    let text = packages.to_string();
    for url in [
        "pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12",
        "pkg:pypi/some-thing@1.0",
        "1970-01-02T00:00:00Z",
    ] {
        assert!(text.contains(url), "{url} in {text}");
    }
    assert_eq!(provenance, "https://slsa.dev/provenance/v1");
    let request = &how["buildDefinition"]["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:WORD"], "a word");
    assert_eq!(request["secrets"][0]["id"], "key");
    assert_eq!(
        how["runDetails"]["metadata"]["startedOn"],
        "1970-01-02T00:00:00Z"
    );
    let text = format!("{statements:?}");
    assert!(
        !text.contains("very secret") && !text.contains("mine@"),
        "{text}"
    );
    // The same once more, byte for byte.
    build("two");
    let index = |name: &str| std::fs::read(site.folder().join(name).join("index.json")).unwrap();
    assert!(index("one") == index("two"));
    // The image for this machine is found beside what is said of it.
    let remote = format!("docker://{name}");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &remote]);
    assert_eq!(
        json(raw.as_bytes())["manifests"].as_array().unwrap().len(),
        2
    );
    let to = format!("dir:{}", site.folder().join("copy").display());
    skopeo(&["copy", "--src-tls-verify=false", &remote, &to]);
    let mut pull = site.dhow();
    pull.args(["--store", "other", "pull", "-q", &name]);
    run(&mut pull).success();
    let mut load = site.dhow();
    load.args(["--store", "third", "load", "-q", "-i", "one"]);
    run(&mut load).success();
}

fn what_is_said_stands_among_the_files() {
    let site = site();
    let asked = [
        "--provenance",
        "--attest=type=sbom",
        "--build-arg=WORD=hidden",
    ];
    let mut arguments = asked.to_vec();
    arguments.extend(["-o", "out", "-o", "type=tar,dest=out.tar", "c"]);
    site.build(&arguments).success();
    let read = |name: &str| std::fs::read(site.folder().join("out").join(name)).unwrap();
    for (name, kind) in [
        ("provenance.json", "https://slsa.dev/provenance/v1"),
        ("sbom.spdx.json", "https://spdx.dev/Document"),
    ] {
        let bytes = read(name);
        let statement = json(&bytes);
        assert_eq!(statement["predicateType"], kind);
        let subjects = statement["subject"].as_array().unwrap();
        let large = subjects.iter().find(|one| one["name"] == "large").unwrap();
        let sum = run(Command::new("sha256sum").arg(site.folder().join("out/large"))).success();
        assert!(
            sum.stdout
                .starts_with(large["digest"]["sha256"].as_str().unwrap())
        );
        assert!(!statement.to_string().contains("hidden"), "{statement}");
        let mut tar = Command::new("tar");
        tar.current_dir(site.folder()).args(["-xOf", "out.tar"]);
        let member = tar.arg(name).output().unwrap();
        assert!(member.stdout == bytes, "{member:?}");
    }
    // A file of the result's own is not replaced.
    site.context("d", "FROM scratch\nCOPY Dockerfile /provenance.json\n");
    let refused = site
        .build(&["--provenance", "-o", "other", "d"])
        .ends_with(1);
    assert!(
        refused
            .stderr
            .ends_with("dhow: provenance.json: the result has a file of this name itself\n"),
        "{refused:?}"
    );
    assert!(!site.folder().join("other").exists());
}

fn what_is_said_must_have_a_place() {
    let site = site();
    for (arguments, why) in [
        (
            vec!["--sbom", "c"],
            "--provenance, --sbom: no output takes them; they go with --push, type=oci, registry, local and tar",
        ),
        (
            vec![
                "--provenance",
                "-t=x",
                "-otype=registry,oci-mediatypes=false",
                "c",
            ],
            "--output oci-mediatypes=false: provenance and SBOM need OCI's media types",
        ),
    ] {
        let refused = site.build(&arguments).ends_with(1);
        assert_eq!(refused.stderr, format!("dhow: {why}\n"));
    }
    // Where it is off, it needs none.
    site.build(&["--provenance=false", "--sbom=false", "-q", "c"])
        .success();
}
