//! ADD of a file from a web server: asked for only if its content is not known by its checksum, or by what
//! the server called it the last time. Not its job: HTTP (image).

use std::fs::File;
use std::io::{self, Seek as _, Write};

use image::registry::{Download, download};
use image::{Scratch, Store};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::SysError;

use crate::error::{Doing, Error, Result};
use crate::fingerprint::{Sum, changed, hex};
use crate::material::Material;
use crate::notes;
use crate::remote::file_name;
use crate::steps::archive::Archive;
use crate::steps::copy::Manner;
use crate::steps::place::new_file;

/// The kind of our notes.
const KIND: &str = "file of a web server";

/// A file of a web server.
pub(crate) struct WebFile {
    url: String,
    name: String,
    sum: Sum,
    /// The sum is what the recipe wants, not what the server once sent.
    promised: bool,
    modified: Option<i64>,
    /// It, if it had to be fetched, and the place where it lies.
    file: Option<(File, Scratch)>,
    /// Whether it is unpacked if it turns out to be an archive.
    unpack: bool,
}

/// What is remembered of an address.
#[derive(Serialize, Deserialize)]
struct Note {
    etag: String,
    sum: Sum,
    modified: Option<i64>,
}

impl WebFile {
    /// The file at `url`, with the digest of its content.
    ///
    /// # Errors
    /// What no file has for a name; a checksum that is none; whatever keeps it from being fetched.
    pub(crate) fn new(
        store: &Store,
        url: &str,
        checksum: Option<&str>,
        unpack: bool,
        remember: bool,
    ) -> Result<Self> {
        let mut found = Self {
            url: url.to_owned(),
            name: file_name(url).map_err(Error::Refused)?,
            sum: Sum::default(),
            promised: false,
            modified: None,
            file: None,
            unpack,
        };
        if let Some(checksum) = checksum {
            found.sum = sum(checksum).map_err(Error::Refused)?;
            found.promised = true;
            return Ok(found);
        }
        let note: Option<Note> = match remember {
            true => notes::read(store, KIND, url.as_bytes()),
            false => None,
        };
        match found.fetch(store, note.as_ref().map(|note| note.etag.as_str()))? {
            (true, sum) => found.sum = sum,
            (false, _) => {
                if let Some(note) = note {
                    (found.sum, found.modified) = (note.sum, note.modified);
                }
            }
        }
        Ok(found)
    }

    /// What it is, as a part of a key.
    pub(crate) fn part(&self) -> (String, String) {
        let unpack = if self.unpack { " unpack" } else { "" };
        (format!("url {}{unpack}", self.name), hex(&self.sum))
    }

    /// What it is, for whoever asks where it came from.
    pub(crate) fn material(&self) -> Material {
        Material::file(&self.url, &self.sum)
    }

    /// Writes it into the tree.
    pub(crate) fn write(&mut self, store: &Store, manner: &Manner<'_>) -> Result<()> {
        if self.file.is_none() {
            let (_, sum) = self.fetch(store, None)?;
            if sum != self.sum && self.promised {
                return Err(Error::Refused(format!(
                    "{}: its checksum is sha256:{}, not sha256:{}",
                    self.url,
                    hex(&sum),
                    hex(&self.sum)
                )));
            }
            if sum != self.sum {
                return Err(changed(&self.url));
            }
        }
        let Some((file, _place)) = &self.file else {
            return Ok(());
        };
        let doing = || format!("read {}", self.url);
        let again = || {
            let mut file = file.try_clone()?;
            file.rewind()?;
            Ok(file)
        };
        let again = || again().map_err(|e: io::Error| SysError::from_io("lseek", "", &e));
        if self.unpack
            && let Some(archive) = Archive::of_file(again().doing(doing)?, &self.name)?
        {
            return archive.unpack(manner);
        }
        let mut file = again().doing(doing)?;
        new_file(
            manner,
            &self.name,
            0o600,
            &mut file,
            self.modified.or(Some(0)),
        )
    }

    /// Fetches it unless it is still what `etag` says; gives whether it was fetched, and the digest.
    fn fetch(&mut self, store: &Store, etag: Option<&str>) -> Result<(bool, Sum)> {
        let doing = || format!("ADD {}", self.url);
        let place = store.scratch().doing(doing)?;
        let path = place.upper.with_file_name("download");
        let file = sys::file::create_new(&path, 0o600).doing(doing)?;
        let mut to = Hashing {
            inner: file,
            hasher: Sha256::new(),
        };
        let Download::Whole(facts) = download(&self.url, etag, &mut to).doing(doing)? else {
            return Ok((false, Sum::default()));
        };
        let sum = Sum::from(to.hasher.finalize());
        self.modified = facts.modified;
        if let Some(etag) = facts.etag {
            let note = Note {
                etag,
                sum,
                modified: facts.modified,
            };
            notes::write(store, KIND, self.url.as_bytes(), note);
        }
        self.file = Some((sys::file::open(&path).doing(doing)?, place));
        Ok((true, sum))
    }
}

/// `sha256:HEX`
///
/// # Errors
/// Says what is no such sum.
pub(super) fn sum(checksum: &str) -> Result<Sum, String> {
    let fault = |why: &str| format!("--checksum={checksum}: {why}");
    let Some(digits) = checksum.strip_prefix("sha256:") else {
        return Err(fault("only sha256:HEX is supported"));
    };
    let mut sum = Sum::default();
    let plain = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    for (at, byte) in sum.iter_mut().enumerate() {
        let pair = digits.get(2 * at..2 * at + 2).filter(|_| plain);
        *byte = pair
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(|| fault("it needs 64 hex digits"))?;
    }
    Ok(sum)
}

struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_sha256_in_full() {
        let good = format!("sha256:{}", "aB".repeat(32));
        assert_eq!(sum(&good).unwrap(), [0xab; 32]);
        for bad in [
            "sha256:ab",
            "md5:ab",
            "",
            &"ab".repeat(32),
            &format!("sha256:{}", "zz".repeat(32)),
            &format!("sha256:{}+1", "ab".repeat(31)),
        ] {
            assert!(sum(bad).is_err(), "{bad:?} was taken");
        }
    }
}
