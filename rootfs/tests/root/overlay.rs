//! Claims about stacks of layers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rootfs::{Overlay, pivot};
use sys::at::{FileType, Mode, XattrFlags};

use crate::claims;
use crate::world::{World, chain, mounts};

claims![
    upper_layers_win_and_take_away,
    changes_go_to_the_upper_directory,
    an_overlay_is_attached_nowhere,
    names_of_layers_are_never_options,
    five_hundred_layers_are_stacked,
    one_layer_alone_is_read_only,
    an_upper_directory_alone_is_written_through,
    a_redirect_in_a_layer_is_not_followed,
    a_missing_layer_is_named,
    an_overlay_becomes_the_root,
];

fn layer(world: &World, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = world.volume(name);
    for (path, content) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    dir
}

fn whiteout(path: &Path) {
    let dir = sys::file::open_dir(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap();
    sys::at::mknodat(&dir, name, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn mark(path: &Path, name: &str, value: &str) {
    let fd = sys::file::open_dir(path).unwrap();
    sys::at::fsetxattr(&fd, name, value.as_bytes(), XattrFlags::empty()).unwrap();
}

/// Three layers: the middle one hides `gone` and all that the lowest has in `opaque`.
fn three(world: &World) -> Vec<PathBuf> {
    let base = layer(
        world,
        "base",
        &[
            ("both", "low"),
            ("gone", "x"),
            ("opaque/old", "x"),
            ("kept", "k"),
        ],
    );
    let middle = layer(world, "middle", &[("opaque/new", "n"), ("both", "middle")]);
    whiteout(&middle.join("gone"));
    mark(&middle.join("opaque"), "trusted.overlay.opaque", "y");
    let top = layer(world, "top", &[("both", "top")]);
    vec![top, middle, base]
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn folders(paths: Vec<PathBuf>) -> Vec<sys::mount::Tree> {
    paths.into_iter().map(sys::mount::Tree::Folder).collect()
}

fn writable(world: &World, lower: Vec<PathBuf>) -> Overlay {
    Overlay {
        lower: folders(lower),
        upper: Some(world.volume("upper")),
        work: Some(world.volume("work")),
        volatile: true,
    }
}

/// Attaches the overlay on the rootfs and gives its path.
fn attach(world: &World, overlay: &Overlay) -> PathBuf {
    pivot::isolate().unwrap();
    let mount = match overlay.mount_detached() {
        Ok(mount) => mount,
        Err(error) => panic!("{}", chain(&error)),
    };
    pivot::attach_root(mount, &world.rootfs("")).unwrap();
    world.rootfs("")
}

fn upper_layers_win_and_take_away(world: &World) {
    let lower = three(world);
    let merged = attach(
        world,
        &Overlay {
            lower: folders(lower),
            ..Overlay::default()
        },
    );
    assert_eq!(names(&merged), ["both", "kept", "opaque"]);
    assert_eq!(names(&merged.join("opaque")), ["new"]);
    assert_eq!(std::fs::read(merged.join("both")).unwrap(), b"top");
    let error = std::fs::write(merged.join("x"), "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
}

fn changes_go_to_the_upper_directory(world: &World) {
    let overlay = writable(world, three(world));
    let merged = attach(world, &overlay);
    std::fs::write(merged.join("kept"), "changed").unwrap();
    std::fs::remove_file(merged.join("both")).unwrap();
    let upper = overlay.upper.unwrap();
    assert_eq!(names(&upper), ["both", "kept"]);
    assert_eq!(std::fs::read(upper.join("kept")).unwrap(), b"changed");
    assert_eq!(std::fs::read(world.dir.join("base/kept")).unwrap(), b"k");
}

fn an_overlay_is_attached_nowhere(world: &World) {
    let before = mounts();
    let mount = writable(world, three(world)).mount_detached().unwrap();
    assert_eq!(before, mounts());
    let root = sys::beneath::Root::new(mount);
    assert!(root.find("kept").unwrap().is_some());
}

/// Security test C14: such names were read as more layers, or as other options.
fn names_of_layers_are_never_options(world: &World) {
    let canary = world.canary("");
    let hostile = format!("a,upperdir={}", canary.display()).replace('/', "\u{2215}");
    let lower = ["a:b", hostile.as_str(), "a\\:b", "a\\,b", " ", "x\n"]
        .map(|name| layer(world, name, &[(name, "")]));
    let long = (0..15).fold(world.dir.clone(), |dir, _| dir.join("l".repeat(250)));
    std::fs::create_dir_all(&long).unwrap();
    let overlay = writable(world, [lower.to_vec(), vec![long]].concat());
    let merged = attach(world, &overlay);
    assert_eq!(names(&merged).len(), 6);
    std::fs::write(merged.join("f"), "").unwrap();
    assert_eq!(names(overlay.upper.as_ref().unwrap()), ["f"]);
}

fn five_hundred_layers_are_stacked(world: &World) {
    let lower = (0..500).map(|i| layer(world, &format!("l{i}"), &[(&format!("f{i}"), "")]));
    let overlay = Overlay {
        lower: folders(lower.collect()),
        ..Overlay::default()
    };
    if sys::fault::broken("no-overlay-names") {
        let words = chain(&overlay.mount_detached().unwrap_err());
        assert!(words.contains("500 layers need Linux 6.8"), "{words}");
        return;
    }
    assert_eq!(names(&attach(world, &overlay)).len(), 500);
}

fn one_layer_alone_is_read_only(world: &World) {
    let lower = vec![layer(world, "base", &[("f", "")])];
    let merged = attach(
        world,
        &Overlay {
            lower: folders(lower),
            ..Overlay::default()
        },
    );
    assert_eq!(names(&merged), ["f"]);
    let error = std::fs::write(merged.join("f"), "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    std::fs::write(world.dir.join("base/f"), "the layer itself is not").unwrap();
}

fn an_upper_directory_alone_is_written_through(world: &World) {
    let overlay = writable(world, Vec::new());
    let merged = attach(world, &overlay);
    std::fs::write(merged.join("f"), "").unwrap();
    assert_eq!(names(overlay.upper.as_ref().unwrap()), ["f"]);
}

/// Security test C12: an image's xattr says that a directory goes on elsewhere in the layers below.
fn a_redirect_in_a_layer_is_not_followed(world: &World) {
    let base = layer(world, "base", &[("secret/key", "k")]);
    let top = layer(world, "top", &[("public/f", "")]);
    mark(&top.join("public"), "trusted.overlay.redirect", "/secret");
    let merged = attach(
        world,
        &Overlay {
            lower: folders(vec![top, base]),
            ..Overlay::default()
        },
    );
    let seen = std::fs::read_dir(merged.join("public"));
    assert!(seen.is_err() || names(&merged.join("public")) == ["f"]);
}

fn a_missing_layer_is_named(world: &World) {
    let lower = vec![world.volume("base"), "/nope/layer".into()];
    let error = Overlay {
        lower: folders(lower),
        ..Overlay::default()
    }
    .mount_detached()
    .unwrap_err();
    assert_eq!(
        chain(&error),
        "mount an overlay of 2 layers: open /nope/layer: no such file or directory"
    );
}

fn an_overlay_becomes_the_root(world: &World) {
    pivot::isolate().unwrap();
    let mount = writable(world, three(world)).mount_detached().unwrap();
    let root = pivot::attach_root(mount, Path::new("/")).unwrap();
    pivot::pivot(&root).unwrap();
    assert_eq!(names(Path::new("/")), ["both", "kept", "opaque"]);
    assert_eq!(mounts().lines().count(), 1, "{}", mounts());
}
