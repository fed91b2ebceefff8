//! What is said of an image beside it: provenance and packages. Not its job: how its layers leave (`leaving`), the flags'
//! words.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Site;
use super::leaving::{blob, json, manifest, site, skopeo};
use super::servers::{GitServer, Web};
use crate::registry::server::Registry;
use crate::support::{Output, claims, run};

claims![
    an_image_in_company_is_found_by_others_and_by_us: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    what_is_said_stands_among_the_files: [Root, Overlay, Dhow, Tool("tar")],
    what_is_said_must_have_a_place: [Root, Overlay, Dhow],
    provenance_names_what_came_from_servers: [Root, Overlay, Dhow, Tool("git")],
];

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

/// Builds with all that can be said, for a registry and a layout.
fn in_company(site: &Site, name: &str, layout: &str) -> Output {
    let output = format!("-otype=oci,tar=false,dest={layout},compression=gzip");
    site.build(&[
        "--provenance=mode=max",
        "--sbom=true",
        "--secret=id=key,src=key",
        "--build-arg=SOURCE_DATE_EPOCH=86400",
        "--build-arg=WORD=a word",
        "--build-arg=HTTP_PROXY=http://me:mine@proxy.example",
        "--push",
        &output,
        "-t",
        name,
        "--metadata-file=said.json",
        "c",
    ])
    .success()
}

fn an_image_in_company_is_found_by_others_and_by_us() {
    let (site, registry) = (site(), Registry::plain());
    let name = registry.name("a/one:1");
    std::fs::write(site.folder().join("key"), "very secret").unwrap();
    let built = in_company(&site, &name, "one");
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
    all_is_said(&statements(&layout));
    // The same once more, byte for byte.
    in_company(&site, &name, "two");
    let index = |name: &str| std::fs::read(site.folder().join(name).join("index.json")).unwrap();
    assert!(index("one") == index("two"));
    // The image for this machine is found beside what is said of it.
    let remote = format!("docker://{name}");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &remote]);
    let raw = json(raw.as_bytes());
    assert_eq!(raw["manifests"].as_array().unwrap().len(), 2);
    let to = format!("dir:{}", site.folder().join("copy").display());
    skopeo(&["copy", "--src-tls-verify=false", &remote, &to]);
    let mut pull = site.dhow();
    pull.args(["--store", "other", "pull", "-q", &name]);
    run(&mut pull).success();
    let mut load = site.dhow();
    load.args(["--store", "third", "load", "-q", "-i", "one"]);
    run(&mut load).success();
}

/// Packages and provenance, and nothing that is secret.
fn all_is_said(statements: &[(String, Value)]) {
    let [(sbom, packages), (provenance, how)] = statements else {
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
    let metadata = &how["runDetails"]["metadata"];
    assert_eq!(metadata["startedOn"], "1970-01-02T00:00:00Z");
    let text = format!("{statements:?}");
    assert!(
        !text.contains("very secret") && !text.contains("mine@"),
        "{text}"
    );
}

fn what_is_said_stands_among_the_files() {
    let site = site();
    let asked = [
        "--provenance=true",
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
        .build(&["--provenance=1", "-o", "other", "d"])
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
            vec!["--sbom=true", "c"],
            "--provenance, --sbom: no output takes them; they go with --push, type=oci, registry, local and tar",
        ),
        (
            vec![
                "--provenance=true",
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
    // Where it is off, it needs none; nor where it goes with images alone.
    site.build(&["--provenance=false", "--sbom=false", "-q", "c"])
        .success();
    let inline = "type=provenance,mode=max,inline-only=true,builder-id=https://example.org/1";
    site.build(&["--attest", inline, "-q", "-o", "out", "c"])
        .success();
    assert!(!site.folder().join("out/provenance.json").exists());
}

fn provenance_names_what_came_from_servers() {
    let (site, web) = (Site::bare(), Web::new());
    web.file("/f?token=hush", &[], b"content");
    let server = GitServer::new(site.folder());
    let write = |path: &str, text: &str| {
        let path = site.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("r.git/file", "1");
    let added = server.commit("r.git");
    server.git("r.git", &["tag", "-m", "x", "heavy"]);
    let (file, repository) = (web.url("/f?token=hush"), server.url("r.git"));
    let recipe = format!(
        "FROM scratch\nADD {file} /f\nADD {repository}#heavy:/ /r/\nADD {file} /g\nCOPY . /\n"
    );
    write("c.git/Dockerfile", &recipe);
    let own = server.commit("c.git");
    let context = server.url("c.git");
    let said = |out: &str| {
        site.build(&["--provenance", "mode=min", "-o", out, &context])
            .success();
        let file = std::fs::read(site.folder().join(out).join("provenance.json"));
        json(&file.unwrap())["predicate"].clone()
    };
    let predicate = said("one");
    let definition = &predicate["buildDefinition"];
    let sum = run(Command::new("sha256sum").arg(site.folder().join("one/f"))).success();
    let came = serde_json::json!([
        {"uri": context, "digest": {"sha1": own}},
        {"uri": web.url("/f"), "digest": {"sha256": sum.stdout[..64]}},
        {"uri": format!("{repository}#heavy"), "digest": {"sha1": added}},
    ]);
    assert_eq!(definition["resolvedDependencies"], came);
    assert_eq!(
        definition["externalParameters"]["configSource"],
        serde_json::json!({"uri": context, "digest": {"sha1": own}, "path": "Dockerfile"})
    );
    let metadata = &predicate["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_hermetic"], true);
    let complete = &metadata["buildkit_completeness"];
    assert_eq!(complete["resolvedDependencies"], true);
    // From the cache it is the same.
    assert_eq!(said("two"), predicate);
    assert!(!predicate.to_string().contains("hush"), "{predicate}");
}
