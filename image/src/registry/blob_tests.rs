//! What becomes of a blob on a line that breaks, and at a server that lies about it.

use super::super::client::tests::{HASTY, client};
use super::super::play::{Server, answer};
use super::*;
use crate::digest::{Promise, Verified};

const BYTES: &[u8] = b"the bytes of a layer, more or less";

fn repository(servers: &[&Server]) -> Arc<Repository> {
    Arc::new(Repository {
        name: "r.io/a/b".to_owned(),
        path: "a/b".to_owned(),
        clients: servers.iter().map(|server| client(server, None)).collect(),
        watch: None,
    })
}

fn read(servers: &[&Server]) -> Result<Vec<u8>, String> {
    let digest = Digest::of(BYTES);
    let size = BYTES.len() as u64;
    let repository = repository(servers);
    let blob = RemoteBlob {
        repository,
        digest,
        size,
    };
    let mut bytes = Vec::new();
    let mut reader = blob.open().map_err(|e| e.to_string())?;
    reader.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let promise = Promise {
        digest: Some(digest),
        size: Some(size),
    };
    Verified::new(&bytes[..], promise)
        .finish("blob")
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// An answer that is cut after `count` bytes of its body.
fn cut(status: &str, headers: &[&str], body: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = answer(status, headers, body);
    bytes.truncate(bytes.len() - body.len() + count);
    bytes
}

#[test]
fn a_broken_line_is_taken_up_at_its_byte() {
    let server = Server::new(|seen, number| match number {
        0 => cut("200 OK", &[], BYTES, 10),
        1 => cut(
            "206 Part",
            &["Content-Range: bytes 10-33/34"],
            &BYTES[10..],
            5,
        ),
        _ => {
            assert_eq!(seen.header("range"), Some("bytes=15-"));
            answer("206 Part", &["Content-Range: bytes 15-33/*"], &BYTES[15..])
        }
    });
    assert_eq!(read(&[&server]).unwrap(), BYTES);
    assert_eq!(server.seen().len(), 3);
    assert_eq!(server.seen()[0].header("range"), None);
}

#[test]
fn a_server_that_knows_no_ranges_is_read_from_the_start() {
    let server = Server::new(|_, number| match number {
        0 => cut("200 OK", &[], BYTES, 10),
        _ => answer("200 OK", &[], BYTES),
    });
    assert_eq!(read(&[&server]).unwrap(), BYTES);
}

#[test]
fn another_part_than_asked_for_is_refused() {
    for range in [
        "bytes 0-23/34",
        "bytes 10-33/35",
        "bytes 10",
        "10-33/34",
        "",
    ] {
        let line = format!("Content-Range: {range}");
        let server = Server::new(move |_, number| match number {
            0 => cut("200 OK", &[], BYTES, 10),
            _ => answer("206 Part", &[&line], &BYTES[10..]),
        });
        let error = read(&[&server]).unwrap_err();
        assert!(
            error.contains("another part than was asked for"),
            "{range}: {error}"
        );
    }
}

#[test]
fn a_line_that_breaks_again_and_again_is_given_up() {
    let server = Server::new(|_, number| match number {
        0 => cut("200 OK", &[], BYTES, 1),
        _ => {
            let range = format!("Content-Range: bytes {number}-33/34");
            cut("206 Part", &[&range], &BYTES[number..], 1)
        }
    });
    let error = read(&[&server]).unwrap_err();
    assert!(error.ends_with("at byte 3 of 34"), "{error}");
    assert_eq!(server.seen().len() as u32, HASTY.attempts);
}

#[test]
fn a_size_that_is_not_the_manifests_is_refused_before_the_first_byte() {
    let longer = [BYTES, b"!"].concat();
    for body in [BYTES[1..].to_vec(), longer] {
        let server = Server::new(move |_, _| answer("200 OK", &[], &body));
        let error = read(&[&server]).unwrap_err();
        assert!(error.contains("size is"), "{error}");
    }
}

#[test]
fn no_more_than_the_promised_bytes_are_read() {
    let server = Server::new(|_, _| {
        [
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            BYTES.to_vec(),
            vec![b'!'; 10_000],
        ]
        .concat()
    });
    assert_eq!(read(&[&server]).unwrap(), BYTES);
}

#[test]
fn other_bytes_are_seen_for_what_they_are() {
    let server = Server::new(|_, _| answer("200 OK", &[], &BYTES.to_ascii_uppercase()));
    assert!(read(&[&server]).unwrap_err().contains("digest is"));
}

#[test]
fn the_next_server_is_asked_where_one_fails() {
    let lacks = Server::new(|_, _| answer("404 Not here", &[], b""));
    let breaks = Server::new(|_, number| match number {
        0 => cut("200 OK", &[], BYTES, 10),
        _ => answer("404 Not any more", &[], b""),
    });
    let has = Server::new(|seen, _| match seen.header("range") {
        Some(range) => {
            assert_eq!(range, "bytes=10-");
            answer("206 Part", &["Content-Range: bytes 10-33/34"], &BYTES[10..])
        }
        None => answer("200 OK", &[], BYTES),
    });
    assert_eq!(read(&[&lacks, &breaks, &has]).unwrap(), BYTES);
    assert_eq!(lacks.seen().len(), 1);
    assert!(read(&[&lacks]).unwrap_err().contains("404 (not found)"));
}

#[test]
fn bytes_that_drip_are_too_slow() {
    let mut pace = Pace::default();
    let second = Duration::from_secs(1);
    let mut slow = || pace.is_too_slow(1, second, 10 * second, 100);
    assert_eq!((0..20).map(|_| slow()).filter(|slow| *slow).count(), 2);
    let mut pace = Pace::default();
    assert!(!(0..20).any(|_| pace.is_too_slow(10, second, 10 * second, 100)));
}
