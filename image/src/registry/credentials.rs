//! Names and passwords of registries, where docker and podman keep them: found, kept, removed.
//! Not its job: showing them to anybody (`token.rs`).

mod document;
mod program;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sys::Errno;
use sys::file::{self, Durability, Lock, Wait};

use self::document::{Place, place};
use crate::error::Doing;
use crate::{Error, Result};

/// A file of credentials.
const MAX_FILE: u64 = 4 << 20;

/// What one is known by.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password, or a token that stands for it.
        secret: String,
    },
    /// A token that is changed for others (docker's `identitytoken`, OAuth's refresh token).
    Identity(String),
    /// A token that is shown as it is (docker's `registrytoken`).
    Bearer(String),
}

/// Secrets do not appear in messages.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Login::Password",
            Self::Identity(_) => "Login::Identity",
            Self::Bearer(_) => "Login::Bearer",
        })
    }
}

impl Login {
    /// The header of basic authentication.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, secret } => {
                let both = STANDARD.encode(format!("{user}:{secret}"));
                Some(format!("Basic {both}"))
            }
            Self::Identity(_) | Self::Bearer(_) => None,
        }
    }
}

/// Where credentials are looked for.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The first one that knows a registry is believed; the first of all is written to.
    files: Vec<PathBuf>,
    /// Those of the command line: nothing else is looked at.
    given: Option<Login>,
}

impl Credentials {
    /// The places for this user: `file` alone if it is given, else what `environment` says:
    /// `REGISTRY_AUTH_FILE` alone, or docker's file (`DOCKER_CONFIG`) and then podman's.
    pub fn new(file: Option<PathBuf>, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| {
            environment(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        if let Some(file) = file.or_else(|| path("REGISTRY_AUTH_FILE")) {
            return Self {
                files: vec![file],
                given: None,
            };
        }
        let home = path("HOME");
        let of_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let files = [
            path("DOCKER_CONFIG")
                .or_else(|| of_home(".docker"))
                .map(|dir| dir.join("config.json")),
            path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
            path("XDG_CONFIG_HOME")
                .or_else(|| of_home(".config"))
                .map(|dir| dir.join("containers/auth.json")),
        ];
        Self {
            files: files.into_iter().flatten().collect(),
            given: None,
        }
    }

    /// The same places, but this login for whoever asks.
    #[must_use]
    pub fn with(self, login: Login) -> Self {
        Self {
            given: Some(login),
            ..self
        }
    }

    /// How we are known to `domain`, and in `repository` there.
    pub(super) fn find(&self, domain: &str, repository: Option<&str>) -> Result<Option<Login>> {
        if self.given.is_some() {
            return Ok(self.given.clone());
        }
        for path in &self.files {
            let Some(document) = read(path)? else {
                continue;
            };
            let found = match place(path, &document, domain, repository)? {
                Place::Program { program, server } => program::get(&program, &server)?,
                Place::Here(login) => Some(login),
                Place::Nowhere => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Keeps `login` for `domain`; gives the file that was written to, or the program's that keeps it.
    ///
    /// # Errors
    /// If no place is known, or it can't be written to.
    pub fn keep(&self, domain: &str, login: &Login) -> Result<PathBuf> {
        let path = self.files.first().ok_or_else(|| Error::Credentials {
            registry: domain.to_owned(),
            reason: "no place for them: none of REGISTRY_AUTH_FILE, DOCKER_CONFIG and HOME is set"
                .to_owned(),
        })?;
        let key = document::key(domain);
        change(path, |document| {
            let entry = match document::program_of(path, document, domain)? {
                Some(program) => {
                    program::store(&program, &key, login)?;
                    // As docker does: who is known, but not how.
                    json!({})
                }
                None => document::entry(login),
            };
            let auths = document.entry("auths").or_insert_with(|| json!({}));
            let auths = auths
                .as_object_mut()
                .ok_or_else(|| Error::refused(path.display().to_string(), "auths is no object"))?;
            auths.retain(|name, _| name == &key || !document::is_of(name, domain));
            auths.insert(key.clone(), entry);
            Ok(true)
        })?;
        Ok(path.clone())
    }

    /// Removes what is kept for `domain`, wherever it would be found. `false` if there was nothing.
    ///
    /// # Errors
    /// If a file can't be read or written to.
    pub fn remove(&self, domain: &str) -> Result<bool> {
        let mut removed = false;
        for path in &self.files {
            if read(path)?.is_none() {
                continue;
            }
            change(path, |document| {
                if let Some(program) = document::program_of(path, document, domain)? {
                    let server = document::key(domain);
                    removed |= program::get(&program, &server)?.is_some();
                    program::erase(&program, &server)?;
                }
                let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) else {
                    return Ok(false);
                };
                let before = auths.len();
                auths.retain(|name, _| !document::is_of(name, domain));
                removed |= auths.len() < before;
                Ok(auths.len() < before)
            })?;
        }
        Ok(removed)
    }
}

/// Reads one file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Map<String, Value>>> {
    let doing = || format!("read {}", path.display());
    let bytes = match file::read(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(e) if [Errno::NOENT, Errno::NOTDIR].contains(&e.errno) => return Ok(None),
        Err(e) => return Err(e).doing(doing),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Some(Map::new()));
    }
    match crate::json::parse(&path.display().to_string(), &bytes)? {
        Value::Object(document) => Ok(Some(document)),
        _ => Err(Error::refused(
            path.display().to_string(),
            "it is no JSON object",
        )),
    }
}

/// Changes one file as a whole, and what is not ours in it not at all. Two of us do so one after the other.
fn change(path: &Path, change: impl FnOnce(&mut Map<String, Value>) -> Result<bool>) -> Result<()> {
    // People keep their settings elsewhere, and a link here.
    let path = match file::exists(path).doing(|| format!("look for {}", path.display()))? {
        true => file::canonical(path).doing(|| format!("find {}", path.display()))?,
        false => path.to_owned(),
    };
    let doing = || format!("write {}", path.display());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| Error::refused(path.display().to_string(), "it is no file name"))?;
    file::create_dir_all(folder, 0o700).doing(doing)?;
    let dir: OwnedFd = file::open_dir(folder).doing(doing)?;
    file::lock(&dir, Lock::Exclusive, Wait::Block).doing(doing)?;
    let mut document = read(&path)?.unwrap_or_default();
    if !change(&mut document)? {
        return Ok(());
    }
    let mut bytes = serde_json::to_vec_pretty(&document).map_err(|e| Error::Json {
        what: path.display().to_string(),
        fault: e.to_string(),
    })?;
    bytes.push(b'\n');
    file::replace(&dir, name, &bytes, 0o600, Durability::Disk).doing(doing)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
