//! Small files as they were when a COPY read them for its key: what is written is what was hashed, and nothing is read
//! twice. Not its job: reading files, and what is known from earlier builds (see `memory`).

use std::collections::HashMap;
use std::sync::Arc;

use sys::at::Stat;

use crate::fingerprint::{Sum, Xattrs};

/// The most bytes that are kept for one COPY. Beyond it files are read again.
const ROOM: usize = 32 << 20;

/// A larger file is not kept: reading it again costs little beside writing it.
const LARGEST: u64 = 64 << 10;

/// What is charged for a file beside its bytes.
const ENTRY: usize = 256;

/// Files of one walk, by their paths.
pub(crate) struct Ready {
    files: HashMap<Vec<u8>, ReadyFile>,
    /// So many more bytes may be kept.
    room: usize,
}

/// A file that was read.
pub(crate) struct ReadyFile {
    /// How it looked before.
    stat: Stat,
    /// The digest of its bytes.
    pub(crate) sum: Sum,
    /// Its extended attributes.
    pub(crate) xattrs: Xattrs,
    /// Its bytes.
    pub(crate) bytes: Arc<Vec<u8>>,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            files: HashMap::new(),
            room: ROOM,
        }
    }
}

impl Ready {
    /// Somewhere for a file's bytes, if it is to be kept.
    pub(crate) fn place(&self, stat: &Stat) -> Option<Vec<u8>> {
        let size = u64::try_from(stat.st_size).ok().filter(|s| *s <= LARGEST)?;
        let size = usize::try_from(size).ok()?;
        (size + ENTRY <= self.room).then(|| Vec::with_capacity(size))
    }

    /// Keeps a file that was read after it looked so. One that is not as long as it looked is not kept.
    pub(crate) fn keep(
        &mut self,
        path: &[u8],
        stat: &Stat,
        (sum, xattrs, bytes): (Sum, &Xattrs, Vec<u8>),
    ) {
        if usize::try_from(stat.st_size) != Ok(bytes.len()) {
            return;
        }
        self.room = self.room.saturating_sub(bytes.len() + ENTRY);
        let file = ReadyFile {
            stat: *stat,
            sum,
            xattrs: xattrs.clone(),
            bytes: Arc::new(bytes),
        };
        self.files.insert(path.to_vec(), file);
    }

    /// The file at a path, if it still looks as it did.
    pub(crate) fn find(&self, path: &[u8], stat: &Stat) -> Option<&ReadyFile> {
        let looks = |stat: &Stat| {
            let times = (
                stat.st_mtime,
                stat.st_mtime_nsec,
                stat.st_ctime,
                stat.st_ctime_nsec,
            );
            (stat.st_dev, stat.st_ino, stat.st_size, times)
        };
        self.files
            .get(path)
            .filter(|file| looks(&file.stat) == looks(stat))
    }

    /// As much room as is left, for what is read next.
    pub(crate) fn next(&self) -> Self {
        Self {
            files: HashMap::new(),
            room: self.room,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the folder is this test's own")]
    fn a_file_is_ready_while_it_looks_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let stat = || sys::at::statat(sys::at::CWD, &path, sys::at::AtFlags::empty()).unwrap();
        std::fs::write(&path, "one").unwrap();
        let before = stat();
        let mut ready = Ready::default();
        ready.keep(b"f", &before, ([7; 32], &Xattrs::new(), b"longer".to_vec()));
        assert!(ready.find(b"f", &before).is_none());
        ready.keep(b"f", &before, ([7; 32], &Xattrs::new(), b"one".to_vec()));
        let found = ready.find(b"f", &before).unwrap();
        assert_eq!((found.sum, &found.bytes[..]), ([7; 32], &b"one"[..]));
        assert!(ready.find(b"g", &before).is_none());
        std::fs::write(&path, "other").unwrap();
        assert!(ready.find(b"f", &stat()).is_none());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the folder is this test's own")]
    fn no_more_is_kept_than_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, vec![1; 60_000]).unwrap();
        let stat = sys::at::statat(sys::at::CWD, &path, sys::at::AtFlags::empty()).unwrap();
        let mut ready = Ready::default();
        let mut kept = 0;
        while ready.place(&stat).is_some() {
            let name = kept.to_string();
            let file = ([0; 32], &Xattrs::new(), vec![1; 60_000]);
            ready.keep(name.as_bytes(), &stat, file);
            kept += 1;
        }
        assert_eq!(kept, ROOM / (60_000 + ENTRY));
        assert!(ready.next().place(&stat).is_none());
        std::fs::write(&path, vec![1; 70_000]).unwrap();
        let large = sys::at::statat(sys::at::CWD, &path, sys::at::AtFlags::empty()).unwrap();
        assert!(Ready::default().place(&large).is_none());
    }
}
