//! E18 to E21: what an entry may be called, and what it may be beside its bytes: devices, names, attributes, owners and
//! times that are not for an image to choose. Not its job: the stream they come in (tars).

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::archive::{Entry, block, docker, file, folder, kept, pax, put, symlink, tar, whole};
use super::layers::{refused, unpack};
use crate::build::Site;
use crate::support::sandbox::dhow;
use crate::support::{claims, run};

claims![
    e18_a_device_of_an_image_cannot_be_opened: [Root, Cgroup2, Overlay, Dhow, Tool("busybox")],
    e18_a_device_is_left_out_and_named_where_nobody_may_make_it: [Root, Dhow, Tool("setpriv")],
    e19_a_deep_tree_needs_few_descriptors_and_a_deeper_one_is_refused: [Root, Dhow],
    e19_names_are_bytes: [Root, Dhow],
    e20_a_layer_sets_no_attribute_that_steers_the_host: [Root, Dhow],
    e21_no_owner_and_no_time_wraps_around: [Root, Dhow],
];

fn device(name: &str, flag: u8, major: &str, minor: &str) -> Vec<u8> {
    let (major, minor) = (format!("{major:0>7}\0"), format!("{minor:0>7}\0"));
    block(name.as_bytes(), flag, b"", b"", |header| {
        header[100..108].copy_from_slice(b"0000666\0");
        header[329..337].copy_from_slice(major.as_bytes());
        header[337..345].copy_from_slice(minor.as_bytes());
    })
}

/// Disks, memory, ports, FUSE, the kernel's log, made by the layer: they are there, and dead.
fn e18_a_device_of_an_image_cannot_be_opened() {
    let site = Site::bare();
    let busybox = crate::support::needs::program("busybox").unwrap();
    let busybox = Entry {
        data: std::fs::read(busybox).unwrap(),
        mode: 0o755,
        ..file("busybox")
    };
    let devices =
        "b 8 0,b 7 0,b 252 0,b 259 0,c 1 1,c 1 4,c 1 11,c 10 229,c 10 232,c 10 237,c 7 0,c 4 0";
    let made = devices.split(',').enumerate().map(|(n, numbers)| {
        let words: Vec<&str> = numbers.split(' ').collect();
        let octal = |text: &str| format!("{:o}", text.parse::<u32>().unwrap());
        let flag = if words[0] == "b" { b'4' } else { b'3' };
        device(&format!("d{n}"), flag, &octal(words[1]), &octal(words[2]))
    });
    let layer = whole(
        &[busybox.bytes()]
            .into_iter()
            .chain(made)
            .collect::<Vec<_>>(),
    );
    let path = put(&site.sandbox, &docker(&[layer]));
    run(site.dhow().args(["load", "--quiet", &path])).success();
    let script = "for d in /d[0-9]*; do (: < $d) 2>&1 | /busybox grep -c 'not permitted'; done";
    let words = ["run", "--rm", "evil", "/busybox", "sh", "-c", script];
    let output = run(site.dhow().args(words)).success();
    assert_eq!(output.stdout, "1\n".repeat(12), "{}", output.stderr);
}

fn e18_a_device_is_left_out_and_named_where_nobody_may_make_it() {
    let site = Site::bare();
    let layer = whole(&[device("dev\x1b[31m", b'3', "1", "3"), file("f").bytes()]);
    let path = put(&site.sandbox, &docker(&[layer]));
    let folder = site.folder().join("nobodys");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(65534), Some(65534)).unwrap();
    for above in [site.folder(), std::path::Path::new(&path)] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(above, open).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(dhow()).arg("--store").arg(folder.join("store"));
    let output = run(command.args(["load", &path])).success();
    assert!(
        output.stderr.contains("device \"dev\\u{1b}[31m\"") && !output.stderr.contains('\x1b'),
        "{}",
        output.stderr
    );
}

/// As deep as a path can be: 2,000 folders with 64 descriptors. Deeper than any path, by way of a link: refused.
fn e19_a_deep_tree_needs_few_descriptors_and_a_deeper_one_is_refused() {
    let site = Site::bare();
    let deep = "d/".repeat(2000);
    let entries = [folder(&deep), file(&format!("{deep}f"))];
    let path = put(&site.sandbox, &docker(&[tar(&entries)]));
    let bundle = site.folder().join("bundle");
    let bundle = bundle.to_str().unwrap();
    let few = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]);
        command
            .arg(dhow())
            .arg("--store")
            .arg(site.folder().join("store"));
        run(command.args(words)).success();
    };
    few(&["load", "--quiet", &path]);
    few(&["unpack", "evil", bundle]);
    few(&["rmi", "evil"]);
    assert_eq!(kept(&site.folder().join("store")), Vec::<String>::new());
    // The standard library would keep a descriptor open for each level.
    run(Command::new("rm").args(["-rf", bundle])).success();
    let mut deeper = Vec::new();
    for n in 0..5 {
        let above = if n == 0 {
            String::new()
        } else {
            format!("l{}/", n - 1)
        };
        deeper.push(folder(&format!("{above}{deep}")));
        deeper.push(symlink(&format!("l{n}"), &format!("{above}{deep}")));
    }
    refused(&site, &[tar(&deeper)], "the path is longer than 4095 bytes");
}

/// Case, composition, bytes that are no text: each name is itself.
fn e19_names_are_bytes() {
    let site = Site::bare();
    let raw: &[&[u8]] = &[
        b"a",
        b"A",
        "\u{e4}".as_bytes(),
        "a\u{308}".as_bytes(),
        b"\xff\xfe",
        b"new\nline",
        b"-rf",
    ];
    let parts: Vec<Vec<u8>> = raw
        .iter()
        .map(|name| block(name, b'0', b"", name, |_| {}))
        .collect();
    let layer = whole(&parts);
    let root = unpack(&site, std::slice::from_ref(&layer));
    for name in raw {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(std::fs::read(path).unwrap(), *name);
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), raw.len());
}

fn e20_a_layer_sets_no_attribute_that_steers_the_host() {
    let site = Site::bare();
    let attributes: &[(&str, &[u8])] = &[
        ("security.selinux", b"system_u:object_r:bin_t:s0"),
        ("security.ima", b"\x01x"),
        ("security.evm", b"\x02x"),
        ("security.SMACK64", b"_"),
        ("security.apparmor", b"x"),
        ("system.posix_acl_access", b"\x02\0\0\0"),
        ("trusted.overlay.opaque", b"y"),
        ("trusted.overlay.redirect", b"/etc"),
        ("trusted.overlay.metacopy", b""),
        ("trusted.md5sum", b"x"),
        ("user.overlay.opaque", b"y"),
        ("user.overlay.redirect", b"/etc"),
        ("no.such.family", b"x"),
    ];
    let records: Vec<(String, Vec<u8>)> = attributes
        .iter()
        .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.to_vec()))
        .collect();
    let with = |entry: Entry| Entry {
        records: records.clone(),
        ..entry
    };
    let layer = tar(&[with(file("f")), with(folder("d")), with(symlink("l", "f"))]);
    let root = unpack(&site, &[layer]);
    for name in ["f", "d"] {
        let opened = sys::file::open(root.join(name)).unwrap();
        for (attribute, _) in attributes {
            let mut value = vec![0; 4096];
            let found = sys::at::fgetxattr(&opened, *attribute, &mut value[..]);
            assert!(found.is_err(), "{name} has {attribute}");
        }
    }
}

/// 2^32-1 as an owner is chown's word for "leave it", and the file would stay root's.
fn e21_no_owner_and_no_time_wraps_around() {
    let site = Site::bare();
    let numbers = |at: usize, bytes: &'static [u8]| {
        block(b"f", b'0', b"", b"", move |header| {
            header[at..at + bytes.len()].copy_from_slice(bytes)
        })
    };
    for (parts, words) in [
        (
            vec![pax("uid", b"4294967295"), file("f").bytes()],
            "uid 4294967295 is not from 0 to 4294967294",
        ),
        (
            vec![pax("gid", b"4294967296"), file("f").bytes()],
            "gid 4294967296 is not from 0 to 4294967294",
        ),
        (
            vec![numbers(108, b"\xff\xff\xff\xff\xff\xff\xff\xff")],
            "uid -1 is negative",
        ),
        (
            vec![numbers(108, b"\x80\0\0\0\xff\xff\xff\xff")],
            "uid 4294967295 is not",
        ),
        (
            vec![numbers(116, b"\x80\0\0\x01\0\0\0\0")],
            "gid 4294967296 is not",
        ),
        (
            vec![pax("mtime", b"9223372036854775808"), file("f").bytes()],
            "is not a time",
        ),
    ] {
        refused(&site, &[whole(&parts)], words);
    }
    let root = unpack(
        &site,
        &[whole(&[
            block(b"f", b'0', b"", b"", |header| {
                header[108..116].copy_from_slice(b"\x80\0\0\0\x00\x20\0\x01");
                header[116..124].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xfe");
                header[136..148].copy_from_slice(&[0xff; 12]);
            }),
            pax("mtime", b"-1.25"),
            file("g").bytes(),
        ])],
    );
    let f = root.join("f").metadata().unwrap();
    assert_eq!((f.uid(), f.gid(), f.mtime()), (2_097_153, u32::MAX - 1, -1));
    let g = root.join("g").metadata().unwrap();
    assert_eq!((g.mtime(), g.mtime_nsec()), (-2, 750_000_000));
}
