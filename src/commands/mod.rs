//! The verbs, one file each. Not its job: what they do (the libraries).

mod create;
mod delete;
mod image_run;
mod kill;
mod list;
mod run;
mod start;
mod state;

use std::ffi::OsString;

use clap::Parser;

use crate::cli::Global;
use crate::report::Failure;

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
        name: "kill",
        about: "send a signal to a container",
        run: kill::run,
    },
    Verb {
        name: "delete",
        about: "remove all that a container has left",
        run: delete::run,
    },
];

/// A verb's own flags; `None` when its help was asked for and printed.
pub(crate) fn parse<T: Parser>(arguments: &[OsString]) -> Result<Option<T>, Failure> {
    match T::try_parse_from(arguments) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(e) if !e.use_stderr() => {
            print!("{e}");
            Ok(None)
        }
        Err(e) => Err(Failure::usage(&e)),
    }
}
