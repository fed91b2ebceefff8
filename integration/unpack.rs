//! Images made by other people's tools, and what they make of ours. The reference for an unpacked tree is
//! umoci's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::sandbox::dhow;
use crate::support::tree::{Times, tree};
use crate::support::{Output, claims, run};

claims![
    a_debian_image_unpacks_to_the_same_tree_as_umocis: [Root, Dhow, Tool("buildah"), Tool("umoci"), Tool("skopeo"), Tool("mmdebstrap")],
    a_debian_image_runs_and_shows_that_tree: [Root, Dhow, Overlay, Cgroup2, Tool("buildah"), Tool("umoci"), Tool("skopeo"), Tool("mmdebstrap")],
    what_dhow_saves_other_tools_read: [Root, Dhow, Tool("buildah"), Tool("umoci"), Tool("skopeo"), Tool("mmdebstrap")],
    a_container_keeps_the_layers_of_a_removed_image: [Root, Dhow, Overlay, Cgroup2, Tool("buildah"), Tool("umoci"), Tool("skopeo"), Tool("mmdebstrap")],
    a_store_is_closed_to_others: [Root, Dhow],
    a_broken_archive_is_told_in_one_line_and_leaves_nothing: [Dhow],
];

/// The image in its three forms, and umoci's tree of it: made once, kept in target.
fn images() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let base = project.join("target/demo/debian.tar");
        let images = project.join("target/integration/images");
        let make = |program: &str, arguments: &[&Path]| {
            let done = Command::new(project.join(program))
                .args(arguments)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{program}: {said}");
        };
        make("bundles/demo/base", &[&base]);
        make("integration/images/make", &[&base, &images]);
        images
    })
}

/// A store in a folder of its own.
struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        Self {
            folder: tempfile::Builder::new()
                .prefix("dhow-test-")
                .tempdir()
                .unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn dhow<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        let mut command = Command::new(dhow());
        command.arg("--root").arg(self.path("state"));
        run(command
            .arg("--store")
            .arg(self.path("store"))
            .args(arguments))
    }

    #[track_caller]
    fn load(&self, archive: &Path) {
        self.dhow([Path::new("load"), archive]).success();
    }
}

#[track_caller]
fn same(what: &str, ours: &BTreeMap<PathBuf, String>, theirs: &BTreeMap<PathBuf, String>) {
    let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name));
    let lines: Vec<String> = differ
        .map(|name| {
            format!(
                "{}\n  ours   {:?}\n  theirs {:?}",
                name.display(),
                ours.get(name),
                theirs.get(name)
            )
        })
        .collect();
    let shown = &lines[..lines.len().min(20)];
    assert!(
        lines.is_empty(),
        "{what}: {} differ\n{}",
        lines.len(),
        shown.join("\n")
    );
}

fn a_debian_image_unpacks_to_the_same_tree_as_umocis() {
    let theirs = tree(&images().join("bundle/rootfs"), Times::Exact);
    assert!(theirs.len() > 1000, "{} files are no Debian", theirs.len());
    let has = |word: &str| theirs.values().any(|text| text.contains(word));
    assert!(has("security.capability=") && has("user.note=") && has(" = ["));
    for form in ["docker-archive.tar", "oci-archive.tar", "layout"] {
        let store = Store::new();
        store.load(&images().join(form));
        let bundle = store.path("bundle");
        store
            .dhow(["unpack", "dhow.test/debian:three", bundle.to_str().unwrap()])
            .success();
        same(form, &tree(&bundle.join("rootfs"), Times::Exact), &theirs);
    }
}

/// What `find` inside the container says of the tree is what it says of umoci's.
fn a_debian_image_runs_and_shows_that_tree() {
    let store = Store::new();
    store.load(&images().join("layout"));
    let format = "%P|%y|%m|%U:%G|%T@|%l\n";
    let skipped = "( -path ./proc -o -path ./sys -o -path ./dev ) -prune -o -mindepth 1";
    let words = |folder: &str| -> Vec<String> {
        let find = format!(
            "cd {folder} && find . {} -printf '{format}'",
            skipped.replace('(', "\\(").replace(')', "\\)")
        );
        vec!["sh".to_owned(), "-c".to_owned(), find]
    };
    let arguments = ["run", "--rm", "dhow.test/debian:three"].map(str::to_owned);
    let ours = store
        .dhow(arguments.into_iter().chain(words("/")))
        .success()
        .stdout;
    let theirs = words(images().join("bundle/rootfs").to_str().unwrap());
    let theirs = run(Command::new(&theirs[0]).args(&theirs[1..]))
        .success()
        .stdout;
    let lines = |text: &str| -> BTreeMap<PathBuf, String> {
        let split = |line: &str| {
            let (name, rest) = line.split_once('|').unwrap();
            (PathBuf::from(name), rest.to_owned())
        };
        text.lines().map(split).collect()
    };
    assert!(ours.lines().count() > 1000, "{ours}");
    same("inside", &lines(&ours), &lines(&theirs));
}

fn what_dhow_saves_other_tools_read() {
    let theirs = tree(&images().join("bundle/rootfs"), Times::Exact);
    let store = Store::new();
    store.load(&images().join("oci-archive.tar"));
    for form in ["docker-archive", "oci-archive"] {
        let archive = store.path(form);
        let archive = archive.to_str().unwrap();
        store
            .dhow([
                "save",
                "--format",
                form,
                "-o",
                archive,
                "dhow.test/debian:three",
            ])
            .success();
        let layout = store.path(&format!("{form}.layout"));
        let layout = layout.to_str().unwrap();
        let copy = [&format!("{form}:{archive}"), &format!("oci:{layout}:x")];
        run(Command::new("skopeo").args(["copy", "--quiet"]).args(copy)).success();
        let bundle = store.path(&format!("{form}.bundle"));
        let unpack = ["unpack", "--image", &format!("{layout}:x")];
        run(Command::new("umoci").args(unpack).arg(&bundle)).success();
        same(form, &tree(&bundle.join("rootfs"), Times::Exact), &theirs);
    }
}

/// CVE-2024-25621, CVE-2021-41091: layers hold set-user-id programs.
fn a_store_is_closed_to_others() {
    let store = Store::new();
    store.dhow(["images"]).success();
    let path = store.path("store");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    store.dhow(["images"]).success();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
}

fn a_broken_archive_is_told_in_one_line_and_leaves_nothing() {
    let store = Store::new();
    let path = store.path("archive.tar");
    for (bytes, because) in [
        (&b""[..], "neither oci-layout nor manifest.json"),
        (b"no tar at all", "cut short"),
        (&[7; 2048], "checksum"),
        (b"BZh91AY&SY", "cut short"),
    ] {
        fs::write(&path, bytes).unwrap();
        let told = store.dhow([Path::new("load"), &path]).ends_with(1).stderr;
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(
            told.contains(because) && told.contains("archive.tar"),
            "{told}"
        );
    }
    for room in ["blobs/sha256", "layers", "work"] {
        assert_eq!(
            fs::read_dir(store.path("store").join(room))
                .unwrap()
                .count(),
            0,
            "{room}"
        );
    }
}

/// `rmi` while a container of the image is there takes the name, not the layers under its root; they go
/// with the first removal after the container.
fn a_container_keeps_the_layers_of_a_removed_image() {
    let store = Store::new();
    store.load(&images().join("layout"));
    let name = "dhow.test/debian:three";
    let run = ["run", "--detach", "--name", "kept", name, "sleep", "1000"];
    let layers = || fs::read_dir(store.path("store/layers")).unwrap().count();
    let before = layers();
    store.dhow(run).success();
    store.dhow(["rmi", name]).success();
    let held = layers();
    let state = store.dhow(["state", "kept"]).success().stdout;
    store.dhow(["delete", "--force", "kept"]).success();
    assert_eq!(held, before, "{state}");
    assert!(state.contains("running"), "{state}");
    store.load(&images().join("oci-archive.tar"));
    store.dhow(["rmi", name]).success();
    assert_eq!(layers(), 0);
}
