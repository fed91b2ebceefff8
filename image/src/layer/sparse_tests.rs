//! The four kinds of sparse files, and what of them is refused.

use super::super::entry::{Entries, Entry, Kind, Limits};
use super::*;

const DATA: &[u8] = &[7; 700];
/// 512 bytes at 1024, 188 at 4096, of 8192.
const PIECES: &[(u64, u64)] = &[(1024, 512), (4096, 188)];

fn header(name: &str, flag: u8, size: usize, edit: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    edit(header.as_mut_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let digits = (1..4).find(|d| (rest + d).to_string().len() == *d).unwrap();
    format!("{} {key}={value}\n", rest + digits)
}

/// An entry behind PAX records.
fn pax(records: &[(&str, &str)], size: usize, data: &[u8]) -> Vec<u8> {
    let text: String = records
        .iter()
        .map(|(key, value)| record(key, value))
        .collect();
    [
        header("x", b'x', text.len(), |_| {}),
        padded(text.as_bytes()),
        header("GNUSparseFile.0/f", b'0', size, |_| {}),
        padded(data),
        header("next", b'0', 0, |_| {}),
    ]
    .concat()
}

fn place(block: &mut [u8], n: usize, (offset, length): (u64, u64)) {
    block[n * 24..n * 24 + 12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
    block[n * 24 + 12..n * 24 + 24].copy_from_slice(format!("{length:011o}\0").as_bytes());
}

/// An old one of so many pieces of a block each, every second block being a hole.
fn old(pieces: usize, edit: impl Fn(&mut [u8])) -> Vec<u8> {
    let piece = |n: usize| ((n as u64) * 1024, 512);
    let mut all = header("f", b'S', pieces * BLOCK, |bytes| {
        (0..pieces.min(4)).for_each(|n| place(&mut bytes[386..482], n, piece(n)));
        bytes[482] = u8::from(pieces > 4);
        bytes[483..495].copy_from_slice(format!("{:011o}\0", pieces * 1024).as_bytes());
        edit(bytes);
    });
    let mut next = 4;
    while next < pieces {
        let mut block = [0; BLOCK];
        let here = (pieces - next).min(21);
        (0..here).for_each(|n| place(&mut block, n, piece(next + n)));
        next += here;
        block[504] = u8::from(next < pieces);
        all.extend(block);
    }
    all.resize(all.len() + pieces * BLOCK, 7);
    all.extend(header("next", b'0', 0, |_| {}));
    all
}

fn first(bytes: &[u8]) -> crate::Result<(Entry, Vec<u8>)> {
    let mut entries = Entries::new(bytes, Limits::default());
    let entry = entries.next()?.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let sparse = entry.sparse.as_ref().expect("it is sparse");
    sparse
        .write(&mut entries, &mut file, &mut [0; 100])
        .unwrap();
    assert_eq!(entries.next()?.unwrap().path.bytes(), b"next");
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    Ok((entry, content))
}

fn expected() -> Vec<u8> {
    let mut content = vec![0; 8192];
    content[1024..1536].fill(7);
    content[4096..4284].fill(7);
    content
}

fn one() -> Vec<u8> {
    [padded(b"2\n1024\n512\n4096\n188\n"), DATA.to_vec()].concat()
}

#[test]
fn all_four_kinds_are_the_same_file() {
    let zero: Vec<(&str, &str)> = vec![
        ("GNU.sparse.size", "8192"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "1024"),
        ("GNU.sparse.numbytes", "512"),
        ("GNU.sparse.offset", "4096"),
        ("GNU.sparse.numbytes", "188"),
        ("path", "d/f"),
    ];
    let map = [
        ("GNU.sparse.name", "d/f"),
        ("GNU.sparse.size", "8192"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.map", "1024,512,4096,188"),
    ];
    let ahead = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "d/f"),
        ("GNU.sparse.realsize", "8192"),
    ];
    let in_header = header("d/f", b'S', DATA.len(), |bytes| {
        (0..2).for_each(|n| place(&mut bytes[386..482], n, PIECES[n]));
        bytes[483..495].copy_from_slice(b"00000020000\0");
    });
    for bytes in [
        pax(&zero, 700, DATA),
        pax(&map, 700, DATA),
        pax(&ahead, 512 + 700, &one()),
        [in_header, padded(DATA), header("next", b'0', 0, |_| {})].concat(),
    ] {
        let (entry, content) = first(&bytes).unwrap();
        assert_eq!(entry.path.bytes(), b"d/f");
        assert!(matches!(entry.kind, Kind::File { .. }));
        assert_eq!(entry.sparse.unwrap().pieces, PIECES);
        assert!(content == expected());
    }
}

#[test]
fn an_old_map_goes_on_in_blocks_behind_its_header() {
    for pieces in [0, 1, 4, 5, 25, 26, 46, 47] {
        let (entry, content) = first(&old(pieces, |_| {})).unwrap();
        assert_eq!(entry.sparse.unwrap().pieces.len(), pieces);
        let ours = content.chunks(512).enumerate();
        assert!(
            ours.into_iter()
                .all(|(n, block)| (n % 2 == 0) == (block[0] == 7))
        );
    }
}

#[test]
fn what_readers_take_in_two_ways_is_refused() {
    for (size, pieces, stored, words) in [
        (4096, vec![(0, 512), (256, 512)], 1024, "overlap"),
        (4096, vec![(1024, 512), (0, 512)], 1024, "overlap"),
        (4096, vec![(4096, 1)], 1, "ends behind"),
        (4096, vec![(u64::MAX, 2)], 2, "ends behind"),
        (4096, vec![(0, 100), (1024, 512)], 612, "within a block"),
        (4096, vec![(0, 512)], 513, "512 bytes in the map"),
    ] {
        let told = Sparse::new(size, pieces, stored).unwrap_err();
        assert!(told.contains(words), "{told}");
    }
    assert!(Sparse::new(4096, vec![(0, 512), (1024, 100), (4096, 0)], 612).is_ok());
    let gap = |bytes: &mut [u8]| bytes[398..410].fill(0);
    for bytes in [
        old(3, gap),
        old(3, |bytes| bytes[482] = 1),
        old(3, |bytes| bytes[257..265].copy_from_slice(b"ustar\x0000")),
        old(4, |bytes| bytes[386] = b'x'),
    ] {
        assert!(first(&bytes).is_err());
    }
}

#[test]
fn records_that_do_not_agree_are_refused() {
    let size = ("GNU.sparse.size", "8192");
    let map = ("GNU.sparse.map", "1024,512,4096,188");
    let version = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")];
    for records in [
        vec![map],
        vec![size, size, map],
        vec![size, ("GNU.sparse.map", "1024,512,4096")],
        vec![size, ("GNU.sparse.map", "1024,512,4096,-1")],
        vec![size, map, ("GNU.sparse.numblocks", "3")],
        vec![
            size,
            map,
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "0"),
        ],
        vec![size, ("GNU.sparse.numbytes", "0")],
        vec![size, ("GNU.sparse.offset", "1024")],
        vec![size, map, ("GNU.sparse.more", "1")],
        vec![version[0], size, map],
        vec![version[0], version[1]],
        vec![version[0], version[1], ("GNU.sparse.realsize", "8192"), map],
        vec![("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), size],
    ] {
        let bytes = pax(&records, 700, DATA);
        assert!(
            Entries::new(&bytes[..], Limits::default()).next().is_err(),
            "{records:?}"
        );
    }
}

#[test]
fn a_map_before_the_data_is_whole_or_refused() {
    let with = |map: &[u8]| {
        let records = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "8192"),
        ];
        let data = [padded(map), DATA.to_vec()].concat();
        let bytes = pax(&records, data.len(), &data);
        Entries::new(&bytes[..], Limits::default())
            .next()
            .map(|_| ())
    };
    assert!(with(b"2\n1024\n512\n4096\n188\n").is_ok());
    for map in [
        &b"2\n1024\n512\n4096\n"[..],
        b"1\n1024\n512\n4096\n188\n",
        b"2\n1024\n512\n4096\n188\nx",
        b"-2\n",
        b"100001\n",
        b"99999999999999999999\n",
        b"\n",
        b"2 1024 512 4096 188",
    ] {
        assert!(with(map).is_err(), "{:?}", String::from_utf8_lossy(map));
    }
}

#[test]
fn holes_count_for_the_limit_of_bytes() {
    let records = [("GNU.sparse.size", "1099511627776"), ("GNU.sparse.map", "")];
    let bytes = pax(&records, 0, b"");
    let told = Entries::new(&bytes[..], Limits::default())
        .next()
        .unwrap_err();
    assert!(
        format!("{told:?}").contains("more than 68719476736 bytes"),
        "{told:?}"
    );
}
