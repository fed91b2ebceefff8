//! What people read when something is wrong: one line that names the field, path or value at fault.
//! The exact text of each stands in `messages.txt`; `DHOW_TEST_WRITE=1` writes it anew, for the eye to judge.

mod bundles;
mod commands;
mod exec;
mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::claim::Claim;
use crate::support::{Bundle, Need, Output, Sandbox};

/// A broken input and what the line about it must name.
pub(crate) struct Case {
    /// What is wrong.
    name: &'static str,
    /// Breaks the bundle (its spec is written afterwards, unless the case wrote the file itself).
    broken: fn(&Sandbox, &mut Bundle),
    /// The command that meets it: words, `BUNDLE` standing for the bundle's path. None: `run`.
    command: &'static [&'static str],
    /// Words that the line must hold.
    names: &'static [&'static str],
}

const RUN: &[&str] = &["run", "--bundle", "BUNDLE", "c"];

/// One claim for each broken input, and one that the table is whole.
pub(crate) fn claims() -> Vec<Claim> {
    let needs: &[Need] = &[Need::Root, Need::Cgroup2, Need::Dhow];
    let mut claims: Vec<Claim> = cases()
        .map(|case| Claim {
            name: format!("messages::{}", case.name),
            needs,
            body: Box::new(move || check(case)),
        })
        .collect();
    claims.push(Claim {
        name: "messages::the_table_has_each_case_and_no_other".to_owned(),
        needs: &[],
        body: Box::new(table_is_whole),
    });
    claims
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [
        bundles::CASES,
        programs::CASES,
        commands::CASES,
        exec::CASES,
    ]
    .into_iter()
    .flatten()
}

/// `name | line` for each case; paths that differ from run to run stand as BUNDLE and SANDBOX.
fn table() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(table_path()).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(" | "))
        .map(|(name, line)| (name.to_owned(), line.to_owned()))
        .collect()
}

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/messages/messages.txt")
}

fn table_is_whole() {
    let written: Vec<String> = table().into_keys().collect();
    let mut cases: Vec<String> = cases().map(|case| case.name.to_owned()).collect();
    cases.sort_unstable();
    assert_eq!(written, cases);
}

fn check(case: &Case) {
    let sandbox = Sandbox::new();
    let mut bundle = sandbox.bundle("c");
    (case.broken)(&sandbox, &mut bundle);
    let command: Vec<String> = case
        .command
        .iter()
        .map(|word| word.replace("BUNDLE", bundle.argument()))
        .collect();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let output = sandbox.runtime(&command);
    let line = the_line(case, &output, &bundle, &sandbox);
    for word in case.names {
        assert!(line.contains(word), "{word:?} is not named in: {line}");
    }
    if std::env::var_os("DHOW_TEST_WRITE").is_some() {
        write(case.name, &line);
    } else {
        assert_eq!(Some(&line), table().get(case.name));
    }
    sandbox.runtime(&["delete", "--force", "c"]);
    // The sandbox's end checks that nothing is left behind.
}

/// The one line about the fault, with changing paths replaced. A `hint:` line may follow it.
#[track_caller]
fn the_line(case: &Case, output: &Output, bundle: &Bundle, sandbox: &Sandbox) -> String {
    // exec's own failures are 255, as runc has them.
    let ours = (1..128).contains(&output.status) || output.status == 255;
    assert!(ours, "{output:?}");
    assert_eq!(output.stdout, "", "{}", case.name);
    let lines: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| !line.starts_with("hint: "))
        .collect();
    assert_eq!(
        lines.len(),
        1,
        "{}: not one line:\n{}",
        case.name,
        output.stderr
    );
    let cgroup = sandbox.cgroups_path("c");
    lines[0]
        .replace(bundle.argument(), "BUNDLE")
        .replace(&sandbox.path().display().to_string(), "SANDBOX")
        .replace(&cgroup, "CGROUP")
}

fn write(name: &str, line: &str) {
    use std::sync::Mutex;
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let mut table = table();
    table.insert(name.to_owned(), line.to_owned());
    let text: String = table
        .iter()
        .map(|(name, line)| format!("{name} | {line}\n"))
        .collect();
    std::fs::write(table_path(), text).unwrap();
}
