//! What a builder does to a store: layers from upper directories, images from layers.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at the world by path, and fails where it can't"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use dhow_image::{CommitOptions, Error, Layer, Store};

fn fill(upper: &Path) {
    fs::create_dir_all(upper.join("etc/deep")).unwrap();
    fs::write(upper.join("etc/b"), "bee").unwrap();
    fs::hard_link(upper.join("etc/b"), upper.join("etc/a")).unwrap();
    symlink("/etc/b", upper.join("link")).unwrap();
    fs::set_permissions(upper.join("etc/b"), fs::Permissions::from_mode(0o4755)).unwrap();
}

fn commit(store: &Store, fill: impl Fn(&Path)) -> Layer {
    let scratch = store.scratch().unwrap();
    fill(&scratch.upper);
    let options = CommitOptions {
        clamp_mtime: Some(1_000_000_000),
    };
    store.commit_layer(scratch, options).unwrap()
}

fn config(layers: &[Layer]) -> Vec<u8> {
    let ids: Vec<String> = layers
        .iter()
        .map(|l| format!("{:?}", l.diff_id.to_string()))
        .collect();
    format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Shell":["/bin/x"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    )
    .into_bytes()
}

#[test]
fn a_layer_depends_on_its_content_alone() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let layers = dirs
        .each_ref()
        .map(|dir| commit(&Store::open(dir.path()).unwrap(), fill));
    assert_eq!(layers[0].diff_id, layers[1].diff_id);
    let path = &layers[0].path;
    let stat = fs::metadata(path.join("etc/b")).unwrap();
    assert_eq!(
        (stat.mode() & 0o7777, stat.mtime(), stat.nlink()),
        (0o4755, 1_000_000_000, 2)
    );
    let blob = dirs[0]
        .path()
        .join("blobs/sha256")
        .join(layers[0].blob.hex());
    let mut tar = tar::Archive::new(fs::File::open(blob).unwrap());
    let names: Vec<_> = tar
        .entries()
        .unwrap()
        .map(|e| e.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["link", "etc/", "etc/a", "etc/b", "etc/deep/"]);
}

#[test]
fn an_image_is_found_by_name_and_id_until_another_takes_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let base = commit(&store, fill);
    let top = commit(&store, |upper| fs::write(upper.join("new"), "").unwrap());
    let name = "hello".parse().unwrap();
    let config_bytes = config(&[base.clone(), top.clone()]);
    let image = store
        .commit_image(&config_bytes, &[base.clone(), top.clone()], &[name])
        .unwrap();
    assert_eq!(image.config, config_bytes);
    assert_eq!(image.lower(), [top.tree(), base.tree()]);
    for wanted in ["hello", "docker.io/library/hello:latest", &image.id.short()] {
        assert_eq!(store.find(wanted).unwrap().id, image.id);
    }
    let name = "hello".parse().unwrap();
    let other = store
        .commit_image(&config(std::slice::from_ref(&base)), &[base], &[name])
        .unwrap();
    assert_eq!(
        Store::open(dir.path()).unwrap().find("hello").unwrap().id,
        other.id
    );
    assert_eq!(store.images().unwrap().len(), 2);
}

#[test]
fn a_config_that_names_other_layers_is_refused_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let layer = commit(&store, fill);
    let error = store.commit_image(&config(&[]), &[layer], &[]).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(store.images().unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
}

#[test]
fn the_store_is_private_and_knows_its_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/store");
    Store::open(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    Store::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    fs::write(path.join("format"), "dhow image store 9\n").unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("\"dhow image store 9\""), "{error}");
    let foreign = dir.path().join("b");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), "").unwrap();
    let error = Store::open(&foreign).unwrap_err().to_string();
    assert!(error.contains("precious"), "{error}");
}

#[test]
fn what_a_dead_process_left_is_removed_and_what_a_live_one_makes_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let live = store.scratch().unwrap();
    fs::create_dir_all(dir.path().join("work/left/upper/x")).unwrap();
    Store::open(dir.path()).unwrap();
    assert!(live.upper.exists());
    assert!(!dir.path().join("work/left").exists());
    let path = live.upper.clone();
    drop(live);
    assert!(!path.exists());
}

#[test]
fn a_layer_that_the_store_has_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let first = commit(&store, fill);
    let blob = dir.path().join("blobs/sha256").join(first.blob.hex());
    let inodes = || [&first.path.join("etc/b"), &blob].map(|p| fs::metadata(p).unwrap().ino());
    let before = inodes();
    let second = commit(&store, fill);
    assert_eq!((second.diff_id, &second.path), (first.diff_id, &first.path));
    assert_eq!(inodes(), before);
    assert_eq!(fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
    // A lost blob is made again.
    fs::remove_file(&blob).unwrap();
    assert_eq!(commit(&store, fill).blob, first.blob);
    assert!(blob.exists());
}
