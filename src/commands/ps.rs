//! `dhow ps`: the processes of a container, as the host's ps shows them or as a list of ids; without a
//! container, the containers.

use std::ffi::OsString;
use std::process::Command;

use runtime::Store;

use super::{Outcome, list, parse};
use crate::global::Global;
use crate::report::{Failure, because, say};

/// What ps is asked for if nothing is said.
const USUAL: &str = "-ef";

/// Show the processes of a container; without one, list the containers as `list` does
#[derive(Debug, clap::Parser)]
#[command(
    name = "ps",
    override_usage = "ps [-f table|json] ID [options of the host's ps]"
)]
struct Args {
    /// How to show them
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(id) = place_of_id(arguments) else {
        return list::run(global, arguments);
    };
    let (own, options) = split(arguments, id);
    let Some(args) = parse::<Args>(&own)? else {
        return Ok(0);
    };
    let pids = runtime::processes(&Store::new(global.state_root()?), &args.id.parse()?)?;
    if args.format == "json" {
        let text = serde_json::to_string(&pids).map_err(because)?;
        say(format_args!("{text}\n"));
    } else {
        say(format_args!("{}", chosen(&shown(&options)?, &pids)?));
    }
    Ok(0)
}

/// The first word that is neither a flag of ours nor its value.
fn place_of_id(arguments: &[OsString]) -> Option<usize> {
    let mut place = 1;
    while let Some(word) = arguments.get(place) {
        let word = word.to_str().unwrap_or_default();
        match word {
            "-h" | "--help" => return Some(place),
            "-f" | "--format" | "-format" => place += 2,
            flag if flag.starts_with('-') => place += 1,
            _ => return Some(place),
        }
    }
    None
}

/// Our own words, and those for ps: all that follow the id, but for a format of ours right after it.
fn split(arguments: &[OsString], id: usize) -> (Vec<OsString>, Vec<OsString>) {
    let (own, rest) = arguments.split_at((id + 1).min(arguments.len()));
    let is_format = matches!(rest, [flag, value, ..]
        if (flag == "-f" || flag == "--format") && (value == "table" || value == "json"));
    let (format, options) = rest.split_at(if is_format { 2 } else { 0 });
    ([own, format].concat(), options.to_vec())
}

/// What the host's ps says of all processes. It is found on the host: nothing of the container's is run.
fn shown(options: &[OsString]) -> Result<String, Failure> {
    let mut ps = Command::new("ps");
    match options {
        [] => ps.arg(USUAL),
        options => ps.args(options),
    };
    let output = sys::exec::only_stdio(&mut ps)
        .output()
        .map_err(|e| Failure::new(format!("start the host's ps: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().next().unwrap_or("it says nothing");
    Err(Failure::new(format!("the host's ps failed: {words}")))
}

/// The head and the lines of `pids`.
fn chosen(text: &str, pids: &[i32]) -> Result<String, Failure> {
    let head = text.lines().next().unwrap_or_default();
    let column = head
        .split_whitespace()
        .position(|title| title == "PID")
        .ok_or_else(|| Failure::new("the host's ps shows no column PID with these options"))?;
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column);
        pid.and_then(|pid| pid.parse().ok())
            .is_some_and(|pid| pids.contains(&pid))
    };
    let lines = text.lines().skip(1).filter(is_ours);
    Ok(std::iter::once(head)
        .chain(lines)
        .map(|line| format!("{line}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(words: &str) -> Option<(String, String)> {
        let arguments: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let (own, options) = split(&arguments, place_of_id(&arguments)?);
        let text = |words: Vec<OsString>| words.join(" ".as_ref()).into_string().unwrap();
        Some((text(own), text(options)))
    }

    #[test]
    fn what_follows_the_id_is_for_ps() {
        let both = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(cut("ps -f json c"), both("ps -f json c", ""));
        assert_eq!(cut("ps c -f json"), both("ps c -f json", ""));
        assert_eq!(cut("ps c -f -o pid"), both("ps c", "-f -o pid"));
        assert_eq!(
            cut("ps --format=table c aux"),
            both("ps --format=table c", "aux")
        );
        assert_eq!(cut("ps -f json"), None);
        assert_eq!(cut("ps"), None);
    }

    #[test]
    fn lines_are_chosen_by_the_column_of_the_id() {
        let text = "USER   PID %CPU\nroot    12  7\nroot    7   12\n";
        assert_eq!(
            chosen(text, &[12]).unwrap(),
            "USER   PID %CPU\nroot    12  7\n"
        );
        assert!(chosen("COMMAND\nsh\n", &[1]).is_err());
    }
}
