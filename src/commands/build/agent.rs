//! `--ssh`: agents that RUN may ask, and one of our own for keys that are files. Not its job: what a step sees of it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use builder::Agent;

use super::steps::fault;
use crate::report::Failure;

/// The keys are in the agent before it says where it is. It ends with its input, which is ours: so with this process,
/// however that ends. Its own end takes its socket away.
const SCRIPT: &str = "ssh-add -q -- \"$@\" < /dev/null || exit 1; echo \"$SSH_AUTH_SOCK\"; \
                      cat > /dev/null; kill \"$SSH_AGENT_PID\"";

/// `default`, `ID`, `ID=SOCKET` or `ID=KEYFILE[,KEYFILE]`.
pub(super) fn agent(text: &str) -> Result<Agent, Failure> {
    let fail = |why: &str| fault("ssh", text, why);
    let (id, paths) = match text.split_once('=') {
        Some((id, paths)) => (id, paths.split(',').map(PathBuf::from).collect()),
        None => match std::env::var_os("SSH_AUTH_SOCK") {
            Some(path) => (text, vec![PathBuf::from(path)]),
            None => return Err(fail("our environment has no SSH_AUTH_SOCK")),
        },
    };
    let mut sockets = 0;
    for path in &paths {
        let about = sys::file::follow(path).map_err(|error| fail(&error.to_string()))?;
        match about.file_type() {
            kind if kind.is_socket() => sockets += 1,
            kind if kind.is_file() => {}
            _ => return Err(fail("it is neither an agent's socket nor a key")),
        }
    }
    let socket = match (sockets, paths.as_slice()) {
        (0, keys) => with_keys(keys).map_err(|why| fail(&why))?,
        (1, [socket]) => socket.clone(),
        _ => return Err(fail("it must be one agent's socket, or keys alone")),
    };
    Ok(Agent {
        id: if id.is_empty() { "default" } else { id }.to_owned(),
        socket,
    })
}

/// Starts an agent that has these keys; gives its socket.
fn with_keys(keys: &[PathBuf]) -> Result<PathBuf, String> {
    let whole = |key: &PathBuf| std::path::absolute(key).unwrap_or_else(|_| key.clone());
    let mut command = Command::new("ssh-agent");
    command
        .args(["sh", "-c", SCRIPT, "sh"])
        .args(keys.iter().map(whole))
        // A key with a passphrase is for an agent of the person's: nobody is asked here.
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("SSH_ASKPASS", "/bin/false")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    sys::exec::only_stdio(&mut command);
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            "key files need ssh-agent and ssh-add, which are not installed".to_owned()
        }
        _ => format!("start ssh-agent: {e}"),
    };
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(failed)?;
    }
    let socket = Path::new(line.trim_end());
    if socket.is_absolute() {
        if let Some(input) = child.stdin.take() {
            // Open until we end: the agent ends with it.
            let _stays_open = input.into_raw_fd();
        }
        return Ok(socket.to_owned());
    }
    let mut told = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut told).map_err(failed)?;
    }
    let _ended = child.wait();
    let last = told
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    Err(last.unwrap_or("ssh-add takes no such key").to_owned())
}
