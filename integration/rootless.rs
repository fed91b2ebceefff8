//! What somebody without root finds. Not its job yet: whole rootless containers.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, claims, run};

claims![
    the_list_of_a_user_is_their_own_and_empty: [Root, RootlessUser, Tool("setpriv"), Dhow],
    a_start_beyond_their_rights_is_refused_in_one_line: [Root, Cgroup2, RootlessUser, Tool("setpriv"), Dhow],
];

/// Runs dhow as user 1000, with a runtime folder in the sandbox.
fn as_user(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(sandbox.path(), open).unwrap();
    let own = sandbox.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(1000), Some(1000)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=1000", "--regid=1000", "--clear-groups"])
        .arg(dhow())
        .args(arguments)
        .env("XDG_RUNTIME_DIR", &own)
        .env("XDG_DATA_HOME", &own);
    run(&mut command)
}

fn the_list_of_a_user_is_their_own_and_empty() {
    let sandbox = Sandbox::new();
    let output = as_user(&sandbox, &["list", "-q"]).success();
    assert_eq!(output.stdout, "");
}

fn a_start_beyond_their_rights_is_refused_in_one_line() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    let output = as_user(&sandbox, &["run", "--bundle", bundle.argument(), "c"]).ends_with(1);
    // Before it stand warnings of capabilities that a user has not.
    let warning = "dhow: warning: process.capabilities: ";
    let lines = output.stderr.lines();
    let refusals = lines.filter(|line| !line.starts_with(warning)).count();
    assert_eq!(refusals, 1, "{}", output.stderr);
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}
