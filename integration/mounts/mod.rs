//! Mounts beyond the ordinary ones: other ids, whole trees, what covers what.

mod ids;
mod words;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::claim::Claim;
use crate::support::{Bundle, Output, Sandbox, run};

/// The claims of all parts.
pub(crate) fn claims() -> Vec<Claim> {
    [ids::claims(), words::claims()]
        .into_iter()
        .flatten()
        .collect()
}

/// Adds to the spec's mounts.
fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

/// Adds a bind mount of `source` on /tmp.
fn bind(spec: &mut Value, source: &Path, options: &[&str]) {
    mount(
        spec,
        json!({"destination": "/tmp", "type": "bind", "source": source, "options": options}),
    );
}

/// Runs the bundle in a mount namespace of its own, in which `script` has mounted something; its `$0` is `path`.
fn run_after(script: &str, path: &Path, sandbox: &Sandbox, bundle: &Bundle) -> Output {
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("{script}\nexec \"$@\"")).arg(path);
    let ours = sandbox.command();
    command.arg(ours.get_program()).args(ours.get_args());
    command.args(["run", "--bundle", bundle.argument(), "c"]);
    run(&mut command)
}
