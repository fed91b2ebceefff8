//! The layers below the one being unpacked, merged as overlay would show them: for hard links that lead
//! down, and for directories that a layer uses without saying what they are.
//! Not its job: changing them.

use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, PoisonError};

use sys::at::{self, AtFlags, FileType, Mode, OFlags};
use sys::{Errno, SysError};

use super::metadata::read_xattr;
use super::path::LayerPath;
use super::whiteout::OverlayXattrs;

/// Unpacked layers, top first. Ours alone, so what is looked at stays.
#[derive(Debug, Default)]
pub(crate) struct Below {
    pub(crate) roots: Vec<OwnedFd>,
}

/// Something in a layer below.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory it is in.
    pub(crate) dir: OwnedFd,
    pub(crate) stat: at::Stat,
}

impl Found {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// What one layer says of a path.
enum Answer {
    Found(Found),
    /// Nothing; the layers below it may say more.
    Nothing,
    /// It is hidden from here on down.
    Hidden,
}

impl Below {
    /// What is at the path, whose directories are real ones (no link among them).
    pub(crate) fn find(&self, path: &LayerPath) -> sys::Result<Option<Found>> {
        for root in &self.roots {
            match ask(root, path).map_err(|errno| SysError::new("open", path, errno))? {
                Answer::Found(found) => return Ok(Some(found)),
                Answer::Nothing => {}
                Answer::Hidden => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn ask(root: &OwnedFd, path: &LayerPath) -> Result<Answer, Errno> {
    let Some((parent, last)) = path.split() else {
        return Ok(Answer::Nothing);
    };
    let mut dir = at::openat(root, ".", directory_flags(), Mode::empty())?;
    let mut opaque = is_opaque(&dir)?;
    for name in parent.names() {
        dir = match at::openat(&dir, name, directory_flags(), Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT) => return Ok(nothing(opaque)),
            // A file or a whiteout stands where the layers below may have a directory.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Answer::Hidden),
            Err(errno) => return Err(errno),
        };
        opaque |= is_opaque(&dir)?;
    }
    match at::statat(&dir, last, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_whiteout(&stat) => Ok(Answer::Hidden),
        Ok(stat) => Ok(Answer::Found(Found { dir, stat })),
        Err(Errno::NOENT) => Ok(nothing(opaque)),
        Err(errno) => Err(errno),
    }
}

fn nothing(opaque: bool) -> Answer {
    match opaque {
        true => Answer::Hidden,
        false => Answer::Nothing,
    }
}

pub(crate) fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Whether the open directory hides what is below it, under either of overlay's two names for that.
pub(crate) fn is_opaque(dir: &OwnedFd) -> Result<bool, Errno> {
    for name in [OverlayXattrs::Trusted, OverlayXattrs::User] {
        let value = read_xattr(dir, name.opaque().as_bytes()).map_err(|e| e.errno)?;
        if value.as_deref() == Some(b"y") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it is overlay's whiteout: a character device 0:0.
pub(crate) fn is_whiteout(stat: &at::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Where the layers of an image stand while they are unpacked at once.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// For each layer, the lowest first.
    done: Vec<bool>,
    failed: bool,
}

impl Progress {
    pub(crate) fn new(layers: usize) -> Self {
        Self {
            state: Mutex::new(State {
                done: vec![false; layers],
                failed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Says that a layer is whole.
    pub(crate) fn finish(&self, layer: usize) {
        self.state().done[layer] = true;
        self.changed.notify_all();
    }

    /// Says that the image can't be had any more.
    pub(crate) fn fail(&self) {
        self.state().failed = true;
        self.changed.notify_all();
    }

    /// Whether the work of the others is moot.
    pub(crate) fn failed(&self) -> bool {
        self.state().failed
    }

    /// Waits until all layers below `layer` are whole; `false` if one failed. Layers are begun from the
    /// lowest, so whoever is waited for is at work already.
    pub(crate) fn wait_below(&self, layer: usize) -> bool {
        let mut state = self.state();
        while !state.failed && state.done[..layer].contains(&false) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.failed
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere leaves flags that are still right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
