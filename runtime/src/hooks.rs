//! Hooks: programs that the configuration names for moments of a container's life (runtime-spec,
//! config.md "POSIX-platform Hooks"). A hook gets the state on stdin, the environment of its own entry
//! and nothing of the container's (CVE-2025-23266), and no fd but stdio.
//! Not its job: when which kind runs.

mod setting;

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use setting::Setting;

use oci_spec::runtime::Hook;
use serde::{Deserialize, Serialize};
use sys::SysError;

use crate::{Error, Result};

/// How much of a hook's stderr is quoted when it fails.
const QUOTED: u64 = 2048;

/// One hook, in the words of the configuration and as kept in state.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEntry {
    /// The program; absolute (validated).
    pub path: PathBuf,
    /// Its arguments, `argv[0]` included; empty means the path alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its whole environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds after which it is killed and counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

impl HookEntry {
    /// The entries of one kind.
    pub fn list(hooks: Option<&Vec<Hook>>) -> Vec<Self> {
        hooks.into_iter().flatten().map(Self::from_spec).collect()
    }

    fn from_spec(hook: &Hook) -> Self {
        Self {
            path: hook.path().clone(),
            args: hook.args().clone().unwrap_or_default(),
            env: hook.env().clone().unwrap_or_default(),
            timeout: hook.timeout().and_then(|t| u64::try_from(t).ok()),
        }
    }
}

/// A hook that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
    deadline: Option<Instant>,
    timeout: Option<u64>,
    stderr: File,
}

impl Running {
    /// Starts a hook with `state` (JSON) on its stdin. Nothing waits: stdin and stderr are files in
    /// memory, so that neither side can block the other.
    ///
    /// # Errors
    /// As execve(2).
    pub fn start(hook: &HookEntry, setting: &Setting, state: &[u8]) -> sys::Result<Self> {
        let io = |e: std::io::Error| SysError::from_io("run", hook.path.display(), &e);
        let mut stdin = File::from(sys::file::memory("state")?);
        stdin.write_all(state).map_err(io)?;
        stdin.rewind().map_err(io)?;
        let stderr = match &setting.stderr {
            Some(file) => file.try_clone().map_err(io)?,
            None => File::from(sys::file::memory("stderr")?),
        };
        let mut command = Command::new(&hook.path);
        if !sys::fault::broken("no-hook-environment") {
            command.env_clear();
        }
        command
            .envs(hook.env.iter().filter_map(|pair| pair.split_once('=')))
            .stdin(Stdio::from(stdin))
            .stdout(match &setting.stdout {
                Some(file) => Stdio::from(file.try_clone().map_err(io)?),
                None => Stdio::null(),
            })
            .stderr(Stdio::from(stderr.try_clone().map_err(io)?));
        if let Some(folder) = &setting.folder {
            command.current_dir(folder);
        }
        if setting.ends_with_us {
            sys::exec::die_with_us(&mut command);
        }
        if let Some((name, args)) = hook.args.split_first() {
            command.arg0(name).args(args);
        }
        let child = sys::exec::only_stdio(&mut command).spawn().map_err(io)?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(sys::process::Pid::from_raw);
        let pid =
            pid.ok_or_else(|| SysError::new("run", hook.path.display(), sys::Errno::RANGE))?;
        let timeout = hook.timeout.filter(|seconds| *seconds > 0);
        Ok(Self {
            child,
            pidfd: sys::process::open_process(pid)?,
            deadline: timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            timeout,
            stderr,
        })
    }

    /// Readable when the hook has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The moment after which it is to be killed.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends the wait: `Ok(None)` while it runs and has time left. A hook past its deadline is killed.
    ///
    /// # Errors
    /// The reason in words: exit status, signal or time-out, and the end of what it said.
    pub fn finish(&mut self) -> Option<Result<(), String>> {
        if let Ok(None) = self.child.try_wait() {
            if self
                .deadline
                .is_none_or(|deadline| Instant::now() < deadline)
            {
                return None;
            }
            let _gone_already = self.child.kill();
            let _reaped = self.child.wait();
            let seconds = self.timeout.unwrap_or_default();
            return Some(Err(format!(
                "killed after its timeout of {seconds} s{}",
                self.last_words()
            )));
        }
        Some(match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{status}{}", self.last_words())),
            Err(e) => Err(e.to_string()),
        })
    }

    /// Ends the hook at once: what it was for has failed.
    pub(crate) fn abandon(mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Waits here until the hook has ended: for a process that has nothing else to look after.
    ///
    /// # Errors
    /// As [`Running::finish`].
    pub fn wait(self) -> Result<(), String> {
        self.wait_or(|| None, None)
    }

    /// The same, ended at once when `signals` is readable and `asked` then gives a reason to.
    ///
    /// # Errors
    /// As [`Running::finish`]; that reason.
    pub(crate) fn wait_or(
        mut self,
        asked: impl Fn() -> Option<String>,
        signals: Option<BorrowedFd<'_>>,
    ) -> Result<(), String> {
        loop {
            if let Some(result) = self.finish() {
                return result;
            }
            let fds: Vec<_> = std::iter::once(self.fd()).chain(signals).collect();
            let ready = sys::poll::readable(&fds, self.deadline).map_err(|e| e.to_string())?;
            if ready.get(1) == Some(&true)
                && let Some(reason) = asked()
            {
                self.abandon();
                return Err(reason);
            }
        }
    }

    /// The end of the hook's stderr on one line, behind `: `.
    fn last_words(&mut self) -> String {
        let length = self.stderr.metadata().map_or(0, |m| m.len());
        let mut bytes = vec![0; usize::try_from(length.min(QUOTED)).unwrap_or(0)];
        let read = std::os::unix::fs::FileExt::read_exact_at(
            &self.stderr,
            &mut bytes,
            length.saturating_sub(QUOTED),
        );
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        match (read, lines.is_empty()) {
            (Ok(()), false) => format!(": {}", lines.join("; ")),
            _ => String::new(),
        }
    }
}

/// Runs the hooks of one kind one after the other, waiting for each.
///
/// # Errors
/// [`Error::Hook`] for the first that fails; the rest don't run.
pub fn run_all(
    kind: &'static str,
    hooks: &[HookEntry],
    setting: &Setting,
    state: &[u8],
) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        Running::start(hook, setting, state)
            .map_err(|e| e.to_string())
            .and_then(Running::wait)
            .map_err(|reason| failed(kind, index, hook, reason))?;
    }
    Ok(())
}

/// The error of hook number `index` of its kind.
pub(crate) fn failed(kind: &'static str, index: usize, hook: &HookEntry, reason: String) -> Error {
    Error::Hook {
        kind,
        index,
        program: hook.path.display().to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<u64>) -> HookEntry {
        HookEntry {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec!["ONLY=this".into()],
            timeout,
        }
    }

    #[test]
    fn a_failing_hook_is_named_with_its_status_and_last_words() {
        let error = run_all(
            "createRuntime",
            &[shell("echo no room >&2; exit 3", None)],
            &Setting::default(),
            b"{}",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "error running createRuntime hook #0: /bin/sh: exit status: 3: no room"
        );
    }

    #[test]
    fn a_hook_gets_the_state_its_own_environment_and_no_other() {
        let script = r#"read s; [ "$s" = '{"id":"a"}' ] && [ "$ONLY" = this ] && [ -z "$HOME" ]"#;
        run_all(
            "poststop",
            &[shell(script, None)],
            &Setting::default(),
            b"{\"id\":\"a\"}",
        )
        .unwrap();
    }

    #[test]
    fn a_hook_past_its_timeout_is_killed() {
        let error = run_all(
            "prestart",
            &[shell("sleep 60", Some(1))],
            &Setting::default(),
            b"{}",
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("killed after its timeout of 1 s"),
            "{error}"
        );
    }

    #[test]
    fn a_hook_has_no_file_descriptor_but_stdio() {
        let open = sys::file::open("/dev/null").unwrap();
        sys::descriptor::keep_on_exec(&open).unwrap();
        // 3 is the listing's own directory.
        run_all(
            "prestart",
            &[shell("[ \"$(ls /proc/self/fd | wc -l)\" = 4 ]", None)],
            &Setting::default(),
            b"{}",
        )
        .unwrap();
    }
}
