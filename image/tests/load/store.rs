//! What a store keeps of the images that it took: names, removal, repair, several at once, saving.

use super::*;

#[test]
fn a_name_is_not_taken_from_another_image_by_itself() {
    let place = Place::new();
    let first = place.load(&simple()).unwrap()[0].image.id;
    let text = chain(&place.load(&docker()).unwrap_err());
    assert!(text.contains("belongs to another image"), "{text}");
    assert_eq!(place.store().find("hello:1").unwrap().id, first);
    let options = LoadOptions {
        names: Names::Move,
        ..LoadOptions::default()
    };
    let path = place.path("archive.tar");
    let second = place.store().load(Source::Path(path), &options).unwrap()[0]
        .image
        .id;
    assert_eq!(place.store().find("hello:1").unwrap().id, second);
    assert!(
        place
            .store()
            .find(&first.to_string())
            .unwrap()
            .names
            .is_empty()
    );
}

#[test]
fn a_removed_image_takes_what_is_its_own_and_nothing_else() {
    let place = Place::new();
    let shared = layer(&["a", "b"]);
    let small = oci(std::slice::from_ref(&shared), &[gzip(&shared)], |_| {});
    let first = place.load(&small).unwrap().remove(0).image;
    let layers = [shared.clone(), layer(&["c"])];
    let blobs = [gzip(&shared), gzip(&layers[1])];
    let path = place.path("b.tar");
    fs::write(&path, tar_of(&oci(&layers, &blobs, |_| {}))).unwrap();
    let options = LoadOptions {
        names: Names::Move,
        ..LoadOptions::default()
    };
    let second = place
        .store()
        .load(Source::Path(path), &options)
        .unwrap()
        .remove(0)
        .image;
    assert_eq!(second.layers[0].path, first.layers[0].path);
    let lease = place.store().hold(&second.layers).unwrap();
    place.store().remove("hello:1", Removal::Careful).unwrap();
    assert!(second.layers[1].path.exists(), "it is held");
    drop(lease);
    assert!(first.layers[0].path.exists(), "another image has it");
    place
        .store()
        .remove(&first.id.short(), Removal::Careful)
        .unwrap();
    assert!(!first.layers[0].path.exists());
    assert!(place.store().images().unwrap().is_empty());
    assert!(place.store().find("hello:1").is_err());
}

#[test]
fn a_layer_that_is_lost_is_read_again() {
    let place = Place::new();
    let image = place.load(&simple()).unwrap().remove(0).image;
    fs::remove_dir_all(image.layers[1].path.parent().unwrap()).unwrap();
    fs::remove_file(
        place
            .path("store/blobs/sha256")
            .join(image.layers[0].blob.hex()),
    )
    .unwrap();
    let image = place.load(&simple()).unwrap().remove(0).image;
    assert!(image.layers[1].path.join("c").exists());
    assert!(
        place
            .path("store/blobs/sha256")
            .join(image.layers[0].blob.hex())
            .exists()
    );
}

#[test]
fn several_loads_and_removals_at_once_lose_nothing() {
    let place = Place::new();
    fs::write(place.path("a.tar"), tar_of(&simple())).unwrap();
    place.store();
    let options = LoadOptions::default();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (place, options) = (&place, &options);
            scope.spawn(move || {
                for _ in 0..5 {
                    let source = Source::Path(place.path("a.tar"));
                    place.store().load(source, options).unwrap();
                    if n == 0 {
                        // It may be gone already.
                        let _gone = place.store().remove("hello:1", Removal::Whole);
                    }
                }
            });
        }
    });
    let source = Source::Path(place.path("a.tar"));
    let image = place
        .store()
        .load(source, &options)
        .unwrap()
        .remove(0)
        .image;
    assert!(image.lower().iter().all(|tree| tree.path().exists()));
    assert_eq!(fs::read_dir(place.path("store/work")).unwrap().count(), 0);
}

fn save(store: &Store, format: Format) -> Vec<u8> {
    let images = [store.find("hello:1").unwrap()];
    store.save(&images, format, Vec::new()).unwrap()
}

#[test]
fn what_is_saved_loads_and_saves_to_the_same_bytes() {
    for format in [Format::DockerArchive, Format::OciArchive] {
        let place = Place::new();
        let first = place.load(&simple()).unwrap().remove(0).image;
        let bytes = save(&place.store(), format);
        let other = Place::new();
        fs::write(other.path("x.tar"), &bytes).unwrap();
        let source = Source::Path(other.path("x.tar"));
        let second = other
            .store()
            .load(source, &LoadOptions::default())
            .unwrap()
            .remove(0)
            .image;
        assert_eq!((second.id, &second.names), (first.id, &first.names));
        assert!(save(&other.store(), format) == bytes, "{format:?}");
    }
}

#[test]
fn a_rotten_blob_is_not_saved() {
    let place = Place::new();
    let image = place.load(&simple()).unwrap().remove(0).image;
    let path = place
        .path("store/blobs/sha256")
        .join(image.layers[0].blob.hex());
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    for format in [Format::DockerArchive, Format::OciArchive] {
        let images = [place.store().find("hello:1").unwrap()];
        assert!(
            place.store().save(&images, format, Vec::new()).is_err(),
            "{format:?}"
        );
    }
}

#[test]
fn a_bundle_is_made_of_an_image_or_nothing_is() {
    let place = Place::new();
    let base = layer(&["a", "b", "d/x", "d/y"]);
    let top = layer(&[".wh.a", "d/.wh.x", "d/z"]);
    let layers = [base, top];
    place.load(&oci(&layers, &layers, |_| {})).unwrap();
    let image = place.store().find("hello:1").unwrap();
    place.store().unpack(&image, &place.path("bundle")).unwrap();
    let has = |name: &str| Path::new(&place.path("bundle/rootfs")).join(name).exists();
    assert_eq!(
        ["a", "b", "d/x", "d/y", "d/z"].map(has),
        [false, true, false, true, true]
    );
    let spec = fs::read_to_string(place.path("bundle/config.json")).unwrap();
    assert!(spec.contains("\"/x\""));
    let error = place
        .store()
        .unpack(&image, &place.path("bundle"))
        .unwrap_err();
    assert!(chain(&error).contains("not empty"));
    fs::remove_dir_all(&image.layers[0].path).unwrap();
    assert!(place.store().unpack(&image, &place.path("other")).is_err());
    assert!(!place.path("other").exists());
}
