//! Running a program with a time limit, its output caught. Not its job: deciding what to run.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a program ended and what it printed.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit status; 128 + signal where a signal ended it.
    pub(crate) status: i32,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
    /// The command, for messages.
    pub(crate) shown: String,
}

impl Output {
    /// Itself if the program succeeded; otherwise the test fails and shows what it printed.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(
            self.status, 0,
            "{} failed\nstdout: {}\nstderr: {}",
            self.shown, self.stdout, self.stderr
        );
        self
    }

    /// Itself if the program ended with `status`.
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(
            self.status, status,
            "{}\nstdout: {}\nstderr: {}",
            self.shown, self.stdout, self.stderr
        );
        self
    }
}

/// How long `host` takes where the tests run: thirty times as long in the emulated machine.
pub(crate) fn patience(host: Duration) -> Duration {
    let factor = std::env::var("DHOW_TEST_SLOWNESS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    host * factor
}

/// How long a command may take. What is expected to fail or to hang has less (DHOW_TEST_DEADLINE, seconds).
fn deadline() -> Duration {
    std::env::var("DHOW_TEST_DEADLINE")
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or_else(
            || Duration::from_secs(60) + patience(Duration::from_secs(20)),
            Duration::from_secs,
        )
}

/// Runs `command` to its end; one that waits for ever fails the claim. Output goes through files, not pipes: a container that lives on keeps its
/// standard output open, and reading a pipe to its end would wait for it.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let mut stdout = tempfile::tempfile().unwrap();
    let mut stderr = tempfile::tempfile().unwrap();
    let shown = format!("{command:?}");
    if std::env::var_os("DHOW_TEST_TRACE").is_some() {
        eprintln!("+ {shown}");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("run {shown}: {error}"));
    // Generous: this is to end what hangs, not to measure; the machine may be busy.
    let end = Instant::now() + deadline();
    let mut pause = Duration::from_micros(200);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!(
                "{shown} did not end in time\nstdout: {}\nstderr: {}",
                text(&mut stdout),
                text(&mut stderr)
            );
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    Output {
        status: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
        shown,
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks again and again until `answer` is something, for at most `host` (on the host).
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, host: Duration, mut answer: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience(host);
    loop {
        if let Some(found) = answer() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
