//! What documents are taken, and which are refused.

use super::*;

fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": 1})
}

fn manifest(edit: impl Fn(&mut Value)) -> Result<Document> {
    let mut value = json!({
        "schemaVersion": 2,
        "config": descriptor(OCI_CONFIG),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
    });
    edit(&mut value);
    document("manifest", value.to_string().as_bytes(), None)
}

#[test]
fn manifests_of_both_worlds_are_read() {
    assert!(matches!(manifest(|_| {}), Ok(Document::Manifest { layers, .. }) if layers.len() == 1));
    let docker = manifest(|m| {
        m["mediaType"] = json!(DOCKER_MANIFEST);
        m["config"] = descriptor(DOCKER_CONFIG);
        m["layers"] = json!([descriptor(
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        )]);
    });
    assert!(docker.is_ok());
    assert!(manifest(|m| m["layers"] = Value::Null).is_ok());
}

#[test]
fn a_document_that_could_be_two_things_is_refused() {
    let both = manifest(|m| m["manifests"] = json!([descriptor(OCI_MANIFEST)]));
    assert!(
        both.unwrap_err()
            .to_string()
            .contains("both manifests and layers")
    );
    assert!(manifest(|m| m["mediaType"] = json!(OCI_INDEX)).is_err());
    assert!(manifest(|m| m["mediaType"] = json!("text/plain")).is_err());
    assert!(manifest(|m| m["schemaVersion"] = json!(1)).is_err());
    assert!(manifest(|m| m["schemaVersion"] = json!("2")).is_err());
    assert!(manifest(|m| m["fsLayers"] = json!([])).is_err());
    assert!(manifest(|m| m["Layers"] = json!([])).is_err());
    let bytes = json!({"schemaVersion": 2, "manifests": []}).to_string();
    assert!(document("x", bytes.as_bytes(), Some(OCI_MANIFEST)).is_err());
}

#[test]
fn sizes_and_digests_are_checked_before_they_are_used() {
    for size in [
        "-1",
        "1.5",
        "9223372036854775808",
        "1e3",
        "\"1\"",
        "null",
        "18446744073709551616",
    ] {
        let bytes = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{size}}}]}}"#,
            descriptor(OCI_CONFIG),
            Digest::of(b"x"),
        );
        let error = document("m", bytes.as_bytes(), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("m, layers[0]"), "{size}: {error}");
    }
    for digest in ["sha256:../../etc/passwd", "md5:00", ""] {
        assert!(
            manifest(|m| m["config"]["digest"] = json!(digest)).is_err(),
            "{digest}"
        );
    }
}

#[test]
fn null_or_another_type_in_any_field_is_refused_and_never_a_panic() {
    for value in [
        Value::Null,
        json!([]),
        json!({}),
        json!(1),
        json!("x"),
        json!([null]),
        json!([1]),
    ] {
        for field in ["schemaVersion", "config"] {
            assert!(
                manifest(|m| m[field] = value.clone()).is_err(),
                "{field} {value}"
            );
        }
        for field in ["mediaType", "digest", "size"] {
            let in_layer = manifest(|m| m["layers"][0][field] = value.clone());
            assert!(
                in_layer.is_err() || (field == "size" && value == 1),
                "{field} {value}"
            );
        }
        let _may_be_taken = manifest(|m| m["layers"] = value.clone());
        let _may_be_taken = manifest(|m| m["config"]["platform"] = value.clone());
        let _may_be_taken = manifest(|m| m["config"]["annotations"] = value.clone());
        let config = json!({"os": value, "architecture": value, "rootfs": value, "config": value});
        assert!(configuration(config.to_string().as_bytes()).is_err());
    }
}

#[test]
fn other_artifacts_are_refused_by_name() {
    let helm =
        manifest(|m| m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"));
    let text = helm.unwrap_err().to_string();
    assert_eq!(
        text,
        "manifest: config of type \"application/vnd.cncf.helm.config.v1+json\": not supported"
    );
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    assert!(manifest(|m| m["layers"][0]["mediaType"] = json!(encrypted)).is_err());
}

#[test]
fn this_platform_is_chosen_and_attestations_are_passed_over() {
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": Digest::of(b"att"), "size": 1,
         "platform": {"os": "unknown", "architecture": "unknown"},
         "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {"mediaType": OCI_MANIFEST, "digest": Digest::of(b"arm"), "size": 1,
         "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"mediaType": OCI_MANIFEST, "digest": Digest::of(b"v3"), "size": 1,
         "platform": {"os": "linux", "architecture": "amd64", "variant": "v3"}},
        {"mediaType": OCI_MANIFEST, "digest": Digest::of(b"amd"), "size": 1,
         "platform": {"os": "linux", "architecture": "amd64"}},
    ]});
    let Document::Index(index) = document("i", index.to_string().as_bytes(), None).unwrap() else {
        panic!("an index");
    };
    let choose = |architecture: &str, variant: Option<&str>| {
        let host = Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        };
        for_platform(&index, &host).first().map(|d| d.digest)
    };
    assert_eq!(choose("amd64", None), Some(Digest::of(b"amd")));
    assert_eq!(choose("arm64", Some("v8")), Some(Digest::of(b"arm")));
    assert_eq!(choose("riscv64", None), None);
    assert_eq!(
        platforms(&index),
        "\"linux/arm64/v8, linux/amd64/v3, linux/amd64\""
    );
}

#[test]
fn a_composed_manifest_reads_back() {
    let layers = [Descriptor::new(
        "application/vnd.oci.image.layer.v1.tar",
        Digest::of(b"l"),
        7,
    )];
    let bytes = compose(Digest::of(b"c"), 3, &layers).unwrap();
    assert_eq!(super::layers(&bytes).unwrap(), layers);
    assert_eq!(media_type(&bytes).unwrap(), OCI_MANIFEST);
}

#[test]
fn unknown_fields_of_a_config_are_no_fault() {
    let config = br#"{"architecture":"amd64","os":"linux","config":{"Shell":["/bin/sh"],"Env":null,"Volumes":null,"Labels":null,"ExposedPorts":null},"rootfs":{"type":"layers","diff_ids":[]},"history":null,"x":{"y":1}}"#;
    assert!(configuration(config).is_ok());
}
