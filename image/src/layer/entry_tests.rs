//! What the tar reader takes and refuses, on tars made by the `tar` crate and by hand.

use super::*;

impl Skip for &[u8] {}

fn read(bytes: &[u8]) -> Result<Vec<Entry>> {
    read_limited(bytes, Limits::default())
}

fn read_limited(bytes: &[u8], limits: Limits) -> Result<Vec<Entry>> {
    let mut entries = Entries::new(bytes, limits);
    let mut all = Vec::new();
    while let Some(entry) = entries.next()? {
        all.push(entry);
    }
    Ok(all)
}

/// A ustar block with `size`'s data and padding behind it.
fn block(
    name: &[u8],
    flag: u8,
    size: u64,
    data: &[u8],
    edit: impl Fn(&mut [u8; BLOCK]),
) -> Vec<u8> {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    edit(&mut block);
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = block.to_vec();
    all.extend_from_slice(data);
    all.resize(all.len().next_multiple_of(BLOCK), 0);
    all
}

fn plain(name: &str, flag: u8, data: &[u8]) -> Vec<u8> {
    block(name.as_bytes(), flag, data.len() as u64, data, |_| {})
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let length = |digits: usize| digits + 3 + key.len() + value.len();
    let digits = (1..6).find(|d| length(*d).to_string().len() == *d).unwrap();
    format!("{} {key}={value}\n", length(digits)).into_bytes()
}

#[track_caller]
fn refused(bytes: &[u8], because: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(
        error.contains(because),
        "{error:?} does not say {because:?}"
    );
}

#[test]
fn long_names_of_both_dialects_are_read() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let gnu = [
        plain("././@LongLink", b'L', format!("{long}\0").as_bytes()),
        plain("cut", b'0', b"x"),
    ];
    let pax = [
        plain("PaxHeaders/x", b'x', &record("path", &long)),
        plain("cut", b'0', b"x"),
    ];
    for bytes in [gnu.concat(), pax.concat()] {
        let entries = read(&bytes).unwrap();
        assert_eq!(entries[0].path.bytes(), long.as_bytes());
        assert_eq!(entries[0].kind, Kind::File { size: 1 });
    }
}

#[test]
fn a_pax_size_moves_the_next_header() {
    // CVE-2025-62518: with the header's size of 0, the data would be read as an entry.
    let smuggled = plain("smuggled", b'0', b"");
    let bytes = [
        plain("x", b'x', &record("size", "512")),
        block(b"outer", b'0', 0, &smuggled, |_| {}),
        plain("next", b'0', b""),
    ];
    let entries = read(&bytes.concat()).unwrap();
    let names: Vec<_> = entries.iter().map(|e| e.path.bytes()).collect();
    assert_eq!(names, [&b"outer"[..], b"next"]);
}

#[test]
fn entries_that_lead_out_or_replace_the_root_are_refused() {
    for name in ["../x", "a/../../x", "/../x"] {
        refused(&plain(name, b'0', b""), "'..'");
    }
    for name in ["", ".", "./.", "/", "/.", "//"] {
        for flag in [b'1', b'2', b'6'] {
            let link = |b: &mut [u8; BLOCK]| b[157..160].copy_from_slice(b"etc");
            refused(&block(name.as_bytes(), flag, 0, b"", link), "root");
        }
        assert_eq!(
            read(&plain(name, b'5', b"")).unwrap()[0].kind,
            Kind::Directory
        );
    }
    let link = |b: &mut [u8; BLOCK]| b[157..164].copy_from_slice(b"../etc/");
    refused(&block(b"a", b'1', 0, b"", link), "its target");
}

#[test]
fn extension_headers_are_limited() {
    let huge = block(b"x", b'L', 256 << 20, b"", |_| {});
    refused(&huge, "an extended header of 268435456 bytes");
    let twice = [
        plain("x", b'L', b"a\0"),
        plain("x", b'L', b"b\0"),
        plain("f", b'0', b""),
    ];
    refused(&twice.concat(), "two long names");
    let twice = [
        plain("x", b'x', &record("uid", "1")),
        plain("x", b'x', &record("uid", "2")),
    ];
    refused(&twice.concat(), "two extended headers");
    let both = [
        plain("x", b'L', b"a\0"),
        plain("x", b'x', &record("path", "b")),
        plain("f", b'0', b""),
    ];
    refused(&both.concat(), "both a GNU and a PAX");
    refused(&plain("x", b'x', &record("path", "b")), "no entry behind");
    refused(&plain("x", b'L', b"a\0b"), "holds a NUL");
}

#[test]
fn owners_never_wrap() {
    let pax = |key, value| [plain("x", b'x', &record(key, value)), plain("f", b'0', b"")].concat();
    assert_eq!(
        read(&pax("uid", "4294967294")).unwrap()[0].uid,
        4_294_967_294
    );
    for id in ["4294967295", "4294967296", "9223372036854775807"] {
        refused(&pax("uid", id), "is not from 0 to 4294967294");
        refused(&pax("gid", id), "is not from 0 to 4294967294");
    }
    let minus = |b: &mut [u8; BLOCK]| b[108..116].copy_from_slice(&[0xff; 8]);
    refused(&block(b"f", b'0', 0, b"", minus), "uid -1 is negative");
}

#[test]
fn what_readers_differ_on_is_refused() {
    let link = |b: &mut [u8; BLOCK]| b[157..158].copy_from_slice(b"a");
    refused(
        &block(b"l", b'1', 512, &[0; 512], link),
        "behind what is no file",
    );
    refused(&plain("d", b'5', b"x"), "behind what is no file");
    let sparse = read(&plain("s", b'S', b"")).unwrap_err();
    assert!(format!("{sparse:?}").contains("not GNU's"), "{sparse:?}");
    refused(&plain("m", b'M', b""), "type 'M'");
    refused(&plain("w", b'3', b""), "0:0");
    refused(&block(b"l", b'2', 0, b"", |_| {}), "without a target");
    let lone = [vec![0; BLOCK], plain("f", b'0', b"")];
    refused(&lone.concat(), "a lone block of zeros");
    refused(&plain("g", b'g', &record("path", "x")), "global");
}

#[test]
fn a_tar_cut_at_any_byte_is_refused_or_ends_between_entries() {
    let whole = [
        plain("a", b'0', &[1; 700]),
        plain("x", b'x', &record("uid", "7")),
        plain("b", b'0', b"y"),
    ]
    .concat();
    for length in 1..whole.len() {
        let on_border = length == 1536;
        assert_eq!(read(&whole[..length]).is_ok(), on_border, "cut at {length}");
    }
}

#[test]
fn counts_and_bytes_are_limited() {
    let limits = Limits {
        entries: 2,
        bytes: 4096,
    };
    let three = [
        plain("a", b'0', b""),
        plain("b", b'0', b""),
        plain("c", b'0', b""),
    ]
    .concat();
    let error = read_limited(&three, limits).unwrap_err().to_string();
    assert!(error.contains("more than 2 entries"), "{error}");
    let error = read_limited(&plain("a", b'0', &[0; 4000]), limits).unwrap_err();
    assert!(
        format!("{error:?}").contains("more than 4096 bytes"),
        "{error:?}"
    );
    let vast = block(b"a", b'0', (1 << 33) - 1, b"", |_| {});
    assert!(read_limited(&vast, limits).is_err());
}

#[test]
fn names_that_are_not_utf_8_stay_as_they_are() {
    let entries = read(&block(b"a\xff\xfe", b'0', 0, b"", |_| {})).unwrap();
    assert_eq!(entries[0].path.bytes(), b"a\xff\xfe");
    assert_eq!(entries[0].path.to_string(), "\"a\u{fffd}\u{fffd}\"");
}

#[test]
fn messages_escape_what_a_name_holds() {
    let error = read(&block(b"../\x1b[31m\n", b'0', 0, b"", |_| {})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "entry \"../\\u{1b}[31m\\n\": a path can't hold '..'"
    );
}

#[test]
fn the_tar_crates_own_archives_are_read() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o4755);
    header.set_uid(1_000_000);
    header.set_mtime(1_700_000_000);
    let long = format!("usr/{}", "x".repeat(150));
    builder
        .append_data(&mut header, &long, &b"hello"[..])
        .unwrap();
    let bytes = builder.into_inner().unwrap();
    let mut entries = Entries::new(&bytes[..], Limits::default());
    let entry = entries.next().unwrap().unwrap();
    let mut data = String::new();
    entries.read_to_string(&mut data).unwrap();
    assert_eq!(data, "hello");
    assert_eq!(
        (entry.mode, entry.uid, entry.mtime.secs),
        (0o4755, 1_000_000, 1_700_000_000)
    );
    assert_eq!(entries.next().unwrap(), None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Whatever bytes change in an honest tar, the reader neither panics nor gives a path that leads
    /// out, and it never reads past what is there.
    #[test]
    fn a_mutated_tar_is_read_cleanly_or_refused(
        places in proptest::collection::vec((0..6144_usize, proptest::prelude::any::<u8>()), 1..6),
        whole_checksum in proptest::prelude::any::<bool>(),
    ) {
        let mut bytes = [
            plain("a/b", b'0', &[7; 600]),
            plain("x", b'x', &[record("path", "c/d"), record("size", "3")].concat()),
            plain("c", b'0', b"abc"),
            plain("././@LongLink", b'L', b"some/long/name\0"),
            plain("cut", b'5', b""),
        ]
        .concat();
        for (place, value) in places {
            let place = place % bytes.len();
            bytes[place] = value;
            let start = place - place % BLOCK;
            if whole_checksum {
                let block = &mut bytes[start..start + BLOCK];
                block[148..156].copy_from_slice(b"        ");
                let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let mut entries = Entries::new(&bytes[..], Limits::default());
        let mut data = Vec::new();
        while let Ok(Some(entry)) = entries.next() {
            let names: Vec<_> = entry.path.names().collect();
            proptest::prop_assert!(names.iter().all(|name| !matches!(*name, b"" | b"." | b"..")));
            if entries.read_to_end(&mut data).is_err() {
                break;
            }
        }
        proptest::prop_assert!(data.len() <= bytes.len());
    }
}

#[test]
fn what_only_another_dialect_has_is_refused() {
    let gnu = |flag| {
        block(b"f", flag, 0, b"", |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            block[483..490].copy_from_slice(b"0001000");
        })
    };
    refused(
        &gnu(b'0'),
        "the map of a sparse file in a header that has none",
    );
    refused(
        &gnu(b'5'),
        "the map of a sparse file in a header that has none",
    );
    let old = |flag, place: usize| {
        block(b"f", flag, 0, b"", |block| {
            block[257..265].fill(0);
            block[place] = b'1';
        })
    };
    refused(&old(b'0', 345), "a prefix in a header that has none");
    refused(&old(b'3', 329), "a device in a header without its numbers");
    // Times of GNU tar's, in the place of a prefix.
    let times = block(b"f", b'0', 0, b"", |block| {
        block[257..265].copy_from_slice(b"ustar  \0");
        block[345..356].copy_from_slice(b"15000000000");
    });
    assert_eq!(read(&times).unwrap()[0].path.bytes(), b"f");
}

#[test]
fn a_name_with_a_slash_is_a_directorys() {
    for flag in [0, b'0', b'7'] {
        assert_eq!(
            read(&plain("d/", flag, b"")).unwrap()[0].kind,
            Kind::Directory
        );
    }
    refused(
        &plain("d/", b'S', b""),
        "a sparse file called like a directory",
    );
}

#[test]
fn nothing_stands_behind_the_end_of_a_name() {
    let long = |behind: &[u8]| {
        let data = [b"name", behind].concat();
        let header = block(b"././@LongLink", b'L', 4, &data, |_| {});
        [header, plain("f", b'0', b"")].concat()
    };
    assert_eq!(read(&long(b"")).unwrap()[0].path.bytes(), b"name");
    refused(&long(b"\0more"), "bytes behind an extended header's end");
    refused(&long(b"more"), "bytes behind an extended header's end");
}
