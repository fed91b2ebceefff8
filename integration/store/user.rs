//! The store of somebody without root. Not here: his builds (build).

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive_of;
use crate::security::archive::{self, Entry, file, folder};
use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, claims, run};

claims![
    folders_that_their_owner_may_not_change_are_removed: [Root, UserNamespaces, Dhow, Tool("setpriv")],
    what_shuts_out_its_owner_is_unpacked_and_repacked_as_the_images: [Root, UserNamespaces, Dhow, Tool("setpriv")],
];

/// User 1000 in a folder of his own.
struct User {
    own: PathBuf,
}

impl User {
    fn new(sandbox: &Sandbox) -> Self {
        let mode = |path: &Path| {
            let permissions = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(path, permissions).unwrap();
        };
        mode(sandbox.path());
        // Ours may lie where others don't get.
        std::fs::copy(dhow(), sandbox.path().join("dhow")).unwrap();
        mode(&sandbox.path().join("dhow"));
        let own = sandbox.path().join("own");
        std::fs::create_dir(&own).unwrap();
        chown(&own, Some(1000), Some(1000)).unwrap();
        Self { own }
    }

    #[track_caller]
    fn dhow(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "1000", "--regid", "1000", "--clear-groups"])
            .arg(self.own.with_file_name("dhow"))
            .arg("--root")
            .arg(self.own.join("state"))
            .arg("--store")
            .arg(self.own.join("store"))
            .args(arguments)
            .env("HOME", &self.own)
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir(&self.own);
        run(&mut command)
    }

    fn archive(&self, bytes: &[u8]) -> String {
        let path = self.own.join("i.tar");
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn room(&self, room: &str) -> usize {
        let room = self.own.join("store").join(room);
        std::fs::read_dir(room).unwrap().count()
    }
}

fn folders_that_their_owner_may_not_change_are_removed() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let shut = |name: &str, mode| Entry {
        mode,
        ..folder(name)
    };
    let layer = archive::tar(&[
        shut("a", 0o555),
        shut("a/b", 0o111),
        shut("a/b/c", 0),
        file("a/b/c/f"),
        file("a/f"),
    ]);
    let good = archive_of("i", std::slice::from_ref(&layer));
    // The second layer leans on the first, so that is whole when this is refused.
    let wrong = archive::tar(&[file("a/more"), file("../x")]);
    let broken = archive_of("i", &[layer, wrong]);
    let told = user.dhow(&["load", &user.archive(&broken)]).ends_with(1);
    assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
    assert!(told.stderr.contains("../x"), "{told:?}");
    assert_eq!(user.room("work"), 0);
    user.dhow(&["load", &user.archive(&good)]).success();
    user.dhow(&["rmi", "i"]).success();
    assert_eq!((user.room("work"), user.room("layers")), (0, 0));
    user.dhow(&["load", &user.archive(&good)]).success();
    user.dhow(&["prune", "--all"]).success();
    assert_eq!((user.room("work"), user.room("layers")), (0, 0));
}

/// The owners of `path` in the layers of the docker archive `saved`.
fn owners(saved: &Path, path: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(std::fs::File::open(saved).unwrap());
    for member in archive.entries().unwrap() {
        let member = member.unwrap();
        if member.path().unwrap().extension() != Some("tar".as_ref()) {
            continue;
        }
        let mut layer = tar::Archive::new(member);
        for entry in layer.entries().unwrap() {
            let entry = entry.unwrap();
            if entry.path().unwrap() == Path::new(path) {
                found.push(entry.header().uid().unwrap());
            }
        }
    }
    found
}

fn what_shuts_out_its_owner_is_unpacked_and_repacked_as_the_images() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let with = |entry: Entry, mode, owner| Entry {
        mode,
        owner,
        ..entry
    };
    let layer = archive::tar(&[
        with(folder("shut"), 0o111, 0),
        with(file("shut/f"), 0o600, 0),
        with(file("shadow"), 0, 0),
        with(folder("site"), 0o700, 33),
        with(file("site/page"), 0o640, 33),
    ]);
    user.dhow(&["load", &user.archive(&archive_of("i", &[layer]))])
        .success();
    user.dhow(&["unpack", "i", "bundle"]).success();
    let tree = user.own.join("bundle/rootfs");
    for name in ["shut/f", "shadow", "site/page"] {
        let bytes = std::fs::read(tree.join(name)).unwrap();
        assert_eq!(bytes, b"of the image\n", "{name}");
    }
    let mode = |name: &str| tree.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode("shut"), mode("shadow"), mode("site/page")),
        (0o111, 0, 0o640)
    );
    assert_eq!(
        user.dhow(&["diff", "--bundle", "bundle"]).success().stdout,
        ""
    );
    std::fs::write(tree.join("site/page"), "of the user\n").unwrap();
    user.dhow(&["repack", "bundle", "--tag", "j"]).success();
    user.dhow(&["save", "-o", "saved.tar", "j"]).success();
    let saved = user.own.join("saved.tar");
    assert_eq!(owners(&saved, "site/page"), [33, 33]);
    assert_eq!(owners(&saved, "site/"), [33, 33]);
}
