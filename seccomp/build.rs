//! Turns `calls.txt` into a table of the program, sorted by name, and one that finds a name in it. Not its job: where the numbers come from (gather).

#![expect(
    clippy::disallowed_methods,
    reason = "cargo's own folders, at build time"
)]

use std::fmt::Write as _;
use std::path::Path;

use self::hash::{EMPTY, PLACES, place};

#[path = "src/hash.rs"]
mod hash;

fn main() {
    println!("cargo::rerun-if-changed=calls.txt");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/hash.rs");
    let text = std::fs::read_to_string("calls.txt").expect("calls.txt is part of the crate");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let columns: Vec<&str> = words(lines.next().unwrap_or_default());
    let mut rows: Vec<Vec<&str>> = lines.map(words).collect();
    rows.sort_unstable();
    let mut source = String::new();
    for (number, column) in columns.iter().enumerate() {
        let name = column.to_uppercase();
        let _infallible = writeln!(source, "pub(crate) const {name}: usize = {number};");
    }
    let width = columns.len();
    let _infallible = writeln!(
        source,
        "static CALLS: [(&str, [u32; {width}]); {}] = [",
        rows.len()
    );
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    for row in &rows {
        assert_eq!(row.len(), width + 1, "{row:?}");
        let numbers: Vec<&str> = row[1..]
            .iter()
            .map(|number| if *number == "-" { "NONE" } else { number })
            .collect();
        let _infallible = writeln!(source, "({:?}, [{}]),", row[0], numbers.join(","));
    }
    source.push_str("];\n");
    let _infallible = writeln!(
        source,
        "static FOUND: [u16; {PLACES}] = {:?};",
        table(&names)
    );
    let folder = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&folder).join("calls.rs"), source).expect("OUT_DIR is writable");
}

/// For each place the row whose name is found there.
fn table(names: &[&str]) -> Vec<u16> {
    let mut table = vec![EMPTY; PLACES];
    for (row, name) in (0..).zip(names) {
        let mut at = place(name);
        while table[at] != EMPTY {
            at = (at + 1) % PLACES;
        }
        table[at] = row;
    }
    table
}

fn words(line: &str) -> Vec<&str> {
    let mut words = line.split(' ');
    if line.starts_with("name ") {
        words.next();
    }
    words.collect()
}
