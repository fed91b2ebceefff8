//! Reading whole files. Not its job: files below a hostile root (that is [`crate::beneath`]).

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::open;
use crate::{Result, SysError};

/// Reads a whole regular file of at most `limit` bytes.
///
/// # Errors
/// As open(2) and read(2); EFBIG past the limit; EINVAL for what is not a regular file.
pub fn read(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    read_fd(open(path)?, &path.display(), limit)
}

/// Reads a whole regular file of at most `limit` bytes from its fd; `subject` names it in errors.
///
/// # Errors
/// As [`read`].
pub fn read_fd(
    file: impl Into<File>,
    subject: &dyn std::fmt::Display,
    limit: u64,
) -> Result<Vec<u8>> {
    let file = file.into();
    let stat = rustix::fs::fstat(&file).map_err(|errno| SysError::new("stat", subject, errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(SysError::new("read", subject, Errno::ISDIR)),
        _ => {
            return Err(
                SysError::new("read", subject, Errno::INVAL).with_note("not a regular file")
            );
        }
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(1 << 20) + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| SysError::from_io("read", subject, &e))?;
    if bytes.len() as u64 > limit {
        return Err(SysError::new("read", subject, Errno::FBIG)
            .with_note(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes from its beginning, as long as it is now; the descriptor stays
/// where it is. `subject` names it in errors.
///
/// # Errors
/// As pread(2); EINVAL for what is not a regular file; EFBIG past the limit.
pub fn read_from_start(
    file: impl AsFd,
    subject: &dyn std::fmt::Display,
    limit: u64,
) -> Result<Vec<u8>> {
    let fail = |call, errno| SysError::new(call, subject, errno);
    let stat = rustix::fs::fstat(&file).map_err(|errno| fail("stat", errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(fail("read", Errno::INVAL).with_note("not a regular file"));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > limit {
        return Err(fail("read", Errno::FBIG).with_note(format!("larger than {limit} bytes")));
    }
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match rustix::io::pread(&file, &mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail("read", errno)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
