//! Images that are mounted at a folder. Each claim mounts in a mount namespace of its own, of which nothing is left.
//! Not its job: containers' roots (rootfs).

use std::process::Command;

use crate::support::image::HandMade;
use crate::support::image_store::ImageStore;
use crate::support::sandbox::dhow;
use crate::support::{Output, claims, run};

claims![
    an_image_is_mounted_read_only_and_without_its_rights: [Root, Dhow, Overlay, Tool("unshare")],
    a_mounted_image_keeps_its_layers_until_it_is_unmounted: [Root, Dhow, Overlay, Tool("unshare")],
    a_folder_and_an_image_are_mounted_as_asked: [Root, Dhow, Overlay, Tool("unshare")],
    who_may_not_mount_is_told_in_a_line: [Root, Dhow, Tool("setpriv")],
];

/// Runs a script in a mount namespace of its own, in the store's folder; `dhow` in it is ours.
#[track_caller]
fn script(store: &ImageStore, text: &str) -> Output {
    let ours = format!(
        "set -eu; dhow() {{ {} --root {} --store {} \"$@\"; }}\n{text}",
        dhow().display(),
        store.path("state").display(),
        store.path("store").display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &ours]);
    run(command.current_dir(store.path(".")))
}

fn store() -> ImageStore {
    let store = ImageStore::new();
    store.load(&HandMade::new("box", &["one", "two"]));
    std::fs::create_dir(store.path("m")).unwrap();
    store
}

fn an_image_is_mounted_read_only_and_without_its_rights() {
    let store = store();
    let done = script(
        &store,
        "dhow mount box m; cat m/one m/two
        if touch m/x 2> /dev/null; then echo written; fi
        grep \" $PWD/m \" /proc/self/mountinfo | cut -d' ' -f6; dhow umount m; ls m",
    );
    let stdout = done.success().stdout;
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], store.path("m").to_str().unwrap());
    assert_eq!(lines[1..3], ["the file one", "the file two"]);
    for word in ["ro", "nosuid", "nodev"] {
        assert!(lines[3].split(',').any(|option| option == word), "{stdout}");
    }
    assert_eq!(lines.len(), 4, "{stdout}");
}

fn a_mounted_image_keeps_its_layers_until_it_is_unmounted() {
    let store = store();
    store.load(&HandMade::new("other", &["three"]));
    let done = script(
        &store,
        "dhow mount box m > /dev/null; dhow rmi -f box > /dev/null; cat m/one; ls store/layers | wc -l
        dhow prune --all > /dev/null; cat m/two; ls store/layers | wc -l
        dhow mount --format '{Dir} {Mounted}'; dhow umount m; dhow prune > /dev/null; ls store/layers | wc -l
        dhow mount --format '{Dir}'",
    );
    let m = store.path("m");
    let expected = format!(
        "the file one\n3\nthe file two\n2\n{} true\n0\n",
        m.display()
    );
    assert_eq!(done.success().stdout, expected);
}

fn a_folder_and_an_image_are_mounted_as_asked() {
    let store = store();
    let done = script(
        &store,
        "place=$(dhow mount box); cat $place/two; mkdir n; dhow mount box n > /dev/null
        dhow mount box n 2>&1 || true; dhow umount box 2>&1 || true
        dhow umount $PWD/n $place; test ! -e $place; dhow mount box > /dev/null; dhow umount box
        dhow mount box m/none 2>&1 || true; dhow umount m 2>&1 || true; dhow mount | wc -l",
    );
    let stdout = done.success().stdout;
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], "the file two");
    assert!(
        lines[1].ends_with("n is taken by another mount"),
        "{stdout}"
    );
    assert!(lines[2].contains("it is mounted at 2 folders"), "{stdout}");
    assert!(lines[3].contains("m/none"), "{stdout}");
    assert!(
        lines[4].contains("nothing of this store is mounted there"),
        "{stdout}"
    );
    assert_eq!(lines[5..], ["1"], "{stdout}");
}

fn who_may_not_mount_is_told_in_a_line() {
    let store = ImageStore::new();
    let image = HandMade::new("box", &["one"]);
    image.archive(&store.path("box.tar"));
    run(Command::new("chown")
        .args(["-R", "1000"])
        .arg(store.path(".")))
    .success();
    let as_user = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "1000", "--clear-groups"])
            .arg(dhow());
        command
            .arg("--store")
            .arg(store.path("store"))
            .current_dir(store.path("."));
        run(command.args(words))
    };
    as_user(&["load", "-q", "box.tar"]).success();
    let told = as_user(&["mount", "box"]).ends_with(1).stderr;
    assert!(told.contains("only root mounts"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    // Without mounts all else is done by anybody.
    as_user(&["unpack", "box", "bundle"]).success();
    as_user(&["diff", "--bundle", "bundle"]).success();
    std::fs::write(store.path("bundle/rootfs/new"), "new").unwrap();
    let told = as_user(&["diff", "--bundle", "bundle"]).success().stdout;
    assert_eq!(told, "A /new\n");
    as_user(&["repack", "bundle", "--tag", "new"]).success();
}
