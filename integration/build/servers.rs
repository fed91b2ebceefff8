//! Servers of this machine for builds to ask: files by HTTP, repositories by git's own protocol. Not its job: what is
//! asked of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::run;

/// An answer: status, headers, body.
pub(crate) type Answer = (&'static str, Vec<(&'static str, String)>, Vec<u8>);

/// A web server; it ends with the tests.
pub(crate) struct Web {
    address: String,
    files: Arc<Mutex<BTreeMap<String, Answer>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Self {
            address: listener.local_addr().unwrap().to_string(),
            files: Arc::default(),
            seen: Arc::default(),
        };
        let (files, seen) = (Arc::clone(&web.files), Arc::clone(&web.seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(&stream, &files, &seen);
            }
        });
        web
    }

    /// Answers `GET path` so from now on.
    pub(crate) fn put(&self, path: &str, answer: Answer) {
        self.files.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Answers `GET path` with a file.
    pub(crate) fn file(&self, path: &str, headers: &[(&'static str, &str)], body: &[u8]) {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        self.put(path, ("200 OK", headers.collect(), body.to_vec()));
    }

    /// The paths that were asked for since the last time, each with the answer's status.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn serve(
    stream: &TcpStream,
    files: &Mutex<BTreeMap<String, Answer>>,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut known = None;
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("if-none-match") {
            known = Some(value.to_owned());
        }
    }
    let found = files.lock().unwrap().get(&path).cloned();
    let (mut status, headers, mut body) = found.unwrap_or(("404 None", Vec::new(), Vec::new()));
    let etag = headers.iter().find(|(name, _)| *name == "ETag");
    if etag.is_some_and(|(_, etag)| Some(etag) == known.as_ref()) {
        (status, body) = ("304 Same", Vec::new());
    }
    seen.lock()
        .unwrap()
        .push(format!("{path} {}", status.split(' ').next()?));
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    bytes += "\r\n";
    let mut stream = stream;
    stream.write_all(bytes.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

/// A server of all repositories in a folder, by git's own protocol; it ends with the tests.
pub(crate) struct GitServer {
    address: String,
    folder: PathBuf,
}

impl GitServer {
    pub(crate) fn new(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let base = folder.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let input: std::os::fd::OwnedFd = stream.try_clone().unwrap().into();
                let output: std::os::fd::OwnedFd = stream.into();
                let child = Command::new("git")
                    .env("GIT_CONFIG_GLOBAL", "/dev/null")
                    .args([
                        "-c",
                        "safe.directory=*",
                        "daemon",
                        "--inetd",
                        "--export-all",
                    ])
                    .arg(format!("--base-path={}", base.display()))
                    .arg(&base)
                    .stdin(input)
                    .stdout(output)
                    .stderr(Stdio::null())
                    .spawn();
                if let Ok(mut child) = child {
                    thread::spawn(move || child.wait());
                }
            }
        });
        Self {
            address,
            folder: folder.to_owned(),
        }
    }

    /// git in a repository there, with a person and a time of its own; what it prints.
    #[track_caller]
    pub(crate) fn git(&self, repository: &str, line: &[&str]) -> String {
        let folder = self.folder.join(repository);
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("git");
        command
            .current_dir(&folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_DIR")
            .args(["-c", "user.name=me", "-c", "user.email=me@example.org"])
            .args(["-c", "safe.directory=*", "-c", "protocol.file.allow=always"])
            .args(line);
        run(&mut command).success().stdout.trim_end().to_owned()
    }

    /// Makes a commit of all that is in the repository, and gives its name.
    #[track_caller]
    pub(crate) fn commit(&self, repository: &str) -> String {
        if !self.folder.join(repository).join(".git").exists() {
            self.git(repository, &["init", "-q", "-b", "main"]);
        }
        self.git(repository, &["add", "-A"]);
        self.git(repository, &["commit", "-q", "--allow-empty", "-m", "x"]);
        self.git(repository, &["rev-parse", "HEAD"])
    }

    pub(crate) fn url(&self, repository: &str) -> String {
        format!("git://{}/{repository}", self.address)
    }
}
