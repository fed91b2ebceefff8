//! `prune` takes what nobody needs, the least recently used first, and nothing else.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Shelf, layer, picture};
use crate::build::Site;
use crate::support::{claims, run};

claims![
    what_nothing_refers_to_goes_and_names_stay: [Dhow],
    with_all_only_what_containers_use_stays: [Root, Cgroup2, Overlay, Dhow],
    the_least_recently_used_goes_first: [Dhow],
    a_dry_run_changes_nothing: [Dhow],
    a_filter_says_which_images_go: [Dhow],
    what_images_share_goes_with_the_last: [Dhow],
    the_build_cache_is_a_reference: [Root, Overlay, Dhow],
    what_a_container_held_is_taken_after_it: [Dhow],
];

#[track_caller]
fn pruned(shelf: &Shelf, flags: &[&str]) -> Value {
    let words = [&["prune", "--format", "json"], flags].concat();
    serde_json::from_str(&shelf.dhow(&words).success().stdout).unwrap()
}

fn count(value: &Value) -> usize {
    value.as_array().unwrap().len()
}

fn what_nothing_refers_to_goes_and_names_stay() {
    let shelf = Shelf::new();
    let named = shelf.archive("named", &[layer("one")]);
    shelf.load(&named).success();
    assert_eq!(pruned(&shelf, &[])["Freed"], 0);
    // The name moves, and the image has none.
    let next = shelf.path("next.tar");
    std::fs::write(&next, super::archive_of("named", &[layer("two")])).unwrap();
    shelf.load(next.to_str().unwrap()).ends_with(1);
    shelf
        .dhow(&["load", "--force", next.to_str().unwrap()])
        .success();
    // Files of nobody: what a power cut between publication and index leaves.
    let orphan = image::Digest::of(b"orphan").hex();
    std::fs::write(shelf.store.join("blobs/sha256").join(orphan), b"orphan").unwrap();
    std::fs::create_dir_all(shelf.store.join("layers/0123/fs/usr")).unwrap();
    let gone = pruned(&shelf, &[]);
    assert_eq!(count(&gone["Images"]), 1, "{gone:#}");
    assert_eq!(count(&gone["Layers"]), 2, "{gone:#}");
    assert_eq!(count(&gone["Blobs"]), 4, "{gone:#}");
    assert_eq!(shelf.names(), ["named:latest"]);
    assert_eq!(count(&shelf.check()["Unused"]), 0);
    shelf.is_whole();
    assert_eq!(shelf.room("work"), Vec::<PathBuf>::new());
    let said = shelf.dhow(&["prune", "--all"]).success();
    let last = said.stdout.lines().last().unwrap().to_owned();
    assert!(
        last.starts_with("Freed ") && last.contains("1 layers and 3 blobs"),
        "{said:?}"
    );
    let left = [shelf.room("layers"), shelf.room("blobs/sha256")].concat();
    assert_eq!(left, Vec::<PathBuf>::new());
}

fn with_all_only_what_containers_use_stays() {
    let site = Site::new();
    site.context("other", "FROM scratch\nCOPY <<x /x\none\nx\n");
    site.build(&["-t", "other", "other"]).success();
    let words = ["run", "--detach", "--name", "c", "base", "sleep", "1000"];
    run(site.dhow().args(words)).success();
    let said = run(site.dhow().args(["prune", "--all"])).success();
    assert!(said.stdout.contains("Untagged: other:latest"), "{said:?}");
    assert!(!said.stdout.contains("base"), "{said:?}");
    run(site
        .dhow()
        .args(["exec", "c", "/bin/sh", "-c", "cat /etc/passwd"]))
    .success();
    run(site.dhow().args(["store", "check"])).success();
    run(site.dhow().args(["delete", "--force", "c"])).success();
    let said = run(site.dhow().args(["prune", "--all"])).success();
    assert!(said.stdout.contains("Untagged: base:latest"), "{said:?}");
    let store = site.folder().join("store");
    for room in ["layers", "blobs/sha256", "used", "cache", "work"] {
        assert_eq!(
            std::fs::read_dir(store.join(room)).unwrap().count(),
            0,
            "{room}"
        );
    }
}

/// Sets the time of the last use of an image, hours ago.
fn used(shelf: &Shelf, name: &str, hours: u64) {
    let output = shelf.dhow(&["images", "--format", "json"]).success();
    let images: Value = serde_json::from_str(&output.stdout).unwrap();
    let named = |image: &&Value| image["Name"] == format!("{name}:latest");
    let image = images.as_array().unwrap().iter().find(named).unwrap();
    let hex = image["Id"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:")
        .unwrap()
        .to_owned();
    let file = std::fs::File::open(shelf.store.join("blobs/sha256").join(hex)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600))
        .unwrap();
}

fn the_least_recently_used_goes_first() {
    let shelf = Shelf::new();
    for name in ["a", "b", "c", "d"] {
        let archive = shelf.archive(name, &[layer(name)]);
        shelf.load(&archive).success();
    }
    for (name, hours) in [("a", 1), ("b", 4), ("c", 3), ("d", 2)] {
        used(&shelf, name, hours);
    }
    // Being saved is a use.
    let out = shelf.path("out.tar");
    shelf
        .dhow(&["save", "-o", out.to_str().unwrap(), "b"])
        .success();
    let all = pruned(&shelf, &["--all", "--dry-run", "--keep-storage", "1g"]);
    assert_eq!((count(&all["Images"]), &all["Freed"]), (0, &Value::from(0)));
    let total = all["Left"].as_u64().unwrap();
    let keep = (total / 2).to_string();
    let gone = pruned(&shelf, &["--all", "--keep-storage", &keep]);
    assert_eq!(count(&gone["Images"]), 2, "{gone:#}");
    assert_eq!(gone["Left"], total / 2, "{gone:#}");
    assert_eq!(shelf.names(), ["a:latest", "b:latest"]);
    let gone = pruned(&shelf, &["--all", "--keep-storage", "1"]);
    let names: Vec<&str> = gone["Images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["Names"][0].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["docker.io/library/a:latest", "docker.io/library/b:latest"]
    );
}

fn a_dry_run_changes_nothing() {
    let shelf = Shelf::new();
    let archive = shelf.archive("a", &[layer("a")]);
    shelf.load(&archive).success();
    let before = picture(&shelf.store);
    let would = pruned(&shelf, &["--all", "--dry-run"]);
    assert_eq!(picture(&shelf.store), before);
    let mut did = pruned(&shelf, &["--all"]);
    assert_eq!(would["DryRun"], true);
    did["DryRun"] = Value::from(true);
    assert_eq!(did, would);
}

/// Each image of a shelf has a label of its name.
fn a_filter_says_which_images_go() {
    let shelf = Shelf::new();
    for name in ["a", "b", "c"] {
        let archive = shelf.archive(name, &[layer(name)]);
        shelf.load(&archive).success();
    }
    for (filters, left) in [
        (&["until=1h"][..], &["a:latest", "b:latest", "c:latest"][..]),
        (
            &["label=name", "until=1h"],
            &["a:latest", "b:latest", "c:latest"],
        ),
        (&["label=name=a"], &["b:latest", "c:latest"]),
        (&["label!=name"], &["b:latest", "c:latest"]),
        (&["label!=name=b", "until=0s"], &["b:latest"]),
        (&["until=0s"], &[]),
    ] {
        let mut words = vec!["--all"];
        for filter in filters {
            words.extend(["--filter", *filter]);
        }
        pruned(&shelf, &words);
        assert_eq!(shelf.names(), left, "{filters:?}");
    }
    let told = shelf
        .dhow(&["prune", "--filter", "dangling=true"])
        .ends_with(1);
    assert!(
        told.stderr.contains("until, label and label! are"),
        "{told:?}"
    );
}

fn what_images_share_goes_with_the_last() {
    let shelf = Shelf::new();
    for (name, own) in [("a", "x"), ("b", "y")] {
        let archive = shelf.archive(name, &[layer("shared"), layer(own)]);
        shelf.load(&archive).success();
    }
    shelf.dhow(&["rmi", "a"]).success();
    assert_eq!(shelf.room("layers").len(), 2);
    shelf.is_whole();
    assert_eq!(pruned(&shelf, &[])["Freed"], 0);
    let gone = pruned(&shelf, &["--all"]);
    assert_eq!(count(&gone["Layers"]), 2, "{gone:#}");
}

/// A plain pruning and a removal leave what the next build would find; a pruning of all takes it.
fn the_build_cache_is_a_reference() {
    let site = Site::bare();
    site.context(
        "c",
        "FROM scratch\nCOPY <<x /x\none\nx\nCOPY <<y /y\ntwo\ny\n",
    );
    let build = |cached: usize| {
        let said = site.build(&["-t", "i", "c"]).success();
        let text = format!("{}{}", said.stdout, said.stderr).to_lowercase();
        assert_eq!(text.matches(" cached\n").count(), cached, "{said:?}");
    };
    build(0);
    run(site.dhow().args(["rmi", "i"])).success();
    build(2);
    run(site.dhow().args(["rmi", "i"])).success();
    run(site.dhow().args(["prune"])).success();
    build(2);
    run(site.dhow().args(["prune", "--all"])).success();
    build(0);
}

fn what_a_container_held_is_taken_after_it() {
    let shelf = Shelf::new();
    let archive = shelf.archive("a", &[layer("a")]);
    shelf.load(&archive).success();
    let key = shelf.room("layers")[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let place = shelf.path("container");
    std::fs::create_dir(&place).unwrap();
    std::fs::create_dir(shelf.store.join("used")).unwrap();
    let note = serde_json::json!({"dir": place, "layers": [key], "blobs": []});
    std::fs::write(shelf.store.join("used/note"), note.to_string()).unwrap();
    // Torn by a power cut, which ended its container.
    std::fs::write(shelf.store.join("used/torn"), "").unwrap();
    let gone = pruned(&shelf, &["--all"]);
    assert_eq!(
        (count(&gone["Images"]), count(&gone["Layers"])),
        (1, 0),
        "{gone:#}"
    );
    assert_eq!(shelf.room("used").len(), 1);
    std::fs::remove_dir(&place).unwrap();
    let gone = pruned(&shelf, &[]);
    assert_eq!(count(&gone["Layers"]), 1, "{gone:#}");
    assert_eq!(shelf.room("used").len(), 0);
}
