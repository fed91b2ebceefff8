//! What a terminal sees of a load and a save. Not here: pulls and builds (registry, build).

use std::process::Command;

use super::{Shelf, layer};
use crate::support::{claims, run};

claims![
    a_terminal_sees_how_far_a_load_and_a_save_are: [Dhow, Tool("script")],
];

fn a_terminal_sees_how_far_a_load_and_a_save_are() {
    let shelf = Shelf::new();
    let archive = shelf.archive("a", &[layer("one"), layer("two")]);
    let out = shelf.path("out.tar").display().to_string();
    let dir = shelf.path("dir").display().to_string();
    let words = shelf.words();
    let words: Vec<String> = words
        .iter()
        .map(|word| word.display().to_string())
        .collect();
    let dhow = words.join(" ");
    let on_terminal = |line: &str| {
        let shown = run(Command::new("script").args(["-qefc", line, "/dev/null"])).success();
        shown.stdout
    };
    let loads = [
        (
            format!("{dhow} load {archive}"),
            format!("load {archive} ["),
        ),
        (
            format!("cat {archive} | {dhow} load"),
            "load stdin 0.0 MB".to_owned(),
        ),
    ];
    for (line, begins) in loads {
        let seen = on_terminal(&line);
        // One line, written over itself, and gone in the end.
        assert!(seen.contains(&format!("\r{begins}")), "{seen:?}");
        assert!(
            seen.ends_with("\r\x1b[KLoaded image: a:latest\r\n"),
            "{seen:?}"
        );
        shelf.dhow(&["rmi", "a"]).success();
    }
    assert_eq!(shelf.load(&archive).success().stderr, "");
    for arguments in [
        format!("save -o {out} a"),
        format!("save --format oci-archive -o {out} a"),
        format!("save --format oci-dir -o {dir} a"),
    ] {
        let seen = on_terminal(&format!("{dhow} {arguments}"));
        assert!(seen.starts_with("\rsave a ["), "{seen:?}");
        assert!(seen.contains(" MB, 1 layers, "), "{seen:?}");
        assert!(seen.ends_with("\r\x1b[K"), "{seen:?}");
        let quiet = on_terminal(&format!("{dhow} save --quiet -o {out} a"));
        assert_eq!(quiet, "");
    }
    assert_eq!(shelf.dhow(&["save", "-o", &out, "a"]).success().stderr, "");
}
