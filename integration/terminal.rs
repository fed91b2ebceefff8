//! Terminals in the foreground: what the container's end knows of the caller's window.
//! runc 1.1 sets the size after the start, so that a quick program may find none: these claims are ours alone.
//! Not its job: what is typed and shown under an engine (peers).

use std::process::Command;

use serde_json::json;

use crate::support::{Output, Sandbox, claims, run};

claims![
    a_program_finds_the_callers_window_at_once: [Root, Cgroup2, Dhow, Tool("script")],
    a_further_program_finds_the_callers_window_at_once: [Root, Cgroup2, Dhow, Tool("script")],
];

/// Runs the runtime on a terminal of 33 rows and 44 columns.
#[track_caller]
fn in_a_window(sandbox: &Sandbox, arguments: &str) -> Output {
    let words: Vec<String> = std::iter::once(sandbox.command().get_program().to_owned())
        .chain(sandbox.command().get_args().map(ToOwned::to_owned))
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let line = format!("stty rows 33 cols 44; {} {arguments}", words.join(" "));
    run(Command::new("script").args(["-qefc", &line, "/dev/null"]))
}

fn a_program_finds_the_callers_window_at_once() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["busybox", "stty", "size"]);
    let bundle = bundle.edit(|spec| spec["process"]["terminal"] = json!(true));
    for _ in 0..5 {
        let output = in_a_window(&sandbox, &format!("run --bundle {} c", bundle.argument()));
        assert!(output.stdout.contains("33 44"), "{output:?}");
    }
}

fn a_further_program_finds_the_callers_window_at_once() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let create = ["create", "--bundle", bundle.argument(), "c"];
    sandbox.runtime(&create).success();
    sandbox.runtime(&["start", "c"]).success();
    for _ in 0..5 {
        let output = in_a_window(&sandbox, "exec -t c busybox stty size");
        assert!(output.stdout.contains("33 44"), "{output:?}");
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}
