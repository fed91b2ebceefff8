//! The store of images: checked, repaired, pruned, killed at any call, without power, without room. Not here: what
//! archives hold (unpack, security), and what others make of ours.

mod check;
mod forms;
mod killed;
mod power;
mod progress;
mod prune;
mod storm;
mod user;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::security::archive::{self, Entry, file, folder, hard_link, symlink};
use crate::support::claim::Claim;
use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, run};

/// The claims of this room.
pub(crate) fn claims() -> Vec<Claim> {
    [
        check::claims(),
        forms::claims(),
        killed::claims(),
        power::claims(),
        progress::claims(),
        prune::claims(),
        storm::claims(),
        user::claims(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A store, with archives beside it.
struct Shelf {
    sandbox: Sandbox,
    store: PathBuf,
    /// What loading makes of layers.
    form: &'static str,
}

impl Shelf {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let store = sandbox.path().join("store");
        Self {
            sandbox,
            store,
            form: "folder",
        }
    }

    /// The same with its store elsewhere.
    fn at(store: PathBuf) -> Self {
        Self {
            store,
            ..Self::new()
        }
    }

    /// The same with layers as images.
    fn of_images(self) -> Self {
        Self {
            form: "image",
            ..self
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(name)
    }

    /// What a dhow on this store is called with.
    fn words(&self) -> Vec<PathBuf> {
        let state = self.sandbox.state_root();
        vec![
            dhow(),
            "--root".into(),
            state,
            "--store".into(),
            self.store.clone(),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let words = self.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(arguments);
        command
    }

    #[track_caller]
    fn dhow(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }

    #[track_caller]
    fn load(&self, archive: &str) -> Output {
        self.dhow(&["load", "--layers", self.form, archive])
    }

    /// What `store check` says, and that its status is no other.
    #[track_caller]
    fn check(&self) -> Value {
        let output = self.dhow(&["store", "check", "--format", "json"]);
        let said: Value =
            serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        assert_eq!(output.status == 0, said["Whole"] == true, "{output:?}");
        said
    }

    #[track_caller]
    fn is_whole(&self) {
        let said = self.check();
        assert_eq!(said["Whole"], true, "{said:#}");
    }

    /// The names of all images.
    #[track_caller]
    fn names(&self) -> Vec<String> {
        let output = self.dhow(&["images", "--format", "json"]).success();
        let images: Value = serde_json::from_str(&output.stdout).unwrap();
        let images = images.as_array().unwrap().iter();
        let names = images.filter_map(|image| image["Name"].as_str());
        let mut names: Vec<String> = names.map(ToOwned::to_owned).collect();
        names.sort();
        names
    }

    /// An archive of an image called NAME:latest.
    fn archive(&self, name: &str, layers: &[Vec<u8>]) -> String {
        let path = self.path(&format!("{name}.tar"));
        std::fs::write(&path, archive_of(name, layers)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What lies in a folder of the store, by name.
    fn room(&self, room: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.store.join(room)) else {
            return Vec::new();
        };
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    }
}

/// A docker archive; each image has a config of its own.
fn archive_of(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let mut config = archive::config(layers);
    config["config"] = json!({"Labels": {"name": name}});
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}.tar")).collect();
    let tag = format!("{name}:latest");
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]);
    let bytes = |value: &Value| value.to_string().into_bytes();
    let mut files = vec![
        ("manifest.json".to_owned(), bytes(&manifest)),
        ("config.json".to_owned(), bytes(&config)),
    ];
    files.extend(names.into_iter().zip(layers.iter().cloned()));
    archive::archive(&files)
}

/// A layer of its own kind: a folder named for it with a file, a link and a hard link.
fn layer(name: &str) -> Vec<u8> {
    let at = |rest: &str| format!("{name}/{rest}");
    let data = Entry {
        data: format!("the bytes of {name}\n").repeat(200).into_bytes(),
        ..file(&at("data"))
    };
    archive::tar(&[
        folder(name),
        data,
        hard_link(&at("again"), &at("data")),
        symlink(&at("link"), "data"),
        file(&at("small")),
    ])
}

/// A layer that hangs on the one called `below`: it has a file in a folder of that, and says nothing of the folder.
fn leaning(below: &str) -> Vec<u8> {
    archive::tar(&[
        file(&format!("{below}/more")),
        file(&format!("{below}/.wh.small")),
    ])
}

/// All that lies below a folder, with what it is: to see that nothing has changed.
fn picture(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let m = std::fs::symlink_metadata(&path).unwrap();
            let mut text = format!(
                "{:o} {} {}:{} {}",
                m.mode(),
                m.ino(),
                m.uid(),
                m.gid(),
                m.len()
            );
            if m.is_dir() {
                pending.push(path.clone());
            } else if m.is_file() {
                text += &image::Digest::of(&std::fs::read(&path).unwrap()).to_string();
            }
            seen.insert(path.strip_prefix(root).unwrap().to_owned(), text);
        }
    }
    seen
}
