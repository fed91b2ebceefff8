//! The verbs, one file each. Not its job: what they do (the libraries).

mod build;
mod create;
mod delete;
mod image_run;
mod images;
mod inspect;
mod kill;
mod list;
mod load;
mod pause;
mod resume;
mod rmi;
mod run;
mod save;
mod security_opt;
mod start;
mod state;
mod tag;
mod unpack;

use std::ffi::OsString;

use clap::Parser;

use crate::cli::Global;
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
        name: "delete",
        about: "remove all that a container has left",
        run: delete::run,
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
        name: "unpack",
        about: "make a bundle of an image: rootfs and config.json",
        run: unpack::run,
    },
];

/// The verbs that start a process in a container: our own binary is guarded from it, before anything
/// else is done, for what was done until then is done again.
pub(crate) const STARTING: [&str; 3] = ["create", "run", "build"];

/// A verb's own flags; `None` when its help was asked for and printed.
pub(crate) fn parse<T: Parser>(arguments: &[OsString]) -> Result<Option<T>, Failure> {
    match T::try_parse_from(arguments) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(e) if !e.use_stderr() => {
            say(format_args!("{e}"));
            Ok(None)
        }
        Err(e) => Err(Failure::usage(&e)),
    }
}
