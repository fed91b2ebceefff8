//! E12, E13: documents that two readers of JSON would read in two ways, and such in which something is missing or of another
//! kind than expected. Not its job: what they promise and are (documents).

use serde_json::{Value, json};

use super::archive::{archive, config, docker_of, file, tar};
use super::documents::{Layout, load, refused, text};
use crate::build::Site;
use crate::support::{claims, run};

claims![
    e12_a_document_says_the_same_to_every_reader: [Dhow],
    e13_cve_2021_21285_nothing_missing_or_strange_ends_in_a_crash: [Dhow],
];

/// In each of the documents, whichever reader comes first.
fn e12_a_document_says_the_same_to_every_reader() {
    let site = Site::bare();
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let long = format!("\"{}\"", "x".repeat(4 << 20));
    for n in [0, 1, 3] {
        let honest = String::from_utf8(Layout::new().files()[n].1.clone()).unwrap();
        let inside = |more: &str| honest.replacen('{', &format!("{{{more},"), 1);
        let key = &honest[1..honest.find(':').unwrap()];
        let upper = key.to_uppercase();
        for (bytes, words) in [
            (inside(&format!("{key}:0")).into_bytes(), "stands twice"),
            (
                inside("\"x\":{\"a\":1,\"a\":1}").into_bytes(),
                "stands twice",
            ),
            (inside(&format!("{upper}:0")).into_bytes(), "only by case"),
            (format!("{honest}x").into_bytes(), "trailing characters"),
            (
                format!("{honest}{honest}").into_bytes(),
                "trailing characters",
            ),
            (format!("{honest}\0").into_bytes(), "trailing characters"),
            (format!("\u{feff}{honest}").into_bytes(), "expected value"),
            (
                inside(&format!("\"x\":{deep}")).into_bytes(),
                "nested deeper than 64",
            ),
            (
                inside(&format!("\"x\":{long}")).into_bytes(),
                "larger than 4194304 bytes",
            ),
            (inside("\"x\":1e999").into_bytes(), "number out of range"),
            (inside("\"x\":\"\\ud800\"").into_bytes(), "hex escape"),
            (
                [&inside("\"x\":\"").into_bytes()[..], b"\xff\"}"].concat(),
                "",
            ),
            (honest[..honest.len() - 1].to_owned().into_bytes(), "EOF"),
            (
                honest.replace('"', "'").into_bytes(),
                "key must be a string",
            ),
        ] {
            let mut layout = Layout::new();
            let files = match n {
                3 => {
                    layout.config = bytes;
                    layout.files()
                }
                _ => {
                    let mut files = layout.files();
                    files[n].1 = bytes;
                    files
                }
            };
            refused(&site, &archive(&files), words);
        }
    }
}

/// Every place in a document, by JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            places(value, &format!("{at}/{}", key.replace('/', "~1")), found)
        }),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(n, value)| places(value, &format!("{at}/{n}"), found)),
        _ => {}
    }
}

/// A config that says all that there is to say.
fn rich() -> Value {
    let mut config = config(&[tar(&[file("f")])]);
    config["created"] = json!("2026-01-01T00:00:00Z");
    config["author"] = json!("a");
    config["variant"] = json!("v1");
    config["config"] = json!({
        "User": "0", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["e"], "Cmd": ["c"], "Volumes": {"/v": {}},
        "WorkingDir": "/w", "Labels": {"l": "v"}, "StopSignal": "SIGTERM", "Shell": ["s"], "OnBuild": ["RUN x"],
        "Healthcheck": {"Test": ["CMD", "t"], "Interval": 1},
    });
    config["history"] =
        json!([{"created": "2026-01-01T00:00:00Z", "created_by": "x", "empty_layer": false}]);
    config
}

/// Null, or a value of another kind, in every place of every document: loaded or refused in a line, and what is loaded can
/// be looked at and unpacked.
fn e13_cve_2021_21285_nothing_missing_or_strange_ends_in_a_crash() {
    let site = Site::bare();
    let layer = tar(&[file("f")]);
    let honest = Layout {
        config: text(rich()),
        ..Layout::new()
    };
    let mut archives = Vec::new();
    let mut found = Vec::new();
    places(&rich(), "", &mut found);
    for place in found {
        for other in [json!(null), json!([null]), json!({"": null})] {
            let mut config = rich();
            *config.pointer_mut(&place).unwrap() = other;
            archives.push(docker_of(&config, std::slice::from_ref(&layer)));
        }
    }
    for n in [0, 1] {
        let document: Value = serde_json::from_slice(&honest.files()[n].1).unwrap();
        let mut found = Vec::new();
        places(&document, "", &mut found);
        for place in found {
            let mut changed = document.clone();
            *changed.pointer_mut(&place).unwrap() = Value::Null;
            let mut files = honest.files();
            files[n].1 = text(changed);
            archives.push(archive(&files));
        }
    }
    for bytes in archives {
        let output = load(&site, &bytes);
        assert!([0, 1].contains(&output.status), "{output:?}");
        assert!(output.stderr.lines().count() <= 1, "{output:?}");
        if output.status == 0 {
            let id = output.stdout.trim().to_owned();
            for words in [&["images", "--no-trunc"][..], &["rmi", "--force", &id]] {
                let output = run(site.dhow().args(words));
                assert!([0, 1, 2].contains(&output.status), "{output:?}");
            }
        }
    }
}
