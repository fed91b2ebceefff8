//! `dhow events`: what a container uses, and when it ran out of memory, as lines of JSON.

use std::ffi::OsString;
use std::time::Duration;

use runtime::{ContainerId, Events, Store};

use super::{Outcome, parse};
use crate::cli::Global;
use crate::report::say;

/// Show what a container uses every few seconds, and when it runs out of memory
#[derive(Debug, clap::Parser)]
#[command(name = "events")]
struct Args {
    /// Show what it uses now, and end
    #[arg(long)]
    stats: bool,
    /// How often its use is told: `5s`, `500ms`, `1m30s`
    #[arg(long, default_value = "5s", value_parser = interval)]
    interval: Duration,
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = Store::new(global.state_root()?);
    let id: ContainerId = args.id.parse()?;
    let show = |line: Vec<u8>| say(format_args!("{}", String::from_utf8_lossy(&line)));
    if args.stats {
        show(runtime::stats(&store, &id)?);
        return Ok(0);
    }
    let mut events = Events::begin(&store, &id, args.interval)?;
    while let Some(line) = events.next_line()? {
        show(line);
    }
    Ok(0)
}

/// A span of time as Go writes it: numbers with units, one after the other.
fn interval(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, tail) = rest.split_at(digits.unwrap_or(rest.len()));
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at(unit.unwrap_or(tail.len()));
        let number: f64 = number
            .parse()
            .map_err(|_| "it is no span of time, as in 5s or 1m30s".to_owned())?;
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(format!("{unit:?} is no unit; h, m, s, ms, us and ns are")),
        };
        seconds += number * factor;
        rest = tail;
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(span) => Ok(span),
        Err(_) => Err("it is too long".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_go_writes_them() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("0.5s", 500),
        ] {
            assert_eq!(
                interval(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "0s",
            "1e9h",
            "99999999999999999999h",
        ] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
