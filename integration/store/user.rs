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
    let wrong = archive::tar(&[file("a/b/more"), file("../x")]);
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
