//! Layers stacked into one tree by overlayfs, as a detached mount: the host's tree never shows it.
//! Runs in the container's parent, or wherever else a stack of layers is to be seen as one.
//! Not its job: making or unpacking the layers.
//!
//! Layers go to the kernel as fds, so that no name of a directory (`a:b`, `a,upperdir=/etc`) can be
//! read as an option, and none is too long. Kernels before 6.14 take names only: they get the fds' names
//! in /proc/self/fd, which hold nothing but digits.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use sys::mount::{self, Attr, Change, Depth, FsContext, Propagation, Tree};
use sys::{Errno, SysError, fault};

use crate::error::Doing;
use crate::{Error, attach};

/// The most layers that overlayfs takes (OVL_MAX_STACK).
const MAX_LAYERS: usize = 500;

/// The longest value of an fsconfig(2) string.
const MAX_VALUE: usize = 255;

/// Directories to be seen as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The layers, the top one first.
    pub lower: Vec<Tree>,
    /// Where changes go; without it the tree is read-only.
    pub upper: Option<PathBuf>,
    /// The kernel's scratch directory, empty, on the file system of `upper`. Needed with `upper`.
    pub work: Option<PathBuf>,
    /// Whether changes need not survive a power cut: no sync when the last user is gone. The kernel then
    /// refuses to take `upper` again until `work/work/incompat/volatile` is removed.
    pub volatile: bool,
}

/// The layers as open directories.
struct Layers {
    lower: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
}

/// How a kernel wants to be told of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tell {
    /// By fd: Linux 6.14.
    Fds,
    /// One name an option: Linux 6.8.
    Names,
    /// All names in one option.
    OneString,
}

impl Overlay {
    /// Mounts the overlay, attached nowhere. It lives as long as its fd, or as what it is attached to.
    ///
    /// A stack of one directory is that directory itself, bound: read-only if it is a layer (overlayfs
    /// wants two layers or an upper directory).
    ///
    /// # Errors
    /// [`Error::Field`] for a stack that no kernel takes; [`Error::Act`] with the kernel's words.
    pub fn mount_detached(&self) -> Result<OwnedFd, Error> {
        self.check()?;
        let act = || format!("mount an overlay of {} layers", self.lower.len());
        match (self.lower.as_slice(), &self.upper) {
            ([layer], None) => single(layer, Attr::MOUNT_ATTR_RDONLY).doing(act),
            ([], Some(upper)) => single(&Tree::Folder(upper.clone()), Attr::empty()).doing(act),
            _ => self
                .open()
                .and_then(|layers| self.mount(&layers))
                .doing(act),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let fail =
            |field: &str, reason: String| Err(Error::field(format!("overlay {field}"), reason));
        if self.lower.len() > MAX_LAYERS {
            let count = self.lower.len();
            return fail(
                "layers",
                format!("{count} are too many, the kernel takes {MAX_LAYERS}"),
            );
        }
        if self.lower.is_empty() && self.upper.is_none() {
            return fail("layers", "there is none".to_owned());
        }
        if self.upper.is_some() != self.work.is_some() {
            return fail(
                "directories",
                "an upper and a work directory come together".to_owned(),
            );
        }
        Ok(())
    }

    fn open(&self) -> Result<Layers, SysError> {
        let lower = self.lower.iter().map(Tree::layer);
        let lower = lower.collect::<Result<Vec<_>, _>>()?;
        let upper = match (&self.upper, &self.work) {
            (Some(upper), Some(work)) => {
                Some((sys::file::open_path(upper)?, sys::file::open_path(work)?))
            }
            _ => None,
        };
        Ok(Layers { lower, upper })
    }

    fn mount(&self, layers: &Layers) -> Result<OwnedFd, SysError> {
        for tell in [Tell::Fds, Tell::Names] {
            if !tell.broken() {
                match self.mount_by(layers, tell) {
                    Err(Refused::Way) => {}
                    Err(Refused::Mount(error)) => return Err(error),
                    Ok(mount) => return Ok(mount),
                }
            }
        }
        self.mount_by(layers, Tell::OneString)
            .map_err(|refused| match refused {
                Refused::Way => SysError::new("mount", "overlay", Errno::INVAL),
                Refused::Mount(error) => error,
            })
    }

    fn mount_by(&self, layers: &Layers, tell: Tell) -> Result<OwnedFd, Refused> {
        if tell != Tell::OneString {
            return self.mount_so(layers, tell);
        }
        // The names in one string are numbers in the fd directory, where we go for as long: the string
        // is short, and the kernel has nothing to unescape.
        let back = sys::file::open_path(".")?;
        sys::process::change_dir_fd(sys::file::open_path("/proc/self/fd")?)?;
        let result = self.mount_so(layers, tell);
        sys::process::change_dir_fd(back)?;
        result
    }

    fn mount_so(&self, layers: &Layers, tell: Tell) -> Result<OwnedFd, Refused> {
        let context = FsContext::new("overlay")?;
        context.set("source", "overlay")?;
        if tell == Tell::OneString {
            context.set("lowerdir", &one_string(&layers.lower)?)?;
        } else {
            for (index, layer) in layers.lower.iter().enumerate() {
                match tell.directory(&context, "lowerdir+", layer) {
                    // Only the first can tell that the kernel knows no such way. Linux 6.13 takes fds, but
                    // none of O_PATH: EBADF.
                    Err(error)
                        if index == 0 && matches!(error.errno, Errno::INVAL | Errno::BADF) =>
                    {
                        return Err(Refused::Way);
                    }
                    result => result?,
                }
            }
        }
        if let Some((upper, work)) = &layers.upper {
            tell.directory(&context, "upperdir", upper)?;
            tell.directory(&context, "workdir", work)?;
        }
        self.set_rest(&context)?;
        match context.mount(Attr::empty()) {
            // Before Linux 6.5 overlayfs reads its options only now.
            Err(error) if tell == Tell::Names && error.errno == Errno::INVAL => Err(Refused::Way),
            result => Ok(result?),
        }
    }

    fn set_rest(&self, context: &FsContext) -> Result<(), SysError> {
        // Nothing in a layer may lead elsewhere (an image can bring the xattrs that would), and an upper
        // directory must hold whole files for whoever makes a layer of it.
        context.set("redirect_dir", "nofollow")?;
        context.set("metacopy", "off")?;
        if in_user_namespace()? {
            // trusted.* is not ours to write there; whiteouts' marks are kept in user.* (Linux 5.11).
            context.flag("userxattr")?;
        }
        if self.volatile && self.upper.is_some() {
            context.flag("volatile")?;
        }
        Ok(())
    }
}

/// Why a way to tell the kernel did not work.
enum Refused {
    /// This kernel does not know the way.
    Way,
    /// The way is known, the mount is refused.
    Mount(SysError),
}

impl From<SysError> for Refused {
    fn from(error: SysError) -> Self {
        Self::Mount(error)
    }
}

impl Tell {
    fn broken(self) -> bool {
        match self {
            Self::Fds => fault::broken("no-overlay-fds"),
            Self::Names => fault::broken("no-overlay-names"),
            Self::OneString => false,
        }
    }

    fn directory(self, context: &FsContext, key: &str, fd: &OwnedFd) -> Result<(), SysError> {
        let number = fd.as_raw_fd();
        match self {
            Self::Fds => context.set_fd(key, fd),
            Self::Names => context.set(key, &format!("/proc/self/fd/{number}")),
            Self::OneString => context.set(key, &number.to_string()),
        }
    }
}

fn one_string(lower: &[OwnedFd]) -> Result<String, SysError> {
    let numbers: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let names = numbers.join(":");
    if names.len() > MAX_VALUE {
        let note = format!("{} layers need Linux 6.8", lower.len());
        return Err(SysError::new("mount", "overlay", Errno::TOOBIG).with_note(note));
    }
    Ok(names)
}

/// The layer alone, detached, with `attr` added.
fn single(layer: &Tree, attr: Attr) -> Result<OwnedFd, SysError> {
    let mount = match layer {
        Tree::Folder(path) => mount::clone_tree(sys::file::open_dir(path)?, "", Depth::One)?,
        Tree::Image(_) => layer.layer()?,
    };
    let change = Change {
        set: u64::from(attr.bits()),
        ..Change::default()
    };
    mount::set_attr(&mount, Depth::One, &change)?;
    attach::propagate(&mount, Propagation::Private, Depth::One)?;
    Ok(mount)
}

/// Whether we are in another user namespace than the first one, which maps every id to itself.
fn in_user_namespace() -> Result<bool, SysError> {
    let map = sys::proc::read("self/uid_map")?;
    let fields: Vec<&str> = map.split_whitespace().collect();
    Ok(fields != ["0", "0", "4294967295"])
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make trees by path")]
mod tests {
    use super::*;

    /// Each way that this kernel knows; in a thread with a working directory of its own.
    #[test]
    fn all_ways_to_name_the_layers_make_the_same_stack() {
        if !sys::privileges::is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["a:b/top", "low,x/bottom", "upper", "work"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let path = |name: &str| dir.path().join(name);
        let overlay = Overlay {
            lower: [path("a:b"), path("low,x")].map(Tree::Folder).into(),
            upper: Some(path("upper")),
            work: Some(path("work")),
            volatile: false,
        };
        for tell in [Tell::Fds, Tell::Names, Tell::OneString] {
            let overlay = overlay.clone();
            let names = std::thread::spawn(move || {
                sys::namespace::unshare(0x2_0000).unwrap();
                let mount = match overlay.mount_by(&overlay.open().unwrap(), tell) {
                    Ok(mount) => mount,
                    Err(Refused::Way) if tell != Tell::OneString => return None,
                    Err(Refused::Way) => panic!("no kernel lacks this way"),
                    Err(Refused::Mount(error)) => panic!("{tell:?}: {error}"),
                };
                let root = sys::beneath::Root::new(mount);
                let top = root.open(".", sys::at::OFlags::RDONLY).unwrap();
                let mut names = sys::file::list(top).unwrap();
                names.sort_by(|a, b| a.0.cmp(&b.0));
                let names = names.into_iter().map(|(name, _)| name);
                Some(names.collect::<Vec<_>>())
            });
            if let Some(names) = names.join().unwrap() {
                assert_eq!(names, ["bottom", "top"], "{tell:?}");
            }
        }
    }

    #[test]
    fn numbers_that_fill_a_string_are_refused_by_the_kernel_that_would_solve_it() {
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<OwnedFd> = (0..200)
            .map(|_| sys::file::open_path(dir.path()).unwrap())
            .collect();
        let error = one_string(&lower).unwrap_err();
        assert_eq!(error.note.as_deref(), Some("200 layers need Linux 6.8"));
    }

    #[test]
    fn a_stack_that_no_kernel_takes_is_refused_before_any_call() {
        let layers = |count| Overlay {
            lower: vec![Tree::Folder("/nowhere".into()); count],
            ..Overlay::default()
        };
        let words = |overlay: Overlay| overlay.mount_detached().unwrap_err().to_string();
        assert_eq!(
            words(layers(501)),
            "overlay layers: 501 are too many, the kernel takes 500"
        );
        assert_eq!(words(layers(0)), "overlay layers: there is none");
        let no_work = Overlay {
            upper: Some("/up".into()),
            ..layers(1)
        };
        assert_eq!(
            words(no_work),
            "overlay directories: an upper and a work directory come together"
        );
    }
}
