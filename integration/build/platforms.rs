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
    for (platform, why) in [
        (
            "linux/arm64,linux/amd64",
            "several platforms are not supported: build each by itself",
        ),
        ("windows/amd64", "windows/amd64: only linux is supported"),
    ] {
        let refused = site.build(&["--platform", platform, "c"]);
        assert!(
            refused.status != 0 && refused.stderr.contains(why),
            "{refused:?}"
        );
    }
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
