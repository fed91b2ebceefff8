//! Small files that were just written below an upper directory, as they are there: who makes a layer's tar of it need not
//! look at, open and read them again. Not its job: writing them, and which files a tar has (`diff.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::{Entry, Kind};
use super::kept::Owner;
use super::path::LayerPath;
use super::pax::Time;

/// The most bytes that are kept of one layer.
const ROOM: usize = 32 << 20;

/// A larger file is not kept: reading it again costs little beside writing it.
const LARGEST: usize = 64 << 10;

/// What is charged for a file beside its bytes.
const ENTRY: usize = 256;

/// Files by their paths below the upper directory, without a slash before them.
#[derive(Debug)]
pub struct Written {
    files: HashMap<Vec<u8>, WrittenFile>,
    /// So many more bytes may be kept.
    room: usize,
}

/// A regular file with one name, and without extended attributes.
#[derive(Debug)]
pub struct WrittenFile {
    /// Whose it is, as stat(2) says; where owners are kept with files, as the image has it.
    pub owner: Owner,
    /// Its mode, without the type.
    pub mode: u32,
    /// Its time, in whole seconds since 1970.
    pub modified: i64,
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
}

impl WrittenFile {
    /// Its entry in a tar.
    pub(crate) fn entry(&self, path: LayerPath, (uid, gid): Owner, mtime: Time) -> Entry {
        Entry {
            sparse: None,
            path,
            kind: Kind::File {
                size: self.bytes.len() as u64,
            },
            uid,
            gid,
            mode: self.mode,
            mtime,
            xattrs: Vec::new(),
        }
    }
}

impl Default for Written {
    fn default() -> Self {
        Self {
            files: HashMap::new(),
            room: ROOM,
        }
    }
}

impl Written {
    /// Whether a file of so many bytes would be kept.
    pub fn takes(&self, length: usize) -> bool {
        length <= LARGEST && length + ENTRY <= self.room
    }

    /// Keeps a file, if it may be.
    pub fn insert(&mut self, path: Vec<u8>, file: WrittenFile) {
        let length = file.bytes.len();
        if self.takes(length) {
            self.room -= length + ENTRY;
            self.files.insert(path, file);
        }
    }

    /// Forgets all files, and takes no more: some of them may have been replaced.
    pub fn give_up(&mut self) {
        *self = Self {
            files: HashMap::new(),
            room: 0,
        };
    }

    /// The file at a path.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&WrittenFile> {
        self.files.get(path)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the folder is this test's own")]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::diff::{Rules, write};
    use super::*;
    use crate::{LinkOwners, OwnerPolicy};

    fn known(bytes: &[u8], (owner, mode): (Owner, u32)) -> WrittenFile {
        WrittenFile {
            owner,
            mode,
            modified: 7,
            bytes: Arc::new(bytes.to_vec()),
        }
    }

    #[test]
    fn a_tar_is_the_same_whether_its_files_are_known_or_read() {
        let upper = tempfile::tempdir().unwrap();
        std::fs::create_dir(upper.path().join("d")).unwrap();
        for name in ["c", "d/a", "d/b"] {
            let path = upper.path().join(name);
            std::fs::write(&path, name.repeat(700)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(7))
                .unwrap();
        }
        let stat = std::fs::metadata(upper.path().join("c")).unwrap();
        let looks = ((stat.uid(), stat.gid()), 0o640);
        let tar = |written: &Written| {
            let rules = Rules {
                owners: &OwnerPolicy::AsRecorded,
                links: &LinkOwners::default(),
                written,
                clamp_mtime: Some(7),
                settle: true,
                only: None,
            };
            let upper = sys::file::open_dir(upper.path()).unwrap();
            write(upper, &rules, Vec::new()).unwrap().0
        };
        let read = tar(&Written::default());
        let mut written = Written::default();
        for name in ["c", "d/b", "d/gone", "d"] {
            let file = known(name.repeat(700).as_bytes(), looks);
            written.insert(name.as_bytes().to_vec(), file);
        }
        assert!(tar(&written) == read);
        // It is indeed taken at its word.
        let other = known(b"other", looks);
        written.insert(b"d/a".to_vec(), other);
        assert!(tar(&written) != read);
        written.give_up();
        assert!(tar(&written) == read && !written.takes(0));
    }
}
