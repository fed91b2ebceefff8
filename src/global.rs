//! The flags that stand before the verb, and what follows from them: places of state and images.
//! Not its job: finding the verb (cli).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use runtime::{Driver, Rootless};

use crate::cli::{Early, help, version};
use crate::log::Level;
use crate::report::Failure;

/// What stands before the verb.
#[derive(Debug, Clone, Default)]
pub(crate) struct Global {
    /// The name we were called by: a link named `runc` says so in its words.
    pub(crate) name: String,
    /// `--root`, if given.
    pub(crate) root: Option<PathBuf>,
    /// `--store`, if given.
    pub(crate) store: Option<PathBuf>,
    /// `--log`, if given.
    pub(crate) log: Option<PathBuf>,
    /// `--log-format json`.
    pub(crate) log_json: bool,
    /// `--debug` and `--log-level`: the least that is told.
    pub(crate) level: Level,
    /// `--cgroup-manager` and `--systemd-cgroup`.
    pub(crate) driver: Driver,
    /// `--rootless`.
    pub(crate) rootless: Rootless,
    /// `--criu`, if given: the program that writes checkpoints.
    pub(crate) criu: Option<PathBuf>,
}

/// The flags as `--help` lists them.
pub(crate) const HELP: &str = "\
\nglobal flags:
  --root DIR           where the containers' state lies
  --store DIR          where images and layers lie
  --log FILE           also write failures there; journald:NAME and syslog:NAME go to the host's log
  --log-format FORMAT  text or json
  --log-level LEVEL    error, warning, info or debug
  --debug              tell each step, in the log or on stderr
  --cgroup-manager M   cgroupfs, systemd or disabled
  --systemd-cgroup     the same as --cgroup-manager systemd
  --rootless WORD      auto, true or false: whether a container may go without a cgroup of its own
  --criu PROGRAM       the program that writes checkpoints
  --version, --help
";

impl Global {
    /// Takes one flag, with the value that was joined to it or the next of `rest`.
    pub(crate) fn set(
        &mut self,
        flag: &str,
        value: Option<OsString>,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Early> {
        let mut needed = || {
            value
                .clone()
                .or_else(|| rest.next())
                .ok_or_else(|| Early::Wrong(format!("{flag} needs a value")))
        };
        match flag {
            "--root" => self.root = Some(needed()?.into()),
            "--store" => self.store = Some(needed()?.into()),
            "--log" => self.log = Some(needed()?.into()).filter(|path: &PathBuf| path != ""),
            "--log-format" => {
                self.log_json = one_of(flag, &needed()?, &["json", "text"])? == "json"
            }
            "--log-level" => {
                let word = one_of(flag, &needed()?, &Level::WORDS)?;
                self.level = self.level.max(Level::of(word));
            }
            "--debug" => {
                if switch(flag, value.as_deref())? {
                    self.level = Level::Debug;
                }
            }
            "--cgroup-manager" => {
                let word = one_of(flag, &needed()?, &Driver::ALL.map(Driver::word))?;
                self.driver = word.parse().unwrap_or_default();
            }
            "--systemd-cgroup" => {
                if switch(flag, value.as_deref())? {
                    self.driver = Driver::Systemd;
                }
            }
            "--rootless" => self.rootless = rootless(flag, &needed()?)?,
            "--criu" => self.criu = Some(needed()?.into()),
            "--version" | "-v" => return Err(Early::Say(version(&self.name))),
            "--help" | "-h" => return Err(Early::Say(help(&self.name))),
            other => {
                return Err(Early::Wrong(format!(
                    "unknown flag {other}; `{} --help` lists them",
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// The directory of the containers' state.
    pub(crate) fn state_root(&self) -> Result<PathBuf, Failure> {
        if let Some(root) = &self.root {
            return std::path::absolute(root)
                .map_err(|e| Failure::new(format!("--root {}: {e}", root.display())));
        }
        let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        // Root of a user namespace alone may not write to /run (rootless podman); runc reads it the same way.
        let is_user = own.is_some()
            && std::env::var_os("USER").is_none_or(|user| user != "root")
            && sys::privileges::is_nested();
        if sys::privileges::is_root() && !is_user {
            return Ok("/run/dhow".into());
        }
        match own {
            Some(dir) => Ok(PathBuf::from(dir).join("dhow")),
            None => Err(Failure::new(
                "no place for the containers' state: neither --root nor XDG_RUNTIME_DIR is set",
            )),
        }
    }

    /// The directory of images and layers.
    pub(crate) fn image_store(&self) -> Result<PathBuf, Failure> {
        if let Some(store) = &self.store {
            return std::path::absolute(store)
                .map_err(|e| Failure::new(format!("--store {}: {e}", store.display())));
        }
        if sys::privileges::is_root() {
            return Ok("/var/lib/dhow".into());
        }
        let given = |name: &str| {
            std::env::var_os(name)
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        };
        let data = given("XDG_DATA_HOME").or_else(|| Some(given("HOME")?.join(".local/share")));
        match data {
            Some(dir) => Ok(dir.join("dhow")),
            None => Err(Failure::new(
                "no place for images: none of --store, XDG_DATA_HOME and HOME is set",
            )),
        }
    }
}

/// A flag that is there or not; Go's callers may also say `=true` and `=false`.
fn switch(flag: &str, value: Option<&OsStr>) -> Result<bool, Early> {
    match value {
        None => Ok(true),
        Some(value) => Ok(one_of(flag, value, &TRUTHS)?.starts_with(['t', '1'])),
    }
}

const TRUTHS: [&str; 6] = ["true", "false", "1", "0", "t", "f"];

fn rootless(flag: &str, value: &OsStr) -> Result<Rootless, Early> {
    let word = one_of(flag, value, &["auto", "true", "false", "1", "0"])?;
    Ok(match word {
        "true" | "1" => Rootless::Yes,
        "false" | "0" => Rootless::No,
        _ => Rootless::Auto,
    })
}

fn one_of<'a>(flag: &str, value: &OsStr, words: &[&'a str]) -> Result<&'a str, Early> {
    let found = words.iter().find(|word| value == **word);
    found.copied().ok_or_else(|| {
        let value = value.to_string_lossy();
        Early::Wrong(format!(
            "{flag} {value}: not supported; it can be {}",
            words.join(" or ")
        ))
    })
}
