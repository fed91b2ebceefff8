//! What a COPY source names in a tree: one path, or all that fit a pattern. Not its job: reading them.

use std::os::fd::AsFd;

use sys::Errno;
use sys::at::{self, AtFlags, FileType, OFlags};

use crate::error::{Doing, Error, Result};
use crate::fingerprint::Fingerprint;
use crate::glob::{self, Dialect, Glob};
use crate::ignore::Ignore;
use crate::include::Include;
use crate::tree::{Item, Part, Tree, Visitor, names, path_or_root};

/// Something that a source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    /// Its path below the root, cleaned; empty for the root itself.
    pub(crate) path: String,
    /// What of the folder is taken, where it is not all.
    pub(crate) include: Option<Include>,
}

impl Match {
    /// All of a path.
    pub(crate) fn all(path: String) -> Self {
        Self {
            path,
            include: None,
        }
    }

    /// Its last name.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }
}

impl Tree {
    /// What a COPY source names: one path, or all that fit a pattern. A pattern may fit nothing.
    ///
    /// # Errors
    /// A path that is not there, or left out.
    pub(crate) fn find(&self, source: &str) -> Result<Vec<Match>> {
        let clean = crate::steps::metadata::clean(source)[1..].to_owned();
        if glob::is_pattern(&clean) {
            return self.find_pattern(&clean);
        }
        let found = self
            .root
            .find(path_or_root(&clean))
            .doing(|| format!("find {source:?} in {}", self.name))?;
        let out = !clean.is_empty() && self.ignore.leaves_out(&clean);
        match found {
            Some(_)
                if !out || (self.ignore.has_exceptions() && self.holds_something(&clean)?) =>
            {
                Ok(vec![Match::all(clean)])
            }
            Some(_) => Err(Error::Refused(format!(
                "{source:?} is left out of {} by .dockerignore",
                self.name
            ))),
            None => Err(self.missing(source)),
        }
    }

    /// What a source of `COPY --parents` names: folders, and what of them is taken.
    ///
    /// # Errors
    /// A folder before the pivot that is not there, a pattern that is none.
    pub(crate) fn find_with_parents(&self, source: &str) -> Result<Vec<Match>> {
        let (base, include) = Include::parse(source).map_err(Error::Refused)?;
        let mut found = self.find(&base)?;
        for one in &mut found {
            one.include = Some(include.clone());
        }
        found.retain(|one| {
            self.stat(&one.path)
                .is_ok_and(|(_, kind)| kind == FileType::Directory)
        });
        Ok(found)
    }

    /// The fault of a source that must be there and is not.
    pub(crate) fn missing(&self, source: &str) -> Error {
        let clean = crate::steps::metadata::clean(source)[1..].to_owned();
        Error::Refused(format!(
            "{source:?} is not in {}{}",
            self.name,
            self.nearest(&clean)
        ))
    }

    /// A name in the same folder that may have been meant.
    fn nearest(&self, path: &str) -> String {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(folder) = self.root.open(path_or_root(folder), flags) else {
            return String::new();
        };
        let names: Vec<String> = names(&folder)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| String::from_utf8(name).ok())
            .take(1000)
            .collect();
        crate::diagnostic::did_you_mean(name, names.iter().map(String::as_str))
    }

    /// Whether a folder that is left out holds something that is in after all.
    fn holds_something(&self, path: &str) -> Result<bool> {
        struct Any(bool);
        impl Visitor for Any {
            fn enter(&mut self, _: &Item<'_>) -> Result<()> {
                self.0 = true;
                Ok(())
            }
            fn leave(&mut self, _: &Item<'_>) -> Result<()> {
                Ok(())
            }
        }
        let mut any = Any(false);
        if self.stat(path)?.1 == FileType::Directory {
            let part = Part {
                exclude: &Ignore::default(),
                include: None,
            };
            self.walk(path, part, &mut any)?;
        }
        Ok(any.0)
    }

    /// The paths that fit a pattern, name by name: `*` does not cross folders. Links are followed in the names
    /// before the first pattern alone.
    fn find_pattern(&self, pattern: &str) -> Result<Vec<Match>> {
        let doing = || format!("find {pattern:?} in {}", self.name);
        let mut paths = vec![String::new()];
        let parts: Vec<&str> = pattern.split('/').collect();
        let plain = parts.iter().take_while(|part| !glob::is_pattern(part));
        let plain = plain.count();
        for (depth, part) in parts.iter().enumerate() {
            let glob = Glob::parse(part, Dialect::Name).map_err(Error::Refused)?;
            let mut next = Vec::new();
            for path in &paths {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let folder = match self.root.open(path_or_root(path), flags) {
                    Ok(folder) => folder,
                    Err(e) if matches!(e.errno, Errno::NOTDIR | Errno::NOENT) => continue,
                    Err(e) => return Err(e).doing(doing),
                };
                for name in names(&folder).doing(doing)? {
                    let Ok(name) = String::from_utf8(name) else {
                        continue;
                    };
                    let is_last = depth + 1 == parts.len();
                    if glob.matches(&name)
                        && (depth < plain || is_last || is_folder(&folder, &name))
                    {
                        next.push(join(path, &name));
                    }
                }
            }
            if depth + 1 == parts.len() {
                next.retain(|path| !self.ignore.leaves_out(path));
            }
            paths = next;
        }
        Ok(paths.into_iter().map(Match::all).collect())
    }
}

/// Whether a name is a folder itself, not a link to one.
fn is_folder(folder: impl AsFd, name: &str) -> bool {
    let stat = at::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Takes the fingerprint of what a source names; says whether it is a folder or which name it has.
pub(crate) fn look(
    tree: &Tree,
    found: &Match,
    exclude: &Ignore,
    seen: &mut Fingerprint,
) -> Result<String> {
    let include = found.include.as_ref();
    if tree.stat(&found.path)?.1 == FileType::Directory {
        tree.walk(&found.path, Part { exclude, include }, seen)?;
        return Ok("folder".to_owned());
    }
    tree.visit_file(&found.path, seen)?;
    Ok(format!("file {}", found.name()))
}
