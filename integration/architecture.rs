//! Holds the drawing of ARCHITECTURE.md: which crate may use which, where unsafe may stand, how long a file
//! may be. Not its job: what clippy holds by itself (length of functions, banned calls).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{claims, run};

claims![
    crates_use_only_what_the_drawing_allows: [Tool("cargo")],
    every_crate_stands_in_the_drawing: [Tool("cargo")],
    only_sys_calls_the_kernel: [Tool("cargo")],
    unsafe_stands_only_in_sys: [],
    files_are_short_and_say_their_job: [],
    no_file_is_named_for_having_no_job: [],
    no_promises_stand_in_the_code: [],
];

/// The longest file that is still one job.
const LONGEST_FILE: usize = 400;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table "crate | may use" of ARCHITECTURE.md.
fn drawing() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = text
        .split_once("| crate | may use |")
        .expect("ARCHITECTURE.md has the table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        for name in cells[0].split(", ") {
            edges
                .entry(name.to_owned())
                .or_default()
                .extend(cells[1].split(", ").map(str::to_owned));
        }
    }
    edges
}

/// The name that the drawing uses for a package: `dhow-sys` is sys, the root package is src.
fn room(package: &str) -> &str {
    match package {
        "dhow" => "src",
        other => other.trim_start_matches("dhow-"),
    }
}

/// Each package's name and the names of all packages it depends on, of whatever kind.
fn dependencies() -> Vec<(String, Vec<String>)> {
    let output = run(Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(project()))
    .success();
    let metadata: Value = serde_json::from_str(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().unwrap();
            (name(package), used.iter().map(name).collect())
        })
        .collect()
}

fn crates_use_only_what_the_drawing_allows() {
    let drawing = drawing();
    let mut wrong = Vec::new();
    for (package, used) in dependencies() {
        let allowed = drawing.get(room(&package)).cloned().unwrap_or_default();
        for other in used.iter().filter(|name| name.starts_with("dhow")) {
            if !allowed.contains(room(other)) {
                wrong.push(format!("{} uses {}", room(&package), room(other)));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not in ARCHITECTURE.md's drawing: {wrong:#?}"
    );
}

fn every_crate_stands_in_the_drawing() {
    let drawing = drawing();
    for (package, _) in dependencies() {
        assert!(
            drawing.contains_key(room(&package)) || room(&package) == "sys",
            "ARCHITECTURE.md's table has no row for {package}"
        );
    }
}

fn only_sys_calls_the_kernel() {
    for (package, used) in dependencies() {
        let doors: Vec<&String> = used
            .iter()
            .filter(|name| ["libc", "rustix", "nix"].contains(&name.as_str()))
            .collect();
        assert!(
            package == "dhow-sys" || doors.is_empty(),
            "{package} depends on {doors:?}; system calls go through sys"
        );
    }
}

/// All Rust files of the project, without what was built.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![project().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != "build" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    assert!(
        found.len() > 10,
        "the walk found only {} files",
        found.len()
    );
    found
}

fn lines_of(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The code of a line: what stands before a comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|found| found == word)
}

fn unsafe_stands_only_in_sys() {
    let keyword = "unsafe";
    for path in sources() {
        if path.starts_with(project().join("sys/src")) {
            continue;
        }
        for (number, line) in lines_of(&path).iter().enumerate() {
            let quoted = code(line).contains(&format!("\"{keyword}\""));
            assert!(
                quoted || !has_word(code(line), keyword),
                "{}:{}: only sys may say this",
                path.display(),
                number + 1
            );
        }
    }
}

fn files_are_short_and_say_their_job() {
    for path in sources() {
        let lines = lines_of(&path);
        assert!(
            lines.len() <= LONGEST_FILE,
            "{} has {} lines: split it",
            path.display(),
            lines.len()
        );
        assert!(
            lines.first().is_some_and(|line| line.starts_with("//! ")),
            "{} does not say its job in a first line `//! ...`",
            path.display()
        );
    }
}

fn no_file_is_named_for_having_no_job() {
    for path in sources() {
        let name = path.file_stem().unwrap().to_string_lossy();
        let nameless = [
            "util", "utils", "common", "manager", "helper", "helpers", "impl", "misc",
        ];
        assert!(
            !nameless.contains(&name.as_ref()),
            "{}: name the file for its job",
            path.display()
        );
    }
}

fn no_promises_stand_in_the_code() {
    // Put together here, so that this file does not contain them.
    let promises = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["X", "XX"].concat(),
    ];
    for path in sources() {
        for (number, line) in lines_of(&path).iter().enumerate() {
            assert!(
                !promises.iter().any(|promise| has_word(line, promise)),
                "{}:{}: do it now, or file an issue",
                path.display(),
                number + 1
            );
        }
    }
}
