//! `dhow build --check`: what is found in a recipe, in words or as JSON, and the exit status. Not its job:
//! finding it (builder).

use std::fmt::Write as _;

use builder::{Check, Options};

use super::asking::ask;
use crate::commands::Outcome;
use crate::global::Global;
use crate::report::{because, say, visible};

/// Prints what is wrong and what is likely wrong. As BuildKit's it ends with 1 if there is anything.
pub(super) fn check(global: &Global, options: &Options, json: bool) -> Outcome {
    let check = ask(global, |open| builder::check(options, open))?;
    if json {
        say(format_args!("{:#}\n", check.to_json()));
        return Ok(u8::from(!check.is_clean()));
    }
    for name in &check.missing {
        eprintln!(
            "warning: base image {} is not here: it is unknown which variables it sets",
            visible(name)
        );
    }
    say(format_args!("{}", visible(&words(&check))));
    match check.fault {
        Some(fault) => Err(because(fault)),
        None => Ok(u8::from(!check.findings.is_empty())),
    }
}

fn words(check: &Check) -> String {
    let mut out = String::new();
    for finding in &check.findings {
        // Writing to a String can't fail.
        let _infallible = writeln!(
            out,
            "{}\n{}\n  = {}\n",
            finding.line(),
            finding.shown.excerpt,
            finding.rule.about()
        );
    }
    let count = match check.findings.len() {
        0 if check.fault.is_some() => return out,
        0 => "no warnings".to_owned(),
        1 => "1 warning".to_owned(),
        many => format!("{many} warnings"),
    };
    let _infallible = writeln!(out, "{count}");
    out
}
