//! What `create` makes on the host beside processes: a writable layer, a pid file.
//! Not its job: taking it back (create, delete).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rootfs::Overlay;

use crate::life::options::{Begin, Layers};
use crate::store::{Place, START};
use crate::{Error, Result};

/// Makes the folder for the container's changes, and the layers with it one tree. The changes need not
/// survive a power cut: the container does not.
pub(crate) fn stack(layers: &Layers) -> Result<OwnedFd> {
    let doing = "make the container's writable layer";
    let (upper, work) = (layers.scratch.join("upper"), layers.scratch.join("work"));
    let parent = layers.scratch.parent().unwrap_or(Path::new("/"));
    sys::file::create_dir_all(parent, 0o700)
        .and_then(|()| sys::file::create_dir(&layers.scratch, 0o700))
        .and_then(|()| sys::file::create_dir(&upper, 0o755))
        .and_then(|()| sys::file::create_dir(&work, 0o700))
        .map_err(Error::host(doing))?;
    let overlay = Overlay {
        lower: layers.lower.clone(),
        upper: Some(upper),
        work: Some(work),
        volatile: true,
    };
    Ok(overlay.mount_detached()?)
}

/// Sends a handle of a process to whoever asked for it, with a word that says which kind of process it is.
pub(crate) fn send_pidfd(socket: &OwnedFd, word: &[u8], pidfd: &OwnedFd) -> Result<()> {
    sys::socket::send(socket, word, Some(pidfd.as_fd()))
        .map_err(Error::host("send the process' handle to --pidfd-socket"))
}

/// The socket at which the first process waits for `start`.
pub(crate) fn start_socket(place: &Place, begin: Begin) -> Result<Option<OwnedFd>> {
    match begin {
        Begin::ByStart => sys::socket::listen(place.dir(), START)
            .map(Some)
            .map_err(Error::host("make the start socket")),
        Begin::AtOnce => Ok(None),
    }
}

/// As a whole, so that whoever waits for the file never reads half a number, and not through a link that
/// somebody left in a shared folder.
pub(crate) fn pid_file(path: &Path, pid: i32) -> Result<()> {
    let doing = || format!("write the pid file {}", path.display());
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    sys::file::open_dir(parent)
        .and_then(|dir| {
            let text = pid.to_string();
            sys::file::replace(
                dir,
                name,
                text.as_bytes(),
                0o644,
                sys::file::Durability::Memory,
            )
        })
        .map_err(Error::host(doing()))
}
