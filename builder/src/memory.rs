//! What files of a context held, by what stat says of them: an unchanged context costs one stat a file. Kept
//! as a note for each COPY of a context. Not its job: reading files.
//!
//! A file counts as unchanged if device, inode, size, time of change and time of its inode's change are the
//! same. A file that was changed while, or just before, it was read could be changed again without a new
//! time (git calls such an entry racy): it is not remembered.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use image::Store;
use serde::{Deserialize, Serialize};
use sys::at::{FileType, Stat};

use crate::fingerprint::{Sum, Xattrs};
use crate::notes;

/// The kind of our notes.
const KIND: &str = "files of a context";

/// More files are not remembered.
const MOST: usize = 200_000;

/// Times of most file systems are those of the kernel's tick; of some they are whole seconds, or two.
const TICK: i64 = 50_000_000;
const COARSE: i64 = 2_100_000_000;

/// Device and inode, size, time of change, time of the inode's change, both in nanoseconds.
type Looks = (u64, u64, i64, i64, i64);

/// One file: how it looks, the digest of its bytes in hex (empty for a folder), its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry(Looks, String, Xattrs);

/// What is known of files from an earlier build, and what this one learns.
pub(crate) struct Memory {
    subject: Vec<u8>,
    old: HashMap<(u64, u64), Entry>,
    new: Vec<Entry>,
    /// The files among `new` that were known before.
    seen: HashSet<(u64, u64)>,
    learned: bool,
    /// When we began to look, in nanoseconds since 1970.
    began: i64,
}

/// What is known of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The digest of its bytes; none for a folder.
    pub(crate) sum: Option<Sum>,
    /// Its extended attributes.
    pub(crate) xattrs: Xattrs,
}

impl Memory {
    /// What is known of `subject`: the context and the part of it that is read.
    pub(crate) fn of(store: &Store, subject: Vec<u8>) -> Self {
        let entries: Vec<Entry> = notes::read(store, KIND, &subject).unwrap_or_default();
        Self::new(subject, entries, now())
    }

    fn new(subject: Vec<u8>, entries: Vec<Entry>, began: i64) -> Self {
        let old = entries
            .into_iter()
            .map(|entry| ((entry.0.0, entry.0.1), entry));
        Self {
            subject,
            old: old.collect(),
            new: Vec::new(),
            seen: HashSet::new(),
            learned: false,
            began,
        }
    }

    /// What is known of a file that looks so.
    pub(crate) fn find(&mut self, stat: &Stat) -> Option<Known> {
        let looks = looks(stat)?;
        let entry = self.old.get(&(looks.0, looks.1))?;
        if entry.0 != looks {
            return None;
        }
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let sum = match is_file {
            true => Some(unhex(&entry.1)?),
            false => None,
        };
        let known = Known {
            sum,
            xattrs: entry.2.clone(),
        };
        // One of several names is enough.
        if self.seen.insert((looks.0, looks.1)) {
            self.new.push(entry.clone());
        }
        Some(known)
    }

    /// Remembers a file that was read after it looked so.
    pub(crate) fn learn(&mut self, stat: &Stat, sum: Option<&Sum>, xattrs: &Xattrs) {
        self.learned = true;
        let Some(looks) = looks(stat).filter(|looks| is_settled(looks, self.began)) else {
            return;
        };
        let text = sum.map(|sum| crate::fingerprint::hex(sum));
        self.new
            .push(Entry(looks, text.unwrap_or_default(), xattrs.clone()));
    }

    /// Keeps what was seen now, and forgets what was not.
    pub(crate) fn keep(mut self, store: &Store) {
        if self.learned || self.new.len() != self.old.len() {
            self.new.truncate(MOST);
            notes::write(store, KIND, &self.subject, self.new);
        }
    }

    /// Forgets all that is known of `subject`: it turned out wrong.
    pub(crate) fn forget(store: &Store, subject: &[u8]) {
        notes::write(store, KIND, subject, Vec::<Entry>::new());
    }
}

/// Whether a file's times are old enough that a later change gets other ones.
fn is_settled(looks: &Looks, began: i64) -> bool {
    let (mtime, ctime) = (looks.3, looks.4);
    let tick = match ctime % 1_000_000_000 {
        0 => COARSE,
        _ => TICK,
    };
    let before = began.saturating_sub(tick);
    mtime < before && ctime < before
}

fn looks(stat: &Stat) -> Option<Looks> {
    let nanoseconds = |seconds: i64, rest: u64| {
        let rest = i64::try_from(rest).ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(rest)
    };
    Some((
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        nanoseconds(stat.st_mtime, stat.st_mtime_nsec)?,
        nanoseconds(stat.st_ctime, stat.st_ctime_nsec)?,
    ))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(0))
}

fn unhex(text: &str) -> Option<Sum> {
    let digits = text.as_bytes();
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    let mut sum = Sum::default();
    for (at, byte) in sum.iter_mut().enumerate() {
        *byte = u8::try_from(digit(2 * at)? * 16 + digit(2 * at + 1)?).ok()?;
    }
    (digits.len() == 64).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn stat(path: &std::path::Path) -> Stat {
        sys::at::statat(sys::at::CWD, path, sys::at::AtFlags::empty()).unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the folder is this test's own")]
    fn a_file_is_known_until_it_looks_different() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "1").unwrap();
        let later = now() + 10 * SECOND;
        let mut memory = Memory::new(Vec::new(), Vec::new(), later);
        let (sum, before) = ([7; 32], stat(&path));
        assert_eq!(memory.find(&before), None);
        memory.learn(&before, Some(&sum), &Vec::new());
        let mut memory = Memory::new(Vec::new(), memory.new, later);
        let found = memory.find(&before).unwrap();
        assert_eq!((found.sum, found.xattrs), (Some(sum), Vec::new()));
        std::fs::write(&path, "22").unwrap();
        assert_eq!(memory.find(&stat(&path)), None);
    }

    #[test]
    fn a_file_that_may_change_within_one_time_is_not_remembered() {
        let at = 1_000 * SECOND + 1;
        assert!(!is_settled(&(1, 1, 1, 0, at), at));
        assert!(!is_settled(&(1, 1, 1, at, 1), at));
        assert!(!is_settled(&(1, 1, 1, 0, at), at + TICK));
        assert!(is_settled(&(1, 1, 1, 0, at), at + TICK + 1));
        // A file system of whole seconds.
        let whole = 1_000 * SECOND;
        assert!(!is_settled(&(1, 1, 1, whole, whole), whole + 2 * SECOND));
        assert!(is_settled(&(1, 1, 1, whole, whole), whole + 3 * SECOND));
    }

    #[test]
    fn what_is_no_digest_is_not_taken_for_one() {
        assert_eq!(unhex(&"ab".repeat(32)), Some([0xab; 32]));
        assert_eq!(unhex(&"ab".repeat(31)), None);
        assert_eq!(unhex(&"ab".repeat(33)), None);
        assert_eq!(unhex(&"xy".repeat(32)), None);
    }
}
