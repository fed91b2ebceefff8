//! The file calls that take a directory fd and one name, as rustix has them: nothing here resolves a
//! path string from the host's root. The errors are bare numbers; the caller adds call and subject
//! with [`crate::SysError::new`] when it fails, so that hot loops pay for words only then.
//! Not its job: resolving whole paths below a hostile root (that is [`crate::beneath`]).

pub use rustix::buffer::spare_capacity;
pub use rustix::fs::{
    AtFlags, CWD, Dev, DirEntry, FileType, Gid, Mode, OFlags, RawDir, RawDirEntry, RenameFlags,
    SeekFrom, Stat, StatVfs, StatVfsMountFlags, Statx, StatxFlags, Timespec, Timestamps,
    UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, copy_file_range, fchmod, fchown, fdatasync,
    fgetxattr, flistxattr, fremovexattr, fsetxattr, fstat, fstatfs, fstatvfs, fsync, ftruncate,
    futimens, linkat, major, makedev, memfd_create, minor, mkdirat, mkfifoat, mknodat, openat,
    readlinkat, renameat, renameat_with, seek, sendfile, statat, statx, symlinkat, syncfs,
    unlinkat, utimensat,
};
pub use rustix::io::{pread, pwrite, read, write};

/// A directory being read.
pub use rustix::fs::Dir;
