//! Guards our own binary from the containers that it starts. Whoever can open `/proc/INIT/exe` could
//! else write to dhow on the host (CVE-2019-5736). So before a container is made, dhow runs from a
//! detached, read-only clone of the mount that it lies on: every open for writing through /proc then
//! fails with EROFS. Its memory is mapped anew from there, which costs a tenth of a millisecond and copies
//! nothing; where the kernel does not let it, dhow runs itself once more from there (0.7 ms), and where
//! mounts can't be cloned (no CAP_SYS_ADMIN) from a sealed copy in memory.
//! Not its job: keeping fds from the container (process/init).

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sys::at::OFlags;
use sys::exec::CStrings;
use sys::mount::{Attr, Change, Depth};

use crate::{Error, Result};

/// What a process is about to do with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Make one: it will need a procfs in which every file is in reach.
    Make,
    /// Enter one.
    Enter,
}

/// The clone from which we run, and the path of the file that it is of.
static IMAGE: OnceLock<(OwnedFd, PathBuf)> = OnceLock::new();

/// Comes back once this process runs from a guarded image; on the way it may exec itself once.
///
/// # Errors
/// [`Error::Host`] if neither way can be had: then no container is made.
pub fn guard(aim: Aim) -> Result<()> {
    if aim == Aim::Make {
        sys::proc::prepare().map_err(Error::host("open a private procfs"))?;
    }
    if sys::fault::broken("no-self-guard") {
        return Ok(());
    }
    let doing = "guard dhow's own binary from the container";
    if sys::executable::is_guarded().map_err(Error::host(doing))? {
        return Ok(());
    }
    let path = sys::file::read_link("/proc/self/exe").map_err(Error::host(doing))?;
    let clone = read_only_clone(&path);
    if let Ok(image) = &clone
        && sys::proc::open_again(image, OFlags::RDONLY)
            .and_then(sys::executable::run_from)
            .is_ok()
    {
        if let Ok(image) = clone {
            IMAGE.get_or_init(|| (image, path));
        }
        return Ok(());
    }
    let image = clone
        .or_else(|_| sys::executable::sealed_copy())
        .map_err(Error::host(doing))?;
    let text = |s: OsString| s.as_bytes().to_vec();
    let args = CStrings::new(std::env::args_os().map(text)).map_err(Error::host(doing))?;
    let env = CStrings::new(std::env::vars_os().map(|(key, value)| {
        let mut pair = text(key);
        pair.push(b'=');
        pair.extend(value.as_bytes());
        pair
    }))
    .map_err(Error::host(doing))?;
    Err(Error::host(doing)(sys::exec::exec_fd(image, &args, &env)))
}

/// Our binary on a mount of its own that can't be written through and that no path leads to.
fn read_only_clone(path: &Path) -> sys::Result<OwnedFd> {
    let image = sys::mount::clone_tree(sys::file::open_path(path)?, "", Depth::One)?;
    let change = Change {
        set: (Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NODEV | Attr::MOUNT_ATTR_NOSUID)
            .bits()
            .into(),
        ..Change::default()
    };
    sys::mount::set_attr(&image, Depth::One, &change)?;
    sys::executable::same_file_as_running(&image)?;
    Ok(image)
}

/// Mounts what we hold of detached mounts into the tree of this mount namespace, which goes away as a whole
/// with the pivot. Closed one by one, each would keep us waiting for as long as that takes.
pub(crate) fn park() {
    let _ends_by_its_close = sys::proc::park();
    if let Some((image, path)) = IMAGE.get() {
        let _ends_by_its_close =
            sys::file::open_path(path).and_then(|target| sys::mount::attach(image, target));
    }
}
