//! Layers kept as images: every command sees in them what it sees in folders, damage is named and repaired, and where the
//! kernel shows no images there are folders. Not here: kills and power cuts (killed, power).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::check::{HARM, named_and_repaired};
use super::{Shelf, layer, leaning};
use crate::build::Site;
use crate::support::{Output, claims, run};

claims![
    layers_asked_for_as_images_are_there_in_either_form: [Root, Overlay, Dhow],
    layers_become_folders_where_no_image_is_shown: [Root, Overlay, FaultBuild],
    a_user_namespaces_root_gets_folders_and_is_told: [UserNamespaces, Dhow, Tool("unshare")],
    images_show_what_folders_show: [Root, Overlay, ImageLayers, Dhow, Tool("unshare")],
    containers_and_builds_stand_on_images: [Root, Cgroup2, Overlay, ImageLayers, Dhow],
    damage_of_an_image_is_named_and_repaired: [Root, ImageLayers, Dhow],
    images_that_no_kernel_shows_any_more_are_made_again: [Root, Overlay, ImageLayers, FaultBuild],
];

const TOLD: &str = "dhow: layers become folders: ";

/// An archive of three layers, one of which hangs on another.
fn archive(shelf: &Shelf) -> String {
    shelf.archive("a", &[layer("low"), leaning("low"), layer("top")])
}

/// The unpacked layers.
fn trees(shelf: &Shelf) -> Vec<PathBuf> {
    let layers = shelf.room("layers");
    layers.iter().map(|layer| layer.join("fs")).collect()
}

#[track_caller]
fn are_folders(shelf: &Shelf, told: &Output) {
    assert!(told.stderr.starts_with(TOLD), "{told:?}");
    assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
    assert!(trees(shelf).iter().all(|tree| tree.is_dir()));
    shelf.is_whole();
}

fn layers_asked_for_as_images_are_there_in_either_form() {
    let shelf = Shelf::new().of_images();
    let output = shelf.load(&archive(&shelf)).success();
    assert_eq!(trees(&shelf).len(), 3);
    match output.stderr.is_empty() {
        true => assert!(trees(&shelf).iter().all(|tree| tree.is_file())),
        false => are_folders(&shelf, &output),
    }
    shelf.is_whole();
    let place = shelf.path("bundle");
    shelf
        .dhow(&["unpack", "a", place.to_str().unwrap()])
        .success();
    let data = std::fs::read_to_string(place.join("rootfs/low/again")).unwrap();
    assert!(data.starts_with("the bytes of low\n"));
    assert!(place.join("rootfs/low/more").exists() && place.join("rootfs/top/link").is_symlink());
    assert!(!place.join("rootfs/low/small").exists());
    shelf.dhow(&["rmi", "a"]).success();
    assert_eq!(shelf.room("layers"), Vec::<PathBuf>::new());
}

fn layers_become_folders_where_no_image_is_shown() {
    let shelf = Shelf::new().of_images();
    let archive = archive(&shelf);
    let mut load = shelf.command(&["load", "--layers", "image", &archive]);
    let output = run(load.env("DHOW_FAULT", "no-erofs")).success();
    are_folders(&shelf, &output);
    // What is there stays as it is.
    shelf.load(&archive).success();
    assert!(trees(&shelf).iter().all(|tree| tree.is_dir()));
}

fn a_user_namespaces_root_gets_folders_and_is_told() {
    let shelf = Shelf::new().of_images();
    let words = shelf.words();
    let mut load = Command::new("unshare");
    load.args(["-r", "-m"]).args(words);
    load.args(["load", "--layers", "image"]);
    let archive = shelf.archive("a", &[layer("low")]);
    let output = run(load.arg(archive)).success();
    assert!(output.stderr.starts_with(TOLD), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    assert!(trees(&shelf).iter().all(|tree| tree.is_dir()));
}

/// All that a tar can say of a tree.
fn tar(folder: &Path) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--numeric-owner", "--format=gnu", "-C"]);
    let output = tar.arg(folder).args(["-cf", "-", "."]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// What commands make of an image, by the name of the command.
fn views(shelf: &Shelf) -> Vec<(&'static str, Vec<u8>)> {
    let at = |name: &str| shelf.path(name).to_str().unwrap().to_owned();
    shelf.dhow(&["unpack", "a", &at("bundle")]).success();
    let unpacked = tar(&shelf.path("bundle/rootfs"));
    std::fs::create_dir(shelf.path("m")).unwrap();
    let mut mounted = Command::new("unshare");
    mounted.args(["-m", "--propagation", "private", "sh", "-euc"]);
    mounted.arg("at=$1; shift; \"$@\" mount a \"$at\" > /dev/null; tar --sort=name --numeric-owner --format=gnu -C \"$at\" -cf - .; \"$@\" umount \"$at\"");
    let mounted = mounted.arg("sh").arg(shelf.path("m")).args(shelf.words());
    let mounted = mounted.output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    shelf
        .load(&shelf.archive("b", &[layer("low"), layer("other")]))
        .success();
    let differ = shelf
        .dhow(&["diff", "a", "b"])
        .success()
        .stdout
        .into_bytes();
    let bundle = shelf.path("bundle/rootfs");
    std::fs::remove_file(bundle.join("low/data")).unwrap();
    std::fs::create_dir(bundle.join("made")).unwrap();
    let time = std::fs::metadata(bundle.join("top/data"))
        .unwrap()
        .modified()
        .unwrap();
    for changed in ["low", "made", "."] {
        let changed = std::fs::File::open(bundle.join(changed)).unwrap();
        changed.set_modified(time).unwrap();
    }
    let changed = shelf.dhow(&["diff", "--bundle", &at("bundle")]);
    let words = ["repack", "--tag", "c", &at("bundle")];
    let repacked = run(shelf.command(&words).env("SOURCE_DATE_EPOCH", "1700000000"));
    shelf.is_whole();
    shelf
        .dhow(&["save", "-o", &at("saved.tar"), "a", "b", "c"])
        .success();
    vec![
        ("unpack", unpacked),
        ("mount", mounted.stdout),
        ("diff", differ),
        (
            "diff of a bundle",
            format!("{}{}", changed.status, changed.stdout).into_bytes(),
        ),
        (
            "repack",
            format!("{}{}", repacked.status, repacked.stdout).into_bytes(),
        ),
        ("save", std::fs::read(shelf.path("saved.tar")).unwrap()),
    ]
}

fn images_show_what_folders_show() {
    let (folders, images) = (Shelf::new(), Shelf::new().of_images());
    for shelf in [&folders, &images] {
        shelf.load(&archive(shelf)).success();
    }
    assert!(trees(&folders).iter().all(|tree| tree.is_dir()));
    assert!(trees(&images).iter().all(|tree| tree.is_file()));
    for ((what, folder), (_, image)) in views(&folders).into_iter().zip(views(&images)) {
        assert!(!folder.is_empty(), "{what}");
        let text = [&folder, &image]
            .map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned());
        assert!(folder == image, "{what}: {text:?}");
    }
}

fn containers_and_builds_stand_on_images() {
    let site = Site::new();
    run(site.dhow().args(["save", "-o", "base.tar", "base"])).success();
    run(site.dhow().args(["rmi", "base"])).success();
    run(site.dhow().args(["prune", "--all"])).success();
    run(site.dhow().args(["load", "--layers", "image", "base.tar"])).success();
    let layers = std::fs::read_dir(site.folder().join("store/layers")).unwrap();
    let trees: Vec<PathBuf> = layers
        .map(|layer| layer.unwrap().path().join("fs"))
        .collect();
    assert!(
        !trees.is_empty() && trees.iter().all(|tree| tree.is_file()),
        "{trees:?}"
    );
    let text = site.inside(
        "base",
        "echo x > /new; rm /etc/group; ls /etc; cat /new; id -un",
    );
    assert_eq!(text, "passwd\nx\nroot\n");
    site.image(
        "two",
        "FROM base AS work\nRUN echo made > /made\nFROM base\nCOPY --from=work /made /made\n\
         COPY --from=base /etc/passwd /copy\n\
         RUN --mount=type=bind,from=base,target=/m cmp /m/etc/passwd /copy && rm /etc/group\n",
    );
    assert_eq!(site.inside("two", "cat /made; ls /etc"), "made\npasswd\n");
    run(site.dhow().args(["store", "check"])).success();
}

fn damage_of_an_image_is_named_and_repaired() {
    let shelf = Shelf::new().of_images();
    let archive = archive(&shelf);
    type Harm<'a> = &'a dyn Fn(&Path);
    let beside = |tree: &Path| tree.with_file_name("layer.json");
    let more: [(&str, Harm<'_>); 5] = [
        ("open to others", &|tree| {
            let mode = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(tree, mode).unwrap();
        }),
        ("a folder in its place", &|tree| {
            std::fs::remove_file(tree).unwrap();
            std::fs::create_dir(tree).unwrap();
        }),
        ("no record", &|tree| {
            std::fs::remove_file(beside(tree)).unwrap()
        }),
        ("a record of a folder", &|tree| {
            let record = std::fs::read_to_string(beside(tree)).unwrap();
            std::fs::write(beside(tree), record.replace("erofs-1", "folder")).unwrap();
        }),
        ("a record of something else", &|tree| {
            let record = std::fs::read_to_string(beside(tree)).unwrap();
            std::fs::write(beside(tree), record.replace("erofs-1", "erofs-0")).unwrap();
        }),
    ];
    shelf.load(&archive).success();
    for (what, harm) in HARM
        .iter()
        .map(|(what, harm)| (*what, harm as Harm<'_>))
        .chain(more)
    {
        for tree in trees(&shelf) {
            harm(&tree);
            let key = tree
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap();
            named_and_repaired(&shelf, &archive, &format!("layer {key}"), what);
            assert!(tree.is_file(), "{what}");
        }
    }
    // Once it is known, no kernel is asked to read it.
    HARM[0].1(&trees(&shelf)[0]);
    assert_eq!(shelf.check()["Whole"], false);
    let place = shelf.path("bundle");
    let output = shelf
        .dhow(&["unpack", "a", place.to_str().unwrap()])
        .ends_with(1);
    assert!(output.stderr.contains("it was found damaged"), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    // What it was made of is still whole.
    let saved = shelf.path("saved.tar");
    shelf
        .dhow(&["save", "-o", saved.to_str().unwrap(), "a"])
        .success();
    shelf.load(saved.to_str().unwrap()).success();
    shelf.is_whole();
}

/// After a change of the kernel, say: a command that needs them fails in a line, and a load makes folders.
fn images_that_no_kernel_shows_any_more_are_made_again() {
    let shelf = Shelf::new().of_images();
    let archive = archive(&shelf);
    shelf.load(&archive).success();
    let place = shelf.path("bundle");
    let without = |words: &[&str]| run(shelf.command(words).env("DHOW_FAULT", "no-erofs"));
    let output = without(&["unpack", "a", place.to_str().unwrap()]).ends_with(1);
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    without(&["load", &archive]).success();
    assert!(trees(&shelf).iter().all(|tree| tree.is_dir()));
    without(&["unpack", "a", place.to_str().unwrap()]).success();
    shelf.is_whole();
}
