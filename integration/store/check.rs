//! `store check` names every damage and changes nothing; loading the image again repairs it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Shelf, layer, leaning, picture};
use crate::support::claims;

claims![
    a_store_is_whole_after_loads: [Dhow],
    damage_of_any_blob_is_named_and_repaired: [Dhow],
    damage_of_any_layer_is_named_and_repaired: [Dhow],
    a_check_changes_nothing: [Dhow],
    what_nothing_needs_is_no_damage: [Dhow],
    a_quick_check_reads_blobs_alone: [Dhow],
    a_damaged_layer_in_use_is_left_in_its_place: [Dhow],
    a_damaged_image_can_be_removed: [Dhow],
    the_words_of_a_check_are_one_line_a_fault: [Dhow],
];

/// A store with the image `a` of two layers, the upper hanging on the lower, and the archive it came from.
fn stocked() -> (Shelf, String) {
    let shelf = Shelf::new();
    let archive = shelf.archive("a", &[layer("low"), leaning("low")]);
    shelf.load(&archive).success();
    (shelf, archive)
}

fn a_store_is_whole_after_loads() {
    let (shelf, _) = stocked();
    let other = shelf.archive("b", &[layer("low"), layer("other")]);
    shelf.load(&other).success();
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "{said:#}");
    assert_eq!(said["Images"], 2, "{said:#}");
    assert_eq!(said["Layers"], 3, "{said:#}");
    assert_eq!(said["Unused"].as_array().unwrap().len(), 0, "{said:#}");
}

pub(super) type Harm = fn(&Path);

/// What can become of a file.
pub(super) const HARM: [(&str, Harm); 4] = [
    ("a flipped byte", |path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let time = std::fs::metadata(path).unwrap().modified().unwrap();
        std::fs::write(path, bytes).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }),
    ("a cut", |path| {
        let length = std::fs::metadata(path).unwrap().len();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(length - 1).unwrap();
    }),
    ("emptied", |path| std::fs::write(path, b"").unwrap()),
    ("removed", |path| std::fs::remove_file(path).unwrap()),
];

/// Does harm, and sees it named and repaired. `part` is what the check must name.
#[track_caller]
pub(super) fn named_and_repaired(shelf: &Shelf, archive: &str, part: &str, what: &str) {
    let said = shelf.check();
    assert_eq!(said["Whole"], false, "{what}");
    let faults = said["Faults"].as_array().unwrap();
    let named = |fault: &serde_json::Value| {
        let name = format!("{} {}", fault["Kind"], fault["Name"]).replace('"', "");
        name.contains(part) && !fault["Images"].as_array().unwrap().is_empty()
    };
    assert!(faults.iter().any(named), "{what}: {part}: {said:#}");
    shelf.load(archive).success();
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "after {what} of {part}: {said:#}");
    assert_eq!(shelf.room("work"), Vec::<PathBuf>::new(), "{what}");
    assert_eq!(shelf.room("damaged"), Vec::<PathBuf>::new(), "{what}");
}

fn damage_of_any_blob_is_named_and_repaired() {
    let (shelf, archive) = stocked();
    for blob in shelf.room("blobs/sha256") {
        for (what, harm) in HARM {
            harm(&blob);
            let name = blob.file_name().unwrap().to_str().unwrap();
            named_and_repaired(&shelf, &archive, &format!("blob sha256:{name}"), what);
        }
    }
}

fn damage_of_any_layer_is_named_and_repaired() {
    let (shelf, archive) = stocked();
    let layers = shelf.room("layers");
    assert_eq!(layers.len(), 2);
    for layer in layers {
        let name = layer.file_name().unwrap().to_str().unwrap().to_owned();
        let part = format!("layer {name}");
        let fs = layer.join("fs/low");
        let file = if fs.join("data").exists() {
            "data"
        } else {
            "more"
        };
        for (what, harm) in HARM {
            harm(&fs.join(file));
            named_and_repaired(&shelf, &archive, &part, what);
        }
        let more: [(&str, &dyn Fn()); 8] = [
            ("a new file", &|| {
                std::fs::write(fs.join("new"), b"x").unwrap()
            }),
            ("another mode", &|| {
                let mode = std::fs::Permissions::from_mode(0o4755);
                std::fs::set_permissions(fs.join(file), mode).unwrap();
            }),
            ("a link in its place", &|| {
                std::fs::remove_file(fs.join(file)).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", fs.join(file)).unwrap();
            }),
            ("another time of a folder", &|| {
                let now = std::time::SystemTime::now();
                std::fs::File::open(&fs).unwrap().set_modified(now).unwrap();
            }),
            ("no record", &|| {
                std::fs::remove_file(layer.join("layer.json")).unwrap()
            }),
            ("a torn record", &|| {
                std::fs::write(layer.join("layer.json"), b"{\"dif").unwrap()
            }),
            // It may be a file system: the kernel is not asked to read it (CVE-2023-30549).
            ("a file in its place", &|| {
                std::fs::remove_dir_all(layer.join("fs")).unwrap();
                std::fs::write(layer.join("fs"), b"no layer").unwrap();
            }),
            ("no folder", &|| {
                std::fs::remove_dir_all(layer.join("fs")).unwrap()
            }),
        ];
        for (what, harm) in more {
            harm();
            named_and_repaired(&shelf, &archive, &part, what);
        }
        std::fs::remove_dir_all(&layer).unwrap();
        named_and_repaired(&shelf, &archive, &part, "nothing left");
    }
}

/// But for the marks, by which the next load knows.
fn a_check_changes_nothing() {
    let (shelf, _) = stocked();
    let layers = shelf.room("layers");
    HARM[0].1(&shelf.room("blobs/sha256")[0]);
    std::fs::write(layers[0].join("fs/new"), b"x").unwrap();
    let before = picture(&shelf.store);
    assert_eq!(shelf.check()["Whole"], false);
    let mut after = picture(&shelf.store);
    after.retain(|path, _| !path.starts_with("damaged"));
    assert_eq!(after, before);
    assert_eq!(
        shelf.check()["Whole"],
        false,
        "the second check says the same"
    );
}

fn what_nothing_needs_is_no_damage() {
    let (shelf, archive) = stocked();
    let index = std::fs::read(shelf.store.join("index.json")).unwrap();
    std::fs::write(
        shelf.store.join("index.json"),
        br#"{"images":{},"names":{}}"#,
    )
    .unwrap();
    std::fs::write(shelf.store.join("blobs/sha256/notes"), b"mine").unwrap();
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "{said:#}");
    let kinds: Vec<String> = said["Unused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| left["Kind"].as_str().unwrap().to_owned())
        .collect();
    let count = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    assert_eq!(
        [count("blob"), count("layer"), count("file")],
        [4, 2, 1],
        "{said:#}"
    );
    // One that is damaged is not taken for good when somebody needs it again.
    for layer in shelf.room("layers") {
        let file = ["data", "more"].map(|name| layer.join("fs/low").join(name));
        HARM[0].1(file.iter().find(|file| file.exists()).unwrap());
    }
    std::fs::write(shelf.store.join("index.json"), index).unwrap();
    shelf.check();
    shelf.load(&archive).success();
    shelf.is_whole();
}

fn a_quick_check_reads_blobs_alone() {
    let (shelf, _) = stocked();
    std::fs::write(shelf.room("layers")[0].join("fs/new"), b"x").unwrap();
    shelf.dhow(&["store", "check", "--quick"]).success();
    let full = shelf.dhow(&["store", "check", "--quiet"]).ends_with(1);
    assert_eq!(full.stdout, "");
    let (shelf, _) = stocked();
    HARM[0].1(&shelf.room("blobs/sha256")[0]);
    shelf.dhow(&["store", "check", "--quick"]).ends_with(1);
}

/// A container's lower folder is not replaced under it: the load says so, in one line.
fn a_damaged_layer_in_use_is_left_in_its_place() {
    let (shelf, archive) = stocked();
    let layer = &shelf.room("layers")[0];
    let key = layer.file_name().unwrap().to_str().unwrap();
    std::fs::create_dir(shelf.store.join("used")).unwrap();
    let place = shelf.path("container");
    std::fs::create_dir(&place).unwrap();
    let note = serde_json::json!({"dir": place, "layers": [key], "blobs": []});
    std::fs::write(shelf.store.join("used/note"), note.to_string()).unwrap();
    std::fs::write(layer.join("fs/new"), b"x").unwrap();
    assert_eq!(shelf.check()["Whole"], false);
    let output = shelf.load(&archive).ends_with(1);
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    assert!(output.stderr.contains("in use"), "{output:?}");
    assert!(layer.join("fs/new").exists());
    std::fs::remove_dir(place).unwrap();
    shelf.load(&archive).success();
    shelf.is_whole();
}

fn a_damaged_image_can_be_removed() {
    let (shelf, archive) = stocked();
    for (what, harm) in HARM {
        for blob in shelf.room("blobs/sha256") {
            harm(&blob);
        }
        shelf.check();
        shelf.dhow(&["rmi", "a"]).success();
        shelf.is_whole();
        shelf.dhow(&["prune"]).success();
        let left = [shelf.room("layers"), shelf.room("blobs/sha256")].concat();
        assert_eq!(left, Vec::<PathBuf>::new(), "{what}");
        shelf.load(&archive).success();
        shelf.is_whole();
    }
}

fn the_words_of_a_check_are_one_line_a_fault() {
    let (shelf, _) = stocked();
    for layer in shelf.room("layers") {
        std::fs::write(layer.join("fs/low/a\n\u{1b}[31mb"), b"x").unwrap();
    }
    let output = shelf.dhow(&["store", "check"]).ends_with(1);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(
        lines.len(),
        2,
        "the layer that hangs on the other is not judged: {output:?}"
    );
    assert!(lines[0].starts_with("damaged: layer "), "{output:?}");
    assert!(
        lines[1].starts_with("1 fault: 1 images, 2 layers, 4 blobs"),
        "{output:?}"
    );
    assert!(!output.stdout.contains('\u{1b}'), "{output:?}");
}
