//! What a COPY reads, as one digest: names, modes, owners, links, extended attributes and bytes, but no
//! times. Not its job: what the digest is compared with.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use sha2::{Digest as _, Sha256};
use sys::at::{self, FileType};
use sys::{Errno, SysError};

use crate::error::{Doing, Error, Result};
use crate::memory::Memory;
use crate::ready::Ready;
use crate::tree::{Item, Owners, Visitor};

/// A SHA-256 digest.
pub(crate) type Sum = [u8; 32];

/// How much is read at once.
pub(crate) const CHUNK: usize = 128 * 1024;

/// Extended attributes of one file, sorted by name.
pub(crate) type Xattrs = Vec<(String, Vec<u8>)>;

/// Takes the files of a walk, one after the other.
pub(crate) struct Fingerprint {
    hasher: Sha256,
    owners: Owners,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Each file's path and a short digest of it, to say later what has changed.
    pub(crate) files: Vec<(String, String)>,
    buffer: Vec<u8>,
    /// What an earlier build saw, where files may be taken by their looks.
    memory: Option<Memory>,
    /// What was read, for whoever writes it next.
    ready: Option<Ready>,
    /// No file has attributes or another name: nothing that a copy could lack.
    pub(crate) plain: bool,
    /// The times of the files as copies get them, where somebody wants to know them.
    times: Option<Times>,
}

/// The times of files, none later than the first.
struct Times(i64, Sha256);

/// What a file holds.
pub(crate) enum Content {
    /// Nothing: a folder, a device.
    None,
    /// Bytes, by their digest.
    Bytes(Sum),
    /// What a link says.
    Link(Vec<u8>),
    /// It is another name of this file.
    Same(Vec<u8>),
}

impl Fingerprint {
    /// Begins with nothing.
    pub(crate) fn new(owners: Owners) -> Self {
        Self {
            hasher: Sha256::new(),
            owners,
            links: HashMap::new(),
            files: Vec::new(),
            buffer: vec![0; CHUNK],
            memory: None,
            ready: None,
            plain: true,
            times: None,
        }
    }

    /// Looks at times too, each cut to this one, in seconds since 1970.
    pub(crate) fn until(mut self, newest: i64) -> Self {
        self.times = Some(Times(newest, Sha256::new()));
        self
    }

    /// A digest of the files' times.
    pub(crate) fn times(&mut self) -> Option<String> {
        self.times.take().map(|times| hex(&times.1.finalize()))
    }

    /// Begins with what an earlier build saw; keeps small files that it reads.
    pub(crate) fn remembering(owners: Owners, memory: Option<Memory>, ready: Ready) -> Self {
        Self {
            memory,
            ready: Some(ready),
            ..Self::new(owners)
        }
    }

    /// Gives the files that were kept.
    pub(crate) fn ready(&mut self) -> Ready {
        self.ready.take().unwrap_or_default()
    }

    /// Gives the memory back, with what was learned.
    pub(crate) fn memory(&mut self) -> Option<Memory> {
        self.memory.take()
    }

    /// The digest of all that was taken.
    pub(crate) fn finish(self) -> (String, Vec<(String, String)>) {
        (hex(&self.hasher.finalize()), self.files)
    }

    /// The owner that a file will have.
    pub(crate) fn owner(&self, item: &Item<'_>) -> (u32, u32) {
        match self.owners {
            Owners::Root => (0, 0),
            Owners::Kept => (item.stat.st_uid, item.stat.st_gid),
        }
    }

    /// The earlier name of this very file, if it has one.
    pub(crate) fn earlier_name(&mut self, item: &Item<'_>) -> Option<Vec<u8>> {
        if item.kind() != FileType::RegularFile || item.stat.st_nlink < 2 {
            return None;
        }
        let key = (item.stat.st_dev, item.stat.st_ino);
        match self.links.get(&key) {
            Some(first) => Some(first.clone()),
            None => {
                self.links.insert(key, item.path.to_vec());
                None
            }
        }
    }

    /// Takes one file whose content is known.
    pub(crate) fn take(&mut self, item: &Item<'_>, xattrs: &Xattrs, content: &Content) {
        let (uid, gid) = self.owner(item);
        let mut hasher = Sha256::new();
        field(&mut hasher, item.path);
        for number in [item.stat.st_mode, uid, gid] {
            hasher.update(number.to_le_bytes());
        }
        if matches!(
            item.kind(),
            FileType::BlockDevice | FileType::CharacterDevice
        ) {
            hasher.update(item.stat.st_rdev.to_le_bytes());
        }
        for (name, value) in xattrs {
            field(&mut hasher, name.as_bytes());
            field(&mut hasher, value);
        }
        self.plain &= xattrs.is_empty() && !matches!(content, Content::Same(_));
        match content {
            Content::None => field(&mut hasher, b"none"),
            Content::Bytes(sum) => field(&mut hasher, sum),
            Content::Link(target) => field(&mut hasher, target),
            Content::Same(name) => field(&mut hasher, name),
        }
        let sum = hasher.finalize();
        self.hasher.update(sum);
        if let Some(Times(newest, hasher)) = &mut self.times {
            hasher.update(item.stat.st_mtime.min(*newest).to_le_bytes());
        }
        self.files.push((item.shown(), hex(&sum[..8])));
    }

    /// What a file holds, and its attributes: by its looks if these are known, else it is read.
    fn read(&mut self, item: &Item<'_>) -> Result<(Content, Xattrs)> {
        let doing = || format!("read {}", item.shown());
        let is_file = match item.kind() {
            FileType::RegularFile => true,
            FileType::Directory => false,
            FileType::Symlink => {
                return Ok((Content::Link(item.target().doing(doing)?), Xattrs::new()));
            }
            _ => return Ok((Content::None, Xattrs::new())),
        };
        let earlier = self.earlier_name(item);
        let same = |sum| match (&earlier, sum) {
            (Some(name), _) => Content::Same(name.clone()),
            (None, Some(sum)) => Content::Bytes(sum),
            (None, None) => Content::None,
        };
        let memory = self.memory.as_mut();
        if let Some(known) = memory.and_then(|memory| memory.find(&item.stat)) {
            return Ok((same(known.sum), known.xattrs));
        }
        let fd = opened(item)?;
        let xattrs = xattrs_of(item, fd.as_ref())?;
        let sum = match &fd {
            Some(fd) if is_file && earlier.is_none() => {
                Some(self.sum(item, fd, &xattrs).doing(doing)?)
            }
            _ => None,
        };
        if let Some(memory) = &mut self.memory
            && earlier.is_none()
        {
            memory.learn(&item.stat, sum.as_ref(), &xattrs);
        }
        Ok((same(sum), xattrs))
    }

    /// Reads a file's bytes, and keeps them where there is room.
    fn sum(&mut self, item: &Item<'_>, fd: &OwnedFd, xattrs: &Xattrs) -> sys::Result<Sum> {
        let mut place = self
            .ready
            .as_ref()
            .and_then(|ready| ready.place(&item.stat));
        let sum = pour(fd, item.size(), &mut self.buffer, |bytes| {
            if let Some(place) = &mut place {
                place.extend_from_slice(bytes);
            }
            Ok(())
        })?;
        if let (Some(ready), Some(bytes)) = (&mut self.ready, place) {
            ready.keep(item.path, &item.stat, (sum, xattrs, bytes));
        }
        Ok(sum)
    }
}

impl Visitor for Fingerprint {
    fn enter(&mut self, item: &Item<'_>) -> Result<()> {
        if item.kind() == FileType::Socket {
            return Ok(());
        }
        let (content, xattrs) = self.read(item)?;
        self.take(item, &xattrs, &content);
        Ok(())
    }

    fn leave(&mut self, _: &Item<'_>) -> Result<()> {
        Ok(())
    }
}

/// Reads a file to its end, hands on each piece, and gives the digest of it all. A piece that is shorter than the buffer
/// and ends where stat said that the file does is the last: asking for more would only cost time.
pub(crate) fn pour(
    fd: impl AsFd,
    size: Option<u64>,
    buffer: &mut [u8],
    mut to: impl FnMut(&[u8]) -> sys::Result<()>,
) -> sys::Result<Sum> {
    let mut hasher = Sha256::new();
    let mut length = 0;
    loop {
        match at::read(&fd, &mut *buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                to(&buffer[..count])?;
                length += count as u64;
                if count < buffer.len() && Some(length) == size {
                    return Ok(hasher.finalize().into());
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("read", "", errno)),
        }
    }
}

/// Opens a file or folder; links and devices are never opened.
pub(crate) fn opened(item: &Item<'_>) -> Result<Option<OwnedFd>> {
    if !matches!(item.kind(), FileType::RegularFile | FileType::Directory) {
        return Ok(None);
    }
    let fd = item.open().doing(|| format!("open {}", item.shown()))?;
    Ok(Some(fd))
}

/// The attributes that a copy carries: the person's, and file capabilities. Labels and the kernel's
/// own marks belong to the place, not to the file; overlay's marks would be whiteouts in the image.
pub(crate) fn xattrs_of(item: &Item<'_>, fd: Option<&OwnedFd>) -> Result<Xattrs> {
    let Some(fd) = fd else {
        return Ok(Vec::new());
    };
    let ours = |name: &str| {
        let user = name.starts_with("user.") && !name.starts_with("user.overlay.");
        (user && name != image::OWNER_XATTR) || name == "security.capability"
    };
    attributes(fd, ours).doing(|| format!("read the attributes of {}", item.shown()))
}

/// The attributes of an open file whose names are wanted, sorted.
pub(crate) fn attributes(fd: &OwnedFd, wanted: impl Fn(&str) -> bool) -> sys::Result<Xattrs> {
    let mut list = vec![0_u8; 1024];
    let length = loop {
        match at::flistxattr(fd, &mut list[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) if list.len() < 1 << 16 => list.resize(1 << 16, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(SysError::new("listxattr", "", errno)),
        }
    };
    let mut found = Vec::new();
    for name in list[..length].split(|b| *b == 0) {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if name.is_empty() || !wanted(name) {
            continue;
        }
        let mut value = vec![0_u8; 1 << 16];
        let length = at::fgetxattr(fd, name, &mut value[..])
            .map_err(|errno| SysError::new("getxattr", name, errno))?;
        value.truncate(length);
        found.push((name.to_owned(), value));
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes a field so that no two lists of fields give the same bytes.
pub(crate) fn field(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n & 15)]);
    let digits = |byte: &u8| [digit(byte >> 4), digit(*byte)];
    bytes.iter().flat_map(digits).collect()
}

/// A fault that the files changed between two looks at them.
pub(crate) fn changed(name: &str) -> Error {
    Error::Refused(format!("files of {name} changed while they were copied"))
}
