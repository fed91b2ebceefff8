//! What is said of a result beside it, where that is asked for: with an image, or as files among those of a folder or
//! tar. Not its job: what is said (`provenance`, `sbom`), and where images go.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use image::{Digest, Layer, Predicate, Scratch, Store};
use sys::at::{self, FileType, Timespec, Timestamps};
use sys::{SysError, file};

use crate::error::{Doing, Error, Result};
use crate::export::look;
use crate::fingerprint::{CHUNK, pour};
use crate::ignore::Ignore;
use crate::layers::overlay;
use crate::provenance::{Detail, Facts};
use crate::sbom;
use crate::tree::{Item, Part, Tree, Visitor};

/// What is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attest {
    /// How the result came about.
    pub provenance: Option<Provenance>,
    /// What it consists of.
    pub sbom: bool,
}

/// How much is said of how a result came about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// How much.
    pub detail: Detail,
    /// Who built it, as an address.
    pub builder: Option<String>,
    /// Whether the person says that another build gives the same.
    pub reproducible: bool,
    /// Whether it goes beside images alone, never among files.
    pub inline_only: bool,
}

impl Attest {
    /// Whether something is asked for that must have a place.
    pub fn needs_place(&self) -> bool {
        let provenance = self.provenance.as_ref();
        self.sbom || provenance.is_some_and(|provenance| !provenance.inline_only)
    }
}

/// What is said, and what could not be.
#[derive(Debug, Default)]
pub struct Said {
    /// In a fixed order.
    pub predicates: Vec<Predicate>,
    /// Those of them that go among files.
    pub among_files: Vec<Predicate>,
    /// Databases of package managers that are not in the SBOM.
    pub unread: Vec<String>,
}

/// What is asked for, of the image `id` with this tree.
pub(crate) fn said(asked: &Attest, facts: &Facts, tree: &Tree, id: Digest) -> Result<Said> {
    let mut said = Said::default();
    if asked.sbom {
        let found = sbom::scan(tree)?;
        said.predicates
            .push(sbom::predicate(&found, id, facts.epoch()));
        said.unread = found.unread;
    }
    said.among_files.clone_from(&said.predicates);
    if let Some(provenance) = &asked.provenance {
        let predicate = facts.predicate(provenance);
        if !provenance.inline_only {
            said.among_files.push(predicate.clone());
        }
        said.predicates.push(predicate);
    }
    Ok(said)
}

/// A tree with files of statements about all its other files.
pub(crate) struct Beside {
    /// The tree.
    pub(crate) mount: OwnedFd,
    /// Where the files are.
    _scratch: Scratch,
}

/// Puts statements into a tree of these layers, as `provenance.json` and `sbom.spdx.json` with a prefix to their names,
/// and the build's time.
pub(crate) fn beside(
    store: &Store,
    (tree, layers): (&Tree, &[Layer]),
    (predicates, prefix): (&[Predicate], &str),
    epoch: i64,
) -> Result<Beside> {
    let mut files = Files {
        found: Vec::new(),
        buffer: vec![0; CHUNK],
    };
    let everything = Part {
        exclude: &Ignore::default(),
        include: None,
    };
    tree.walk("", everything, &mut files)?;
    let scratch = store.scratch().doing(|| "begin statements".to_owned())?;
    let upper = file::open_dir(&scratch.upper).doing(|| "begin statements".to_owned())?;
    for predicate in predicates {
        let name = format!("{prefix}{}", name_of(predicate));
        let doing = || format!("write {name}");
        if look(tree.root.fd(), OsStr::new(&name))
            .doing(doing)?
            .is_some()
        {
            return Err(Error::Refused(format!(
                "{name}: the result has a file of this name itself"
            )));
        }
        let bytes = predicate.statement(&files.found).doing(doing)?;
        let path = scratch.upper.join(&name);
        let fd = file::create_new(&path, 0o644).doing(doing)?;
        file::write_all(&fd, &bytes).doing(doing)?;
        at::fchmod(&fd, at::Mode::from_raw_mode(0o644))
            .and_then(|()| at::futimens(&fd, &times(epoch)))
            .map_err(|errno| SysError::new("chmod", &name, errno))
            .doing(doing)?;
    }
    let stat = at::fstat(tree.root.fd());
    let doing = || "begin statements".to_owned();
    stat.and_then(|stat| {
        at::fchmod(&upper, at::Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        at::futimens(&upper, &times(stat.st_mtime))
    })
    .map_err(|errno| SysError::new("chmod", "", errno))
    .doing(doing)?;
    let mount = overlay(layers, Some(&scratch))?;
    Ok(Beside {
        mount,
        _scratch: scratch,
    })
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn name_of(predicate: &Predicate) -> &'static str {
    match predicate.kind.starts_with("https://spdx.dev/") {
        true => "sbom.spdx.json",
        false => "provenance.json",
    }
}

/// All files of a tree with their digests, in the order of the walk.
struct Files {
    found: Vec<(String, Digest)>,
    buffer: Vec<u8>,
}

impl Visitor for Files {
    fn enter(&mut self, item: &Item<'_>) -> Result<()> {
        if item.kind() != FileType::RegularFile {
            return Ok(());
        }
        let doing = || format!("read {}", item.shown());
        let from = item.open().doing(doing)?;
        let sum = pour(&from, item.size(), &mut self.buffer, |_| Ok(())).doing(doing)?;
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = Digest::from_hex(&hex).doing(doing)?;
        let path = item.shown().trim_start_matches('/').to_owned();
        self.found.push((path, digest));
        Ok(())
    }

    fn leave(&mut self, _: &Item<'_>) -> Result<()> {
        Ok(())
    }
}
