//! E14, E15: words of an image that people see, names that are more than names, and a config that would have something
//! of the host. Not its job: files of an image.

use serde_json::{Value, json};

use crate::support::image::HandMade;
use crate::support::image_store::ImageStore;
use crate::support::{claims, run};

claims![
    e14_what_an_image_says_of_itself_steers_no_terminal: [Dhow],
    e14_what_is_no_name_names_no_image: [Dhow],
    e15_cve_2020_14370_an_image_has_no_variable_of_the_hosts: [Dhow],
    e15_cve_2026_53488_labels_of_an_image_decide_nothing: [Dhow],
];

/// Clears the screen; the same in eight bits; turns the direction; begins another line; sets the window's title.
const EVIL: &str = "x\u{1b}[2J\u{9b}2J\u{202e}\r\nforged\u{1b}]0;owned\u{7}";

fn e14_what_an_image_says_of_itself_steers_no_terminal() {
    let store = ImageStore::new();
    store.load(&HandMade::new("evil", &["file"]).with(json!({
        "created": EVIL, "author": EVIL,
        "config": {"Labels": {EVIL: EVIL, "l": EVIL}, "Env": [format!("E={EVIL}")]},
        "history": [{"created": EVIL, "created_by": EVIL, "comment": EVIL, "author": EVIL}],
    })));
    for words in [
        &["images"][..],
        &["images", "--format", "json"],
        &["images", "--format", "{Created}"],
        &["inspect", "evil"],
        &["inspect", "-f", "{Config.Labels.l}{Author}{Config}", "evil"],
        &["history", "evil"],
        &["history", "--no-trunc", "evil"],
        &["history", "--format", "json", "evil"],
        &["history", "--format", "{CreatedBy}{Comment}{}", "evil"],
    ] {
        let shown = store.dhow(words).success().stdout;
        let steers =
            |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        assert!(!shown.contains(steers), "{words:?}: {shown:?}");
        assert!(
            !shown.lines().any(|line| line.starts_with("forged")),
            "{words:?}: {shown:?}"
        );
    }
    // What programs read is what the image said.
    let all = store.json(["inspect", "evil"]);
    assert_eq!(all[0]["Config"]["Labels"]["l"], EVIL);
    let template = store.dhow(["inspect", "-f", "{Author}", "evil"]).success();
    assert_eq!(template.stdout.lines().count(), 1);
}

/// Neither in an archive nor on the command line: they would be paths, flags, or other words on a terminal.
fn e14_what_is_no_name_names_no_image() {
    let store = ImageStore::new();
    store.load(&HandMade::new("good", &["file"]));
    let before = store.dhow(["images"]).success().stdout;
    for name in [
        "../../etc/passwd",
        "a/../b",
        "/etc/passwd",
        "--force",
        "-x",
        "a:--x",
        "a:../b",
        "a:b c",
        "a\n",
        "a:\u{1b}[2J",
        "a\u{202e}b",
        "A",
        "a:",
        "",
        ".",
        "a@sha256:x",
    ] {
        let archive = store.path("evil.tar");
        HandMade::new(name, &["file"]).archive(&archive);
        for words in [
            vec!["load", "evil.tar"],
            vec!["tag", "good", name],
            vec!["tag", "good", "--", name],
            vec!["load", "hand-made.tar", "--tag", name],
        ] {
            let told = store.dhow(&words);
            assert_ne!(told.status, 0, "{words:?}: {told:?}");
            assert_eq!(told.stderr.lines().count(), 1, "{words:?}: {told:?}");
            assert!(
                !told
                    .stderr
                    .trim_end()
                    .contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{told:?}"
            );
        }
    }
    assert_eq!(store.dhow(["images"]).success().stdout, before);
}

/// `NAME` alone, or with a star, meant the host's variables elsewhere (CVE-2026-57231).
fn e15_cve_2020_14370_an_image_has_no_variable_of_the_hosts() {
    let unpacked = |env: &[&str]| {
        let store = ImageStore::new();
        let config = json!({"config": {"Cmd": ["/x"], "Env": env}});
        store.load(&HandMade::new("evil", &["x"]).with(config));
        let mut command = store.command();
        command
            .env("AWS_SECRET", "of the host")
            .env("x", "of the host");
        let done = run(command.args(["unpack", "evil", "bundle"]));
        let config = std::fs::read_to_string(store.path("bundle/config.json"));
        (done, config.unwrap_or_default())
    };
    for entry in ["AWS_SECRET", "*", "AWS_*", "=x", "=", ""] {
        let (done, config) = unpacked(&["A=1", entry]);
        assert_eq!(
            (done.status, config.as_str()),
            (1, ""),
            "{entry:?}: {done:?}"
        );
        assert!(
            done.stderr.contains("is not NAME=value"),
            "{entry:?}: {done:?}"
        );
    }
    let (done, config) = unpacked(&["PATH=/a", "B=$AWS_SECRET", "C=*", "PATH=/b"]);
    done.success();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["process"]["env"],
        json!(["PATH=/b", "B=$AWS_SECRET", "C=*", "HOME=/"])
    );
}

/// Those that runtimes and engines read as orders; they are words for people here.
fn e15_cve_2026_53488_labels_of_an_image_decide_nothing() {
    let bundle = |fields: Value| {
        let store = ImageStore::new();
        store.load(&HandMade::new("evil", &["x"]).with(fields));
        store.dhow(["unpack", "evil", "bundle"]).success();
        std::fs::read_to_string(store.path("bundle/config.json")).unwrap()
    };
    let labels = json!({
        "dhow.root": "/", "dhow.hooks": "/evil", "run.oci.handler": "krun", "run.oci.hooks.stderr": "/evil",
        "run.oci.keep_original_groups": "1", "run.oci.seccomp.receiver": "/evil", "org.criu.config": "/evil",
        "io.containerd.image.name": "other", "io.containerd.runc.v2.group": "x", "io.podman.annotations.seccomp": "none",
        "io.kubernetes.cri-o.Devices": "/dev/sda", "org.systemd.property.ExecStopPost": "['/evil']",
        "containerd.io/restart.loguri": "binary:///evil",
    });
    let plain = bundle(json!({"config": {"Cmd": ["/x"]}}));
    let evil = json!({
        "config": {"Cmd": ["/x"], "Labels": labels, "Annotations": labels, "Hooks": labels, "Privileged": true,
            "OnBuild": ["RUN /evil"], "Healthcheck": {"Test": ["CMD", "/evil"]}},
        "annotations": labels, "Labels": labels, "HostConfig": {"Privileged": true},
    });
    let evil = bundle(evil);
    assert!(evil == plain, "{evil}");
}
