//! Where an image comes from: an archive (a file, or a stream that is spooled first) or a layout
//! directory, as named files that can be read from any place. Not its job: what the files mean.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sys::at::{self, FileType, Mode, OFlags};
use sys::beneath::Root;
use sys::{Errno, SysError, file};

use crate::archive::Archive;
use crate::budget::most;
use crate::compression::{Compression, Decoder};
use crate::error::Doing;
use crate::layer::entry::{Limits, Skip, stream_fault};
use crate::watch::{Event, Watch};
use crate::{Error, Result};

/// What to load.
#[derive(Debug)]
pub enum Source {
    /// An archive, or the directory of an OCI layout.
    Path(PathBuf),
    /// An archive that comes as a stream. `name` stands for it in messages.
    Stream {
        /// `stdin`, say.
        name: String,
        /// Its end that is read.
        fd: OwnedFd,
    },
}

/// Files by name.
#[derive(Debug)]
pub(crate) enum Files {
    Archive(Archive),
    Directory(Root),
}

/// The bytes of a layer, wherever they are: opened when it is their turn, and not before.
pub(crate) trait Blob: fmt::Debug + Send + Sync {
    /// How many bytes there are to be.
    fn length(&self) -> u64;

    /// Begins at the first byte; called by the thread that reads on, as often as the layer is needed. A
    /// fault while reading may carry our own error (`io::Error::other`), and is told in its words.
    ///
    /// # Errors
    /// Names the blob.
    fn open(&self) -> Result<Box<dyn Read + Send>>;
}

/// A part of a file, read from any thread without a position in common.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Source {
    /// The source's name in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stream { name, .. } => name.clone(),
        }
    }

    /// Opens it. What is a stream or compressed as a whole goes to an unlinked file in `room` first:
    /// its parts may be needed in any order.
    ///
    /// `watch` is told how far that is.
    pub(crate) fn open(self, room: &Path, watch: Option<&Watch>) -> Result<Files> {
        let name = self.name();
        let doing = || format!("open {name}");
        let file = match self {
            Self::Stream { fd, .. } => File::from(fd),
            Self::Path(path) if file::is_dir(&path).doing(doing)? => {
                return Ok(Files::Directory(Root::new(
                    file::open_dir(&path).doing(doing)?,
                )));
            }
            Self::Path(path) => file::open(&path).doing(doing)?,
        };
        let stat = at::fstat(&file)
            .map_err(|errno| SysError::new("fstat", "", errno))
            .doing(doing)?;
        let file = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => file,
            FileType::Directory => return Err(Error::refused(name, "it is a directory")),
            _ => spool(file, room, &name, Limits::default().bytes, watch)?,
        };
        let archive = Window::whole(file).doing(doing)?;
        let archive = match archive.compression()? {
            Compression::None => archive,
            _ => {
                let most = most(archive.length());
                let (decoder, _) = Decoder::new(BufReader::new(archive))?;
                Window::whole(spool(decoder, room, &name, most, watch)?).doing(doing)?
            }
        };
        Ok(Files::Archive(Archive::index(archive)?))
    }
}

impl Files {
    /// The file `path`; `None` if there is none.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Window>> {
        let root = match self {
            Self::Archive(archive) => return archive.find(path.as_bytes()),
            Self::Directory(root) => root,
        };
        let doing = || format!("open {path}");
        // Looked at before it is opened: a FIFO or a device of a hostile layout is never waited for.
        let Some(fd) = root.find(path).doing(doing)? else {
            return Ok(None);
        };
        let stat = at::fstat(&fd)
            .map_err(|errno| SysError::new("fstat", path, errno))
            .doing(doing)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::refused(path, "it is no regular file"));
        }
        let fd = sys::proc::open_again(&fd, OFlags::RDONLY).doing(doing)?;
        Window::whole(File::from(fd)).map(Some).doing(doing)
    }

    /// A small file's bytes; `None` if there is none.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.find(path)? {
            Some(window) => window.document(path).map(Some),
            None => Ok(None),
        }
    }
}

impl Window {
    /// All of a file.
    pub(crate) fn whole(file: File) -> sys::Result<Self> {
        let length = file
            .metadata()
            .map_err(|e| SysError::from_io("fstat", "", &e))?
            .len();
        Ok(Self {
            file: Arc::new(file),
            at: 0,
            end: length,
        })
    }

    /// A part of this window, which must hold it.
    pub(crate) fn part(&self, at: u64, length: u64) -> Option<Self> {
        let at = self.at.checked_add(at)?;
        let end = at.checked_add(length)?;
        (end <= self.end).then(|| Self {
            file: Arc::clone(&self.file),
            at,
            end,
        })
    }

    /// How many bytes are left.
    pub(crate) fn length(&self) -> u64 {
        self.end - self.at
    }

    /// All of them, for a document.
    pub(crate) fn document(&self, what: &str) -> Result<Vec<u8>> {
        if self.length() > crate::json::MAX_DOCUMENT {
            let rule = format!("larger than {} bytes", crate::json::MAX_DOCUMENT);
            return Err(Error::refused(what, rule));
        }
        let mut bytes = Vec::new();
        self.clone()
            .read_to_end(&mut bytes)
            .map_err(|e| stream_fault(what, &e))?;
        Ok(bytes)
    }

    /// What its first bytes say.
    pub(crate) fn compression(&self) -> Result<Compression> {
        let mut head = [0; 6];
        let mut filled = 0;
        let mut window = self.clone();
        while filled < head.len() {
            match window.read(&mut head[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) => return Err(stream_fault("its first bytes", &e)),
            }
        }
        Ok(Compression::detect(&head[..filled]))
    }
}

impl Blob for Window {
    fn length(&self) -> u64 {
        self.length()
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.clone()))
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length()).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let count = loop {
            match self.file.read_at(&mut buffer[..length], self.at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if count == 0 && length > 0 {
            // The file became shorter while it was read.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Skip for Window {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        if count > self.length() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count;
        Ok(())
    }
}

/// Copies a stream of at most `most` bytes to a file without a name, of which nothing is left whatever
/// happens.
fn spool(
    stream: impl Read,
    room: &Path,
    name: &str,
    most: u64,
    watch: Option<&Watch>,
) -> Result<File> {
    let doing = || format!("spool {name}");
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let dir = file::open_dir(room).doing(doing)?;
    let file = at::openat(&dir, ".", flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| SysError::new("open", room.display(), errno))
        .doing(doing)?;
    let mut file = File::from(file);
    let mut stream = stream.take(most + 1);
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(stream_fault(name, &e)),
        };
        total += count as u64;
        if total > most {
            return Err(Error::refused(name, format!("larger than {most} bytes")));
        }
        file.write_all(&buffer[..count])
            .map_err(|e| SysError::from_io("write", "", &e))
            .doing(doing)?;
        if let Some(watch) = watch {
            watch(&Event::Spooled(count as u64));
        }
    }
}

/// A plain "not there" for a file that a document promised.
pub(crate) fn missing(what: &str) -> Error {
    Error::System {
        what: format!("find {what}"),
        source: SysError::new("open", what, Errno::NOENT),
    }
}
