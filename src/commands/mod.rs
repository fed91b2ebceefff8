//! The verbs, one file each. Not its job: what they do (the libraries).

mod build;
mod cache;
mod checkpoint;
mod compression;
mod create;
mod delete;
mod diff;
mod events;
mod exec;
mod features;
mod history;
mod image_filter;
mod image_run;
mod images;
mod inspect;
mod kill;
mod layer_form;
mod list;
mod load;
mod login;
mod logout;
mod mount;
mod pause;
mod prune;
mod prune_filter;
mod ps;
mod pull;
mod push;
mod repack;
mod restore;
mod resume;
mod rmi;
mod run;
mod save;
mod security_opt;
mod spec;
mod start;
mod state;
mod store;
mod tag;
mod umount;
mod unpack;
mod update;
mod validate;

use std::ffi::OsString;

use clap::{Arg, Parser};

use crate::cli::called_by;
use crate::global::Global;
use crate::report::{Failure, say};

/// What a verb's function gives: its exit status, or why it failed.
pub(crate) type Outcome = Result<u8, Failure>;

/// A verb of the command line.
#[derive(Debug)]
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Global, &[OsString]) -> Outcome,
}

/// All of them, as `--help` lists them.
pub(crate) const VERBS: &[Verb] = &[
    Verb {
        name: "build",
        about: "make an image from a recipe",
        run: build::run,
    },
    Verb {
        name: "cache",
        about: "bring the build cache to other stores and back, or make it smaller",
        run: cache::run,
    },
    Verb {
        name: "create",
        about: "make a container from a bundle; its program waits for start",
        run: create::run,
    },
    Verb {
        name: "start",
        about: "start a created container's program",
        run: start::run,
    },
    Verb {
        name: "run",
        about: "create, start, wait and delete: a bundle or an image",
        run: run::run,
    },
    Verb {
        name: "exec",
        about: "run a further process in a container",
        run: exec::run,
    },
    Verb {
        name: "state",
        about: "show a container's state as JSON",
        run: state::run,
    },
    Verb {
        name: "list",
        about: "list the containers",
        run: list::run,
    },
    Verb {
        name: "ps",
        about: "show a container's processes; without one, list the containers",
        run: ps::run,
    },
    Verb {
        name: "kill",
        about: "send a signal to a container",
        run: kill::run,
    },
    Verb {
        name: "pause",
        about: "stop all processes of a container where they are",
        run: pause::run,
    },
    Verb {
        name: "resume",
        about: "let the processes of a paused container go on",
        run: resume::run,
    },
    Verb {
        name: "update",
        about: "change the limits of a container",
        run: update::run,
    },
    Verb {
        name: "events",
        about: "show what a container uses, and when it runs out of memory",
        run: events::run,
    },
    Verb {
        name: "delete",
        about: "remove all that a container has left",
        run: delete::run,
    },
    Verb {
        name: "checkpoint",
        about: "write a container's processes to files",
        run: checkpoint::run,
    },
    Verb {
        name: "restore",
        about: "make a container whose processes come from files",
        run: restore::run,
    },
    Verb {
        name: "spec",
        about: "write a config.json to begin with",
        run: spec::run,
    },
    Verb {
        name: "validate",
        about: "name everything that is wrong with a bundle",
        run: validate::run,
    },
    Verb {
        name: "features",
        about: "show what this build can do on this kernel as JSON",
        run: features::run,
    },
    Verb {
        name: "pull",
        about: "bring images from a registry",
        run: pull::run,
    },
    Verb {
        name: "push",
        about: "bring an image to a registry",
        run: push::run,
    },
    Verb {
        name: "login",
        about: "keep name and password for a registry",
        run: login::run,
    },
    Verb {
        name: "logout",
        about: "forget name and password for a registry",
        run: logout::run,
    },
    Verb {
        name: "load",
        about: "take images from an archive or an OCI layout",
        run: load::run,
    },
    Verb {
        name: "save",
        about: "write images to an archive",
        run: save::run,
    },
    Verb {
        name: "images",
        about: "list the images",
        run: images::run,
    },
    Verb {
        name: "inspect",
        about: "show all that is known of an image as JSON",
        run: inspect::run,
    },
    Verb {
        name: "history",
        about: "show how an image came about",
        run: history::run,
    },
    Verb {
        name: "tag",
        about: "give an image one more name",
        run: tag::run,
    },
    Verb {
        name: "rmi",
        about: "remove images or their names",
        run: rmi::run,
    },
    Verb {
        name: "prune",
        about: "remove images without a name, and what nothing refers to",
        run: prune::run,
    },
    Verb {
        name: "store",
        about: "check whether the store of images is whole",
        run: store::run,
    },
    Verb {
        name: "unpack",
        about: "make a bundle of an image: rootfs and config.json",
        run: unpack::run,
    },
    Verb {
        name: "repack",
        about: "make an image of a bundle that was changed",
        run: repack::run,
    },
    Verb {
        name: "diff",
        about: "show what differs between images, or was changed in a bundle",
        run: diff::run,
    },
    Verb {
        name: "mount",
        about: "show an image's tree at a folder, read-only",
        run: mount::run,
    },
    Verb {
        name: "umount",
        about: "take such a mount away",
        run: umount::run,
    },
];

/// The verbs that start a process in a container: our own binary is guarded from it, before anything
/// else is done, for what was done until then is done again.
pub(crate) const STARTING: [&str; 4] = ["create", "run", "exec", "build"];

/// A verb's own flags; `None` when its help was asked for and printed. What clap refuses is read once more
/// as Go's flags are: callers of runc may write those.
pub(crate) fn parse<T: Parser>(arguments: &[OsString]) -> Result<Option<T>, Failure> {
    let refused = match read::<T>(arguments) {
        Err(e) if e.use_stderr() => e,
        parsed => return shown(parsed),
    };
    match as_go_has_it(&T::command(), arguments).map(|words| read::<T>(&words)) {
        Some(Ok(parsed)) => Ok(Some(parsed)),
        _ => Err(Failure::usage(&refused)),
    }
}

/// A flag may be named twice, then the last one holds, as with runc: podman does it.
fn read<T: Parser>(arguments: &[OsString]) -> Result<T, clap::Error> {
    // What stands in the usage, since the arguments begin with the verb.
    let verb = arguments.first().map(|verb| verb.to_string_lossy());
    let us = called_by(std::env::args_os().next().as_deref());
    let called = format!("{us} {}", verb.unwrap_or_default());
    let command = || {
        let command = T::command().bin_name(called.trim_end());
        command.args_override_self(true)
    };
    let mut matches = command().try_get_matches_from(arguments)?;
    T::from_arg_matches_mut(&mut matches).map_err(|e| e.format(&mut command()))
}

fn shown<T>(parsed: Result<T, clap::Error>) -> Result<Option<T>, Failure> {
    match parsed {
        Ok(parsed) => Ok(Some(parsed)),
        Err(e) => {
            say(format_args!("{e}"));
            Ok(None)
        }
    }
}

/// The arguments with `-flag` as `--flag` and switches without their `=true`; `None` if nothing of that is
/// in them. Words of the program that is to run are left alone.
fn as_go_has_it(command: &clap::Command, arguments: &[OsString]) -> Option<Vec<OsString>> {
    let positionals = command.get_positionals().count();
    let trailing = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let ours = if trailing {
        positionals - 1
    } else {
        usize::MAX
    };
    let (mut words, mut seen, mut changed) = (vec![arguments.first()?.clone()], 0, false);
    let mut rest = arguments[1..].iter();
    while let Some(word) = rest.next() {
        let text = word.to_str().filter(|text| text.starts_with('-'));
        let Some(text) = text.filter(|text| *text != "--" && seen <= ours) else {
            seen += 1;
            words.push(word.clone());
            continue;
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let long = name.trim_start_matches('-');
        let Some(flag) = command.get_arguments().find(|a| a.get_long() == Some(long)) else {
            words.push(word.clone());
            continue;
        };
        changed = true;
        let takes = flag.get_action().takes_values();
        match value {
            Some("true" | "1" | "t") if !takes => words.push(format!("--{long}").into()),
            Some("false" | "0" | "f") if !takes => {}
            Some(value) => words.push(format!("--{long}={value}").into()),
            None => words.push(format!("--{long}").into()),
        }
        if takes && value.is_none() {
            words.extend(rest.next().cloned());
        }
    }
    changed.then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(command: &clap::Command, words: &str) -> Option<String> {
        let arguments: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let words = as_go_has_it(command, &arguments)?;
        Some(words.join(" ".as_ref()).into_string().unwrap())
    }

    #[test]
    fn flags_of_go_are_read_and_words_of_the_program_are_not() {
        let create = <create::Args as clap::CommandFactory>::command();
        assert_eq!(
            go(
                &create,
                "create -bundle /b -no-pivot=true --no-new-keyring=false c"
            )
            .as_deref(),
            Some("create --bundle /b --no-pivot c")
        );
        assert_eq!(go(&create, "create -x c"), None);
        let words = Arg::new("words").num_args(0..).trailing_var_arg(true);
        let program = clap::Command::new("exec")
            .arg(Arg::new("tty").long("tty").action(clap::ArgAction::SetTrue))
            .arg(Arg::new("id"))
            .arg(words);
        assert_eq!(
            go(&program, "exec -tty c ls -tty").as_deref(),
            Some("exec --tty c ls -tty")
        );
    }
}
