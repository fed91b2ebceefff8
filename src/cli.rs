//! The outer command line: global flags and the verb, found by hand, so that only the one verb's parser
//! is ever built (building all of them costs more than a `state`). Not its job: a verb's own flags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::commands::{VERBS, Verb};
pub(crate) use crate::global::Global;
use crate::global::HELP;
use crate::report::say;

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
                if argument == "help" || argument == "h" {
                    return Self::explain(global, arguments.next());
                }
                let verb = verb(&argument)?;
                let rest = std::iter::once(argument).chain(arguments).collect();
                return Ok(Self {
                    global,
                    verb,
                    arguments: rest,
                });
            };
            // Go's flags, which callers of runc know, have one dash or two.
            let flag = match flag.starts_with("--") || flag.len() == 2 {
                true => flag.to_owned(),
                false => format!("-{flag}"),
            };
            match flag.split_once('=') {
                Some((name, value)) => global.set(name, Some(value.into()), &mut arguments)?,
                None => global.set(&flag, None, &mut arguments)?,
            }
        }
        Err(Early::Wrong(format!(
            "no command given; `{} --help` lists them",
            global.name
        )))
    }

    /// `help` and `help VERB`.
    fn explain(global: Global, about: Option<OsString>) -> Result<Self, Early> {
        let Some(about) = about else {
            return Err(Early::Say(help(&global.name)));
        };
        let verb = verb(&about)?;
        let arguments = vec![about, "--help".into()];
        Ok(Self {
            global,
            verb,
            arguments,
        })
    }
}

/// The name that we are called by, as the first argument tells it: callers may want to see theirs.
pub(crate) fn called_by(argument: Option<&OsStr>) -> String {
    let path = argument.map(PathBuf::from).unwrap_or_default();
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "dhow".to_owned())
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

pub(crate) fn version(name: &str) -> String {
    let commit = option_env!("DHOW_COMMIT").unwrap_or("unknown");
    let (package, seccomp) = (env!("CARGO_PKG_VERSION"), seccomp::EQUAL_TO);
    format!(
        "{name} version {package}\ncommit: {commit}\nspec: 1.3.0\nlibseccomp: {seccomp} (its reading of profiles, without the library)\n"
    )
}

pub(crate) fn help(name: &str) -> String {
    let mut text = format!(
        "{name}: containers from bundles, images and recipes, without a daemon\n\n\
         usage: {name} [global flags] COMMAND [flags] [arguments]\n\ncommands:\n"
    );
    for verb in VERBS {
        text.push_str(&format!("  {:<9} {}\n", verb.name, verb.about));
    }
    text.push_str(HELP);
    text.push_str("\n`COMMAND --help` says more of each.\n");
    text
}

#[cfg(test)]
mod tests {
    use runtime::{Driver, Rootless};

    use super::*;
    use crate::log::Level;

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
    fn flags_are_taken_as_go_takes_them() {
        let words =
            "runc -root /r --debug=true --systemd-cgroup -log-format json --rootless=true list";
        let global = parse(words).unwrap().global;
        assert_eq!(global.root.unwrap().to_str(), Some("/r"));
        assert_eq!(global.level, Level::Debug);
        assert_eq!(global.driver, Driver::Systemd);
        assert_eq!(global.rootless, Rootless::Yes);
        assert!(global.log_json);
    }

    #[test]
    fn a_flag_that_says_nonsense_is_named() {
        for (words, expected) in [
            (
                "dhow --cgroup-manager cgroups list",
                "--cgroup-manager cgroups: not supported; it can be cgroupfs or systemd or disabled",
            ),
            ("dhow --root", "--root needs a value"),
            (
                "dhow --rot x list",
                "unknown flag --rot; `dhow --help` lists them",
            ),
        ] {
            let Err(Early::Wrong(text)) = parse(words) else {
                panic!("accepted: {words}")
            };
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_mistyped_verb_is_guessed() {
        let Err(Early::Wrong(text)) = parse("dhow craete x") else {
            panic!("accepted")
        };
        assert_eq!(text, "unknown command \"craete\"; did you mean \"create\"?");
    }
}
