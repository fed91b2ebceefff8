//! What hostile and honest layers do to a directory, and to what lies beside it.
#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at the world by path"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::below::Below;
use super::super::entry::Limits;
use super::*;

#[path = "unpack_meaning_tests.rs"]
mod meaning;

/// One entry of a tar made for a test, with whatever name and link.
struct Raw<'a> {
    name: &'a str,
    flag: u8,
    link: &'a str,
    data: &'a [u8],
    mode: u32,
    mtime: u64,
    xattrs: &'a [(&'a str, &'a [u8])],
}

const PLAIN: Raw<'static> = Raw {
    name: "",
    flag: b'0',
    link: "",
    data: b"",
    mode: 0o644,
    mtime: 1000,
    xattrs: &[],
};

fn file(name: &str) -> Raw<'_> {
    Raw {
        name,
        data: b"data",
        ..PLAIN
    }
}

fn dir(name: &str) -> Raw<'_> {
    Raw {
        name,
        flag: b'5',
        mode: 0o755,
        ..PLAIN
    }
}

fn symlink<'a>(name: &'a str, link: &'a str) -> Raw<'a> {
    Raw {
        name,
        flag: b'2',
        link,
        ..PLAIN
    }
}

fn hard_link<'a>(name: &'a str, link: &'a str) -> Raw<'a> {
    Raw {
        name,
        flag: b'1',
        link,
        ..PLAIN
    }
}

fn tar(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for raw in entries {
        let xattrs: Vec<_> = raw
            .xattrs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), *value))
            .collect();
        let records = xattrs.iter().map(|(name, value)| (name.as_str(), *value));
        builder.append_pax_extensions(records).unwrap();
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..raw.name.len()].copy_from_slice(raw.name.as_bytes());
        header.as_mut_bytes()[157..157 + raw.link.len()].copy_from_slice(raw.link.as_bytes());
        header.set_entry_type(tar::EntryType::new(raw.flag));
        header.set_size(raw.data.len() as u64);
        header.set_mode(raw.mode);
        header.set_mtime(raw.mtime);
        header.set_uid(0);
        header.set_gid(0);
        if matches!(raw.flag, b'3' | b'4') {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        builder.append(&header, raw.data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A place with unpacked layers, and a canary beside them.
struct Cage {
    dir: tempfile::TempDir,
}

impl Cage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let canary = dir.path().join("canary");
        fs::create_dir_all(canary.join("dir")).unwrap();
        fs::write(canary.join("file"), "precious").unwrap();
        fs::set_permissions(canary.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    fn canary(&self) -> String {
        self.dir.path().join("canary").to_str().unwrap().to_owned()
    }

    fn layer(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("layer{n}"))
    }

    /// Unpacks each tar over those before it, as layers of one image.
    fn unpack(&self, tars: &[Vec<u8>]) -> Result<Vec<Unpacked>> {
        let manner = Manner {
            owners: OwnerPolicy::AsRecorded,
            overlay: OverlayXattrs::Trusted,
        };
        let mut all = Vec::new();
        for (n, bytes) in tars.iter().enumerate() {
            let root = self.layer(n);
            fs::create_dir(&root).unwrap();
            let below = || {
                let roots = (0..n)
                    .rev()
                    .map(|n| sys::file::open_dir(self.layer(n)).unwrap());
                Ok(Below {
                    roots: roots.collect(),
                })
            };
            let mut entries = Entries::new(&bytes[..], Limits::default());
            let root = sys::file::open_dir(root).unwrap();
            all.push(unpack(&mut entries, root, &manner, &below, &|| true)?);
        }
        Ok(all)
    }

    fn root(&self) -> Option<()> {
        sys::privileges::is_root().then_some(())
    }
}

/// Everything that a layer must not be able to change.
fn look(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let mut text = format!(
            "{:o} {}:{} {} links, {}.{} {}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.nlink(),
            m.mtime(),
            m.mtime_nsec(),
            m.ino(),
        );
        if m.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if m.is_file() {
            text += &fs::read_to_string(&path).unwrap();
        }
        seen.insert(path, text);
    }
    seen
}

#[test]
fn nothing_leads_out_of_a_layer() {
    let victims = |name: &'static str| {
        let kinds = [b'0', b'1', b'2', b'3', b'4', b'5', b'6'];
        kinds.map(|flag| Raw {
            name,
            flag,
            link: "x",
            mode: 0o777,
            ..PLAIN
        })
    };
    for target in [
        "/canary-path",
        "../canary",
        "../../../../../../canary-path",
        "a/up/../../canary",
    ] {
        for last in [
            "link/file",
            "link/dir",
            "link",
            "link/dir/new",
            "link/.wh.file",
            "link/.wh..wh..opq",
            ".wh.link",
        ] {
            for victim in victims(last) {
                for layers in [1, 2] {
                    let cage = Cage::new();
                    if cage.root().is_none() {
                        return;
                    }
                    let canary = cage.canary();
                    let target = target.replace("/canary-path", &canary);
                    let link = [
                        dir("a"),
                        symlink("a/up", "../.."),
                        file("x"),
                        symlink("link", &target),
                    ];
                    let before = look(Path::new(&canary));
                    let tars = match layers {
                        1 => vec![tar(&link
                            .into_iter()
                            .chain([victim_of(&victim)])
                            .collect::<Vec<_>>())],
                        _ => vec![tar(&link), tar(&[file("x"), victim_of(&victim)])],
                    };
                    let _taken_or_refused = cage.unpack(&tars);
                    let case = format!("{target} {last} {} {layers}", char::from(victim.flag));
                    assert_eq!(look(Path::new(&canary)), before, "{case}");
                    let names = fs::read_dir(cage.dir.path()).unwrap().count();
                    assert!(
                        names <= 1 + layers,
                        "{case}: {names} names beside the layers"
                    );
                }
            }
        }
    }
}

fn victim_of<'a>(raw: &Raw<'a>) -> Raw<'a> {
    Raw { ..*raw }
}

#[test]
fn hard_links_stay_inside() {
    let cage = Cage::new();
    let canary = cage.canary();
    let outside = format!("{canary}/file");
    let before = look(Path::new(&canary));
    let link = symlink("s", &outside);
    for entries in [
        vec![hard_link("h", &outside)],
        vec![
            link,
            hard_link("h", "s"),
            Raw {
                name: "h",
                mode: 0o777,
                ..PLAIN
            },
        ],
        vec![symlink("d", &canary), hard_link("h", "d/file")],
        vec![dir("d"), hard_link("h", "d")],
        vec![hard_link("h", "h")],
        vec![hard_link("h", "missing")],
        vec![
            Raw {
                name: ".wh.gone",
                ..PLAIN
            },
            hard_link("h", "gone"),
        ],
    ] {
        let cage_of_its_own = Cage {
            dir: tempfile::tempdir().unwrap(),
        };
        let _taken_or_refused = cage_of_its_own.unpack(&[tar(&entries)]);
        assert_eq!(look(Path::new(&canary)), before);
    }
}

#[test]
fn modes_owners_and_times_never_follow_a_link() {
    let cage = Cage::new();
    let canary = cage.canary();
    let before = look(Path::new(&canary));
    // CVE-2026-33056: the directory takes the link's place; its mode must not reach the target.
    let entries = [
        symlink("d", &canary),
        Raw {
            mode: 0o777,
            ..dir("d")
        },
    ];
    cage.unpack(&[tar(&entries)]).unwrap();
    assert_eq!(look(Path::new(&canary)), before);
    assert!(
        fs::symlink_metadata(cage.layer(0).join("d"))
            .unwrap()
            .is_dir()
    );
}

#[test]
fn the_root_stays_the_root() {
    for name in ["./", "/", ".", "//", "./."] {
        let cage = Cage::new();
        let tars = [tar(&[
            Raw {
                mode: 0o711,
                ..dir(name)
            },
            file("f"),
        ])];
        fs::create_dir(cage.dir.path().join("x")).unwrap();
        let unpacked = cage.unpack(&tars).unwrap();
        assert!(unpacked[0].shape.states_root);
        assert_eq!(fs::metadata(cage.layer(0)).unwrap().mode() & 0o7777, 0o711);
    }
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let fd = sys::file::open(path).unwrap();
    metadata::read_xattr(&fd, name.as_bytes()).unwrap()
}

fn is_opaque(path: &Path) -> bool {
    xattr(path, "trusted.overlay.opaque").as_deref() == Some(b"y")
}

fn is_device_0_0(path: &Path) -> bool {
    let m = fs::symlink_metadata(path).unwrap();
    m.mode() & 0o170_000 == 0o020_000 && m.rdev() == 0
}
