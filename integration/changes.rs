//! What was changed in a bundle: told by `diff`, and made a layer by `repack`. Not its job: the layer's tar itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::image::HandMade;
use crate::support::image_store::ImageStore;
use crate::support::{Output, claims, run};

claims![
    a_bundle_that_was_not_changed_has_no_changes: [Dhow],
    what_was_changed_in_a_bundle_is_told_and_becomes_a_layer: [Dhow],
    a_repacked_layer_depends_on_nothing_but_the_changes: [Dhow],
    an_upper_directory_becomes_a_layer: [Root, Dhow],
    two_images_differ_in_what_their_layers_say: [Dhow],
    a_bundle_of_nobody_knows_is_refused: [Dhow],
];

const FILES: [&str; 6] = ["dir/a", "dir/b", "kept/c", "mode", "moved", "turned"];

fn unpacked() -> (ImageStore, PathBuf) {
    let store = ImageStore::new();
    let image = HandMade::new("base", &FILES)
        .with(json!({"config": {"Cmd": ["/x"]}, "unknown": {"z": 1, "a": [2]}}));
    store.load(&image);
    store.dhow(["unpack", "base", "bundle"]).success();
    let tree = store.path("bundle/rootfs");
    (store, tree)
}

/// Each kind of change once; one changes the content and neither size nor time.
fn change(tree: &Path) {
    let a = tree.join("dir/a");
    let time = fs::metadata(&a).unwrap().modified().unwrap();
    fs::write(&a, "THE file dir/a\n").unwrap();
    fs::File::open(&a).unwrap().set_modified(time).unwrap();
    fs::remove_file(tree.join("dir/b")).unwrap();
    fs::set_permissions(tree.join("mode"), fs::Permissions::from_mode(0o4755)).unwrap();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    fs::File::open(tree.join("moved"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    fs::remove_file(tree.join("turned")).unwrap();
    fs::create_dir(tree.join("turned")).unwrap();
    fs::write(tree.join("turned/inside"), "new\n").unwrap();
    fs::hard_link(tree.join("turned/inside"), tree.join("turned/linked")).unwrap();
    symlink("/nowhere", tree.join("link")).unwrap();
}

const CHANGES: &str = "C /dir\nC /dir/a\nD /dir/b\nA /link\nC /mode\nC /moved\nC /turned\nA /turned/inside\nA /turned/linked\n";

/// What each file is; directories without their times.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let m = fs::symlink_metadata(&path).unwrap();
            let mut text = format!("{:o} {}:{} {}", m.mode(), m.uid(), m.gid(), m.nlink());
            if m.is_dir() {
                pending.push(path.clone());
            } else if m.is_symlink() {
                text += &format!(" -> {:?}", fs::read_link(&path).unwrap());
            } else {
                text += &format!(" {} {:?}", m.mtime(), fs::read(&path).unwrap());
            }
            seen.insert(path.strip_prefix(root).unwrap().to_owned(), text);
        }
    }
    seen
}

fn a_bundle_that_was_not_changed_has_no_changes() {
    let (store, _) = unpacked();
    assert_eq!(
        store.dhow(["diff", "--bundle", "bundle"]).success().stdout,
        ""
    );
    let base = store.json(["inspect", "base"])[0]["Id"].clone();
    let done = store.dhow(["repack", "bundle", "--tag", "again"]).success();
    assert_eq!(done.stdout.trim(), base);
    assert!(
        done.stderr.contains("nothing was changed"),
        "{}",
        done.stderr
    );
    assert_eq!(store.json(["inspect", "again"])[0]["Id"], base);
}

fn what_was_changed_in_a_bundle_is_told_and_becomes_a_layer() {
    let (store, tree_of_bundle) = unpacked();
    change(&tree_of_bundle);
    assert_eq!(
        store.dhow(["diff", "--bundle", "bundle"]).success().stdout,
        CHANGES
    );
    let listed = store.json([
        "diff",
        "--tree",
        "bundle/rootfs",
        "base",
        "--format",
        "json",
    ]);
    assert_eq!(listed[2], json!({"Kind": "D", "Path": "/dir/b"}));
    let id = store
        .dhow(["repack", "bundle", "--tag", "new", "-m", "by hand"])
        .success()
        .stdout;
    let [old, new] = ["base", "new"].map(|name| store.json(["inspect", name])[0].clone());
    assert_eq!(id.trim(), new["Id"]);
    let layers = |image: &Value| image["RootFS"]["Layers"].as_array().unwrap().clone();
    assert_eq!(layers(&new)[..6], layers(&old)[..]);
    assert_eq!(layers(&new).len(), 7);
    let steps = store.json(["history", "--format", "json", "new"]);
    assert_eq!(steps[0]["CreatedBy"], "by hand");
    assert_eq!(steps[0]["Layer"], layers(&new)[6]);
    assert_eq!(steps[6]["Layer"], layers(&new)[0]);
    // The image says the same in other words.
    for words in [&["diff", "base", "new"][..], &["diff", "new"]] {
        assert_eq!(store.dhow(words).success().stdout, CHANGES, "{words:?}");
    }
    store.dhow(["unpack", "new", "second"]).success();
    assert_eq!(tree(&store.path("second/rootfs")), tree(&tree_of_bundle));
    let saved = store.path("saved");
    store
        .dhow(["save", "--format", "oci-dir", "-o", "saved", "new"])
        .success();
    let config = new["Id"].as_str().unwrap().replace("sha256:", "");
    let config = fs::read(saved.join("blobs/sha256").join(config)).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["unknown"], json!({"z": 1, "a": [2]}));
}

fn a_repacked_layer_depends_on_nothing_but_the_changes() {
    let repacked = || {
        let (store, tree) = unpacked();
        change(&tree);
        let mut command = store.command();
        command.env("SOURCE_DATE_EPOCH", "1500000000");
        let done: Output = run(command.args(["repack", "bundle", "--tag", "new"]));
        let image = store.json(["inspect", "new"])[0].clone();
        assert_eq!(image["Created"], "2017-07-14T02:40:00Z");
        done.success().stdout
    };
    assert_eq!(repacked(), repacked());
}

/// With overlay's own words for what is gone.
fn an_upper_directory_becomes_a_layer() {
    let (store, tree_of_bundle) = unpacked();
    let upper = store.path("upper");
    fs::create_dir_all(upper.join("dir")).unwrap();
    fs::write(upper.join("dir/new"), "new\n").unwrap();
    run(std::process::Command::new("mknod")
        .arg(upper.join("mode"))
        .args(["c", "0", "0"]))
    .success();
    let words = [
        "repack", "--upper", "upper", "--image", "base", "--tag", "new",
    ];
    store.dhow(words).success();
    fs::write(tree_of_bundle.join("dir/new"), "new\n").unwrap();
    fs::remove_file(tree_of_bundle.join("mode")).unwrap();
    let told = store.dhow(["diff", "base", "new"]).success().stdout;
    assert_eq!(told, "C /dir\nA /dir/new\nD /mode\n");
    store.dhow(["unpack", "new", "second"]).success();
    let names = |root: &Path| tree(root).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&store.path("second/rootfs")), names(&tree_of_bundle));
}

fn two_images_differ_in_what_their_layers_say() {
    let store = ImageStore::new();
    store.load(&HandMade::new("a", &["same", "old", "evil\u{1b}[2J"]));
    store.load(&HandMade::new("b", &["same", "new"]));
    let told = store.dhow(["diff", "a", "b"]).success().stdout;
    assert_eq!(told, "D /evil\\u{1b}[2J\nA /new\nD /old\n");
    assert_eq!(store.dhow(["diff", "b"]).success().stdout, "A /new\n");
    assert_eq!(store.dhow(["diff", "a", "a"]).success().stdout, "");
    let told = store.dhow(["diff"]).ends_with(1).stderr;
    assert!(told.contains("name one image or two"), "{told}");
}

fn a_bundle_of_nobody_knows_is_refused() {
    let (store, _) = unpacked();
    store.dhow(["rmi", "base"]).success();
    let told = store.dhow(["repack", "bundle"]).ends_with(1).stderr;
    assert!(told.contains("no image \"sha256:"), "{told}");
    fs::write(store.path("bundle/dhow.json"), "{\"image\": \"../x\"}").unwrap();
    let told = store.dhow(["repack", "bundle"]).ends_with(1).stderr;
    assert!(
        told.contains("dhow.json") && told.contains("../x"),
        "{told}"
    );
    fs::remove_file(store.path("bundle/dhow.json")).unwrap();
    let told = store
        .dhow(["diff", "--bundle", "bundle"])
        .ends_with(1)
        .stderr;
    assert!(told.contains("dhow.json: no such file"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}
