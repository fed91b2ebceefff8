//! Files of a context that look as they did are not read again, nor files of layers that are the same. Not its job: what a step's key is made of (build).

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Site, cached};
use crate::support::claims;
use crate::support::command::wait_for;

claims![
    files_that_look_the_same_are_known_by_their_looks: [Root, Overlay, Dhow],
    a_file_that_changes_at_once_is_seen: [Root, Overlay, Dhow],
    a_damaged_note_of_looks_is_passed_over: [Root, Overlay, Dhow],
    files_of_a_stage_are_known_by_its_layers: [Root, Overlay, Dhow],
    the_same_files_at_like_places_are_one_layer: [Root, Overlay, Dhow],
];

/// A context of three files, built until all that are old enough are remembered.
fn site() -> Site {
    let site = Site::bare();
    let context = site.context("c", "FROM scratch\nCOPY d /d\n");
    std::fs::create_dir(context.join("d")).unwrap();
    for name in ["a", "b", "e"] {
        std::fs::write(context.join("d").join(name), name).unwrap();
    }
    // A file is not remembered while it is so young that another change could have the same time.
    wait_for(
        "the files to be remembered",
        Duration::from_secs(30),
        || {
            site.build(&["-q", "c"]).success();
            notes(&site)
                .iter()
                .any(|(_, note)| note["note"].as_array().is_some_and(|n| n.len() == 3))
                .then_some(())
        },
    );
    site
}

/// The notes of looks in the store.
fn notes(site: &Site) -> Vec<(PathBuf, Value)> {
    let cache = std::fs::read_dir(site.folder().join("store/cache")).unwrap();
    let documents = cache.map(|entry| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        (path, serde_json::from_str::<Value>(&text).unwrap())
    });
    documents
        .filter(|(_, value)| value.get("note").is_some_and(Value::is_array))
        .collect()
}

fn files_that_look_the_same_are_known_by_their_looks() {
    let site = site();
    // Were it read, nobody would believe this.
    for (path, mut note) in notes(&site) {
        if !note["note"][0].is_array() {
            // What the layer holds.
            continue;
        }
        for entry in note["note"].as_array_mut().unwrap() {
            entry[1] = "0".repeat(64).into();
        }
        std::fs::write(path, note.to_string()).unwrap();
    }
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(
        output
            .stderr
            .contains("files of the context changed while they were copied"),
        "{}",
        output.stderr
    );
    // What turned out wrong is not believed twice.
    assert_eq!(cached(&site.build(&["c"]).success()), 1);
}

fn a_file_that_changes_at_once_is_seen() {
    let site = site();
    let path = site.folder().join("c/d/a");
    let ids = (0..9).map(|n| {
        // The same length, and within the same tick of the clock for all we know.
        std::fs::write(&path, n.to_string()).unwrap();
        site.build(&["-q", "c"]).success().stdout
    });
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 9);
}

fn a_damaged_note_of_looks_is_passed_over() {
    let site = site();
    let paths: Vec<PathBuf> = notes(&site).into_iter().map(|(path, _)| path).collect();
    for content in ["", "{", "[]", "{\"layer\":null,\"note\":[[[1,2],3]]}"] {
        for path in &paths {
            std::fs::write(path, content).unwrap();
        }
        assert_eq!(cached(&site.build(&["c"]).success()), 1, "{content:?}");
    }
}

fn files_of_a_stage_are_known_by_its_layers() {
    let site = Site::bare();
    let recipe = "FROM scratch AS one\nCOPY d /d\nFROM scratch\nCOPY --from=one /d /e\n";
    let context = site.context("c", recipe);
    std::fs::create_dir(context.join("d")).unwrap();
    std::fs::write(context.join("d/a"), "a").unwrap();
    let image = site.build(&["-q", "c"]).success().stdout;
    let of_layers = notes(&site)
        .into_iter()
        .find(|(_, note)| note["note"][0]["sum"].is_string());
    let (path, mut note) = of_layers.expect("a note of what the stage holds");
    // Were the stage looked at, nobody would believe this.
    note["note"][0]["sum"] = "0".repeat(64).into();
    std::fs::write(path, note.to_string()).unwrap();
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(
        output
            .stderr
            .contains("files of stage 0 changed while they were copied"),
        "{}",
        output.stderr
    );
    // What turned out wrong is not believed twice.
    assert_eq!(cached(&site.build(&["c"]).success()), 2);
    assert_eq!(site.build(&["-q", "c"]).success().stdout, image);
}

/// The diff ids of an image's layers.
fn layers(site: &Site, id: &str) -> Vec<Value> {
    let hex = id.trim().trim_start_matches("sha256:");
    let config = site.folder().join("store/blobs/sha256").join(hex);
    let config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    config["rootfs"]["diff_ids"].as_array().unwrap().clone()
}

fn the_same_files_at_like_places_are_one_layer() {
    let site = Site::bare();
    let recipe = "FROM scratch AS one\nCOPY d /w/d\n\
                  FROM scratch AS two\nCOPY x /x\nCOPY --from=one /w/d /w/d\n\
                  FROM scratch AS three\nCOPY p /\nCOPY --from=one /w/d /w/d\n";
    let context = site.context("c", recipe);
    for folder in ["d", "p/w"] {
        std::fs::create_dir_all(context.join(folder)).unwrap();
    }
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(context.join("p/w"), mode).unwrap();
    for file in ["x", "d/a", "p/w/b"] {
        std::fs::write(context.join(file), file).unwrap();
    }
    let build = |target: &str| {
        let id = site.build(&["-q", "--target", target, "c"]).success();
        layers(&site, &id.stdout)
    };
    let one = build("one");
    // Were the files written, nobody would take another layer for theirs.
    let cache = std::fs::read_dir(site.folder().join("store/cache")).unwrap();
    let notes = cache.map(|entry| entry.unwrap().path());
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let note = notes
        .into_iter()
        .find(|path| read(path).contains(&format!("\"note\":{}", one[0])));
    let note = note.expect("a note of the layer");
    let two = build("two");
    assert_eq!(two[1], one[0]);
    std::fs::write(&note, format!("{{\"layer\":null,\"note\":{}}}", two[0])).unwrap();
    site.context("c", &recipe.replace("COPY x /x\n", "COPY x /y\n"));
    let taken = build("two");
    assert_eq!(taken[1], two[0]);
    std::fs::remove_file(&note).unwrap();
    // The folder above is another there, and comes into the layer.
    let three = build("three");
    assert_ne!(three[1], one[0]);
    site.build(&["--target", "three", "--output", "out", "c"])
        .success();
    let mode = std::fs::metadata(site.folder().join("out/w")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o7777, 0o700);
}
