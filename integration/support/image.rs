//! Images made by hand: small ones, whose documents are a test's own words. Not its job: images of other people's tools.

use std::path::Path;

use image::Digest;
use serde_json::{Value, json};

/// An image in the making.
#[derive(Debug, Clone)]
pub(crate) struct HandMade {
    /// Its names, as a docker archive has them.
    pub(crate) names: Vec<String>,
    /// The whole config but its `rootfs`.
    pub(crate) config: Value,
    /// Tars, the lowest first.
    pub(crate) layers: Vec<Vec<u8>>,
}

impl HandMade {
    /// An image of this name with a layer for each file that is named, and an empty config.
    pub(crate) fn new(name: &str, files: &[&str]) -> Self {
        let layer = |file: &&str| tar(&[(*file, &format!("the file {file}\n"))]);
        Self {
            names: vec![name.to_owned()],
            config: json!({"architecture": architecture(), "os": "linux", "config": {}}),
            layers: files.iter().map(layer).collect(),
        }
    }

    /// The same with other values for some fields of the config.
    pub(crate) fn with(mut self, fields: Value) -> Self {
        for (name, value) in fields.as_object().unwrap() {
            self.config[name] = value.clone();
        }
        self
    }

    /// The config's bytes.
    pub(crate) fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        let diff_ids: Vec<Digest> = self.layers.iter().map(|layer| Digest::of(layer)).collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        serde_json::to_vec(&config).unwrap()
    }

    /// The image's id.
    pub(crate) fn id(&self) -> String {
        Digest::of(&self.config_bytes()).to_string()
    }

    /// Writes it as a docker archive of today's form, without OCI's documents.
    pub(crate) fn archive(&self, path: &Path) {
        let mut members = Vec::new();
        let config = self.config_bytes();
        let name = format!("{}.json", Digest::of(&config).hex());
        let mut layers = Vec::new();
        for layer in &self.layers {
            let name = format!("{}.tar", Digest::of(layer).hex());
            if !layers.contains(&name) {
                members.push((name.clone(), layer.clone()));
            }
            layers.push(name);
        }
        let manifest = json!([{"Config": name, "RepoTags": self.names, "Layers": layers}]);
        members.push((name, config));
        members.push((
            "manifest.json".to_owned(),
            serde_json::to_vec(&manifest).unwrap(),
        ));
        write(path, &members);
    }
}

/// A tar of these files.
pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        add(&mut builder, name, text.as_bytes());
    }
    builder.into_inner().unwrap()
}

/// Writes a tar of these members. A name that begins with `-> ` is a link to where its bytes say.
pub(crate) fn write(path: &Path, members: &[(String, Vec<u8>)]) {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        match name.strip_prefix("-> ") {
            Some(name) => link(&mut builder, name, std::str::from_utf8(bytes).unwrap()),
            None => add(&mut builder, name, bytes),
        }
    }
    std::fs::write(path, builder.into_inner().unwrap()).unwrap();
}

fn link(builder: &mut tar::Builder<Vec<u8>>, name: &str, target: &str) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_mode(0o777);
    header.set_size(0);
    builder.append_link(&mut header, name, target).unwrap();
}

fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_mtime(1_000_000_000);
    builder.append_data(&mut header, name, bytes).unwrap();
}

/// This machine's architecture, in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
