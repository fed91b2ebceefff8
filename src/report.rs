//! Failures in words: the chain of causes on one line, a line of JSON for a caller's log.
//! Not its job: deciding what is a failure.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::global::Global;
use crate::log::{self, Level};

/// A verb's failure: words and exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    notes: Vec<String>,
    code: u8,
}

impl Failure {
    /// A failure in words, with exit status 1.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            notes: Vec::new(),
            code: 1,
        }
    }

    /// The same with another exit status.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// A command line that clap refused, on one line.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        Self::new(one_line(&error.to_string()))
    }
}

impl From<runtime::Error> for Failure {
    fn from(error: runtime::Error) -> Self {
        match error {
            runtime::Error::AndThen { first, notes } => Self {
                notes,
                ..Self::from(*first)
            },
            error => Self::new(unbroken(&runtime::chain(&error))),
        }
    }
}

/// clap's words without their frame: the fault, what it concerns, the likeliest word; not the usage.
fn one_line(text: &str) -> String {
    let told: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect();
    told.join(" ").replace(" tip: ", "; ")
}

/// Any error whose chain says it all.
pub(crate) fn because(error: impl std::error::Error) -> Failure {
    Failure::new(runtime::chain(&error))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible(&self.text))
    }
}

/// Prints to stdout. Whoever closed the other end (`dhow images | head -1`) wants no more: that ends us
/// quietly. Anything else that keeps words from their reader is a failure.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_fmt(words).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            eprintln!("dhow: write to stdout: {e}");
            std::process::exit(1)
        }
    }
}

/// Tells of what failed and changes nothing.
pub(crate) fn warn(failures: &[runtime::Error]) {
    for failure in failures {
        log::warn(format_args!("{}", runtime::chain(failure)));
    }
}

/// Text that may come from an image or a container, safe for a terminal: control characters escaped
/// (CVE-style log injection), lines kept for excerpts of recipes.
pub(crate) fn visible(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            c if steers(c) && !sys::fault::broken("no-escape") => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

/// Whether a character changes how others are shown: controls, and those that turn the direction of writing or have no
/// width, by which words seem to be others (CVE-2021-42574).
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    c.is_control() || turns
}

/// The same for words that are one line: a line end in them (of a program's name, say) would forge another.
pub(crate) fn unbroken(text: &str) -> String {
    if sys::fault::broken("no-escape") {
        return text.to_owned();
    }
    text.replace('\n', "\\n").replace('\t', "\\t")
}

/// Where a failure is told.
#[derive(Debug)]
pub(crate) struct Report<'a>(pub(crate) &'a Global);

impl Report<'_> {
    /// Tells of `failure` on stderr and in the log, and gives its exit status.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        // What failed before the log was opened, or in opening it, is told as well as it can be.
        let _said_on_stderr = log::open(self.0);
        if log::is_elsewhere() {
            for note in &failure.notes {
                log::tell(Level::Warning, format_args!("{note}"));
            }
            // The last line of the log carries the cause: containerd shows only that one.
            log::tell(Level::Error, format_args!("{failure}"));
        }
        if self.0.log.is_none() && self.0.log_json {
            eprint!("{}", log::line(Level::Error, &failure.to_string(), true));
        } else {
            eprintln!("{}: {failure}", self.0.name);
            for note in &failure.notes {
                eprintln!("note: {}", visible(note));
            }
        }
        ExitCode::from(failure.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_command_line_is_one_line_that_names_the_fault() {
        let missing = "error: the following required arguments were not provided:\n  <ID>\n\nUsage: state <ID>\n";
        assert_eq!(
            one_line(missing),
            "the following required arguments were not provided: <ID>"
        );
        let misspelt = "error: unexpected argument '--x' found\n\n  tip: a similar argument exists: '--y'\n\nUsage: z\n";
        assert_eq!(
            one_line(misspelt),
            "unexpected argument '--x' found; a similar argument exists: '--y'"
        );
    }

    #[test]
    fn what_an_image_says_cannot_steer_a_terminal() {
        assert_eq!(visible("a\x1b[2Jb\r\u{9b}c"), "a\\u{1b}[2Jb\\r\\u{9b}c");
    }
}
