//! What the entries of a layer mean: whiteouts, links to what lies below, the last of a name, attributes, times.

use super::*;

#[test]
fn whiteouts_speak_of_lower_layers_wherever_they_stand() {
    for whiteouts_first in [true, false] {
        let cage = Cage::new();
        if cage.root().is_none() {
            return;
        }
        let marks = [
            file(".wh.gone"),
            file("a/.wh..wh..opq"),
            file(".wh.b"),
            file(".wh.f"),
        ];
        let files = [dir("a"), file("a/new"), dir("b"), file("b/new"), file("f")];
        let entries: Vec<_> = match whiteouts_first {
            true => marks.into_iter().chain(files).collect(),
            false => files.into_iter().chain(marks).collect(),
        };
        cage.unpack(&[tar(&entries)]).unwrap();
        let root = cage.layer(0);
        assert!(is_device_0_0(&root.join("gone")));
        assert!(is_opaque(&root.join("a")) && root.join("a/new").exists());
        assert!(is_opaque(&root.join("b")) && root.join("b/new").exists());
        assert_eq!(fs::read(root.join("f")).unwrap(), b"data");
    }
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let cage = Cage::new();
    let entries = [
        dir("a"),
        file("a/x"),
        file("a"),
        dir("a"),
        file("a/y"),
        file("b"),
        Raw {
            data: b"two",
            ..file("b")
        },
        dir("c"),
        file("c/keep"),
        Raw {
            mode: 0o700,
            ..dir("c")
        },
        dir("d"),
        file("d/x"),
        symlink("d", "c"),
    ];
    cage.unpack(&[tar(&entries)]).unwrap();
    let root = cage.layer(0);
    assert!(!root.join("a/x").exists() && root.join("a/y").exists());
    if cage.root().is_some() {
        assert!(
            is_opaque(&root.join("a")),
            "the file hid the lower directory"
        );
    }
    assert_eq!(fs::read(root.join("b")).unwrap(), b"two");
    assert!(root.join("c/keep").exists());
    assert_eq!(fs::metadata(root.join("c")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_link(root.join("d")).unwrap(), Path::new("c"));
}

#[test]
fn a_layer_leans_on_those_below_only_where_it_must() {
    let cage = Cage::new();
    let base = [
        Raw {
            mode: 0o1777,
            mtime: 77,
            ..dir("tmp")
        },
        dir("run"),
        symlink("var", "run"),
        Raw {
            mode: 0o4755,
            ..file("bin")
        },
    ];
    let top = [
        file("tmp/f"),
        file("var/g"),
        hard_link("bin2", "bin"),
        file("new/h"),
    ];
    let unpacked = cage.unpack(&[tar(&base), tar(&top)]).unwrap();
    assert!(!unpacked[0].shape.leans && unpacked[1].shape.leans);
    let root = cage.layer(1);
    let tmp = fs::metadata(root.join("tmp")).unwrap();
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 77));
    assert!(
        root.join("run/g").exists(),
        "the link of the lower layer is followed"
    );
    assert!(fs::symlink_metadata(root.join("var")).is_err());
    let bin = fs::metadata(root.join("bin2")).unwrap();
    assert_eq!((bin.mode() & 0o7777, bin.nlink()), (0o4755, 2));
    assert_eq!(
        fs::metadata(root.join("new")).unwrap().mode() & 0o7777,
        0o755
    );
    let free = cage_of(&[dir("a"), file("a/b")]);
    assert!(!free.shape.leans);
}

fn cage_of(entries: &[Raw<'_>]) -> Unpacked {
    Cage::new().unpack(&[tar(entries)]).unwrap().remove(0)
}

#[test]
fn a_hidden_lower_file_is_no_target() {
    let cage = Cage::new();
    if cage.root().is_none() {
        return;
    }
    let tars = [
        tar(&[dir("a"), file("a/f")]),
        tar(&[file(".wh.a")]),
        tar(&[hard_link("h", "a/f")]),
    ];
    let error = cage.unpack(&tars).unwrap_err();
    assert!(
        format!("{error:?}").contains("neither this layer nor one below"),
        "{error:?}"
    );
}

#[test]
fn only_harmless_attributes_are_set() {
    let cage = Cage::new();
    if cage.root().is_none() {
        return;
    }
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let xattrs: &[(&str, &[u8])] = &[
        ("user.note", b"hi"),
        ("security.capability", capability),
        ("security.selinux", b"system_u:object_r:x"),
        ("trusted.overlay.opaque", b"y"),
        ("trusted.overlay.redirect", b"/etc"),
        ("user.overlay.opaque", b"y"),
        ("trusted.dhow", b"x"),
    ];
    let entries = [
        Raw {
            xattrs,
            mode: 0o4755,
            ..file("f")
        },
        Raw {
            xattrs: &xattrs[2..],
            ..dir("d")
        },
    ];
    cage.unpack(&[tar(&entries)]).unwrap();
    let path = cage.layer(0).join("f");
    assert_eq!(xattr(&path, "user.note").as_deref(), Some(&b"hi"[..]));
    assert_eq!(
        xattr(&path, "security.capability").as_deref(),
        Some(&capability[..])
    );
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o4755);
    for path in [path, cage.layer(0).join("d")] {
        for (name, _) in &xattrs[2..] {
            assert_eq!(xattr(&path, name), None, "{name}");
        }
    }
}

#[test]
fn directories_keep_their_times_and_closed_ones_are_filled() {
    let cage = Cage::new();
    let entries = [
        Raw {
            mtime: 1,
            ..dir("a")
        },
        Raw {
            mode: 0,
            mtime: 2,
            ..dir("a/b")
        },
        Raw {
            mtime: 3,
            ..file("a/b/c")
        },
        file("a/d"),
    ];
    cage.unpack(&[tar(&entries)]).unwrap();
    let m = |path: &str| fs::metadata(cage.layer(0).join(path)).unwrap();
    assert_eq!(
        (m("a").mtime(), m("a/b").mtime(), m("a/b").mode() & 0o7777),
        (1, 2, 0)
    );
    assert_eq!(m("a/b/c").mtime(), 3);
}

#[test]
fn a_very_deep_tree_needs_few_descriptors() {
    let cage = Cage::new();
    let deep = "d/".repeat(2000);
    let mut builder = tar::Builder::new(Vec::new());
    for (path, flag) in [(deep.clone(), b'5'), (format!("{deep}f"), b'0')] {
        builder
            .append_pax_extensions([("path", path.as_bytes())])
            .unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_size(0);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
    }
    cage.unpack(&[builder.into_inner().unwrap()]).unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 200, "{open} descriptors are open");
    let fd = sys::file::open_dir(cage.dir.path()).unwrap();
    sys::file::remove_tree(&fd, "layer0").unwrap();
}

#[test]
fn names_that_are_not_utf_8_come_back_byte_by_byte() {
    let cage = Cage::new();
    let mut bytes = tar(&[file("aXX")]);
    bytes[1..3].copy_from_slice(b"\xff\xfe");
    let sum: u32 = bytes[..512]
        .iter()
        .enumerate()
        .map(|(n, b)| match n {
            148..156 => 32,
            _ => u32::from(*b),
        })
        .sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    cage.unpack(&[bytes]).unwrap();
    let name = fs::read_dir(cage.layer(0))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name();
    assert_eq!(name.as_bytes(), b"a\xff\xfe");
}
