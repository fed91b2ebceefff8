//! Hostile archives, made byte by byte: tar entries that no honest writer makes, layers and images of them.
//! Not its job: what dhow says of them (layers, tars, documents).

use std::path::Path;

use serde_json::{Value, json};

use crate::support::Sandbox;

/// The unit of a tar.
const BLOCK: usize = 512;

/// One entry, with whatever name, link and type flag. What the header has no room for goes into PAX records.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) flag: u8,
    pub(crate) link: String,
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) data: Vec<u8>,
    /// PAX records before it.
    pub(crate) records: Vec<(String, Vec<u8>)>,
}

impl Entry {
    pub(crate) fn new(flag: u8, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            flag,
            link: String::new(),
            mode: if flag == b'5' { 0o755 } else { 0o644 },
            owner: 0,
            data: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut records: Vec<u8> = Vec::new();
        for (key, value) in &self.records {
            records.extend(record(key, value));
        }
        if self.name.len() > 100 {
            records.extend(record("path", self.name.as_bytes()));
        }
        if self.link.len() > 100 {
            records.extend(record("linkpath", self.link.as_bytes()));
        }
        let mut all = Vec::new();
        if !records.is_empty() {
            all.extend(block(b"x", b'x', b"", &records, |_| {}));
        }
        let edit = |header: &mut [u8; BLOCK]| {
            header[100..108].copy_from_slice(format!("{:07o}\0", self.mode).as_bytes());
            header[108..116].copy_from_slice(format!("{:07o}\0", self.owner).as_bytes());
        };
        let cut = |text: &str| text.as_bytes()[..text.len().min(100)].to_vec();
        let (name, link) = (cut(&self.name), cut(&self.link));
        all.extend(block(&name, self.flag, &link, &self.data, edit));
        all
    }
}

pub(crate) fn file(name: &str) -> Entry {
    Entry {
        data: b"of the image\n".to_vec(),
        ..Entry::new(b'0', name)
    }
}

pub(crate) fn folder(name: &str) -> Entry {
    Entry::new(b'5', name)
}

pub(crate) fn symlink(name: &str, link: &str) -> Entry {
    Entry {
        link: link.to_owned(),
        ..Entry::new(b'2', name)
    }
}

pub(crate) fn hard_link(name: &str, link: &str) -> Entry {
    Entry {
        link: link.to_owned(),
        ..Entry::new(b'1', name)
    }
}

/// One ustar header with its data, changed by `edit` before its checksum is made.
pub(crate) fn block(
    name: &[u8],
    flag: u8,
    link: &[u8],
    data: &[u8],
    edit: impl Fn(&mut [u8; BLOCK]),
) -> Vec<u8> {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name);
    header[157..157 + link.len()].copy_from_slice(link);
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000001750\0");
    header[156] = flag;
    header[257..265].copy_from_slice(b"ustar\x0000");
    if matches!(flag, b'3' | b'4') {
        // /dev/null's numbers.
        header[329..337].copy_from_slice(b"0000001\0");
        header[337..345].copy_from_slice(b"0000003\0");
    }
    edit(&mut header);
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = header.to_vec();
    all.extend_from_slice(data);
    all.resize(all.len().next_multiple_of(BLOCK), 0);
    all
}

/// A PAX record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = body.len() + 1;
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &body].concat()
}

/// The tar of parts, ended.
pub(super) fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all = parts.concat();
    all.resize(all.len() + 1024, 0);
    all
}

/// An extended header of one record.
pub(super) fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    block(b"x", b'x', b"", &record(key, value), |_| {})
}

/// A tar of entries, ended as it should be.
pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut all: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
    all.resize(all.len() + 2 * BLOCK, 0);
    all
}

/// Files as an archive.
pub(crate) fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let member = |(name, data): &(String, Vec<u8>)| Entry {
        data: data.clone(),
        ..Entry::new(b'0', name)
    };
    tar(&files.iter().map(member).collect::<Vec<_>>())
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    image::Digest::of(bytes).to_string()
}

/// The config of an image of these layers.
pub(crate) fn config(layers: &[Vec<u8>]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

/// The image `evil:latest` of these layers, as `docker save` wrote it.
pub(crate) fn docker(layers: &[Vec<u8>]) -> Vec<u8> {
    docker_of(&config(layers), layers)
}

/// The same with a config of one's own.
pub(crate) fn docker_of(config: &Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": ["evil:latest"], "Layers": names}]);
    let mut files = vec![
        (
            "manifest.json".to_owned(),
            manifest.to_string().into_bytes(),
        ),
        ("config.json".to_owned(), config.to_string().into_bytes()),
    ];
    files.extend(names.into_iter().zip(layers.iter().cloned()));
    archive(&files)
}

/// Where something was written in a sandbox for a command to read.
pub(crate) fn put(sandbox: &Sandbox, bytes: &[u8]) -> String {
    let path = sandbox.path().join("evil.tar");
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What a store has: nothing, where an archive was refused.
pub(crate) fn kept(store: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for room in ["blobs/sha256", "layers", "work"] {
        let Ok(names) = std::fs::read_dir(store.join(room)) else {
            continue;
        };
        found.extend(
            names
                .flatten()
                .map(|name| format!("{room}/{}", name.file_name().display())),
        );
    }
    found
}
