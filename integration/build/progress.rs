//! What a build shows: plain lines, a terminal's view, JSON; and why a step was not cached. Not its job: the cache.

use std::process::Command;

use super::{Site, cached};
use crate::support::{Output, claims, run};

claims![
    what_has_changed_is_told_of_each_step_that_is_done: [Root, Cgroup2, Overlay, Dhow],
    a_stage_can_be_done_anew_alone: [Root, Cgroup2, Overlay, Dhow],
    lines_have_numbers_and_steer_no_terminal: [Root, Cgroup2, Overlay, Dhow],
    each_line_of_json_is_an_event: [Root, Cgroup2, Overlay, Dhow],
    a_terminal_has_a_view_unless_it_is_dumb: [Root, Cgroup2, Overlay, Dhow, Tool("script")],
];

/// What is said of the steps that are done, with their numbers.
fn reasons(output: &Output) -> Vec<&str> {
    output
        .stderr
        .lines()
        .filter(|line| line.contains(" not cached: "))
        .collect()
}

fn what_has_changed_is_told_of_each_step_that_is_done() {
    let site = Site::new();
    let recipe =
        "FROM base\nARG VERSION=1\nRUN echo $VERSION > /version\nCOPY src /src\nWORKDIR /w\n";
    let context = site.context("c", recipe);
    let src = context.join("src");
    std::fs::create_dir(&src).unwrap();
    for name in ["a", "b", "same"] {
        std::fs::write(src.join(name), name).unwrap();
    }
    let build = |arguments: &[&str]| {
        let arguments = [&["--explain", "-t", "c"], arguments, &["c"]].concat();
        site.build(&arguments).success()
    };
    let first = build(&[]);
    let unknown = "not cached: no earlier build of this recipe is known";
    assert_eq!(
        reasons(&first),
        [3, 4, 5].map(|n| format!("#{n} {unknown}"))
    );
    let again = build(&[]);
    assert_eq!((reasons(&again), cached(&again)), (vec![], 3));
    std::fs::write(src.join("a"), "changed").unwrap();
    std::fs::remove_file(src.join("b")).unwrap();
    std::fs::write(src.join("c"), "new").unwrap();
    assert_eq!(
        reasons(&build(&[])),
        [
            "#4 not cached: src: 1 file changed: a; 1 file new: c; 1 file gone: b",
            "#5 not cached: a step before it was done anew",
        ]
    );
    let versions = build(&["--build-arg", "VERSION=2"]);
    assert_eq!(reasons(&versions)[0], "#3 not cached: ARG VERSION 1 -> 2");
    let recipe = recipe.replace("> /version", "> /v");
    std::fs::write(context.join("Dockerfile"), recipe).unwrap();
    assert_eq!(
        reasons(&build(&["--build-arg", "VERSION=2"]))[0],
        "#3 not cached: the instruction was RUN echo $VERSION > /version"
    );
    // Another image has the base's name now.
    site.image("base", "FROM base\nCOPY Dockerfile /moved\n");
    let moved = build(&["--build-arg", "VERSION=2"]);
    let reason = reasons(&moved)[0];
    assert!(
        reason.starts_with("#3 not cached: base image base moved: sha256:"),
        "{moved:?}"
    );
    assert!(
        reasons(&build(&["--no-cache"]))[0].ends_with("all steps of the stage are to be done anew")
    );
}

fn a_stage_can_be_done_anew_alone() {
    let site = Site::new();
    site.context(
        "c",
        "FROM base AS one\nRUN cat /proc/sys/kernel/random/uuid > /one\nFROM base\nRUN cat /proc/sys/kernel/random/uuid > /two\nCOPY --from=one /one /\n",
    );
    let build = |arguments: &[&str]| site.build(&[arguments, &["-t", "c", "c"]].concat());
    build(&[]).success();
    let read = || site.inside("c", "cat /one /two");
    let (before, anew) = (read(), build(&["--no-cache-filter", "one"]).success());
    assert_eq!(cached(&anew), 1, "{anew:?}");
    let after = read();
    assert_ne!(before.lines().next(), after.lines().next());
    assert_eq!(before.lines().nth(1), after.lines().nth(1));
    let wrong = build(&["--no-cache-filter", "ones"]).ends_with(1);
    assert!(
        wrong.stderr.contains("--no-cache-filter: ") && wrong.stderr.contains("did you mean one?"),
        "{wrong:?}"
    );
}

/// A recipe whose program writes what would clear a screen.
const WILD: &str = "FROM base AS x\nRUN printf 'a\\033[2Jb\\nc\\rd\\n\\nend'\nRUN exit 3\n";

fn lines_have_numbers_and_steer_no_terminal() {
    let site = Site::new();
    site.context("c", WILD);
    let built = site.build(&["c"]).ends_with(1);
    assert!(!built.stderr.contains(['\x1b', '\r']), "{built:?}");
    // Times vary.
    let shown: Vec<String> = built
        .stderr
        .lines()
        // Of what the host lacks.
        .filter(|line| !line.starts_with("warning: "))
        .map(|line| {
            let digit = |c: char| c.is_ascii_digit() || c == '.';
            let words = line.split(' ').enumerate().map(|(n, word)| {
                let time = n > 0 && word.trim_end_matches('s').chars().all(digit);
                if time && !word.is_empty() { "T" } else { word }
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        shown[..14],
        [
            "#1 [x 1/3] FROM base",
            "#1 DONE T",
            "",
            "#2 [x 2/3] RUN printf 'a\\033[2Jb\\nc\\rd\\n\\nend'",
            "#2 T a\\u{1b}[2Jb",
            "#2 T c",
            "#2 T d",
            "#2 T",
            "#2 end",
            "#2 DONE T",
            "",
            "#3 [x 3/3] RUN exit T",
            "#3 FAILED T",
            "",
        ]
    );
    assert!(
        shown[14].starts_with("dhow: Dockerfile:3: RUN exit 3: "),
        "{built:?}"
    );
}

fn each_line_of_json_is_an_event() {
    let site = Site::new();
    site.context("c", WILD);
    let built = site
        .build(&["--progress", "json", "--explain", "c"])
        .ends_with(1);
    let (failure, lines) = built
        .stderr
        .trim_end()
        .split_once("\ndhow: ")
        .map(|(lines, failure)| (failure, lines))
        .unwrap();
    assert!(failure.starts_with("Dockerfile:3: "), "{built:?}");
    let events: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    let mut short = kinds.clone();
    // Of what the host lacks.
    short.retain(|kind| *kind != "warning");
    short.dedup();
    assert_eq!(
        short,
        [
            "step", "done", "step", "missed", "output", "done", "step", "missed", "failed"
        ]
    );
    let text: String = events
        .iter()
        .filter_map(|event| {
            event["text"]
                .as_str()
                .filter(|_| event["event"] == "output")
        })
        .collect();
    assert_eq!(text, "a\x1b[2Jb\nc\rd\n\nend");
    assert!(
        built
            .stderr
            .bytes()
            .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte))
    );
    let quiet = site.build(&["--progress", "quiet", "--target", "x", "base"]);
    assert!(quiet.stderr.starts_with("dhow: "), "{quiet:?}");
}

fn a_terminal_has_a_view_unless_it_is_dumb() {
    let site = Site::new();
    site.context("c", "FROM base\nRUN echo first\nRUN echo second\n");
    site.build(&["c"]).success();
    let on_terminal = |variables: &str, arguments: &str| {
        let command = site.dhow();
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let line = format!(
            "cd {}; stty rows 10 cols 30; env {variables} {} build --network none {arguments} c",
            site.folder().display(),
            words.join(" ")
        );
        run(Command::new("script").args(["-qefc", &line, "/dev/null"]))
    };
    let colored = on_terminal("-u NO_COLOR TERM=xterm", "").success().stdout;
    assert!(
        colored.contains("\x1b[J\x1b[34m => CACHED [2/3] RUN echo f…\x1b[0m\r\n"),
        "{colored:?}"
    );
    let plain = on_terminal("NO_COLOR=1 TERM=xterm", "").success().stdout;
    assert!(
        plain.contains("\x1b[J => CACHED [2/3] RUN echo f…\r\n"),
        "{plain:?}"
    );
    assert!(!plain.contains("\x1b[34m"), "{plain:?}");
    // What was drawn below is gone at the end: after the last drawing there is the image's id alone.
    let last = plain.rsplit("\x1b[J").next().unwrap();
    assert!(
        last.starts_with("sha256:") && last.lines().count() == 1,
        "{plain:?}"
    );
    for text in [
        on_terminal("TERM=dumb", ""),
        on_terminal("TERM=xterm", "--progress plain"),
    ] {
        let text = text.success().stdout;
        assert!(
            text.contains("#2 [2/3] RUN echo first\r\n#2 CACHED\r\n"),
            "{text:?}"
        );
        assert!(!text.contains('\x1b'), "{text:?}");
    }
    let refused = site.build(&["--progress", "tty", "c"]).ends_with(1);
    assert_eq!(
        refused.stderr,
        "dhow: --progress tty: stderr is no terminal, or one that can't move its cursor\n"
    );
}
