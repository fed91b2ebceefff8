//! A layer as one EROFS image, written straight from its tar: one file in the place of a hundred thousand.
//! Not its job: mounting it (`sys::mount`), and when a layer is kept so (the store).
//!
//! ```text
//! block 0      superblock, the root directory's inode
//! then         data of files, as they come, between groups of blocks with their inodes and short ends
//! at the end   the other directories' inodes, then names
//! ```
//!
//! What the kernel reads is told in its `fs/erofs/erofs_fs.h`; of that, only what Linux 6.12 knows is used, the first
//! that mounts an image from a plain file.

mod file;
mod metadata;
mod record;
mod tree;
mod unpack;
mod write;

pub(crate) use unpack::{Made, unpack};

/// Why no image comes of a layer.
#[derive(Debug)]
enum Halt {
    /// The layer is bad, or the disk.
    Fault(crate::Error),
    /// The layer holds something that an image can't, or too much: it is to be a folder.
    Unfit,
}

impl From<crate::Error> for Halt {
    fn from(error: crate::Error) -> Self {
        Self::Fault(error)
    }
}

type Result<T, E = Halt> = std::result::Result<T, E>;

fn unwritten(error: std::io::Error) -> Halt {
    Halt::Fault(crate::Error::System {
        what: "unpack it".to_owned(),
        source: sys::SysError::from_io("write", "", &error),
    })
}
