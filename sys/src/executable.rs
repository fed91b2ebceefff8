//! The file that this process runs from. Not its job: deciding when it must be another one.

mod mapping;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, MemfdFlags, OFlags, SealFlags, StatVfsMountFlags};

pub use mapping::run_from;

use crate::{Errno, Result, SysError};

/// Whether this process runs from an image that nobody can write to through `/proc/PID/exe`: started by
/// fd (the kernel then names it `/dev/fd/N`), and on a read-only mount or a sealed memfd.
///
/// # Errors
/// As open(2) of /proc/self/exe.
pub fn is_guarded() -> Result<bool> {
    if !rustix::param::linux_execfn()
        .to_bytes()
        .starts_with(b"/dev/fd/")
    {
        return Ok(false);
    }
    let exe = open_running()?;
    let fail = |errno| SysError::new("stat", "/proc/self/exe", errno);
    let seals = rustix::fs::fcntl_get_seals(&exe);
    if seals.is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Ok(true);
    }
    let flags = rustix::fs::fstatvfs(&exe).map_err(fail)?.f_flag;
    Ok(flags.contains(StatVfsMountFlags::RDONLY))
}

/// Our image, for reading.
fn open_running() -> Result<OwnedFd> {
    rustix::fs::open(
        "/proc/self/exe",
        OFlags::RDONLY | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|errno| SysError::new("open", "/proc/self/exe", errno))
}

/// Checks that `image` is the file that runs now (an upgrade may have replaced it meanwhile).
///
/// # Errors
/// ESTALE if it is another one.
pub fn same_file_as_running(image: impl AsFd) -> Result<()> {
    let fail = |errno| SysError::new("stat", "/proc/self/exe", errno);
    let ours =
        rustix::fs::statat(rustix::fs::CWD, "/proc/self/exe", AtFlags::empty()).map_err(fail)?;
    let other = rustix::fs::fstat(image).map_err(fail)?;
    if (ours.st_dev, ours.st_ino) == (other.st_dev, other.st_ino) {
        Ok(())
    } else {
        Err(SysError::new("open", "/proc/self/exe", Errno::STALE)
            .with_note("the binary was replaced"))
    }
}

/// A copy of our image in memory that can't be changed any more.
///
/// # Errors
/// As memfd_create(2), read(2), write(2), fcntl(2).
pub fn sealed_copy() -> Result<OwnedFd> {
    let fail = |errno| SysError::new("copy", "/proc/self/exe", errno);
    let mut source = File::from(open_running()?);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(rustix::fs::memfd_create("dhow", flags).map_err(fail)?);
    io::copy(&mut source, &mut copy)
        .map_err(|e| SysError::from_io("copy", "/proc/self/exe", &e))?;
    rustix::fs::fchmod(&copy, rustix::fs::Mode::from_raw_mode(0o555)).map_err(fail)?;
    seal(&copy).map_err(fail)?;
    Ok(copy.into())
}

/// The kernel refuses while a page is in other hands (reclaim looks at them too), and has waited a while for it then: on
/// a busy machine once is not enough.
fn seal(copy: &File) -> rustix::io::Result<()> {
    const ATTEMPTS: u32 = 20;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    for _ in 1..ATTEMPTS {
        match rustix::fs::fcntl_add_seals(copy, seals) {
            Err(Errno::BUSY) => {}
            result => return result,
        }
    }
    rustix::fs::fcntl_add_seals(copy, seals)
}
