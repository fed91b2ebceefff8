//! Calls of the host's git: with arguments alone, never by a shell, without any settings of the host or of the
//! repository that name a program. Not its job: what is asked of it.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::Scratch;
use sys::SysError;

use crate::error::{Doing, Error, Result};
use crate::remote::Repository;

/// git that takes longer than this hangs.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// What is read of git's words.
const MOST_WORDS: u64 = 1 << 20;

/// What of our surroundings git sees: ways through a proxy, and whose certificates count.
const PASSED: [&str; 11] = [
    "PATH",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

/// Settings for every call: nothing that the repository brings is run.
const SETTINGS: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "credential.helper=",
    "gc.auto=0",
    "advice.detachedHead=false",
    "protocol.version=2",
    "safe.directory=*",
];

/// Which hosts are known is said by the person's own file, also where ssh takes us for root.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o StrictHostKeyChecking=yes \
                   -o UserKnownHostsFile=\"\\\"$DHOW_KNOWN_HOSTS\\\"\"";

/// A call of git that did not go well.
pub(super) enum Fault {
    /// git says why.
    Told(String),
    /// It could not be called, or was interrupted.
    Other(Error),
}

/// A folder of ours in which git works.
pub(super) struct Git {
    place: PathBuf,
    /// The agent that ssh may ask.
    agent: Option<PathBuf>,
}

impl Git {
    pub(super) fn new(scratch: &Scratch, repository: &Repository) -> Result<Self> {
        let git = Self {
            place: scratch.upper.with_file_name("git"),
            agent: repository.agent.clone(),
        };
        let doing = || "prepare git".to_owned();
        sys::file::create_dir(&git.place, 0o700).doing(doing)?;
        sys::file::create_dir(git.tree(), 0o755).doing(doing)?;
        Ok(git)
    }

    /// Where the files go.
    pub(super) fn tree(&self) -> PathBuf {
        self.place.join("tree")
    }

    /// When a commit was made that has been fetched, in seconds since 1970.
    pub(super) fn time(&self, commit: &str) -> Result<i64, Fault> {
        let line = self.call(&["rev-list", "--max-count=1", "--timestamp", commit, "--"])?;
        let time = line
            .split_whitespace()
            .next()
            .and_then(|time| time.parse().ok());
        time.ok_or_else(|| Fault::Told(format!("commit {commit} has no time")))
    }

    /// Fetches as little as the server allows: the reference, else the commit, else everything.
    pub(super) fn fetch(&self, repository: &Repository, commit: &str) -> Result<(), Fault> {
        let url = repository.url.as_str();
        self.call(&["init", "-q", "-b", "main", "."])?;
        self.call(&["remote", "add", "--", "origin", url])?;
        let quiet = ["fetch", "-q", "--no-tags", "--no-recurse-submodules"];
        let named = repository.reference.as_deref().unwrap_or("HEAD");
        let all = [
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
        ];
        let ways: [(&[&str], &[&str]); 3] = [
            (&["--depth=1"], &[named]),
            (&["--depth=1"], &[commit]),
            (&[], &all),
        ];
        let object = format!("{commit}^{{commit}}");
        let mut last = Fault::Told(format!("the server no longer has commit {commit}"));
        for (flags, wanted) in ways {
            let mut line = quiet.to_vec();
            line.extend_from_slice(flags);
            line.extend_from_slice(&["--", url]);
            line.extend_from_slice(wanted);
            match self.call(&line) {
                Ok(_) => {}
                Err(Fault::Told(why)) => {
                    last = Fault::Told(why);
                    continue;
                }
                Err(other) => return Err(other),
            }
            if self.call(&["cat-file", "-e", &object]).is_ok() {
                self.call(&["checkout", "-q", "--force", "--detach", commit])?;
                return self.submodules(repository);
            }
        }
        Err(last)
    }

    fn submodules(&self, repository: &Repository) -> Result<(), Fault> {
        let list = self.tree().join(".gitmodules");
        let there = sys::file::exists(&list).doing(|| "look for submodules".to_owned());
        if !repository.submodules || !there.map_err(Fault::Other)? {
            return Ok(());
        }
        let line = [
            "submodule",
            "update",
            "-q",
            "--init",
            "--recursive",
            "--depth=1",
        ];
        self.call(&line).map(drop)
    }

    /// Calls git in the folder; gives what it prints.
    pub(super) fn call(&self, line: &[&str]) -> Result<String, Fault> {
        let doing = || format!("call git {}", line[0]);
        let out = self.place.join("out");
        let err = self.place.join("err");
        let fresh = |path: &Path| -> Result<Stdio> {
            match sys::file::remove_file(path) {
                Err(e) if e.errno != sys::Errno::NOENT => return Err(e).doing(doing),
                _ => {}
            }
            Ok(sys::file::create_new(path, 0o600).doing(doing)?.into())
        };
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(
                PASSED
                    .iter()
                    .filter_map(|name| Some((*name, std::env::var_os(name)?))),
            )
            .envs(surroundings(&self.place))
            .envs(self.agent.iter().map(|socket| ("SSH_AUTH_SOCK", socket)))
            .env("DHOW_KNOWN_HOSTS", known_hosts())
            .current_dir(self.tree())
            .stdin(Stdio::null())
            .stdout(fresh(&out).map_err(Fault::Other)?)
            .stderr(fresh(&err).map_err(Fault::Other)?);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(line);
        sys::exec::only_stdio(sys::exec::die_with_us(sys::exec::with_umask(
            &mut command,
            0o022,
        )));
        let good = Self::run(&mut command).map_err(Fault::Other)?;
        let words = |path: &Path| {
            let bytes = sys::file::read(path, MOST_WORDS).doing(doing);
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        if good {
            return words(&out).map_err(Fault::Other);
        }
        let told = words(&err).map_err(Fault::Other)?;
        let last = told.lines().rev().find(|line| !line.trim().is_empty());
        Err(Fault::Told(
            last.unwrap_or("git says nothing").trim().to_owned(),
        ))
    }

    fn run(command: &mut Command) -> Result<bool> {
        let doing = || "call git".to_owned();
        let mut child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::Refused(
                "git is not installed on this host: repositories can't be fetched".to_owned(),
            ),
            _ => Error::System {
                what: doing(),
                source: SysError::from_io("exec", "git", &e),
            },
        })?;
        let ended = Self::wait(child.id());
        if ended.is_err() {
            // It may have ended by itself.
            let _gone = child.kill();
        }
        let status = child
            .wait()
            .map_err(|e| SysError::from_io("wait", "git", &e))
            .doing(doing)?;
        ended.map(|()| status.success())
    }

    fn wait(pid: u32) -> Result<()> {
        let doing = || "wait for git".to_owned();
        let pid = i32::try_from(pid)
            .ok()
            .and_then(sys::process::Pid::from_raw);
        let Some(pid) = pid else {
            return Ok(());
        };
        let handle = sys::process::open_process(pid).doing(doing)?;
        let end = Instant::now() + LONGEST;
        match sys::poll::readable(&[handle.as_fd()], Some(end)).doing(doing)?[..] {
            [true] => Ok(()),
            _ => Err(Error::Refused("git does not come to an end".to_owned())),
        }
    }
}

impl Fault {
    pub(super) fn of(self, repository: &Repository) -> Error {
        match self {
            Self::Told(why) => Error::Refused(format!("{}: {why}", repository.url)),
            Self::Other(error) => error,
        }
    }
}

/// No settings of the host, no questions, no programs but ssh, and these protocols alone.
fn surroundings(home: &Path) -> Vec<(&'static str, &OsStr)> {
    let text = |text: &'static str| OsStr::new(text);
    vec![
        ("HOME", home.as_os_str()),
        ("LC_ALL", text("C")),
        ("GIT_CONFIG_NOSYSTEM", text("1")),
        ("GIT_CONFIG_GLOBAL", text("/dev/null")),
        ("GIT_TERMINAL_PROMPT", text("0")),
        ("GIT_ASKPASS", text("/bin/false")),
        ("GIT_TEMPLATE_DIR", text("")),
        ("GIT_ALLOW_PROTOCOL", text("http:https:git:ssh")),
        ("GIT_HTTP_LOW_SPEED_LIMIT", text("1000")),
        ("GIT_HTTP_LOW_SPEED_TIME", text("60")),
        ("GIT_SSH_COMMAND", text(SSH)),
    ]
}

/// The person's list of hosts that they know.
fn known_hosts() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    home.join(".ssh/known_hosts")
}
