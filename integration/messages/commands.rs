//! Faults of the command line and of the moment: unknown ids, wrong states, flags that point nowhere.

use serde_json::json;

use super::{Case, RUN};
use crate::support::{Bundle, Sandbox};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "state_of_an_unknown_container",
        broken: |_, _| (),
        command: &["state", "nobody"],
        names: &["nobody", "container does not exist"],
    },
    Case {
        name: "start_of_an_unknown_container",
        broken: |_, _| (),
        command: &["start", "nobody"],
        names: &["nobody", "container does not exist"],
    },
    Case {
        name: "delete_of_an_unknown_container",
        broken: |_, _| (),
        command: &["delete", "nobody"],
        names: &["nobody", "container does not exist"],
    },
    Case {
        name: "bundle_is_missing",
        broken: |_, _| (),
        command: &["create", "--bundle", "/nope/bundle", "c"],
        names: &["/nope/bundle"],
    },
    Case {
        name: "id_leaves_its_folder",
        broken: |_, _| (),
        command: &["create", "--bundle", "BUNDLE", "../c"],
        names: &["../c"],
    },
    Case {
        name: "id_is_empty",
        broken: |_, _| (),
        command: &["create", "--bundle", "BUNDLE", ""],
        names: &["id"],
    },
    Case {
        name: "id_is_taken",
        broken: created,
        command: &["create", "--bundle", "BUNDLE", "c"],
        names: &["c", "exists"],
    },
    Case {
        name: "start_of_a_running_container",
        broken: running,
        command: &["start", "c"],
        names: &["c", "running"],
    },
    Case {
        name: "delete_of_a_running_container",
        broken: running,
        command: &["delete", "c"],
        names: &["c", "running"],
    },
    Case {
        name: "kill_of_a_stopped_container",
        broken: stopped,
        command: &["kill", "c", "KILL"],
        names: &["c", "container not running"],
    },
    Case {
        name: "start_of_a_stopped_container",
        broken: stopped,
        command: &["start", "c"],
        names: &["c", "stopped"],
    },
    Case {
        name: "signal_is_unknown",
        broken: running,
        command: &["kill", "c", "NOPE"],
        names: &["NOPE", "signal"],
    },
    Case {
        name: "pid_file_has_no_folder",
        broken: |_, bundle| sleeping(bundle),
        command: &[
            "create",
            "--bundle",
            "BUNDLE",
            "--pid-file",
            "/nope/pid",
            "c",
        ],
        names: &["/nope/pid"],
    },
    Case {
        name: "console_socket_is_missing",
        broken: |_, bundle| bundle.set("process.terminal", json!(true)),
        command: &[
            "create",
            "--bundle",
            "BUNDLE",
            "--console-socket",
            "/nope/socket",
            "c",
        ],
        names: &["/nope/socket"],
    },
    Case {
        name: "command_is_misspelt",
        broken: |_, _| (),
        command: &["strat", "c"],
        names: &["strat", "start"],
    },
    Case {
        name: "flag_is_misspelt",
        broken: |_, _| (),
        command: &["create", "--bundel", "BUNDLE", "c"],
        names: &["--bundel", "--bundle"],
    },
    Case {
        name: "id_is_not_given",
        broken: |_, _| (),
        command: &["state"],
        names: &["ID"],
    },
    Case {
        name: "program_ends_before_start",
        broken: |sandbox, bundle| {
            created(sandbox, bundle);
            kill_the_init(sandbox);
        },
        command: &["start", "c"],
        names: &["c", "stopped"],
    },
    Case {
        name: "run_of_a_missing_program_leaves_nothing",
        broken: |_, bundle| bundle.set("process.args", json!(["/nope"])),
        command: RUN,
        names: &["/nope"],
    },
];

fn sleeping(bundle: &mut Bundle) {
    bundle.set("process.args", json!(["sleep", "1000"]));
}

fn created(sandbox: &Sandbox, bundle: &mut Bundle) {
    sleeping(bundle);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
}

pub(super) fn running(sandbox: &Sandbox, bundle: &mut Bundle) {
    created(sandbox, bundle);
    sandbox.runtime(&["start", "c"]).success();
}

pub(super) fn stopped(sandbox: &Sandbox, bundle: &mut Bundle) {
    running(sandbox, bundle);
    kill_the_init(sandbox);
}

fn kill_the_init(sandbox: &Sandbox) {
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    crate::support::command::wait_for("the end", std::time::Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == "stopped").then_some(())
    });
}
