//! What happens in a build, shown on stderr: plain lines, a view on a terminal, lines of JSON, or nothing.
//! Not its job: the build.

mod json;
mod plain;
mod step;
mod terminal;

use std::io::{IsTerminal, Write};

use builder::Event;

use crate::report::{Failure, unbroken, visible};

/// The flag that says how progress is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Progress {
    /// How progress is shown: lines, a view on a terminal, lines of JSON, nothing
    #[arg(long, value_name = "FORM", default_value = "auto", value_parser = ["auto", "plain", "tty", "json", "quiet"])]
    progress: String,
}

/// Shows a build.
#[derive(Debug)]
pub(super) enum Show {
    Plain(plain::Plain),
    Terminal(terminal::Terminal),
    Json,
    Nothing,
}

impl Progress {
    /// The form that is meant: a view where stderr is a terminal that can move its cursor.
    pub(super) fn show(&self, quiet: bool) -> Result<Show, Failure> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let able = std::io::stderr().is_terminal() && variable("TERM") != "dumb";
        Ok(match self.progress.as_str() {
            _ if quiet => Show::Nothing,
            "quiet" => Show::Nothing,
            "json" => Show::Json,
            "tty" if !able => {
                let why = "stderr is no terminal, or one that can't move its cursor";
                return Err(Failure::new(format!("--progress tty: {why}")));
            }
            "tty" => Show::terminal(&variable("NO_COLOR")),
            "auto" if able => Show::terminal(&variable("NO_COLOR")),
            _ => Show::Plain(plain::Plain::default()),
        })
    }
}

impl Show {
    fn terminal(no_color: &str) -> Self {
        Self::Terminal(terminal::Terminal::new(no_color.is_empty()))
    }

    /// Shows one event.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        match self {
            Self::Plain(plain) => put(&plain.event(event)),
            Self::Terminal(terminal) => terminal.event(event),
            Self::Json => put(&json::line(event)),
            Self::Nothing => {}
        }
    }

    /// Shows what is the same from now on: the build has ended. What it made is still to be delivered.
    pub(super) fn end(self) -> Aside {
        match self {
            Self::Plain(plain) => put(&plain.end()),
            Self::Terminal(terminal) => terminal.end(),
            Self::Json => return Aside::Json,
            Self::Nothing => return Aside::Quiet,
        }
        Aside::Words
    }
}

/// How words are shown that come after the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aside {
    Words,
    Json,
    /// Warnings alone, in words.
    Quiet,
}

impl Aside {
    /// Warns of what changes nothing.
    pub(super) fn warn(self, text: &str) {
        match self {
            Self::Words | Self::Quiet => put(&format!("warning: {}\n", unbroken(&visible(text)))),
            Self::Json => put(&json::line(&Event::Warning(text))),
        }
    }
}

/// Writes all at once: nothing else comes between.
fn put(text: &str) {
    // Who closed our stderr does not want to see it.
    let _closed = std::io::stderr().write_all(text.as_bytes());
}
