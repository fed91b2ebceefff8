//! What dhow tells of images: `images`, `inspect`, `history`, templates. Images are made by hand, so that each word of
//! them is known. Not its job: how images come in (formats, unpack).

use serde_json::{Value, json};

use crate::support::claims;
use crate::support::image::HandMade;
use crate::support::image_store::ImageStore;

claims![
    images_are_listed_once_for_each_name: [Dhow],
    images_are_filtered_by_when_others_were_made: [Dhow],
    images_are_filtered_by_name_label_and_want_of_a_name: [Dhow],
    inspect_tells_everything_and_keeps_what_it_does_not_know: [Dhow],
    history_tells_each_step_with_its_layer: [Dhow],
    templates_show_fields_and_refuse_go: [Dhow],
];

fn store() -> (ImageStore, HandMade) {
    let store = ImageStore::new();
    let image = HandMade::new("example.test/a:1", &["one", "two"]).with(json!({
        "created": "2024-05-06T07:08:09Z",
        "author": "somebody",
        "config": {"Env": ["PATH=/bin"], "Labels": {"tier": "front", "a.b": "c"}, "Unknown": {"kept": [1, null]}},
        "history": [
            {"created": "2024-05-06T07:08:09Z", "created_by": "ADD one /"},
            {"created_by": "ENV PATH=/bin", "empty_layer": true, "comment": "by hand"},
            {"created_by": "RUN touch two", "author": "somebody"},
        ],
        "unknown.field": "kept too",
    }));
    store.load(&image);
    (store, image)
}

fn images_are_listed_once_for_each_name() {
    let (store, image) = store();
    store.dhow(["tag", "example.test/a:1", "b"]).success();
    store.load(&HandMade {
        names: Vec::new(),
        ..HandMade::new("", &["three"])
    });
    let table = store.dhow(["images", "--digests"]).success().stdout;
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0].join(" "),
        "REPOSITORY TAG DIGEST IMAGE ID CREATED SIZE"
    );
    let short = &image.id()["sha256:".len()..][..12];
    assert_eq!(
        [words[1][0], words[1][1], words[1][3], words[1][4]],
        ["b", "latest", short, "2024-05-06"]
    );
    assert_eq!(
        [words[2][0], words[2][1], words[2][3]],
        ["example.test/a", "1", short]
    );
    assert_eq!(words[3][..2], ["<none>", "<none>"]);
    assert_eq!(words.len(), 4, "{table}");
    let ids = store.dhow(["images", "-q"]).success().stdout;
    assert_eq!(ids.lines().count(), 2, "{ids}");
    assert_eq!(ids.lines().next(), Some(image.id().as_str()));
    let list = store.json(["images", "--format", "json"]);
    assert_eq!(list[0]["Name"], "b:latest");
    assert_eq!(list[1]["Repository"], "example.test/a");
    assert_eq!(list[1]["Digest"].as_str(), words.get(1).map(|line| line[2]));
    assert_eq!(list[2]["Name"], Value::Null);
}

fn images_are_filtered_by_name_label_and_want_of_a_name() {
    let (store, _) = store();
    store.load(&HandMade::new("b", &["three"]));
    store.load(&HandMade {
        names: Vec::new(),
        ..HandMade::new("", &["four"])
    });
    let named = |words: &[&str]| {
        let words = ["images", "--format", "{Name}"].iter().chain(words);
        store.dhow(words).success().stdout
    };
    for (filter, expected) in [
        (&["-f", "label=tier"][..], "example.test/a:1\n"),
        (
            &["-f", "label=tier=front", "-f", "label=a.b"],
            "example.test/a:1\n",
        ),
        (&["-f", "label=tier=back"], ""),
        (&["-f", "dangling=true"], "\n"),
        (&["-f", "until=1h"], "example.test/a:1\n"),
        (&["-f", "dangling=false"], "b:latest\nexample.test/a:1\n"),
        (&["-f", "reference=*/a"], "example.test/a:1\n"),
        (&["b"], "b:latest\n"),
        (&["docker.io/library/b:lat*"], "b:latest\n"),
    ] {
        assert_eq!(named(filter), expected, "{filter:?}");
    }
    let told = store.dhow(["images", "-f", "size=1"]).ends_with(1).stderr;
    assert!(told.contains("filter \"size\": not supported"), "{told}");
}

/// Times are compared, whatever zone they are told in; what tells none is neither before nor after.
fn images_are_filtered_by_when_others_were_made() {
    let store = ImageStore::new();
    for (name, created) in [
        ("a", "2020-01-01T02:00:00+02:00"),
        ("b", "2020-01-01T00:30:00Z"),
        ("c", "2020-01-01T01:00:00.5Z"),
    ] {
        store.load(&HandMade::new(name, &[name]).with(json!({"created": created})));
    }
    store.load(&HandMade::new("d", &["d"]).with(json!({"created": null})));
    for (filter, expected) in [
        (&["-f", "before=b"][..], "a:latest\n"),
        (&["-f", "since=b"], "c:latest\n"),
        (&["-f", "since=a"], "b:latest\nc:latest\n"),
        (&["-f", "since=a", "-f", "before=c"], "b:latest\n"),
        (&["-f", "before=a"], ""),
    ] {
        let words = ["images", "--format", "{Name}"].iter().chain(filter);
        assert_eq!(store.dhow(words).success().stdout, expected, "{filter:?}");
    }
    for (filter, because) in [
        ("since=d", "does not say when it was made"),
        ("before=nobody", "no image \"nobody\""),
    ] {
        let told = store.dhow(["images", "-f", filter]).ends_with(1).stderr;
        assert!(told.to_lowercase().contains(because), "{told}");
    }
}

fn inspect_tells_everything_and_keeps_what_it_does_not_know() {
    let (store, image) = store();
    let all = store.json(["inspect", "example.test/a:1"]);
    let one = &all[0];
    assert_eq!(all.as_array().map(Vec::len), Some(1));
    assert_eq!(one["Id"], image.id().as_str());
    assert_eq!(one["RepoTags"], json!(["example.test/a:1"]));
    let manifest = one["Manifest"].as_str().unwrap();
    assert_eq!(
        one["RepoDigests"],
        json!([format!("example.test/a@{manifest}")])
    );
    assert_eq!(one["Config"], image.config["config"]);
    assert_eq!(one["History"], image.config["history"]);
    assert_eq!(one["Author"], "somebody");
    assert_eq!(one["Os"], "linux");
    let sizes: u64 = image.layers.iter().map(|layer| layer.len() as u64).sum();
    assert_eq!(one["Size"], sizes);
    for (n, layer) in image.layers.iter().enumerate() {
        let digest = image::Digest::of(layer).to_string();
        assert_eq!(one["RootFS"]["Layers"][n], digest.as_str());
        assert_eq!(one["Layers"][n]["DiffId"], digest.as_str());
        assert_eq!(one["Layers"][n]["DiffSize"], layer.len());
    }
    let told = store
        .dhow(["inspect", "example.test/a:1", "nobody"])
        .ends_with(1);
    assert_eq!(told.stdout, "");
    assert!(
        told.stderr.contains("no image \"nobody\""),
        "{}",
        told.stderr
    );
}

fn history_tells_each_step_with_its_layer() {
    let (store, image) = store();
    let steps = store.json(["history", "--format", "json", "example.test/a:1"]);
    let by: Vec<&str> = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["CreatedBy"].as_str().unwrap())
        .collect();
    assert_eq!(by, ["RUN touch two", "ENV PATH=/bin", "ADD one /"]);
    let digest = |n: usize| image::Digest::of(&image.layers[n]).to_string();
    assert_eq!(steps[0]["Layer"], digest(1).as_str());
    assert_eq!(steps[1]["Layer"], Value::Null);
    assert_eq!(steps[1]["EmptyLayer"], true);
    assert_eq!(steps[1]["Comment"], "by hand");
    assert_eq!(steps[2]["Layer"], digest(0).as_str());
    assert_eq!(steps[2]["Size"], image.layers[0].len());
    let layers = store
        .dhow(["history", "-q", "example.test/a:1"])
        .success()
        .stdout;
    assert_eq!(layers, format!("{}\n{}\n", digest(1), digest(0)));
    let table = store.dhow(["history", "example.test/a:1"]).success().stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.lines().nth(3).unwrap().contains("ADD one /"),
        "{table}"
    );
}

fn templates_show_fields_and_refuse_go() {
    let (store, image) = store();
    let shown = |template: &str| store.dhow(["inspect", "-f", template, "example.test/a:1"]);
    let line = shown("{Id} {Config.Labels[\"a.b\"]} {Config.Env[0]}\\t{Config.User}.");
    assert_eq!(
        line.success().stdout,
        format!("{} c PATH=/bin\t.\n", image.id())
    );
    for (template, because) in [
        (
            "{{.Id}}",
            "Go templates are not taken; write {Id} for {{.Id}}",
        ),
        ("{Ids}", "no field \"Ids\"; there are Id, Manifest,"),
        ("table", "an image is more than a line"),
        ("ids", "no {FIELD}"),
    ] {
        let told = shown(template).ends_with(1);
        assert!(told.stderr.contains(because), "{}", told.stderr);
        assert_eq!((told.stderr.lines().count(), told.stdout.as_str()), (1, ""));
    }
}
