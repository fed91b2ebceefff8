//! One file of a web server, by its address: what a recipe's ADD and a context ask for. No login, no second
//! try; what comes is bounded in size and in time. Not its job: what the file is.

use std::io::{Read, Write};
use std::time::Instant;

use ureq::http::Method;

use super::address::Address;
use super::blob::Pace;
use super::patience::Patience;
use super::transport::{Answer, Sent, Transport, Trust, reason};
use crate::{Error, Result};

/// Redirects on the way to a file.
const MAX_REDIRECTS: usize = 10;

/// A larger file is nothing that belongs into an image.
const LARGEST: u64 = 64 << 30;

/// How much is read at once.
const CHUNK: usize = 128 << 10;

/// What a server said of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileFacts {
    /// What the server calls this state of the file.
    pub etag: Option<String>,
    /// When it was changed, in seconds since 1970.
    pub modified: Option<i64>,
}

/// What came of asking for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Download {
    /// It is still what the etag says.
    Unchanged,
    /// It was written, and this was said of it.
    Whole(FileFacts),
}

/// Asks for the file at `url` and writes it to `to`, unless it is still the one with the tag `etag`.
///
/// # Errors
/// An address that is none; no answer, none with a file, one too long or too slow; a redirect out of TLS.
pub fn download(url: &str, etag: Option<&str>, to: &mut dyn Write) -> Result<Download> {
    let patience = Patience::default();
    fetch(url, etag, to, patience).map_err(|e| e.inside(format!("download {}", shown(url))))
}

/// An address without what may be secret in it.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

fn fetch(
    url: &str,
    etag: Option<&str>,
    to: &mut dyn Write,
    patience: Patience,
) -> Result<Download> {
    let address = |text: &str| {
        Address::parse(text).map_err(|rule| Error::refused(format!("address {text:?}"), rule))
    };
    let mut here = address(url)?;
    let transport = Transport::new(&Trust::default(), patience)?;
    let headers: Vec<(&str, &str)> = match etag {
        Some(etag) => vec![("if-none-match", etag)],
        None => Vec::new(),
    };
    for _ in 0..=MAX_REDIRECTS {
        let unanswered = |reason: String| Error::Unanswered {
            request: format!("GET {}", shown(&here.to_string())),
            reason,
        };
        let answer = transport
            .ask(&Method::GET, &here, &headers, Sent::Nothing)
            .map_err(|fault| unanswered(fault.reason()))?;
        match answer.status {
            200 => return write(answer, to, patience).map_err(unanswered),
            304 if etag.is_some() => return Ok(Download::Unchanged),
            301 | 302 | 303 | 307 | 308 => here = next(&here, &answer)?,
            status => return Err(unanswered(format!("the answer is {status}"))),
        }
    }
    Err(Error::refused(
        shown(url).to_owned(),
        format!("more than {MAX_REDIRECTS} redirects"),
    ))
}

/// Where a redirect leads.
fn next(from: &Address, answer: &Answer) -> Result<Address> {
    let refuse = |to: &str, rule: &str| Error::refused(format!("redirect to {to:?}"), rule);
    let location = answer.header("location").unwrap_or_default();
    let to = from.join(location).map_err(|rule| refuse(location, rule))?;
    let leaves_tls = from.origin.tls && !to.origin.tls;
    match leaves_tls && !sys::fault::broken("no-tls-downgrade") {
        true => Err(refuse(shown(location), "it leads out of TLS")),
        false => Ok(to),
    }
}

/// Writes what the answer brings; the error is a reason.
fn write(answer: Answer, to: &mut dyn Write, patience: Patience) -> Result<Download, String> {
    let too_long = || format!("it is longer than {LARGEST} bytes");
    let facts = FileFacts {
        etag: answer.header("etag").map(str::to_owned),
        modified: answer.header("last-modified").and_then(seconds),
    };
    if answer.body.content_length().is_some_and(|l| l > LARGEST) {
        return Err(too_long());
    }
    let mut body = answer.body.into_reader();
    let mut buffer = vec![0; CHUNK];
    let (mut pace, mut total) = (Pace::default(), 0);
    loop {
        let begun = Instant::now();
        let count = match body.read(&mut buffer) {
            Ok(0) => return Ok(Download::Whole(facts)),
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(reason(&e)),
        };
        if pace.is_too_slow(count, begun.elapsed(), patience.idle, patience.least) {
            return Err("it is too slow".to_owned());
        }
        total += count as u64;
        if total > LARGEST {
            return Err(too_long());
        }
        to.write_all(&buffer[..count])
            .map_err(|e| format!("what came can't be written: {e}"))?;
    }
}

/// A date of HTTP (RFC 9110, 5.6.7) in seconds since 1970.
fn seconds(date: &str) -> Option<i64> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    Some(parser.parse_timestamp(date).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::super::play::{Server, answer};
    use super::*;

    fn get(url: &str, etag: Option<&str>) -> (Result<Download>, Vec<u8>) {
        let mut bytes = Vec::new();
        (download(url, etag, &mut bytes), bytes)
    }

    fn told(url: &str) -> String {
        let error = get(url, None).0.unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text += &format!(": {inner}");
            source = inner.source();
        }
        text
    }

    #[test]
    fn a_file_comes_with_what_is_said_of_it() {
        let server = Server::new(|seen, _| {
            if seen.header("if-none-match") == Some("\"1\"") {
                return answer("304 Same", &[], b"");
            }
            let headers = [
                "ETag: \"1\"",
                "Last-Modified: Fri, 31 Dec 1999 23:59:59 GMT",
            ];
            answer("200 OK", &headers, b"content")
        });
        let (download, bytes) = get(&server.url("/a"), None);
        let facts = FileFacts {
            etag: Some("\"1\"".to_owned()),
            modified: Some(946_684_799),
        };
        assert_eq!(download.unwrap(), Download::Whole(facts));
        assert_eq!(bytes, b"content");
        let (download, bytes) = get(&server.url("/a"), Some("\"1\""));
        assert_eq!((download.unwrap(), bytes.len()), (Download::Unchanged, 0));
    }

    #[test]
    fn redirects_are_followed_and_end() {
        let server = Server::new(|seen, _| match seen.path.as_str() {
            "/a" => answer("302 There", &["Location: /b"], b""),
            "/b" => answer("200 OK", &[], b"b"),
            _ => answer("301 Round", &["Location: /round"], b""),
        });
        assert_eq!(get(&server.url("/a"), None).1, b"b");
        assert!(told(&server.url("/round")).contains("more than 10 redirects"));
    }

    #[test]
    fn a_redirect_stays_in_tls() {
        let from = Address::parse("https://a.b/c").unwrap();
        let answer = |location: &str| {
            let headers = std::collections::HashMap::from([("location", location)]);
            let mut map = ureq::http::HeaderMap::new();
            for (name, value) in headers {
                map.insert(name, value.parse().unwrap());
            }
            Answer {
                status: 302,
                headers: map,
                body: ureq::Body::builder().data(Vec::new()),
            }
        };
        assert!(next(&from, &answer("http://c.d/e")).is_err());
        assert!(next(&from, &answer("file:///etc/passwd")).is_err());
        assert!(next(&from, &answer("https://c.d/e")).is_ok());
    }

    #[test]
    fn what_is_no_whole_file_is_an_error_of_one_line() {
        let server = Server::new(|seen, _| match seen.path.as_str() {
            "/short" => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec(),
            "/long" => b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nabc".to_vec(),
            "/same" => answer("304 Same", &[], b""),
            _ => answer("404 No", &[], b"gone"),
        });
        for (path, words) in [
            ("/short", "it ended the connection"),
            ("/long", "it is longer than"),
            ("/same", "the answer is 304"),
            ("/none?token=hush", "the answer is 404"),
        ] {
            let told = told(&server.url(path));
            assert!(told.contains(words) && !told.contains("hush"), "{told}");
        }
        assert!(told("ftp://a/b").contains("it is no http address"));
    }
}
