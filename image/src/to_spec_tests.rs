//! What becomes of an image's config and a person's wishes.

use super::*;

fn image(config: Value) -> ImageConfiguration {
    let image = json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    serde_json::from_value(image).unwrap()
}

fn user() -> User {
    User {
        uid: 1000,
        gid: 100,
        additional_gids: vec![100, 10],
        home: "/home/app".to_owned(),
    }
}

fn made(config: Value, options: &RunOptions) -> Result<Value> {
    spec(&image(config), &user(), options).map(|spec| serde_json::to_value(spec).unwrap())
}

fn shell() -> Value {
    json!({"Cmd": ["/bin/sh"]})
}

#[test]
fn entrypoint_and_command_are_put_together_as_docker_does() {
    let both = json!({"Entrypoint": ["/e", "-x"], "Cmd": ["c"]});
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    for (entrypoint, args, expected) in [
        (None, "", "/e -x c"),
        (None, "a b", "/e -x a b"),
        (Some("/o"), "", "/o"),
        (Some("/o"), "a", "/o a"),
        (Some(""), "a", "a"),
    ] {
        let options = RunOptions {
            entrypoint: entrypoint.map(words),
            args: words(args),
            ..RunOptions::default()
        };
        let spec = made(both.clone(), &options).unwrap();
        assert_eq!(spec["process"]["args"], json!(words(expected)));
    }
    let error = made(json!({}), &RunOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the image: it names no command to run");
}

#[test]
fn the_environment_is_the_images_and_the_persons_and_never_the_hosts() {
    let options = RunOptions {
        env: vec!["B=2".to_owned(), "C=3".to_owned()],
        terminal: true,
        ..RunOptions::default()
    };
    let config = json!({"Cmd": ["/x"], "Env": ["PATH=/p", "B=1", "E=", "PATH=/q"]});
    let spec = made(config, &options).unwrap();
    let expected = [
        "PATH=/q",
        "B=2",
        "E=",
        "C=3",
        "HOME=/home/app",
        "TERM=xterm",
    ];
    assert_eq!(spec["process"]["env"], json!(expected));
    for entry in ["AWS_SECRET", "*", "=x", "", "A\0=b"] {
        let error = made(
            json!({"Cmd": ["/x"], "Env": [entry]}),
            &RunOptions::default(),
        );
        assert!(
            error.unwrap_err().to_string().contains("not NAME=value"),
            "{entry:?}"
        );
    }
}

#[test]
fn no_label_or_annotation_of_an_image_decides_anything() {
    let labels = json!({"Cmd": ["/bin/sh"], "Labels": {"run.oci.handler": "x", "dhow.root": "/"}});
    let of = |config| spec(&image(config), &user(), &RunOptions::default()).unwrap();
    assert_eq!(of(labels), of(shell()));
}

#[test]
fn the_defaults_protect() {
    let spec = made(shell(), &RunOptions::default()).unwrap();
    let process = &spec["process"];
    assert_eq!(process["noNewPrivileges"], true);
    assert_eq!(
        process["capabilities"]["bounding"]
            .as_array()
            .unwrap()
            .len(),
        9
    );
    assert_eq!(process["capabilities"].get("ambient"), None);
    assert_eq!(process["capabilities"]["effective"], json!([]));
    assert_eq!(process["user"]["additionalGids"], json!([100, 10]));
    let linux = &spec["linux"];
    assert_eq!(linux["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(linux["namespaces"].as_array().unwrap().len(), 6);
    assert_eq!(linux["resources"]["devices"][0]["allow"], false);
    let sys = spec["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["destination"] == "/sys");
    assert!(
        sys.unwrap()["options"]
            .as_array()
            .unwrap()
            .contains(&json!("ro"))
    );
}

#[test]
fn limits_are_written_as_the_kernel_wants_them() {
    let options = RunOptions {
        memory: Some(64 << 20),
        cpus: Some(0.5),
        pids: Some(20),
        host_cpus: 2,
        ..RunOptions::default()
    };
    let spec = made(shell(), &options).unwrap();
    let resources = &spec["linux"]["resources"];
    assert_eq!(
        resources["memory"],
        json!({"limit": 64 << 20, "swap": 64 << 20})
    );
    assert_eq!(
        resources["cpu"],
        json!({"quota": 50_000, "period": 100_000})
    );
    assert_eq!(resources["pids"], json!({"limit": 20}));
    assert_eq!(
        spec["linux"]["maskedPaths"].as_array().unwrap().len(),
        MASKED.len() + 2
    );
    for cpus in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = RunOptions {
            cpus: Some(cpus),
            ..RunOptions::default()
        };
        assert!(made(shell(), &options).is_err(), "{cpus}");
    }
    let options = RunOptions {
        memory: Some(-1),
        ..RunOptions::default()
    };
    assert!(made(shell(), &options).is_err());
}

#[test]
fn a_working_directory_must_be_absolute() {
    let config = json!({"Cmd": ["/x"], "WorkingDir": "proc/self/fd/7"});
    let error = made(config, &RunOptions::default()).unwrap_err();
    assert!(error.to_string().contains("not absolute"));
    let config = json!({"Cmd": ["/x"], "WorkingDir": "/srv"});
    assert_eq!(
        made(config, &RunOptions::default()).unwrap()["process"]["cwd"],
        "/srv"
    );
    let config = json!({"Cmd": ["/x"], "WorkingDir": ""});
    assert_eq!(
        made(config, &RunOptions::default()).unwrap()["process"]["cwd"],
        "/"
    );
}
