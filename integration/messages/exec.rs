//! Faults of `exec` and `ps`.

use super::Case;
use super::commands::{running, stopped};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "exec_into_an_unknown_container",
        broken: |_, _| (),
        command: &["exec", "nobody", "true"],
        names: &["nobody", "container does not exist"],
    },
    Case {
        name: "exec_into_a_stopped_container",
        broken: stopped,
        command: &["exec", "c", "true"],
        names: &["c", "container not running"],
    },
    Case {
        name: "exec_without_a_program",
        broken: running,
        command: &["exec", "c"],
        names: &["process.args"],
    },
    Case {
        name: "exec_of_a_missing_program",
        broken: running,
        command: &["exec", "c", "nope"],
        names: &["nope", "not found"],
    },
    Case {
        name: "exec_user_by_name",
        broken: running,
        command: &["exec", "--user", "root", "c", "true"],
        names: &["--user", "root", "number"],
    },
    Case {
        name: "exec_variable_without_a_value",
        broken: running,
        command: &["exec", "--env", "NAME", "c", "true"],
        names: &["NAME"],
    },
    Case {
        name: "exec_cgroup_of_a_controller",
        broken: running,
        command: &["exec", "--cgroup", "cpu:x", "c", "true"],
        names: &["--cgroup", "cpu:x"],
    },
    Case {
        name: "exec_cgroup_is_missing",
        broken: running,
        command: &["exec", "--cgroup", "nothing", "c", "true"],
        names: &["--cgroup", "nothing"],
    },
    Case {
        name: "exec_cgroup_leads_out",
        broken: running,
        command: &["exec", "--cgroup", "../x", "c", "true"],
        names: &["--cgroup", "../x"],
    },
    Case {
        name: "exec_directory_is_missing",
        broken: running,
        command: &["exec", "--cwd", "/nope", "c", "true"],
        names: &["/nope", "no such file"],
    },
    Case {
        name: "exec_file_is_missing",
        broken: running,
        command: &["exec", "--process", "/nope/p.json", "c"],
        names: &["/nope/p.json"],
    },
    Case {
        name: "exec_file_lacks_a_directory",
        broken: |sandbox, bundle| {
            running(sandbox, bundle);
            std::fs::write(bundle.path().join("p.json"), r#"{"args":["true"]}"#).unwrap();
        },
        command: &["exec", "--process", "BUNDLE/p.json", "c"],
        names: &["p.json", "cwd"],
    },
    Case {
        name: "exec_terminal_for_nobody",
        broken: running,
        command: &["exec", "--tty", "--detach", "c", "true"],
        names: &["--console-socket"],
    },
    Case {
        name: "ps_of_an_unknown_container",
        broken: |_, _| (),
        command: &["ps", "nobody"],
        names: &["nobody", "container does not exist"],
    },
    Case {
        name: "ps_without_the_column",
        broken: running,
        command: &["ps", "c", "-e", "-o", "args"],
        names: &["PID"],
    },
];
