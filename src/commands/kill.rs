//! `dhow kill`: sends a signal to a container.

use std::ffi::OsString;

use runtime::{Store, Target};
use sys::process::Signal;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::Failure;

/// Send a signal to a container
#[derive(Debug, clap::Parser)]
#[command(name = "kill")]
struct Args {
    /// To every process of the container, not just the first
    #[arg(short, long)]
    all: bool,
    /// The container
    id: String,
    /// The signal, by name with or without SIG, or by number; 0 only asks whether the container runs
    #[arg(default_value = "TERM")]
    signal: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    // Signal 0 is no signal: it asks whether there is somebody to take one (kill(2)).
    let signal = match (&*args.signal, signal(&args.signal)) {
        ("0", _) => None,
        (_, Some(signal)) => Some(signal),
        (word, None) => {
            return Err(Failure::new(format!(
                "{word:?} is not the name or number of a signal"
            )));
        }
    };
    let target = if args.all { Target::All } else { Target::First };
    runtime::kill(
        &Store::new(global.state_root()?),
        &args.id.parse()?,
        signal,
        target,
    )?;
    Ok(0)
}

/// The names of signal(7), by number from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Names that stand for another.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first and last of the real-time signals that programs may use (signal(7), glibc keeps two).
const REAL_TIME: (i32, i32) = (34, 64);

fn signal(word: &str) -> Option<Signal> {
    if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        return sys::signal::from_number(word.parse().ok()?);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let plain = NAMES
        .iter()
        .position(|known| *known == name)
        .and_then(|i| i32::try_from(i + 1).ok());
    let alias = || {
        ALIASES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| *number)
    };
    plain
        .or_else(alias)
        .or_else(|| real_time(name))
        .and_then(sys::signal::from_number)
}

/// `RTMIN`, `RTMIN+3`, `RTMAX`, `RTMAX-2`.
fn real_time(name: &str) -> Option<i32> {
    let (base, offset) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => (REAL_TIME.0, rest),
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => (REAL_TIME.1, rest),
        _ => return None,
    };
    let offset = if offset.is_empty() {
        0
    } else {
        offset.parse::<i32>().ok()?
    };
    let number = base.checked_add(offset)?;
    (REAL_TIME.0..=REAL_TIME.1)
        .contains(&number)
        .then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_name_and_number() {
        let number = |word| signal(word).map(Signal::as_raw);
        for (word, expected) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("sigusr1", 10),
            ("9", 9),
            ("RTMIN+1", 35),
            ("SIGRTMAX", 64),
        ] {
            assert_eq!(number(word), Some(expected), "{word}");
        }
        for word in ["", "0", "65", "-9", "SIG", "NOPE", "RTMIN+99", "+9"] {
            assert_eq!(number(word), None, "{word}");
        }
    }
}
