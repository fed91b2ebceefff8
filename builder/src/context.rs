//! The build's files: its recipe, its ignore file, and what COPY may take, from wherever the person says. Not
//! its job: copying them.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use image::registry::{Download, download};
use image::{LinkOwners, OwnerPolicy, Scratch, Store};
use sys::SysError;
use sys::at::OFlags;
use sys::beneath::Root;

use crate::error::{Doing, Error, Result};
use crate::git::{self, CheckOut};
use crate::ignore::Ignore;
use crate::material::Material;
use crate::remote::{Remote, remote};
use crate::request::{Context, Options};
use crate::source::Source;
use crate::steps::kept::keeps_owners;
use crate::tree::{Owners, Tree};

/// A larger recipe or ignore file is a mistake.
const LARGEST: u64 = 4 << 20;

/// A larger archive is none of a context.
const LARGEST_ARCHIVE: u64 = 64 << 30;

/// A context that is at hand.
pub(crate) enum Files {
    /// A folder of this host, opened when it is needed.
    Folder(PathBuf),
    /// An archive's files, in a folder of ours; for a recipe alone there are none.
    Unpacked {
        /// The folder.
        root: OwnedFd,
        /// The recipe, where it came alone.
        alone: Option<Vec<u8>>,
        /// Whose its links are, where they can't be theirs.
        links: LinkOwners,
        /// Where it came from, if from a server.
        material: Option<Material>,
        /// When it was made: what the server says, else the latest time of the archive's entries.
        time: Option<i64>,
        /// Where it lies, until the build is over.
        _place: Box<Scratch>,
    },
    /// A repository's files, and which they are.
    CheckedOut(Box<CheckOut>, Material),
}

/// Gets the files at hand. `store` is asked for a place for what does not lie in a folder here.
///
/// # Errors
/// Whatever keeps them from being had.
pub(crate) fn files<'s>(
    context: &Context,
    options: &Options,
    store: impl FnOnce() -> Result<&'s Store>,
) -> Result<Files> {
    match context {
        Context::Folder(path) => Ok(Files::Folder(path.clone())),
        Context::Input => from_archive(store()?, ("standard input", None), &mut |to| {
            let mut input = std::io::stdin().lock().take(LARGEST_ARCHIVE);
            std::io::copy(&mut input, to)
                .map(|_| None)
                .map_err(|e| SysError::from_io("read", "standard input", &e))
                .doing(|| "read the context".to_owned())
        }),
        Context::Archive(path) => {
            let name = path.display().to_string();
            let file = sys::file::open(path).doing(|| format!("open the context {name}"))?;
            let scratch = place(store()?)?;
            unpacked(file, scratch, &name, (None, None))
        }
        Context::Address(address) => match remote(address).map_err(Error::Refused)? {
            Some(Remote::Repository(mut repository)) => {
                let store = store()?;
                repository.agent = options.git_agent();
                let commit = git::commit(store, &repository)?;
                let keep = repository.keep_git_dir.unwrap_or(false);
                let out = git::check_out(store, &repository, &commit, keep)?;
                let material = Material::commit(&repository, &commit);
                Ok(Files::CheckedOut(Box::new(out), material))
            }
            Some(Remote::File(url)) => from_archive(store()?, (&url, Some(&url)), &mut |to| {
                let got = download(&url, None, to).doing(|| "fetch the context".to_owned())?;
                // The next step needs a process of one thread.
                sys::process::outlive_threads().doing(|| "wait for our threads".to_owned())?;
                match got {
                    Download::Whole(facts) => Ok(facts.modified),
                    Download::Unchanged => Err(Error::Refused(format!("{url}: no file came"))),
                }
            }),
            None => Err(Error::Refused(format!(
                "context {address:?}: it is no address"
            ))),
        },
    }
}

fn place(store: &Store) -> Result<Scratch> {
    store
        .scratch()
        .doing(|| "make room for the context".to_owned())
}

/// Takes a context that comes as a stream, perhaps from a server that says when it was changed: kept in a file first,
/// since what it is shows in its bytes.
fn from_archive(
    store: &Store,
    (name, url): (&str, Option<&str>),
    fetch: &mut dyn FnMut(&mut File) -> Result<Option<i64>>,
) -> Result<Files> {
    let doing = || format!("keep the context {name}");
    let scratch = place(store)?;
    let path = scratch.upper.with_file_name("context");
    let mut file = sys::file::create_new(&path, 0o600).doing(doing)?;
    let time = fetch(&mut file)?;
    let file = sys::file::open(&path).doing(doing)?;
    sys::file::remove_file(&path).doing(doing)?;
    let material = url.map(|url| Material::of_file(url, &file)).transpose();
    unpacked(file, scratch, name, (material.doing(doing)?, time))
}

/// An archive's files, or a recipe without any.
fn unpacked(
    mut file: File,
    scratch: Scratch,
    name: &str,
    (material, mut time): (Option<Material>, Option<i64>),
) -> Result<Files> {
    let doing = || format!("read the context {name}");
    let failed = |e| SysError::from_io("read", "", &e);
    file.rewind().map_err(failed).doing(doing)?;
    let is_archive = image::is_tar(&mut file);
    file.rewind().map_err(failed).doing(doing)?;
    let folder = sys::file::open_dir(&scratch.upper).doing(doing)?;
    let mut alone = None;
    let mut links = LinkOwners::default();
    if is_archive {
        let length = file.metadata().map_err(failed).doing(doing)?.len();
        let onto = image::unpack_onto(&mut file, length, folder, None, OwnerPolicy::ours())
            .doing(|| format!("unpack the context {name}"))?;
        links = onto.links;
        time = time.or(onto.newest);
    } else {
        alone = Some(sys::file::read_fd(file, &name, LARGEST).doing(doing)?);
    }
    Ok(Files::Unpacked {
        root: sys::file::open_path(&scratch.upper).doing(doing)?,
        alone,
        links,
        material,
        time,
        _place: Box::new(scratch),
    })
}

/// What a context is opened for.
pub(crate) enum For<'a> {
    /// The recipe, in this file: its own ignore file counts first.
    Recipe(Option<&'a Path>),
    /// A name.
    Name(&'a str),
}

impl For<'_> {
    fn shown(&self) -> String {
        match self {
            Self::Recipe(_) => "the context".to_owned(),
            Self::Name(name) => format!("context {name:?}"),
        }
    }
}

impl Files {
    /// Reads the recipe: `file`, or `Dockerfile` in the context. A link there is followed inside the context.
    /// A file beside a folder is one of this host, `-` standard input; else it is one of the context.
    ///
    /// # Errors
    /// Names the file that can't be read.
    pub(crate) fn recipe(&self, file: Option<&Path>) -> Result<Source> {
        let inner = |root: &OwnedFd| -> Result<Source> {
            let path = file.unwrap_or(Path::new("Dockerfile"));
            let doing = || "read the recipe".to_owned();
            let root = Root::new(again(root)?);
            let fd = root.open(path, OFlags::RDONLY | OFlags::NONBLOCK);
            let bytes = fd.and_then(|fd| sys::file::read_fd(fd, &path.display(), LARGEST));
            Ok(text(path, &bytes.doing(doing)?))
        };
        match (self, file) {
            (Self::Folder(_), Some(file)) if file.as_os_str() == "-" => {
                let mut bytes = Vec::new();
                std::io::stdin()
                    .lock()
                    .take(LARGEST + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|e| SysError::from_io("read", "standard input", &e))
                    .doing(|| "read the recipe".to_owned())?;
                Ok(text(Path::new("Dockerfile"), &bytes))
            }
            (Self::Folder(context), file) => recipe(context, file),
            (Self::Unpacked { alone, .. }, None) if alone.is_some() => {
                let alone = alone.as_deref().unwrap_or_default();
                Ok(text(Path::new("Dockerfile"), alone))
            }
            (Self::Unpacked { root, .. }, _) => inner(root),
            (Self::CheckedOut(out, _), _) => inner(
                &out.tree
                    .root
                    .open_path(".")
                    .doing(|| "open the repository".to_owned())?,
            ),
        }
    }

    /// Which they are, if they came from a server.
    pub(crate) fn material(&self) -> Option<&Material> {
        match self {
            Self::Folder(_) => None,
            Self::Unpacked { material, .. } => material.as_ref(),
            Self::CheckedOut(_, material) => Some(material),
        }
    }

    /// When they were made, in seconds since 1970; nobody knows it of a folder.
    pub(crate) fn time(&self) -> Option<i64> {
        match self {
            Self::Folder(_) => None,
            Self::Unpacked { time, .. } => *time,
            Self::CheckedOut(out, _) => Some(out.time),
        }
    }

    /// Opens the files that COPY may take.
    ///
    /// # Errors
    /// As [`open`].
    pub(crate) fn tree(&self, file: Option<&Path>) -> Result<Tree> {
        self.seen(&For::Recipe(file))
    }

    pub(crate) fn seen(&self, what: &For<'_>) -> Result<Tree> {
        let (root, owners) = match self {
            Self::Folder(path) => return open(path, what),
            Self::Unpacked { root, .. } => (again(root)?, Owners::Kept),
            Self::CheckedOut(out, _) => {
                let doing = || "open the repository".to_owned();
                (out.tree.root.open_path(".").doing(doing)?, Owners::Root)
            }
        };
        let links = match self {
            Self::Unpacked { links, .. } if keeps_owners() => Some(links.clone()),
            _ => None,
        };
        let root = Root::new(root);
        let own = match what {
            For::Recipe(file) => {
                let file = file.unwrap_or(Path::new("Dockerfile"));
                let mut own = file.as_os_str().to_owned();
                own.push(".dockerignore");
                inside(&root, Path::new(&own))?
            }
            For::Name(_) => None,
        };
        let ignore = ignore(&root, own)?;
        Ok(Tree {
            root,
            name: what.shown(),
            owners,
            links,
            ignore,
            place: None,
        })
    }
}

fn again(root: &OwnedFd) -> Result<OwnedFd> {
    root.try_clone()
        .map_err(|e| SysError::from_io("dup", "", &e))
        .doing(|| "open the context".to_owned())
}

fn text(path: &Path, bytes: &[u8]) -> Source {
    Source::new(path.display().to_string(), bytes)
}

/// Reads the recipe: `file`, or `Dockerfile` in the context. A link there is followed inside the context.
///
/// # Errors
/// Names the file that can't be read.
fn recipe(context: &Path, file: Option<&Path>) -> Result<Source> {
    let bytes = match file {
        Some(file) => sys::file::read(file, LARGEST),
        None => {
            let path = context.join("Dockerfile");
            sys::file::open_path(context).and_then(|fd| {
                let fd = Root::new(fd).open("Dockerfile", OFlags::RDONLY | OFlags::NONBLOCK)?;
                sys::file::read_fd(fd, &path.display(), LARGEST)
            })
        }
    };
    let bytes = bytes.doing(|| "read the recipe".to_owned())?;
    let name = match file {
        Some(file) => file.display().to_string(),
        None => "Dockerfile".to_owned(),
    };
    Ok(Source::new(name, &bytes))
}

/// Opens the context with its ignore file: the recipe's own (`Dockerfile.dockerignore`) before
/// `.dockerignore`.
///
/// # Errors
/// Names what can't be read, or the pattern that is none.
fn open(context: &Path, what: &For<'_>) -> Result<Tree> {
    let doing = || format!("open the context {}", context.display());
    sys::file::open_dir(context).doing(doing)?;
    let root = Root::new(sys::file::open_path(context).doing(doing)?);
    let own = match what {
        For::Recipe(Some(file)) if file.as_os_str() != "-" => {
            let mut name = file.as_os_str().to_owned();
            name.push(".dockerignore");
            let path = PathBuf::from(name);
            match sys::file::read(&path, LARGEST) {
                Ok(bytes) => Some((path.display().to_string(), bytes)),
                Err(e) if e.errno == sys::Errno::NOENT => None,
                Err(e) => return Err(e).doing(doing),
            }
        }
        For::Recipe(_) => inside(&root, Path::new("Dockerfile.dockerignore"))?,
        For::Name(_) => None,
    };
    let ignore = ignore(&root, own)?;
    Ok(Tree {
        root,
        name: what.shown(),
        owners: Owners::Root,
        links: None,
        ignore,
        place: Some(sys::file::canonical(context).doing(doing)?),
    })
}

/// What the recipe's own ignore file says, or else the context's.
fn ignore(root: &Root, own: Option<(String, Vec<u8>)>) -> Result<Ignore> {
    let found = match own {
        Some(own) => Some(own),
        None => inside(root, Path::new(".dockerignore"))?,
    };
    let Some((name, bytes)) = found else {
        return Ok(Ignore::default());
    };
    // Comments may be of any encoding; a pattern of another one fits no name, as names are UTF-8.
    Ignore::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|why| Error::Refused(format!("{name}, {why}")))
}

/// A small file of the context, if it is there.
fn inside(root: &Root, path: &Path) -> Result<Option<(String, Vec<u8>)>> {
    let name = path.display().to_string();
    let doing = || format!("read {name} of the context");
    match root.open(path, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(fd) => {
            let bytes = sys::file::read_fd(fd, &name, LARGEST).doing(doing)?;
            Ok(Some((name.clone(), bytes)))
        }
        Err(e) if e.errno == sys::Errno::NOENT => Ok(None),
        Err(e) => Err(e).doing(doing),
    }
}
