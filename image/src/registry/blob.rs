//! A blob of a repository as a stream: where a connection breaks, the next one goes on at that byte; where
//! one server fails, the next one is asked. Not its job: whether the bytes are right (`digest.rs`).

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::BodyReader;
use ureq::http::Method;

use super::client::{Question, denied, unanswered};
use super::repository::Repository;
use super::transport::{Answer, reason};
use crate::digest::mismatch;
use crate::source::Blob;
use crate::watch::Event;
use crate::{Digest, Error, Result};

/// A blob that is to be had.
#[derive(Debug)]
pub(super) struct RemoteBlob {
    pub(super) repository: Arc<Repository>,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Blob for RemoteBlob {
    fn length(&self) -> u64 {
        self.size
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        let mut reader = Reader::new(Arc::clone(&self.repository), self.digest, self.size);
        if self.size > 0 {
            reader.connect()?;
        }
        self.repository.tell(&Event::Begin { size: self.size });
        reader.watched = true;
        Ok(Box::new(reader))
    }
}

/// A blob that is being read.
pub(super) struct Reader {
    repository: Arc<Repository>,
    digest: Digest,
    size: u64,
    /// Bytes that were handed on.
    at: u64,
    body: Option<BodyReader<'static>>,
    /// The server that is asked; those before it have failed.
    server: usize,
    /// Connections that broke without having brought much.
    broken: u32,
    /// Bytes of this connection.
    brought: u64,
    pace: Pace,
    /// Whether it is told of.
    watched: bool,
}

impl Reader {
    pub(super) fn new(repository: Arc<Repository>, digest: Digest, size: u64) -> Self {
        Self {
            repository,
            digest,
            size,
            at: 0,
            body: None,
            server: 0,
            broken: 0,
            brought: 0,
            pace: Pace::default(),
            watched: false,
        }
    }

    /// Asks for what is left, one server after the other.
    fn connect(&mut self) -> Result<()> {
        loop {
            match self.ask() {
                Ok(body) => {
                    self.body = Some(body);
                    self.brought = 0;
                    self.pace = Pace::default();
                    return Ok(());
                }
                Err(_) if self.server + 1 < self.repository.clients.len() => self.server += 1,
                Err(e) => return Err(e),
            }
        }
    }

    fn ask(&self) -> Result<BodyReader<'static>> {
        let client = &self.repository.clients[self.server];
        if !client.endpoint.can.pull {
            let what = format!("server {}", client.endpoint.origin);
            return Err(Error::refused(what, "it is not there to be pulled from"));
        }
        let path = format!("/{}/blobs/{}", self.repository.path, self.digest);
        let mut question = Question::new(Method::GET, client.at(&path)?);
        if self.at > 0 {
            question = question.header("range", format!("bytes={}-", self.at));
        }
        let answer = client.ask(&question)?;
        let from = match answer.status {
            200 => 0,
            206 if starts_at(&answer, self.at, self.size) => self.at,
            206 => {
                let reason = "it gives another part than was asked for".to_owned();
                return Err(unanswered(question.name(), reason));
            }
            _ => return Err(denied(question.name(), answer)),
        };
        if let Some(length) = answer
            .body
            .content_length()
            .filter(|l| *l != self.size - from)
        {
            let what = format!("{}: what it sends", question.name());
            return Err(mismatch(what, "size", self.size - from, length));
        }
        let mut body = answer.body.into_reader();
        // A server that knows no ranges: what we have passes by once more.
        let again = self.at - from;
        let passed = io::copy(&mut (&mut body).take(again), &mut io::sink());
        match passed {
            Ok(passed) if passed == again => Ok(body),
            Ok(_) => Err(unanswered(question.name(), "it ends too early".to_owned())),
            Err(e) => Err(unanswered(question.name(), reason(&e))),
        }
    }

    /// A connection broke: waits, if there is patience left.
    fn wait(&mut self, why: &str) -> io::Result<()> {
        let patience = self.repository.patience();
        self.body = None;
        if self.brought >= patience.progress {
            self.broken = 0;
        }
        self.broken += 1;
        match patience.wait(self.broken, None) {
            Some(wait) => {
                thread::sleep(wait);
                Ok(())
            }
            None => {
                let what = format!("GET {} of {}", self.digest, self.repository.name);
                let reason = format!("{why} at byte {} of {}", self.at, self.size);
                Err(io::Error::other(unanswered(what, reason)))
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        loop {
            let Some(body) = &mut self.body else {
                match self.connect() {
                    Ok(()) => continue,
                    Err(e @ (Error::Unanswered { .. } | Error::Denied { .. })) => {
                        self.wait(&e.to_string())?;
                        continue;
                    }
                    Err(e) => return Err(io::Error::other(e)),
                }
            };
            let begun = Instant::now();
            let why = match body.read(&mut buffer[..length]) {
                Ok(0) => "it ended the connection".to_owned(),
                Ok(count) => {
                    self.at += count as u64;
                    self.brought += count as u64;
                    if self.watched {
                        self.repository.tell(&Event::Passed(count as u64));
                    }
                    let patience = self.repository.patience();
                    if self
                        .pace
                        .is_too_slow(count, begun.elapsed(), patience.idle, patience.least)
                    {
                        // What came is good; the next read asks anew.
                        self.wait("it is too slow")?;
                    }
                    return Ok(count);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => reason(&e),
            };
            self.wait(&why)?;
        }
    }
}

/// How fast bytes come while we wait for them; the time that we take with them is ours.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    pub(super) fn is_too_slow(
        &mut self,
        count: usize,
        waited: Duration,
        window: Duration,
        least: u64,
    ) -> bool {
        self.bytes += count as u64;
        self.waited += waited;
        if self.waited < window {
            return false;
        }
        let slow = self.bytes < least;
        *self = Self::default();
        slow
    }
}

/// Whether a part begins and ends where it was asked to: `bytes 5-9/10`.
fn starts_at(answer: &Answer, at: u64, size: u64) -> bool {
    let range = answer
        .header("content-range")
        .and_then(|range| range.strip_prefix("bytes "));
    let Some((part, total)) = range.and_then(|range| range.split_once('/')) else {
        return false;
    };
    let total_fits = total == "*" || total.parse() == Ok(size);
    let begin = part
        .split_once('-')
        .and_then(|(begin, _)| begin.parse().ok());
    total_fits && begin == Some(at)
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
