//! The build's folder: its recipe, its ignore file, and the files that COPY may take. Not its job:
//! copying them.

use std::path::{Path, PathBuf};

use sys::at::OFlags;
use sys::beneath::Root;

use crate::error::{Doing, Error, Result};
use crate::ignore::Ignore;
use crate::source::Source;
use crate::tree::{Owners, Tree};

/// A larger recipe or ignore file is a mistake.
const LARGEST: u64 = 4 << 20;

/// Reads the recipe: `file`, or `Dockerfile` in the context. A link there is followed inside the context.
///
/// # Errors
/// Names the file that can't be read, or is no text.
pub(crate) fn recipe(context: &Path, file: Option<&Path>) -> Result<Source> {
    let (path, bytes) = match file {
        Some(file) => (file.to_owned(), sys::file::read(file, LARGEST)),
        None => {
            let path = context.join("Dockerfile");
            let bytes = sys::file::open_path(context).and_then(|fd| {
                let fd = Root::new(fd).open("Dockerfile", OFlags::RDONLY | OFlags::NONBLOCK)?;
                sys::file::read_fd(fd, &path.display(), LARGEST)
            });
            (path, bytes)
        }
    };
    let bytes = bytes.doing(|| "read the recipe".to_owned())?;
    let name = match file {
        Some(file) => file.display().to_string(),
        None => "Dockerfile".to_owned(),
    };
    Source::new(name, bytes).map_err(|why| Error::Unreadable { path, why })
}

/// Opens the context with its ignore file: the recipe's own (`Dockerfile.dockerignore`) before
/// `.dockerignore`.
///
/// # Errors
/// Names what can't be read, or the pattern that is none.
pub(crate) fn open(context: &Path, file: Option<&Path>) -> Result<Tree> {
    let doing = || format!("open the context {}", context.display());
    sys::file::open_dir(context).doing(doing)?;
    let root = Root::new(sys::file::open_path(context).doing(doing)?);
    let own = match file {
        Some(file) => {
            let mut name = file.as_os_str().to_owned();
            name.push(".dockerignore");
            let path = PathBuf::from(name);
            match sys::file::read(&path, LARGEST) {
                Ok(bytes) => Some((path.display().to_string(), bytes)),
                Err(e) if e.errno == sys::Errno::NOENT => None,
                Err(e) => return Err(e).doing(doing),
            }
        }
        None => inside(&root, "Dockerfile.dockerignore")?,
    };
    let found = match own {
        Some(found) => Some(found),
        None => inside(&root, ".dockerignore")?,
    };
    let ignore = match found {
        None => Ignore::default(),
        Some((name, bytes)) => {
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::Refused(format!("{name}: it is not UTF-8 text")))?;
            Ignore::parse(&text).map_err(|why| Error::Refused(format!("{name}, {why}")))?
        }
    };
    Ok(Tree {
        root,
        name: "the context".to_owned(),
        owners: Owners::Root,
        ignore,
    })
}

/// A small file of the context, if it is there.
fn inside(root: &Root, name: &str) -> Result<Option<(String, Vec<u8>)>> {
    let doing = || format!("read {name} of the context");
    match root.open(name, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(fd) => {
            let bytes = sys::file::read_fd(fd, &name, LARGEST).doing(doing)?;
            Ok(Some((name.to_owned(), bytes)))
        }
        Err(e) if e.errno == sys::Errno::NOENT => Ok(None),
        Err(e) => Err(e).doing(doing),
    }
}
