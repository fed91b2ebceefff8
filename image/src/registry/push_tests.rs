//! What is asked of a registry before a blob is sent, and where it goes.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests put files of their own into a store"
)]

use super::super::client::tests::{client, me};
use super::super::play::{Seen, Server, answer};
use super::*;

const BYTES: &[u8] = b"a layer";

/// Sends one blob, as somebody with a password, and gives what the server saw.
fn push(server: &Server, mounts: &[&str]) -> (Result<()>, Vec<Seen>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let digest = Digest::of(BYTES);
    let blob = store.path().join("blobs/sha256").join(digest.hex());
    std::fs::write(blob, BYTES).unwrap();
    let repository = Repository {
        name: "r.io/a/b".to_owned(),
        path: "a/b".to_owned(),
        clients: vec![client(server, me())],
        watch: None,
    };
    let pusher = Pusher {
        store: &store,
        repository: &repository,
        client: &repository.clients[0],
    };
    let part = Part {
        digest,
        size: BYTES.len() as u64,
        mounts: mounts.iter().map(|from| (*from).to_owned()).collect(),
        from: Place::Store,
    };
    (pusher.all(&[part]), server.seen())
}

fn asked(seen: &[Seen]) -> Vec<String> {
    let digest = Digest::of(BYTES).to_string();
    let escaped = digest.replace(':', "%3A");
    let line = |seen: &Seen| format!("{} {}", seen.method, seen.path);
    let lines = seen.iter().map(line);
    lines
        .map(|line| line.replace(&digest, "D").replace(&escaped, "D"))
        .collect()
}

#[test]
fn what_the_registry_has_is_not_sent() {
    let server = Server::new(|_, _| answer("200 OK", &[], b""));
    let (result, seen) = push(&server, &["c"]);
    result.unwrap();
    assert_eq!(asked(&seen), ["HEAD /v2/a/b/blobs/D"]);
}

#[test]
fn what_another_repository_has_is_mounted() {
    let server = Server::new(|seen, _| match seen.method.as_str() {
        "HEAD" => answer("404 No", &[], b""),
        _ => answer("201 Made", &[], b""),
    });
    let (result, seen) = push(&server, &["c/d"]);
    result.unwrap();
    assert_eq!(
        asked(&seen),
        [
            "HEAD /v2/a/b/blobs/D",
            "POST /v2/a/b/blobs/uploads/?mount=D&from=c%2Fd"
        ]
    );
}

#[test]
fn a_blob_goes_in_one_stream_to_where_the_registry_says() {
    let server = Server::new(|seen, _| match seen.method.as_str() {
        "HEAD" => answer("404 No", &[], b""),
        "POST" => answer("202 Begun", &["Location: /upload/1?state=x"], b""),
        _ => answer("201 Made", &[], b""),
    });
    // Where a mount can't be had, its answer begins an upload.
    let (result, seen) = push(&server, &["c"]);
    result.unwrap();
    assert_eq!(
        asked(&seen)[1..],
        [
            "POST /v2/a/b/blobs/uploads/?mount=D&from=c",
            "PUT /upload/1?state=x&digest=D"
        ]
    );
    let put = &seen[2];
    assert_eq!(put.body, BYTES);
    assert_eq!(put.header("content-type"), Some("application/octet-stream"));
    assert_eq!(put.header("content-length"), Some("7"));
}

#[test]
fn a_broken_upload_is_begun_anew() {
    let server = Server::new(|seen, number| match (seen.method.as_str(), number) {
        ("HEAD", _) => answer("404 No", &[], b""),
        ("POST", _) => answer("202 Begun", &[&format!("Location: /upload/{number}")], b""),
        (_, 2) => answer("500 Oh", &[], b""),
        (_, 4) => Vec::new(),
        _ => answer("201 Made", &[], b""),
    });
    let (result, seen) = push(&server, &[]);
    result.unwrap();
    let puts = asked(&seen)
        .into_iter()
        .filter(|line| line.starts_with("PUT"));
    assert_eq!(
        puts.collect::<Vec<_>>(),
        [
            "PUT /upload/1?digest=D",
            "PUT /upload/3?digest=D",
            "PUT /upload/5?digest=D"
        ]
    );
}

#[test]
fn a_password_does_not_go_where_the_blob_goes() {
    let other = Server::new(|_, _| answer("201 Made", &[], b""));
    let there = other.url("/bucket?signed=yes");
    let server =
        Server::new(
            move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
                (None, _) => answer("401 No", &["WWW-Authenticate: Basic"], b""),
                (_, "HEAD") => answer("404 No", &[], b""),
                _ => answer("202 Begun", &[&format!("Location: {there}")], b""),
            },
        );
    push(&server, &[]).0.unwrap();
    assert_eq!(other.seen()[0].body, BYTES);
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[test]
fn a_place_that_is_none_is_refused() {
    for location in ["", "ftp://x/", "http://u:p@h/"] {
        let line = format!("Location: {location}");
        let server = Server::new(move |seen, _| match seen.method.as_str() {
            "HEAD" => answer("404 No", &[], b""),
            _ => answer("202 Begun", &[&line], b""),
        });
        let error = push(&server, &[]).0.unwrap_err().to_string();
        assert!(error.contains("it wants the blob at"), "{error}");
    }
}
