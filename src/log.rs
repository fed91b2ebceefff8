//! The log: one line for each thing that was done or failed, where the caller wants it and in the form that
//! the caller reads. Not its job: what is a failure (report), what is worth a word (the libraries).

use std::fmt::Arguments;
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

use crate::global::Global;
use crate::report::{Failure, because, unbroken, visible};

/// How much a line matters; the ones that are told are this and above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    /// All words of `--log-level`.
    pub(crate) const WORDS: [&str; 4] = ["error", "warning", "info", "debug"];

    /// The level of a word of [`Level::WORDS`].
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warning" => Self::Warning,
            _ => Self::Error,
        }
    }

    fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// The priority of syslog(3).
    fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// Where lines go.
#[derive(Debug)]
enum Sink {
    /// Nobody named a log: what is told goes to stderr.
    Stderr,
    File(File),
    /// systemd's journal, under this name.
    Journal(UnixDatagram, String),
    /// The host's syslog, under this name.
    Syslog(UnixDatagram, String),
}

/// The log of this call.
#[derive(Debug)]
pub(crate) struct Log {
    sink: Sink,
    json: bool,
    /// The name we were called by.
    name: String,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Opens the log that the flags name, and listens for words of the libraries if they are wanted. What is
/// wrong with it is said before anything is done.
pub(crate) fn open(global: &Global) -> Result<(), Failure> {
    let fail = |failure: Failure| Failure::new(format!("--log: {failure}"));
    let sink = match global.log.as_ref().map(|path| (path, path.to_str())) {
        None => Sink::Stderr,
        Some((_, Some(text))) if text.starts_with("journald:") => {
            let name = text.trim_start_matches("journald:").to_owned();
            Sink::Journal(datagram("/run/systemd/journal/socket").map_err(fail)?, name)
        }
        Some((_, Some(text))) if text.starts_with("syslog:") => {
            let name = text.trim_start_matches("syslog:").to_owned();
            Sink::Syslog(datagram("/dev/log").map_err(fail)?, name)
        }
        Some((path, _)) => {
            let path = match path.strip_prefix("file:") {
                Ok(rest) => rest,
                Err(_) => path,
            };
            Sink::File(sys::file::append(path).map_err(|e| fail(because(e)))?)
        }
    };
    let json = global.log_json;
    let name = global.name.clone();
    let _opened_once = LOG.set(Log { sink, json, name });
    sys::log::listen_for_warnings(warn);
    if global.level == Level::Debug {
        sys::log::listen(|words| tell(Level::Debug, words));
    }
    Ok(())
}

fn datagram(path: &str) -> Result<UnixDatagram, Failure> {
    UnixDatagram::unbound()
        .and_then(|socket| socket.connect(path).map(|()| socket))
        .map_err(|e| Failure::new(format!("connect {path}: {e}")))
}

/// Whether a line goes anywhere but to stderr.
pub(crate) fn is_elsewhere() -> bool {
    LOG.get()
        .is_some_and(|log| !matches!(log.sink, Sink::Stderr))
}

/// Tells of what is wrong and stops nothing: in the log, and without one on stderr, as runc does. A foreground
/// container's stderr is its program's.
pub(crate) fn warn(words: Arguments<'_>) {
    if is_elsewhere() {
        return tell(Level::Warning, words);
    }
    let name = LOG.get().map_or("dhow", |log| &log.name);
    eprintln!(
        "{name}: warning: {}",
        visible(&unbroken(&words.to_string()))
    );
}

/// Writes one line. A log that can't be written to is told of on stderr and stops nothing.
pub(crate) fn tell(level: Level, words: Arguments<'_>) {
    let Some(log) = LOG.get() else { return };
    let text = visible(&words.to_string());
    let line = line(level, &text, log.json);
    let written = match &log.sink {
        Sink::Stderr => std::io::stderr().write_all(line.as_bytes()),
        // In one call: lines of several processes do not mix.
        Sink::File(file) => (&mut &*file).write_all(line.as_bytes()),
        Sink::Journal(socket, name) => socket.send(&journal(level, &text, name)).map(drop),
        Sink::Syslog(socket, name) => socket.send(&syslog(level, &text, name)).map(drop),
    };
    if let Err(e) = written
        && is_elsewhere()
    {
        eprintln!("dhow: --log: write: {e}");
    }
}

/// A line as logrus has it, in which Go's callers read ours.
pub(crate) fn line(level: Level, text: &str, json: bool) -> String {
    let (level, time) = (level.word(), runtime::now());
    if json {
        let object = serde_json::json!({ "level": level, "msg": text, "time": time });
        return format!("{object}\n");
    }
    format!("time=\"{time}\" level={level} msg={}\n", quoted(text))
}

/// A string of Go's: between quotes, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A datagram of systemd's native protocol; the text's length stands before it, so that nothing in it can
/// begin a field.
fn journal(level: Level, text: &str, name: &str) -> Vec<u8> {
    let mut bytes = format!("PRIORITY={}\n", level.priority()).into_bytes();
    for (field, value) in [("SYSLOG_IDENTIFIER", name), ("MESSAGE", text)] {
        bytes.extend_from_slice(field.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// A line of syslog(3), facility daemon.
fn syslog(level: Level, text: &str, name: &str) -> Vec<u8> {
    const DAEMON: u8 = 3;
    let text = text.replace('\n', " ");
    format!("<{}>{name}: {text}", DAEMON * 8 + level.priority()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_is_one_line_that_go_can_read() {
        let line = line(Level::Error, "a \"b\"\nc\\", false);
        let (_, after) = line.split_once("\" level=").unwrap();
        assert_eq!(after, "error msg=\"a \\\"b\\\"\\nc\\\\\"\n");
    }

    #[test]
    fn a_line_of_json_has_the_three_keys() {
        let line = line(Level::Warning, "a\nb", true);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "warning");
        assert_eq!(value["msg"], "a\nb");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn no_text_begins_a_field_of_the_journal() {
        let bytes = journal(Level::Error, "x\nPRIORITY=0", "d");
        let mut expected = b"PRIORITY=3\nSYSLOG_IDENTIFIER\n\x01\0\0\0\0\0\0\0d\n".to_vec();
        expected.extend_from_slice(b"MESSAGE\n\x0c\0\0\0\0\0\0\0x\nPRIORITY=0\n");
        assert_eq!(bytes, expected);
        assert_eq!(syslog(Level::Error, "a\nb", "d"), b"<27>d: a b");
    }
}
