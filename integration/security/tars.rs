//! E6, E7, E9, E17: tars that two readers would see in two ways, that cost more than they are, that are cut short or go on
//! behind their end. Not its job: where entries lead (shapes, layers), and what they are (metadata).

use std::path::Path;
use std::process::Command;

use super::archive::{Entry, block, file, folder, kept, pax, put, record, symlink, tar, whole};
use super::layers::{refused, unpack};
use crate::build::Site;
use crate::support::{claims, run};

claims![
    e06_cve_2025_62518_a_size_is_the_same_for_every_reader: [Root, Dhow],
    e06_cve_2026_32766_what_is_malformed_is_refused_and_never_skipped: [Root, Dhow],
    e06_cve_2025_62518_other_readers_see_the_same_entries_or_ours_refuses: [Dhow, Tool("python3"), Tool("tar")],
    e07_cve_2025_58183_no_header_is_larger_than_its_use: [Root, Dhow],
    e07_cve_2025_58183_a_sparse_file_costs_what_it_stores: [Root, Dhow, Tool("tar")],
    e09_what_stands_behind_the_end_of_a_layer_counts: [Root, Dhow, Tool("gzip")],
    e17_cve_2021_20291_a_layer_cut_anywhere_ends_in_an_error: [Root, Dhow, Tool("gzip")],
];

fn plain(name: &str) -> Vec<u8> {
    file(name).bytes()
}

fn names(root: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Two sizes stand in it, of which the PAX record's counts: a reader that goes by the header's takes data for an entry.
fn e06_cve_2025_62518_a_size_is_the_same_for_every_reader() {
    let site = Site::bare();
    let smuggled = plain("smuggled");
    let size = smuggled.len().to_string();
    let lying = |header: &mut [u8; 512]| header[124..136].copy_from_slice(b"00000000000\0");
    let layer = whole(&[
        pax("size", size.as_bytes()),
        block(b"outer", b'0', b"", &smuggled, lying),
        plain("next"),
    ]);
    let root = unpack(&site, &[layer]);
    assert_eq!(names(&root), ["next", "outer"]);
    assert_eq!(std::fs::read(root.join("outer")).unwrap(), smuggled);
    // The other way round: data behind what has none.
    let behind = block(b"d", b'5', b"", &plain("smuggled"), |_| {});
    refused(&site, &[whole(&[behind])], "data behind what is no file");
    let behind = [pax("size", b"512"), folder("d").bytes(), plain("smuggled")];
    refused(&site, &[whole(&behind)], "data behind what is no file");
}

fn e06_cve_2026_32766_what_is_malformed_is_refused_and_never_skipped() {
    let site = Site::bare();
    let records = |data: &[u8]| vec![block(b"x", b'x', b"", data, |_| {}), plain("f")];
    let octal = |at: usize, text: &'static [u8]| {
        let edit = move |header: &mut [u8; 512]| header[at..at + text.len()].copy_from_slice(text);
        vec![block(b"f", b'0', b"", b"", edit)]
    };
    let mut broken = plain("f");
    broken[0] ^= 1;
    for (parts, words) in [
        (records(b"11 path=x\n"), "malformed PAX record"),
        (records(b"10 path=xyz\n"), "malformed PAX record"),
        (records(b"9 path=x\n\0\0\0"), "malformed PAX record"),
        (
            records(b"99999999999999999999 path=x\n"),
            "malformed PAX record",
        ),
        (records(b"6 =bc\n"), "malformed PAX record"),
        (records(&record("path", b"a\0b")), "PAX path holds a NUL"),
        (records(&record("size", b"-1")), "PAX size"),
        (records(&record("size", b"1e3")), "PAX size"),
        (records(&record("mtime", b"now")), "PAX mtime"),
        (records(&record("hdrcharset", b"EBCDIC")), "hdrcharset"),
        (
            vec![pax("path", b"x"), pax("path", b"y"), plain("f")],
            "two extended headers",
        ),
        (vec![pax("path", b"x")], "no entry behind it"),
        (
            vec![
                block(b"g", b'g', b"", &record("path", b"x"), |_| {}),
                plain("f"),
            ],
            "global PAX header",
        ),
        (octal(124, b"0000000001x\0"), "is not octal"),
        (
            octal(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            "size -1 is negative",
        ),
        (
            octal(124, b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            "does not fit",
        ),
        (vec![broken], "checksum"),
        (
            vec![Entry::new(b'M', "f").bytes()],
            "the tar type 'M' is not supported",
        ),
        (vec![vec![0; 512], plain("f")], "a lone block of zeros"),
    ] {
        refused(&site, &[whole(&parts)], words);
    }
}

/// What the fuzzer's readers are given first, and what it found: some of these tars they read in two ways.
fn e06_cve_2025_62518_other_readers_see_the_same_entries_or_ours_refuses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/fuzz");
    let seeds = std::fs::read_dir(folder.join("seeds/tar")).unwrap();
    let mut seeds: Vec<_> = seeds.map(|seed| seed.unwrap().path()).collect();
    seeds.sort();
    let (mut same, mut refused) = (0, 0);
    for seed in &seeds {
        let bytes = std::fs::read(seed).unwrap();
        let Ok(ours) = image::fuzz::entries(&bytes, 1 << 20) else {
            refused += 1;
            continue;
        };
        let ours: Vec<String> = ours.iter().map(image::fuzz::Listed::line).collect();
        for reader in ["tarfile", "gnutar"] {
            let mut oracle = Command::new("python3");
            let said = run(oracle.arg(folder.join("oracle.py")).arg(reader).arg(seed)).success();
            if !said.stdout.starts_with('!') {
                let theirs: Vec<&str> = said.stdout.lines().collect();
                assert_eq!(ours, theirs, "{} as {reader} reads it", seed.display());
                same += 1;
            }
        }
    }
    assert!(
        same >= 12 && refused >= 6,
        "{same} the same, {refused} refused"
    );
}

/// A header may promise what it likes; memory is taken for what may be honest, and before that it is refused.
fn e07_cve_2025_58183_no_header_is_larger_than_its_use() {
    let site = Site::bare();
    let vast = |flag: u8| {
        let edit = |header: &mut [u8; 512]| header[124..136].copy_from_slice(b"02000000000\0");
        block(b"x", flag, b"", b"", edit)
    };
    for flag in [b'x', b'g', b'L', b'K'] {
        let words = "an extended header of 268435456 bytes";
        refused(&site, &[whole(&[vast(flag)])], words);
    }
    let long = |length: usize| pax("path", &vec![b'a'; length]);
    let deep = |count: usize| pax("path", &b"d/".repeat(count));
    let attributes: Vec<u8> = (0..65)
        .flat_map(|n| record(&format!("SCHILY.xattr.user.{n}"), b"x"))
        .collect();
    let large = record("SCHILY.xattr.user.x", &vec![0; (64 << 10) + 1]);
    let link = pax("linkpath", &b"d/".repeat(2048));
    for (parts, words) in [
        (
            vec![long(256), plain("f")],
            "a name is longer than 255 bytes",
        ),
        (
            vec![deep(2049), plain("f")],
            "the path is longer than 4095 bytes",
        ),
        (
            vec![link, symlink("l", "x").bytes()],
            "target longer than 4095 bytes",
        ),
        (
            vec![block(b"x", b'x', b"", &attributes, |_| {}), plain("f")],
            "more than 64 xattrs",
        ),
        (
            vec![block(b"x", b'x', b"", &large, |_| {}), plain("f")],
            "is larger than 65536 bytes",
        ),
    ] {
        refused(&site, &[whole(&parts)], words);
    }
}

/// In all the ways that GNU tar writes them; and such that say more than they are.
fn e07_cve_2025_58183_a_sparse_file_costs_what_it_stores() {
    let site = Site::bare();
    let name = site.folder().join("hollow");
    let hollow = std::fs::File::create(&name).unwrap();
    hollow.set_len(8 << 20).unwrap();
    for n in [1, 3, 6] {
        std::os::unix::fs::FileExt::write_all_at(&hollow, b"data", n << 20).unwrap();
    }
    let expected = std::fs::read(&name).unwrap();
    for form in [
        "--format=gnu",
        "--sparse-version=0.0",
        "--sparse-version=0.1",
        "--sparse-version=1.0",
    ] {
        let mut tar = Command::new("tar");
        tar.current_dir(site.folder())
            .args(["--sparse", "-cf", "layer"]);
        let pax = ["--format=pax"];
        let pax = if form == "--format=gnu" {
            &pax[1..]
        } else {
            &pax
        };
        run(tar.args(pax).args([form, "hollow"])).success();
        let layer = std::fs::read(site.folder().join("layer")).unwrap();
        assert!(layer.len() < 1 << 20, "tar wrote no holes");
        let found = unpack(&site, &[layer]).join("hollow");
        assert!(std::fs::read(&found).unwrap() == expected, "{form}");
    }
    let records = |records: &[(&str, &str)]| {
        let records = records.iter();
        let text: Vec<u8> = records
            .flat_map(|(key, value)| record(&format!("GNU.sparse.{key}"), value.as_bytes()))
            .collect();
        block(b"x", b'x', b"", &text, |_| {})
    };
    let ahead = [("major", "1"), ("minor", "0"), ("realsize", "8192")];
    let map = [&b"100001\n"[..], &[0; 505]].concat();
    let many = block(b"f", b'0', b"", &map, |_| {});
    for (parts, words) in [
        (vec![records(&ahead), many], "more than 100000 pieces"),
        (
            vec![
                records(&[("size", "1099511627776"), ("map", "")]),
                Entry::new(b'0', "f").bytes(),
            ],
            "more than 68719476736 bytes",
        ),
        (
            vec![records(&[("size", "10"), ("map", "0,100")]), plain("f")],
            "ends behind",
        ),
        (
            vec![records(&[("size", "10"), ("map", "0,1")]), plain("f")],
            "1 bytes in the map",
        ),
    ] {
        refused(&site, &[whole(&parts)], words);
    }
}

/// What gzip makes of bytes.
fn gzip(site: &Site, bytes: &[u8]) -> Vec<u8> {
    let path = site.folder().join("plain");
    std::fs::write(&path, bytes).unwrap();
    let _ = std::fs::remove_file(site.folder().join("plain.gz"));
    run(Command::new("gzip").arg("-n").arg(&path)).success();
    std::fs::read(site.folder().join("plain.gz")).unwrap()
}

/// The image of one layer whose blob and whose content are given each by itself.
fn load_blob(site: &Site, content: &[u8], blob: &[u8]) -> crate::support::Output {
    let config = super::archive::config(&[content.to_vec()]);
    let path = put(
        &site.sandbox,
        &super::archive::docker_of(&config, &[blob.to_vec()]),
    );
    run(site.dhow().args(["load", "--quiet", "--force", &path]))
}

/// A megabyte behind the end: more than is ever read ahead.
fn e09_what_stands_behind_the_end_of_a_layer_counts() {
    let site = Site::bare();
    let layer = tar(&[file("f")]);
    let more = [&layer[..], &vec![7; 1 << 20]].concat();
    load_blob(&site, &more, &more).success();
    load_blob(&site, &more, &gzip(&site, &more)).success();
    // In two members, as gzip allows.
    let two = [gzip(&site, &more[..700]), gzip(&site, &more[700..])].concat();
    load_blob(&site, &more, &two).success();
    let before = kept(&site.folder().join("store"));
    let other = [&layer[..], &[7; 512]].concat();
    let garbage = [gzip(&site, &layer), b"garbage".to_vec()].concat();
    for (content, blob, words) in [
        (&layer, &more, "diff id"),
        (&layer, &gzip(&site, &more), "diff id"),
        (&layer, &two, "diff id"),
        (&other, &layer, "diff id"),
        (&layer, &garbage, "layer 0.tar"),
    ] {
        let told = load_blob(&site, content, blob).ends_with(1).stderr;
        assert!(told.contains(words) && told.lines().count() == 1, "{told}");
        assert_eq!(kept(&site.folder().join("store")), before);
    }
}

fn e17_cve_2021_20291_a_layer_cut_anywhere_ends_in_an_error() {
    let site = Site::bare();
    let layer = tar(&[file("f"), folder("d"), file("d/f")]);
    let blob = gzip(&site, &layer);
    let cuts = (0..blob.len()).step_by(blob.len() / 16);
    let of_blob = cuts.map(|length| blob[..length].to_vec());
    let of_tar = [1, 511, 513, 1000, 2000].map(|length| layer[..length].to_vec());
    for cut in of_blob.chain(of_tar) {
        let told = load_blob(&site, &layer, &cut).ends_with(1).stderr;
        assert_eq!(told.lines().count(), 1, "{} bytes: {told}", cut.len());
    }
    assert_eq!(kept(&site.folder().join("store")), Vec::<String>::new());
}
