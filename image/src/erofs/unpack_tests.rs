//! A layer's image shows what its folder would: whatever is in the tar, both come out the same, or both are refused.
#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at the world by path"
)]

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sys::mount::Tree;

use super::*;
use crate::layer::below::Below;
use crate::layer::compare::difference;
use crate::layer::entry::Limits;
use crate::layer::unpack::Manner;
use crate::layer::whiteout::OverlayXattrs;

/// One entry of a tar.
#[derive(Debug, Clone, Default)]
struct Raw {
    name: String,
    flag: u8,
    link: String,
    data: Vec<u8>,
    mode: u32,
    mtime: u64,
    owner: u64,
    xattrs: Vec<(String, Vec<u8>)>,
}

fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for raw in entries {
        let xattrs: Vec<_> = raw
            .xattrs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), &**value))
            .collect();
        let mut records: Vec<(&str, &[u8])> = vec![("path", raw.name.as_bytes())];
        if !raw.link.is_empty() {
            records.push(("linkpath", raw.link.as_bytes()));
        }
        records.extend(xattrs.iter().map(|(name, value)| (name.as_str(), *value)));
        builder.append_pax_extensions(records).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(raw.flag));
        header.set_size(raw.data.len() as u64);
        header.set_mode(raw.mode);
        header.set_mtime(raw.mtime);
        header.set_uid(raw.owner);
        header.set_gid(raw.owner + 1);
        if matches!(raw.flag, b'3' | b'4') {
            header.set_device_major(259).unwrap();
            header.set_device_minor(70000).unwrap();
        }
        header.set_cksum();
        builder.append(&header, &*raw.data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Opens a layer of either form.
fn shown(path: &Path) -> sys::Result<OwnedFd> {
    match path.is_dir() {
        true => Tree::Folder(path.into()).open(),
        false => Tree::Image(path.into()).open(),
    }
}

fn open(path: &Path) -> OwnedFd {
    sys::file::open_dir(path).unwrap()
}

/// Layers, the lowest first, as folders and as images.
struct Both {
    dir: tempfile::TempDir,
}

impl Both {
    /// `None` if images can't be shown here.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let this = Self { dir };
        let path = this.image(&tar(&[]), "probe", &[]).unwrap();
        Tree::Image(path?).open().ok().map(|_| this)
    }

    fn folder(&self, tar: &[u8], name: &str, below: &[PathBuf]) -> crate::Result<(PathBuf, Shape)> {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let manner = Manner {
            owners: OwnerPolicy::AsRecorded,
            overlay: OverlayXattrs::Trusted,
        };
        let mut entries = Entries::new(Slice(tar), Limits::default());
        let root = open(&path);
        let ask = ask(below);
        let done = crate::layer::unpack::unpack(&mut entries, root, &manner, &ask, &|| true)?;
        Ok((path, done.shape))
    }

    fn image(&self, tar: &[u8], name: &str, below: &[PathBuf]) -> crate::Result<Option<PathBuf>> {
        Ok(self.made(tar, name, below)?.map(|(path, _)| path))
    }

    fn made(
        &self,
        tar: &[u8],
        name: &str,
        below: &[PathBuf],
    ) -> crate::Result<Option<(PathBuf, Shape)>> {
        let path = self.dir.path().join(format!("{name}.erofs"));
        let file = sys::file::create_new(&path, 0o600).unwrap();
        let mut entries = Entries::new(Slice(tar), Limits::default());
        let owners = OwnerPolicy::AsRecorded;
        let ask = ask(below);
        match unpack(&mut entries, file, &owners, [7; 16], &ask, &|| true)? {
            Made::Image(shape) => Ok(Some((path, shape))),
            Made::Unfit => Ok(None),
        }
    }

    /// Unpacks both ways, and tells how they differ.
    fn check(&self, layers: &[Vec<Raw>]) -> Result<(), String> {
        let (mut folders, mut images) = (Vec::new(), Vec::new());
        for (n, entries) in layers.iter().enumerate() {
            let bytes = tar(entries);
            let folder = self.folder(&bytes, &format!("layer{n}"), &folders);
            let image = self.made(&bytes, &format!("layer{n}"), &images);
            let ((folder, one), (image, two)) = match (folder, image) {
                (Ok(folder), Ok(Some(image))) => (folder, image),
                (Err(_), Err(_)) => return Ok(()),
                (folder, image) => return Err(format!("{folder:?}\n{image:?}")),
            };
            if one != two {
                return Err(format!("{one:?}\n{two:?}"));
            }
            let root = shown(&image).map_err(|e| e.to_string())?;
            let difference = difference(open(&folder), root, one.states_root);
            if let Some((path, what)) = difference.map_err(|e| format!("{e}: {:?}", e.note))? {
                return Err(format!("layer {n}, {path}: {what}"));
            }
            folders.insert(0, folder);
            images.insert(0, image);
        }
        Ok(())
    }
}

fn ask(below: &[PathBuf]) -> impl Fn() -> crate::Result<Below> {
    let below = below.to_vec();
    move || {
        let roots = below.iter().map(|path| shown(path).unwrap());
        Ok(Below {
            roots: roots.collect(),
        })
    }
}

struct Slice<'a>(&'a [u8]);

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Skip for Slice<'_> {}

fn file(name: &str, size: usize) -> Raw {
    Raw {
        name: name.to_owned(),
        flag: b'0',
        data: (0..size).map(|n| (n * 7 + n / 256) as u8).collect(),
        mode: 0o644,
        ..Raw::default()
    }
}

fn named(name: &str, flag: u8, link: &str) -> Raw {
    Raw {
        name: name.to_owned(),
        flag,
        link: link.to_owned(),
        mode: 0o4755,
        ..Raw::default()
    }
}

#[test]
fn files_of_every_length_come_out_whole() {
    let Some(both) = Both::new() else { return };
    let sizes = [
        0,
        1,
        3967,
        4031,
        4032,
        4033,
        4095,
        4096,
        4097,
        8128,
        12287,
        300_000,
        1 << 20,
    ];
    let mut entries: Vec<_> = sizes
        .iter()
        .map(|size| file(&format!("f{size}"), *size))
        .collect();
    entries.extend((0..400).map(|n| file(&format!("many/{n}"), n * 11)));
    both.check(&[entries]).unwrap();
}

#[test]
fn directories_of_every_length_are_listed_and_found() {
    let Some(both) = Both::new() else { return };
    let mut entries = Vec::new();
    // Names that stand before a dot, and a directory whose names take just a block.
    for name in ["!", "-", "...", ".a", "+x/..b"] {
        entries.push(file(&format!("odd/{name}"), 1));
    }
    entries.extend((0..15).map(|n| file(&format!("full/{n:0254}"), 1)));
    entries.push(file(&format!("full/{}", "x".repeat(64)), 1));
    entries.extend((0..3000).map(|n| named(&format!("long/{n:0100}"), b'2', "x")));
    entries.extend((0..300).map(|n| named(&format!("d/{n}/sub"), b'5', "")));
    both.check(&[entries]).unwrap();
    let root = shown(&both.dir.path().join("layer0.erofs")).unwrap();
    let stat = at::statat(&root, "d", at::AtFlags::empty()).unwrap();
    assert_eq!(stat.st_nlink, 302);
}

#[test]
fn links_owners_times_attributes_and_devices_are_kept() {
    let Some(both) = Both::new() else { return };
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let rich = |name: &str, flag| Raw {
        mtime: 0x1_2345_6789,
        owner: 4_000_000,
        xattrs: vec![
            ("user.note".to_owned(), vec![b'n'; 2000]),
            ("user.overlay.opaque".to_owned(), b"y".to_vec()),
            ("security.capability".to_owned(), capability.clone()),
        ],
        ..named(name, flag, "")
    };
    let mut entries = vec![rich("d", b'5'), rich("d/f", b'0'), rich("", b'5')];
    entries.push(Raw {
        data: vec![b'x'; 3000],
        ..rich("g", b'0')
    });
    entries.push(named("short", b'2', "/a/b"));
    entries.push(named("longest", b'2', &"a/".repeat(2047)));
    entries.push(named("hard", b'1', "g"));
    entries.push(named("hard too", b'1', "short"));
    for (name, flag) in [("c", b'3'), ("b", b'4'), ("p", b'6')] {
        entries.push(named(name, flag, ""));
    }
    both.check(&[entries]).unwrap();
    let root = shown(&both.dir.path().join("layer0.erofs")).unwrap();
    let links = |name| {
        at::statat(&root, name, at::AtFlags::empty())
            .unwrap()
            .st_nlink
    };
    assert_eq!((links("g"), links("hard"), links("d/f")), (2, 2, 1));
}

#[test]
fn what_no_image_can_hold_is_left_to_a_folder() {
    let Some(both) = Both::new() else { return };
    let with = |name: &str, value: Vec<u8>| Raw {
        xattrs: vec![(name.to_owned(), value)],
        ..named("", b'5', "")
    };
    let long = with("user.x", vec![0; 3000]);
    assert!(both.image(&tar(&[long]), "long", &[]).unwrap().is_none());
    let bad = with("security.capability", vec![0; 20]);
    assert!(both.image(&tar(&[bad]), "bad", &[]).unwrap().is_none());
    let names = (0..1000).map(|n| file(&format!("{n:0250}/{}", "x/".repeat(1500)), 0));
    let names: Vec<_> = names.collect();
    assert!(both.image(&tar(&names), "many", &[]).unwrap().is_none());
}

fn entry() -> impl Strategy<Value = Raw> {
    let name = prop::sample::select(vec!["a", "b", "l", "..", ".wh.a", ".wh.b", ".wh..wh..opq"]);
    let path = || prop::collection::vec(prop::sample::select(vec!["a", "b", "l"]), 0..3);
    let flag = prop::sample::select(vec![b'0', b'0', b'1', b'1', b'2', b'3', b'5', b'5', b'6']);
    let link = (path(), prop::sample::select(vec!["", "/", "../"]));
    (path(), name, flag, link, 0..3_usize, 0..5000_usize).prop_map(
        |(path, name, flag, (link, lead), odd, size)| {
            // One name in three is a plain one twice over, so that things meet.
            let last = if odd == 0 || name != ".." { name } else { "a" };
            let last = if last == ".." { "l" } else { last };
            let link = match flag {
                b'2' => format!(
                    "{lead}{}",
                    if link.is_empty() {
                        "a".to_owned()
                    } else {
                        link.join("/")
                    }
                ),
                b'1' if link.is_empty() => "b".to_owned(),
                b'1' => link.join("/"),
                _ => String::new(),
            };
            let name = path.into_iter().chain([last]).collect::<Vec<_>>().join("/");
            match flag {
                b'0' => Raw {
                    mtime: size as u64,
                    ..file(&name, size)
                },
                _ => Raw {
                    mtime: size as u64,
                    ..named(&name, flag, &link)
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_layer_holds_its_image_shows_what_its_folder_would(
        layers in prop::collection::vec(prop::collection::vec(entry(), 0..12), 1..4)
    ) {
        if let Some(both) = Both::new() {
            prop_assert_eq!(both.check(&layers), Ok(()));
        }
    }
}

/// `store check` makes images again and compares the bytes: a writer that writes others is another `Form`.
#[test]
fn a_layer_is_the_bytes_that_it_always_was() {
    let both = Both {
        dir: tempfile::tempdir().unwrap(),
    };
    let entries = [
        named("d", b'5', ""),
        file("d/short", 100),
        file("d/long", 10_000),
        named("d/.wh.gone", b'0', ""),
        named("link", b'2', "d/short"),
        named("hard", b'1', "d/long"),
        named("pipe", b'6', ""),
    ];
    let image = both.image(&tar(&entries), "image", &[]).unwrap().unwrap();
    let digest = crate::Digest::of(&std::fs::read(image).unwrap());
    let known = "99f902449bd60d0ea5255df6618d9da32b60dd1fa3b07e198fd4b3b56794c5b4";
    assert_eq!(digest.hex(), known);
}
