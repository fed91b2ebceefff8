//! `--platform`: images for other machines than this one. Not its job: emulators.

use serde_json::{Value, json};

use super::Site;
use crate::registry::server::Registry;
use crate::support::{claims, run};

claims![
    a_platform_is_in_args_config_and_index: [Root, Overlay, Dhow, Tool("skopeo")],
    from_takes_the_image_for_the_platform: [Root, Overlay, Dhow],
    an_image_for_another_platform_comes_once_and_takes_no_name: [Root, Overlay, Dhow, Tool("docker-registry")],
    a_run_for_another_machine_is_refused_before_any_step: [Root, Overlay, Dhow],
    a_global_arg_says_the_time: [Root, Overlay, Dhow],
    several_platforms_are_one_image: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    what_several_platforms_cannot_have_is_refused: [Root, Overlay, Dhow],
];

const RECIPE: &str = "FROM --platform=$BUILDPLATFORM scratch AS here\nARG BUILDARCH TARGETARCH\n\
    COPY <<f /\n$BUILDARCH $TARGETARCH\nf\n\
    FROM scratch\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\nCOPY --from=here /f /\n\
    ENV P=$TARGETPLATFORM O=$TARGETOS A=$TARGETARCH V=$TARGETVARIANT\n";

fn inspect(site: &Site, image: &str) -> Value {
    let inspected = run(site.dhow().args(["inspect", image.trim_end()])).success();
    serde_json::from_str::<Value>(&inspected.stdout).unwrap()[0].take()
}

fn read(site: &Site, path: &str) -> Value {
    let bytes = std::fs::read(site.folder().join(path)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn a_platform_is_in_args_config_and_index() {
    let site = Site::bare();
    site.context("c", RECIPE);
    site.build(&[
        "--platform=linux/arm/v7",
        "-o",
        "type=oci,tar=false,dest=out",
        "c",
    ])
    .success();
    let platform = json!({"architecture": "arm", "os": "linux", "variant": "v7"});
    assert_eq!(
        read(&site, "out/index.json")["manifests"][0]["platform"],
        platform
    );
    let mut skopeo = std::process::Command::new("skopeo");
    skopeo.current_dir(site.folder());
    let found =
        run(skopeo.args(["--override-arch=arm", "inspect", "--config", "oci:out"])).success();
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(
        (&found["architecture"], &found["variant"]),
        (&json!("arm"), &json!("v7"))
    );
    let env = found["config"]["Env"].as_array().unwrap();
    for said in ["P=linux/arm/v7", "O=linux", "A=arm", "V=v7"] {
        assert!(env.contains(&json!(said)), "{env:?}");
    }
    let refused = site.build(&["--platform", "windows/amd64", "c"]);
    let why = "windows/amd64: only linux is supported";
    assert!(
        refused.status != 0 && refused.stderr.contains(why),
        "{refused:?}"
    );
}

fn from_takes_the_image_for_the_platform() {
    let site = Site::bare();
    site.context("c", RECIPE);
    let both = site.folder().join("both/blobs/sha256");
    std::fs::create_dir_all(&both).unwrap();
    let mut manifests = Vec::new();
    for platform in ["linux/arm64", "linux/amd64"] {
        site.build(&[
            "--platform",
            platform,
            "-o",
            "type=oci,tar=false,dest=one",
            "c",
        ])
        .success();
        manifests.push(read(&site, "one/index.json")["manifests"][0].clone());
        for blob in std::fs::read_dir(site.folder().join("one/blobs/sha256")).unwrap() {
            let blob = blob.unwrap();
            std::fs::copy(blob.path(), both.join(blob.file_name())).unwrap();
        }
        std::fs::rename(
            site.folder().join("one/oci-layout"),
            site.folder().join("both/oci-layout"),
        )
        .unwrap();
        std::fs::remove_dir_all(site.folder().join("one")).unwrap();
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    std::fs::write(site.folder().join("both/index.json"), index.to_string()).unwrap();
    site.context(
        "d",
        "FROM oci:both AS target\nFROM --platform=linux/amd64 oci:both AS amd\nFROM target\nLABEL a=$A\nCOPY --from=amd /f /amd\n",
    );
    for architecture in ["arm64", "amd64"] {
        let platform = format!("linux/{architecture}");
        let id = site
            .build(&["-q", "--platform", &platform, "d"])
            .success()
            .stdout;
        let found = inspect(&site, &id);
        assert_eq!(found["Config"]["Labels"]["a"], architecture, "{found}");
    }
    let refused = site.build(&["--platform=linux/s390x", "d"]).ends_with(1);
    assert!(
        refused.stderr.contains("no image for linux/s390x among"),
        "{refused:?}"
    );
}

fn an_image_for_another_platform_comes_once_and_takes_no_name() {
    let (site, registry) = (Site::bare(), Registry::plain());
    let name = registry.name("base:1");
    site.context("c", RECIPE);
    let mut push = site.dhow();
    push.args([
        "--store",
        "elsewhere",
        "build",
        "-q",
        "--platform=linux/arm64",
    ]);
    run(push.args(["--push", "-t", &name, "c"])).success();
    // The store's own image of that name is for this machine.
    site.build(&["-q", "-t", &name, "c"]).success();
    site.context("d", &format!("FROM {name}\nLABEL a=$A\n"));
    let build = || {
        site.build(&["-q", "--platform=linux/arm64", "d"])
            .success()
            .stdout
    };
    let first = build();
    assert_eq!(inspect(&site, &first)["Config"]["Labels"]["a"], "arm64");
    drop(registry);
    assert_eq!(build(), first);
    let here = site.build(&["-q", "d"]).success().stdout;
    assert_ne!(inspect(&site, &here)["Config"]["Labels"]["a"], "arm64");
    let refused = site
        .build(&["--pull", "--platform=linux/arm64", "d"])
        .ends_with(1);
    assert!(
        refused.stderr.contains(&format!("base image {name}")),
        "{refused:?}"
    );
}

fn a_run_for_another_machine_is_refused_before_any_step() {
    let site = Site::bare();
    site.context("c", "FROM scratch\nCOPY Dockerfile /\nRUN [\"/x\"]\n");
    let refused = site.build(&["--platform=linux/mips64", "c"]).ends_with(1);
    let said = "dhow: Dockerfile:3: RUN needs linux/mips64: this machine is linux/";
    assert!(refused.stderr.starts_with(said), "{refused:?}");
    assert!(!refused.stderr.contains("COPY Dockerfile"), "{refused:?}");
    // What is only copied needs no such machine, nor does a stage that is for this one.
    site.context("c", "FROM scratch AS a\nRUN [\"/x\"]\nFROM --platform=$BUILDPLATFORM scratch\nCOPY Dockerfile /\n");
    site.build(&["--platform=linux/mips64", "c"]).success();
}

fn a_global_arg_says_the_time() {
    let site = Site::bare();
    site.context(
        "c",
        "ARG SOURCE_DATE_EPOCH=86400\nFROM scratch\nCOPY Dockerfile /\n",
    );
    let created = |arguments: &[&str]| {
        let id = site
            .build(&[&["-q"], arguments, &["c"]].concat())
            .success()
            .stdout;
        inspect(&site, &id)["Created"].as_str().unwrap().to_owned()
    };
    assert_eq!(created(&[]), "1970-01-02T00:00:00Z");
    let said = ["--build-arg", "SOURCE_DATE_EPOCH=172800"];
    assert_eq!(created(&said), "1970-01-03T00:00:00Z");
    site.context("c", "ARG SOURCE_DATE_EPOCH=soon\nFROM scratch\n");
    let refused = site.build(&["c"]).ends_with(1);
    assert!(
        refused
            .stderr
            .starts_with("dhow: Dockerfile:1: SOURCE_DATE_EPOCH=soon: it must be a number"),
        "{refused:?}"
    );
}

/// A document of a layout.
fn blob(layout: &str, site: &Site, digest: &Value) -> Value {
    let (_, hex) = digest.as_str().unwrap().split_once(':').unwrap();
    read(site, &format!("{layout}/blobs/sha256/{hex}"))
}

/// In the registry, in the folder, and by pulling.
fn each_machine_finds_its_own(site: &Site, name: &str) {
    for arch in ["riscv64", "amd64", "arm64"] {
        let mut skopeo = std::process::Command::new("skopeo");
        let remote = format!("docker://{name}");
        skopeo.args(["inspect", "--config", "--tls-verify=false"]);
        skopeo.args([&format!("--override-arch={arch}"), &remote]);
        let found: Value = serde_json::from_str(&run(&mut skopeo).success().stdout).unwrap();
        let env = found["config"]["Env"].as_array().unwrap();
        assert!(env.contains(&json!(format!("P=linux/{arch}"))), "{env:?}");
        let file = site.folder().join(format!("files/linux_{arch}/f"));
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.ends_with(&format!(" {arch}\n")), "{text}");
        let platform = format!("linux/{arch}");
        let store = format!("pulled-{arch}");
        let mut pull = site.dhow();
        pull.args([
            "--store",
            &store,
            "pull",
            "-q",
            "--platform",
            &platform,
            name,
        ]);
        run(&mut pull).success();
    }
}

fn several_platforms_are_one_image() {
    let (site, registry) = (Site::bare(), Registry::plain());
    let name = registry.name("a/several:1");
    site.context("c", RECIPE);
    let build = |layout: &str| {
        let output = format!("-otype=oci,tar=false,dest={layout},compression=gzip");
        let platforms = ["--platform", "linux/riscv64,linux/amd64,linux/arm64"];
        let more = ["--push", "--provenance=true", "-t", &name, "-o", "files"];
        let said = ["--iidfile=id", "--metadata-file=said", &output, "c"];
        site.build(&[&platforms[..], &more, &said].concat())
            .success()
    };
    let told = build("out").stderr;
    assert!(told.contains("[linux/riscv64 here 1/"), "{told}");
    let top = read(&site, "out/index.json")["manifests"][0]["digest"].clone();
    let index = blob("out", &site, &top);
    let parts = index["manifests"].as_array().unwrap();
    let arch = |part: &Value| {
        part["platform"]["architecture"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let archs: Vec<String> = parts.iter().map(arch).collect();
    let unknown = "unknown";
    let expected = ["riscv64", "amd64", "arm64", unknown, unknown, unknown];
    assert_eq!(archs, expected);
    for (image, said) in parts[..3].iter().zip(&parts[3..]) {
        let about = &said["annotations"]["vnd.docker.reference.digest"];
        assert_eq!(about, &image["digest"]);
    }
    // Another day, the same bytes.
    build("again");
    assert_eq!(
        read(&site, "again/index.json"),
        read(&site, "out/index.json")
    );
    let said = &read(&site, "said")["containerimage.digest"];
    let id = std::fs::read_to_string(site.folder().join("id")).unwrap();
    assert_eq!((said, said.as_str()), (&top, Some(id.as_str())));
    each_machine_finds_its_own(&site, &name);
    // Here the name is that of the image for this machine.
    let here = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    assert_eq!(inspect(&site, &name)["Architecture"], here);
}

fn what_several_platforms_cannot_have_is_refused() {
    let site = Site::bare();
    site.context("c", RECIPE);
    let several = ["--platform=linux/arm64", "--platform=linux/amd64"];
    for (flags, why) in [
        (
            &["-otype=tar,dest=x", "c"][..],
            "--output type=tar and type=docker are for one: type=oci, registry and local take several",
        ),
        (
            &["-otype=docker,dest=x", "c"],
            "--output type=tar and type=docker are for one: type=oci, registry and local take several",
        ),
        (
            &["--cache-to=type=local,dest=x", "c"],
            "--cache-to is for one, but for type=inline",
        ),
        (
            &["-"],
            "standard input can be read once: the context must be a folder, a file or an address",
        ),
    ] {
        let refused = site.build(&[&several[..], flags].concat()).ends_with(1);
        let said = format!("dhow: --platform with several: {why}\n");
        assert_eq!(refused.stderr, said);
    }
    // A link of an earlier result leads nowhere.
    let (files, outside) = (site.folder().join("files"), site.folder().join("outside"));
    std::fs::create_dir(&files).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, files.join("linux_arm64")).unwrap();
    site.build(&[&several[..], &["-q", "-o", "files", "c"]].concat())
        .ends_with(1);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let refused = site.build(&[&several[..], &["--plan", "c"]].concat());
    let said = "dhow: --platform: what is said instead of a build is said for one platform\n";
    assert_eq!(refused.ends_with(1).stderr, said);
}
