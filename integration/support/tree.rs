//! What is compared of a tree of files: a line for each. Not its job: which trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use image::Digest;

/// How times are told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Times {
    /// To the nanosecond.
    Exact,
    /// In seconds; from this second on they are `now`, for they are a build's own.
    Before(i64),
}

/// All that a file is; the names of one inode stand together.
pub(crate) fn tree(root: &Path, times: Times) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut links: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_owned();
            seen.insert(name.clone(), facts(&path, &about, times));
            if about.is_dir() {
                pending.push(path);
            } else if about.nlink() > 1 {
                links.entry(about.ino()).or_default().push(name);
            }
        }
    }
    for mut names in links.into_values().filter(|names| names.len() > 1) {
        names.sort();
        for name in &names {
            let line = seen.get_mut(name).unwrap();
            line.push_str(&format!(" = {names:?}"));
        }
    }
    seen
}

fn facts(path: &Path, about: &fs::Metadata, times: Times) -> String {
    let kind = about.file_type();
    let time = match times {
        Times::Exact => format!("{}.{:09}", about.mtime(), about.mtime_nsec()),
        Times::Before(now) if about.mtime() >= now => "now".to_owned(),
        Times::Before(_) => format!("@{}", about.mtime()),
    };
    let mut text = format!(
        "{:04o} {}:{} {time}",
        about.mode() & 0o7777,
        about.uid(),
        about.gid()
    );
    if kind.is_symlink() {
        text = format!("link {text} -> {:?}", fs::read_link(path).unwrap());
    } else if kind.is_dir() {
        text = format!("dir {text}{}", xattrs(path));
    } else if kind.is_file() {
        let digest = Digest::of(&fs::read(path).unwrap()).to_string();
        let digest = &digest["sha256:".len()..][..12];
        text = format!("file {text} {} bytes {digest}{}", about.len(), xattrs(path));
    } else {
        let word = match (kind.is_fifo(), kind.is_char_device(), kind.is_socket()) {
            (true, ..) => "fifo",
            (_, true, _) => "char",
            (.., true) => "socket",
            _ => "block",
        };
        text = format!("{word} {text} {:x}", about.rdev());
    }
    text
}

fn xattrs(path: &Path) -> String {
    let file = sys::file::open(path).unwrap();
    let mut names = vec![0; 65536];
    let length = sys::at::flistxattr(&file, &mut names[..]).unwrap();
    let mut found: Vec<String> = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 65536];
        let length = sys::at::fgetxattr(&file, name, &mut value[..]).unwrap();
        found.push(format!(
            " {}={:?}",
            String::from_utf8_lossy(name),
            &value[..length]
        ));
    }
    found.sort();
    found.concat()
}
