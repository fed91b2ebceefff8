//! A layer's bytes on their way to the unpacker, each step in a thread of its own: the blob is read,
//! hashed and kept; inflated; hashed for its diff id. And which of several faults is the cause.
//! Not its job: what is made of the tar.
//!
//! ```text
//! blob ─► Keep ─► Inflate ─► Measure ─► whoever takes the tar
//!   read, hash,      │        hash         (the calling thread)
//!   keep             └ stops a bomb
//! ```
//!
//! Who finds bytes that are wrong reads on to their end, so that the steps before can say whether they
//! are the promised bytes at all; who stops for another reason lets go, and then all stop.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::budget::Budget;
use crate::compression::{Compression, Decoder, Ready};
use crate::digest::{Hasher, Promise, Verified, mismatch};
use crate::error::Doing;
use crate::layer::entry::stream_fault;
use crate::pipe::{Feed, Gone, Intake, Tap, pipe, tapped};
use crate::source::Blob;
use crate::{Digest, Error, Result};

/// Chunks under way, and their size: 2 MiB a layer in all. Small enough that what one step wrote is in
/// a cache still when the next one reads it.
const BLOB_CHUNKS: (usize, usize) = (4, 128 * 1024);
const TAR_CHUNKS: (usize, usize) = (6, 256 * 1024);

/// A layer to be read.
pub(super) struct Stages<'a> {
    pub(super) blob: &'a dyn Blob,
    pub(super) promise: Promise,
    pub(super) diff_id: Digest,
    /// Where the blob is kept.
    pub(super) keep: File,
    /// How many bytes it may inflate to.
    pub(super) most: u64,
    /// What all layers of the image may.
    pub(super) budget: &'a Budget,
    /// Asked now and then; `false` stops everything.
    pub(super) go_on: &'a (dyn Fn() -> bool + Sync),
    /// Asked before a large window is taken.
    pub(super) ready: &'a Ready<'a>,
}

/// What its bytes turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) blob: Digest,
    pub(super) size: u64,
    pub(super) compression: Compression,
    pub(super) tar_size: u64,
}

impl Stages<'_> {
    /// Runs all steps, and `take` with the tar in this thread. What `take` makes or finds wrong counts
    /// only if the bytes were those promised.
    pub(super) fn run<T>(self, take: impl FnOnce(Intake) -> Result<T>) -> Result<(Found, T)> {
        let Self {
            blob,
            promise,
            diff_id,
            keep: to,
            most,
            budget,
            go_on,
            ready,
        } = self;
        let (read, raw) = pipe(BLOB_CHUNKS.0, BLOB_CHUNKS.1);
        let (inflated, tap, tar) = tapped(TAR_CHUNKS.0, TAR_CHUNKS.1);
        thread::scope(|scope| {
            let keeping = start(scope, "read", move || keep(blob, promise, to, read, go_on))?;
            let inflating = start(scope, "inflate", move || {
                inflate(raw, inflated, most, budget, ready)
            })?;
            let measuring = start(scope, "hash", move || measure(tap))?;
            let taken = take(tar);
            let measured = join(measuring);
            verdict(join(keeping), join(inflating), measured, taken, diff_id)
        })
    }
}

fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, Result<T>>> {
    // Where there is no thread its ends of the pipes are gone, so those that have begun stop.
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .map_err(|e| sys::SysError::from_io("clone", name, &e))
        .doing(|| "start a thread".to_owned())
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Of several faults the one that is the cause: bytes that are not those promised explain everything
/// behind them, and a step that only stopped is explained by another.
fn verdict<T>(
    kept: Result<(Digest, u64)>,
    inflated: Result<Compression>,
    measured: Result<(Digest, u64)>,
    taken: Result<T>,
    diff_id: Digest,
) -> Result<(Found, T)> {
    let measured = measured.and_then(|(found, length)| match found.keeps(diff_id) {
        true => Ok(length),
        false => Err(mismatch("its content", "diff id", diff_id, found)),
    });
    match (kept, inflated, measured, taken) {
        (Ok((blob, size)), Ok(compression), Ok(tar_size), Ok(taken)) => {
            let found = Found {
                blob,
                size,
                compression,
                tar_size,
            };
            Ok((found, taken))
        }
        (kept, inflated, measured, taken) => {
            let mut faults = [kept.err(), inflated.err(), measured.err(), taken.err()]
                .into_iter()
                .flatten();
            let cause = faults.find(|e| !matches!(e, Error::Stopped));
            Err(cause.unwrap_or(Error::Stopped))
        }
    }
}

fn stopped(_: Gone) -> Error {
    Error::Stopped
}

/// Reads the blob, holds it to its promise and keeps it.
fn keep(
    blob: &dyn Blob,
    promise: Promise,
    mut to: File,
    mut feed: Feed,
    go_on: &dyn Fn() -> bool,
) -> Result<(Digest, u64)> {
    let mut from = Verified::new(blob.open()?, promise);
    loop {
        if !go_on() {
            return Err(Error::Stopped);
        }
        let mut chunk = feed.chunk().map_err(stopped)?;
        chunk.fill(&mut from).map_err(|e| fault("its blob", e))?;
        if chunk.bytes().is_empty() {
            let found = from.finish("its blob")?;
            feed.end().map_err(stopped)?;
            return Ok(found);
        }
        to.write_all(chunk.bytes())
            .map_err(|e| sys::SysError::from_io("write", "", &e))
            .doing(|| "keep its blob".to_owned())?;
        feed.send(chunk).map_err(stopped)?;
    }
}

/// A fault of reading: our own error, where the source gives one.
fn fault(what: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => stream_fault(what, &error),
    }
}

/// Inflates, up to `most` bytes, which the image must afford.
fn inflate(
    mut raw: Intake,
    mut feed: Feed,
    most: u64,
    budget: &Budget,
    ready: &Ready<'_>,
) -> Result<Compression> {
    if raw.fill_buf().is_err() {
        return Err(Error::Stopped);
    }
    let (mut decoder, compression) = Decoder::when_ready(raw, ready)?;
    let mut total = 0;
    let found = loop {
        let mut chunk = feed.chunk().map_err(stopped)?;
        if let Err(e) = chunk.fill(&mut decoder) {
            break Some(fault("its compressed data", e));
        }
        if chunk.bytes().is_empty() {
            break None;
        }
        let length = chunk.bytes().len() as u64;
        total += length;
        if total > most {
            let rule = format!("it inflates to more than {most} bytes");
            break Some(Error::refused("its compressed data", rule));
        }
        if let Err(e) = budget.bytes(length) {
            break Some(e);
        }
        feed.send(chunk).map_err(stopped)?;
    };
    // All bytes of the blob count, wherever the stream in it ends.
    decoder.into_inner().drain().map_err(stopped)?;
    match found {
        Some(fault) => Err(fault),
        None => feed.end().map_err(stopped).map(|()| compression),
    }
}

/// The digest and length of what passes.
fn measure(tap: Tap) -> Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    tap.pass(|bytes| hasher.update(bytes)).map_err(stopped)?;
    let length = hasher.length();
    Ok((hasher.finish(), length))
}

#[cfg(test)]
#[path = "stages_tests.rs"]
mod tests;
