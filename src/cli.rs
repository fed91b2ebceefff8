//! The outer command line: global flags and the verb, found by hand, so that only the one verb's parser
//! is ever built (building all of them costs more than a `state`). Not its job: a verb's own flags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::commands::{VERBS, Verb};
use crate::report::{Failure, say};

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
}

/// A whole command line.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) global: Global,
    pub(crate) verb: &'static Verb,
    /// The verb and what follows it.
    pub(crate) arguments: Vec<OsString>,
}

/// A command line that ends before a verb runs.
#[derive(Debug)]
pub(crate) enum Early {
    /// Something to be printed, with success.
    Say(String),
    /// A mistake.
    Wrong(String),
}

impl Early {
    pub(crate) fn leave(self) -> ExitCode {
        match self {
            Self::Say(text) => {
                say(format_args!("{text}"));
                ExitCode::SUCCESS
            }
            Self::Wrong(text) => {
                eprintln!("dhow: {text}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Invocation {
    /// Understands the arguments, the program's name first.
    pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Self, Early> {
        let mut arguments = arguments.into_iter();
        let mut global = Global {
            name: called_by(arguments.next().as_deref()),
            ..Global::default()
        };
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.to_str().filter(|text| text.starts_with('-')) else {
                let verb = verb(&argument)?;
                let rest = std::iter::once(argument).chain(arguments).collect();
                return Ok(Self {
                    global,
                    verb,
                    arguments: rest,
                });
            };
            match flag.split_once('=') {
                Some((name, value)) => global.set(name, Some(value.into()), &mut arguments)?,
                None => global.set(flag, None, &mut arguments)?,
            }
        }
        Err(Early::Wrong(format!(
            "no command given; `{} --help` lists them",
            global.name
        )))
    }
}

fn called_by(argument: Option<&OsStr>) -> String {
    let path = argument.map(PathBuf::from).unwrap_or_default();
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "dhow".to_owned())
}

impl Global {
    fn set(
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
            "--log" => self.log = Some(needed()?.into()),
            "--log-format" => {
                self.log_json = one_of(flag, &needed()?, &["json", "text"])? == "json"
            }
            "--cgroup-manager" => {
                one_of(flag, &needed()?, &["cgroupfs"])?;
            }
            "--rootless" => {
                one_of(flag, &needed()?, &["auto"])?;
            }
            "--debug" => {}
            "--systemd-cgroup" => {
                return Err(Early::Wrong(
                    "--systemd-cgroup is not supported yet".to_owned(),
                ));
            }
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
        if sys::privileges::is_root() {
            return Ok("/run/dhow".into());
        }
        match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
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

fn verb(argument: &OsStr) -> Result<&'static Verb, Early> {
    VERBS
        .iter()
        .find(|verb| argument == verb.name)
        .ok_or_else(|| {
            let name = argument.to_string_lossy();
            Early::Wrong(match nearest(&name) {
                Some(near) => format!("unknown command {name:?}; did you mean {near:?}?"),
                None => format!("unknown command {name:?}; `dhow --help` lists them"),
            })
        })
}

/// A verb that differs by one or two letters.
fn nearest(name: &str) -> Option<&'static str> {
    let scored = VERBS
        .iter()
        .map(|verb| (distance(name, verb.name), verb.name));
    scored
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| name)
}

/// How many letters must be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn version(name: &str) -> String {
    let commit = option_env!("DHOW_COMMIT").unwrap_or("unknown");
    let (package, seccomp) = (env!("CARGO_PKG_VERSION"), runtime::seccomp_version());
    format!("{name} version {package}\ncommit: {commit}\nspec: 1.3.0\nlibseccomp: {seccomp}\n")
}

fn help(name: &str) -> String {
    let mut text = format!(
        "{name}: containers from bundles, images and recipes, without a daemon\n\n\
         usage: {name} [global flags] COMMAND [flags] [arguments]\n\ncommands:\n"
    );
    for verb in VERBS {
        text.push_str(&format!("  {:<9} {}\n", verb.name, verb.about));
    }
    text.push_str(
        "\nglobal flags:\n  \
         --root DIR           where the containers' state lies\n  \
         --store DIR          where images and layers lie\n  \
         --log FILE           also write failures there\n  \
         --log-format FORMAT  text or json\n  \
         --version, --help\n\n\
         `COMMAND --help` says more of each.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Invocation, Early> {
        Invocation::parse(words.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn global_flags_stand_before_the_verb_and_the_rest_is_the_verbs() {
        let invocation = parse("/usr/bin/runc --root /r --log-format=json state --x a").unwrap();
        assert_eq!(invocation.global.name, "runc");
        assert_eq!(invocation.global.root.unwrap().to_str(), Some("/r"));
        assert!(invocation.global.log_json);
        assert_eq!(invocation.arguments, ["state", "--x", "a"]);
    }

    #[test]
    fn a_mistyped_verb_is_guessed() {
        let Err(Early::Wrong(text)) = parse("dhow craete x") else {
            panic!("accepted")
        };
        assert_eq!(text, "unknown command \"craete\"; did you mean \"create\"?");
    }
}
