//! What a layer's way comes to when any step of it fails, and that nobody waits for ever.

use super::*;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

/// A blob that gives `bytes` a few at a time, and then a fault if it has one.
#[derive(Debug)]
struct Given {
    bytes: Vec<u8>,
    step: usize,
    fault: Option<io::ErrorKind>,
}

struct Reader<'a>(&'a Given, usize);

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = &self.0.bytes[self.1..];
        let count = left.len().min(self.0.step).min(buffer.len());
        if let (0, Some(kind)) = (count, self.0.fault) {
            let ours = Error::refused("registry", "it hung up");
            return Err(io::Error::new(kind, ours));
        }
        buffer[..count].copy_from_slice(&left[..count]);
        self.1 += count;
        Ok(count)
    }
}

impl Blob for Given {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        // A blob that is opened lives as long as its stream.
        let copy = Box::leak(Box::new(Given {
            bytes: self.bytes.clone(),
            ..*self
        }));
        Ok(Box::new(Reader(copy, 0)))
    }
}

fn given(bytes: &[u8]) -> Given {
    Given {
        bytes: bytes.to_vec(),
        step: 70,
        fault: None,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress to nothing.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as u8
    };
    (0..length).map(next).collect()
}

/// What was promised is `blob` with `tar` in it; what comes is `given`.
fn run<T>(
    given: &Given,
    blob: &[u8],
    tar: &[u8],
    take: impl FnOnce(Intake) -> Result<T>,
) -> Result<(Found, T)> {
    let stages = Stages {
        blob: given,
        promise: Promise {
            digest: Some(Digest::of(blob)),
            size: None,
        },
        diff_id: Digest::of(tar),
        keep: tempfile::tempfile().unwrap(),
        most: 10_000_000,
        budget: &Budget::new(50_000_000, 0),
        go_on: &|| true,
        ready: &|| Ok(()),
    };
    stages.run(take)
}

fn all(mut tar: Intake) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match tar.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Error::Stopped),
    }
}

#[test]
fn the_tar_comes_out_whatever_it_was_packed_with() {
    let tar = noise(3_000_000);
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    for (blob, compression) in [
        (tar.clone(), Compression::None),
        (gzip(&tar), Compression::Gzip),
        (zstd, Compression::Zstd),
    ] {
        let (found, taken) = run(&given(&blob), &blob, &tar, all).unwrap();
        assert!(taken == tar);
        let wanted = Found {
            blob: Digest::of(&blob),
            size: blob.len() as u64,
            compression,
            tar_size: tar.len() as u64,
        };
        assert_eq!(found, wanted);
    }
}

#[test]
fn the_blob_is_kept_as_it_came() {
    use std::io::{Seek, SeekFrom};
    let tar = noise(500_000);
    let blob = gzip(&tar);
    let mut kept = tempfile::tempfile().unwrap();
    let stages = Stages {
        blob: &given(&blob),
        promise: Promise {
            digest: None,
            size: Some(blob.len() as u64),
        },
        diff_id: Digest::of(&tar),
        keep: kept.try_clone().unwrap(),
        most: 10_000_000,
        budget: &Budget::new(50_000_000, 0),
        go_on: &|| true,
        ready: &|| Ok(()),
    };
    stages.run(all).unwrap();
    let mut bytes = Vec::new();
    kept.seek(SeekFrom::Start(0)).unwrap();
    kept.read_to_end(&mut bytes).unwrap();
    assert!(bytes == blob);
}

#[test]
fn a_blob_cut_or_changed_anywhere_is_told_by_its_digest() {
    let tar = noise(400);
    let blob = gzip(&tar);
    for place in 0..blob.len() {
        let mut changed = blob.clone();
        changed[place] ^= 0x10;
        for bytes in [&blob[..place], &changed] {
            let error = run(&given(bytes), &blob, &tar, all).unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with("its blob: digest is sha256:"),
                "{place}: {text}"
            );
        }
    }
}

#[test]
fn a_source_that_fails_at_any_place_is_told_in_its_words() {
    let tar = noise(400);
    let blob = gzip(&tar);
    for place in 0..blob.len() {
        let given = Given {
            fault: Some(io::ErrorKind::Other),
            ..given(&blob[..place])
        };
        let error = run(&given, &blob, &tar, all).unwrap_err();
        assert_eq!(error.to_string(), "registry: it hung up", "{place}");
    }
}

#[test]
fn what_can_not_be_inflated_is_told_if_it_was_promised_so() {
    let tar = noise(200_000);
    let whole = gzip(&tar);
    for place in [11, 5_000, whole.len() / 2, whole.len() - 9] {
        let cut = &whole[..place];
        let error = run(&given(cut), cut, &tar, all).unwrap_err();
        assert_eq!(
            error.to_string(),
            "its compressed data: it is cut short",
            "{place}"
        );
    }
}

#[test]
fn a_tar_that_is_refused_may_be_another_than_was_promised() {
    let tar = noise(2_000_000);
    let blob = gzip(&tar);
    let refuse = |mut tar: Intake| -> Result<()> {
        tar.read_exact(&mut [0; 100]).unwrap();
        tar.drain().map_err(stopped)?;
        Err(Error::refused("entry", "bad"))
    };
    let error = run(&given(&blob), &blob, &tar, refuse).unwrap_err();
    assert_eq!(error.to_string(), "entry: bad");
    let error = run(&given(&blob), &blob, b"other", refuse).unwrap_err();
    assert!(error.to_string().starts_with("its content: diff id is"));
    let error = run(&given(&blob), b"other", b"other", refuse).unwrap_err();
    assert!(error.to_string().starts_with("its blob: digest is"));
}

#[test]
fn who_takes_the_tar_may_let_go_of_it() {
    let tar = noise(4_000_000);
    let blob = gzip(&tar);
    let let_go = |mut tar: Intake| -> Result<()> {
        tar.read_exact(&mut [0; 100]).unwrap();
        Err(Error::Stopped)
    };
    let result = run(&given(&blob), &blob, &tar, let_go);
    assert!(matches!(result, Err(Error::Stopped)));
}

#[test]
fn a_stop_from_outside_ends_all_steps() {
    let tar = noise(4_000_000);
    let go_on = AtomicBool::new(true);
    let stages = Stages {
        blob: &given(&gzip(&tar)),
        promise: Promise {
            digest: None,
            size: None,
        },
        diff_id: Digest::of(&tar),
        keep: tempfile::tempfile().unwrap(),
        most: 10_000_000,
        budget: &Budget::new(50_000_000, 0),
        go_on: &|| go_on.load(Ordering::Relaxed),
        ready: &|| Ok(()),
    };
    let result = stages.run(|mut tar| {
        tar.read_exact(&mut [0; 100]).unwrap();
        go_on.store(false, Ordering::Relaxed);
        all(tar)
    });
    assert!(matches!(result, Err(Error::Stopped)));
}

#[test]
fn a_bomb_ends_at_its_limit_however_many_members_it_has() {
    let blob = gzip(&vec![0; 1 << 20]).repeat(20);
    let mut taken = 0;
    let error = run(&given(&blob), &blob, b"", |mut tar| {
        while let Ok(bytes) = tar.fill_buf() {
            let count = bytes.len();
            taken += count;
            tar.consume(count);
        }
        Err::<(), _>(Error::Stopped)
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "its compressed data: it inflates to more than 10000000 bytes"
    );
    assert!(taken <= 10_000_000, "{taken}");
}

#[test]
fn layers_that_are_small_each_may_be_too_much_together() {
    let tar = noise(2_000_000);
    let blob = gzip(&tar);
    let budget = Budget::new(5_000_000, 0);
    let layer = || {
        let stages = Stages {
            blob: &given(&blob),
            promise: Promise {
                digest: None,
                size: None,
            },
            diff_id: Digest::of(&tar),
            keep: tempfile::tempfile().unwrap(),
            most: 10_000_000,
            budget: &budget,
            go_on: &|| true,
            ready: &|| Ok(()),
        };
        stages.run(all).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(layer(), Ok(()));
    assert_eq!(layer(), Ok(()));
    let told = "the image: its layers hold more than 5000000 bytes";
    assert_eq!(layer(), Err(told.to_owned()));
}
