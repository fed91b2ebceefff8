//! The documents keep their word: commands of the README run, links lead somewhere, bundles do what they say.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::sandbox::dhow;
use crate::support::{Sandbox, claims, run};

claims![
    the_readmes_console_commands_work: [Dhow],
    the_readmes_bundle_runs: [Root, Cgroup2, Dhow],
    links_in_the_documents_lead_to_files: [],
    every_folder_of_the_readme_is_there: [],
    every_target_of_make_that_is_named_exists: [],
    the_list_of_ways_out_names_claims_and_guards_that_are_there: [],
];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(project().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The README's blocks that are marked with `language`.
fn blocks(language: &str) -> Vec<String> {
    let readme = text("README.md");
    let blocks: Vec<String> = readme
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned())
        .collect();
    assert!(!blocks.is_empty(), "README.md has no block of {language}");
    blocks
}

fn the_readmes_console_commands_work() {
    let home = tempfile::tempdir().unwrap();
    for block in blocks("console") {
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let mut words = line.split(' ');
            assert_eq!(words.next(), Some("target/release/dhow"), "{line}");
            // Lists of a fresh machine, not of this one.
            let mut command = Command::new(dhow());
            command
                .args(words)
                .env("XDG_DATA_HOME", home.path())
                .env("XDG_RUNTIME_DIR", home.path());
            run(&mut command).success();
        }
    }
}

/// Runs the README's own lines, in a folder and with a state root of the test's.
fn the_readmes_bundle_runs() {
    let sandbox = Sandbox::new();
    let block = blocks("sh")
        .into_iter()
        .find(|block| block.contains("--bundle"))
        .expect("README.md shows a bundle");
    let dhow = format!(
        "{} --root {}",
        dhow().display(),
        sandbox.state_root().display()
    );
    let script = block
        .replace(
            "/tmp/hello",
            &sandbox.path().join("hello").display().to_string(),
        )
        .replace("dhow run", &format!("{dhow} run"))
        .replace("dhow create", &format!("{dhow} create"));
    let output = run(Command::new("bash")
        .args(["-ec", &script])
        .current_dir(project()))
    .success();
    assert!(
        output.stdout.starts_with("hello from dhow, process 1\n"),
        "{}",
        output.stdout
    );
    assert!(
        output.stdout.contains("exec"),
        "no plan in: {}",
        output.stdout
    );
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let folders = ["", "docs", "bundles"];
    for folder in folders {
        for entry in std::fs::read_dir(project().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    found
}

fn links_in_the_documents_lead_to_files() {
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            if target.starts_with("http") {
                continue;
            }
            let file = document.with_file_name(target);
            assert!(file.exists(), "{}: no {target}", document.display());
        }
    }
}

fn every_folder_of_the_readme_is_there() {
    let readme = text("README.md");
    let folders: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split("/` –").next())
        .filter(|name| !name.contains(['`', ' ']))
        .collect();
    assert!(folders.len() >= 10, "{folders:?}");
    for folder in folders {
        assert!(project().join(folder).is_dir(), "{folder}/ is not there");
    }
}

fn every_target_of_make_that_is_named_exists() {
    let makefile = text("Makefile");
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for rest in text.split("make ").skip(1) {
            let name: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            let known = ["build", "demo", "test", "sweep", "bench", "lint", "clean"];
            if known.contains(&name.as_str()) {
                assert!(makefile.contains(&format!("\n{name}:\n")), "make {name}");
            }
        }
    }
}

/// All text of the sources below `folder`.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && !path.ends_with("target") {
            text += &sources(&path);
        } else if kind.is_file() && path.extension().is_some_and(|end| end == "rs") {
            text += &std::fs::read_to_string(&path).unwrap();
        }
    }
    text
}

/// And every claim of a row is in the list.
fn the_list_of_ways_out_names_claims_and_guards_that_are_there() {
    let list = text("docs/hostile.md");
    let sources = sources(&project().join("integration"));
    for row in list.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        for name in cells[2].split('`').skip(1).step_by(2) {
            let is_path = name.contains('/');
            assert!(
                is_path || sources.contains(&format!("fn {name}()")),
                "{name}"
            );
        }
        for guard in cells[3]
            .split([',', ' ', '(', ')'])
            .filter(|word| word.starts_with("no-"))
        {
            let ends = [format!("{guard}\""), format!("{guard},")];
            let is_there = ends.iter().any(|end| sources.contains(end));
            assert!(is_there, "{guard}");
        }
    }
    for line in sources.lines().map(str::trim_start) {
        let Some((name, _)) = line.split_once(": [") else {
            continue;
        };
        let (row, rest) = name.split_at(name.len().min(3));
        let is_row = row.starts_with(['a', 'b', 'c', 'd', 'g', 'i'])
            && row[1..].bytes().all(|byte| byte.is_ascii_digit())
            && rest.starts_with('_');
        assert!(!is_row || list.contains(&format!("`{name}`")), "{name}");
    }
}
