//! The connection to a systemd: its own socket, or a bus that it listens on. One call after the other, each
//! waited for. Not its job: what is asked.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sys::SysError;

use super::Whose;
use super::message::{Body, ERROR, HEAD, Message, REPLY, Target, call, length};
use crate::{Error, Result};

/// systemd answers within milliseconds; a job waits for others at worst.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest line of a greeting.
const MAX_LINE: usize = 1024;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Jobs that ended while we waited for something else: path and result.
    ended: Vec<(String, String)>,
}

/// An answer that is an error: its name and its words.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) name: String,
    pub(super) words: String,
}

impl Bus {
    /// Connects to the systemd of the system or of the user who we are.
    pub(super) fn open(whose: Whose) -> Result<Self> {
        let mut first = None;
        for (path, is_bus) in addresses(whose)? {
            match Self::connect(&path, is_bus) {
                Ok(bus) => return Ok(bus),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(Error::Systemd {
            doing: "reach systemd".to_owned(),
            reason: "neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS says where".to_owned(),
        }))
    }

    fn connect(path: &Path, is_bus: bool) -> Result<Self> {
        let stream = sys::socket::connect_stream(path).map_err(|source| Error::Bus {
            path: path.to_owned(),
            source,
        })?;
        let mut bus = Self {
            stream: stream.into(),
            serial: 0,
            ended: Vec::new(),
        };
        let fail = |source| Error::Bus {
            path: path.to_owned(),
            source,
        };
        bus.greet()
            .map_err(|e| fail(SysError::from_io("greet", "", &e)))?;
        if is_bus {
            bus.enter(path)?;
        }
        Ok(bus)
    }

    /// Says who we are: the kernel has told the other end, so that no number is given, which would be another
    /// one there if we are in a user namespace.
    ///
    /// All in one piece, as systemd's own clients have it: a message that the other end reads together with
    /// the last line of the greeting is forgotten there until the next one comes.
    fn greet(&mut self) -> std::io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream
            .write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut answer = self.line()?;
        if answer == "DATA" {
            answer = self.line()?;
        }
        match answer.starts_with("OK") {
            true => Ok(()),
            false => Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied)),
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            if line.len() > MAX_LINE {
                return Err(std::io::Error::from(std::io::ErrorKind::InvalidData));
            }
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// What a bus wants before it passes anything on: a name for us, and which signals we want.
    fn enter(&mut self, path: &Path) -> Result<()> {
        let driver = |member| Target {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
        };
        let rule = format!(
            "type='signal',sender='{SYSTEMD}',path='{PATH}',interface='{MANAGER}',member='JobRemoved'"
        );
        let doing = format!("enter the bus at {}", path.display());
        for (member, body) in [
            ("Hello", Body::default()),
            ("AddMatch", Body::default().text(&rule)),
        ] {
            self.say(&doing, driver(member), &body)?
                .map_err(|refusal| refusal.into_error(doing.clone()))?;
        }
        Ok(())
    }

    /// Asks systemd's manager, and waits for its answer.
    pub(super) fn ask(
        &mut self,
        doing: &str,
        member: &str,
        body: &Body,
    ) -> Result<Result<Message, Refusal>> {
        let target = Target {
            destination: SYSTEMD,
            path: PATH,
            interface: MANAGER,
            member,
        };
        self.say(doing, target, body)
    }

    /// A property of systemd's manager that is text.
    pub(super) fn manager_property(&mut self, name: &str) -> Result<String> {
        let doing = format!("ask systemd for its {name}");
        let target = Target {
            destination: SYSTEMD,
            path: PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
        };
        let body = Body::default().text(MANAGER).text(name);
        let answer = self
            .say(&doing, target, &body)?
            .map_err(|refusal| refusal.into_error(doing.clone()))?;
        answer.text().ok_or_else(|| unexpected(&doing))
    }

    fn say(
        &mut self,
        doing: &str,
        target: Target<'_>,
        body: &Body,
    ) -> Result<Result<Message, Refusal>> {
        self.serial += 1;
        let serial = self.serial;
        self.stream
            .write_all(&call(serial, target, body))
            .map_err(|e| broken(doing, &e))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.hear(doing, deadline)?;
            match message.kind {
                REPLY if message.answers == serial => return Ok(Ok(message)),
                ERROR if message.answers == serial => {
                    return Ok(Err(Refusal {
                        words: message.text().unwrap_or_default(),
                        name: message.error,
                    }));
                }
                _ => self.ended.extend(message.job_removed()),
            }
        }
    }

    /// Waits for the end of a job; its result in systemd's word: `done`, `failed`, `timeout` …
    pub(super) fn wait(&mut self, doing: &str, job: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(path, _)| path == job) {
                return Ok(result.clone());
            }
            let message = self.hear(doing, deadline)?;
            self.ended.extend(message.job_removed());
        }
    }

    fn hear(&mut self, doing: &str, deadline: Instant) -> Result<Message> {
        let mut head = [0; HEAD];
        self.read(doing, &mut head, deadline)?;
        let length = length(&head).ok_or_else(|| unexpected(doing))?;
        let mut bytes = vec![0; length];
        bytes[..HEAD].copy_from_slice(&head);
        self.read(doing, &mut bytes[HEAD..], deadline)?;
        Message::parse(&bytes).ok_or_else(|| unexpected(doing))
    }

    fn read(&mut self, doing: &str, buffer: &mut [u8], deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        // No time at all would mean no limit.
        let left = left.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(left))
            .and_then(|()| self.stream.read_exact(buffer))
            .map_err(|e| broken(doing, &e))
    }
}

impl Refusal {
    pub(super) fn into_error(self, doing: String) -> Error {
        let reason = match self.words.as_str() {
            "" => self.name,
            words => words.trim_end_matches('.').to_owned(),
        };
        Error::Systemd { doing, reason }
    }
}

fn unexpected(doing: &str) -> Error {
    Error::Systemd {
        doing: doing.to_owned(),
        reason: "its answer can't be understood".to_owned(),
    }
}

fn broken(doing: &str, error: &std::io::Error) -> Error {
    let reason = match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("no answer for {} s", PATIENCE.as_secs())
        }
        std::io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => error.to_string(),
    };
    Error::Systemd {
        doing: doing.to_owned(),
        reason,
    }
}

/// Where a systemd can be reached, the nearest way first, and whether a bus is there.
fn addresses(whose: Whose) -> Result<Vec<(PathBuf, bool)>> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match whose {
        Whose::System => {
            let booted = sys::file::exists("/run/systemd/system").unwrap_or(false);
            if !booted || sys::fault::broken("no-systemd") {
                return Err(Error::Systemd {
                    doing: "reach systemd".to_owned(),
                    reason: "this host was not booted with it (/run/systemd/system is missing)"
                        .to_owned(),
                });
            }
            Ok(vec![
                ("/run/systemd/private".into(), false),
                ("/run/dbus/system_bus_socket".into(), true),
            ])
        }
        Whose::User => {
            let runtime = given("XDG_RUNTIME_DIR").map(PathBuf::from);
            let session =
                given("DBUS_SESSION_BUS_ADDRESS").and_then(|address| path_of(address.to_str()?));
            let mut all = Vec::new();
            if let Some(runtime) = &runtime {
                all.push((runtime.join("systemd/private"), false));
            }
            all.extend(session.map(|path| (path, true)));
            all.extend(runtime.map(|runtime| (runtime.join("bus"), true)));
            Ok(all)
        }
    }
}

/// The path in an address such as `unix:path=/run/user/1000/bus,guid=…`; none for other kinds of address.
fn path_of(address: &str) -> Option<PathBuf> {
    let first = address.split(';').next()?.strip_prefix("unix:")?;
    let path = first
        .split(',')
        .find_map(|part| part.strip_prefix("path="))?;
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_not_for_us() {
        let table = [
            ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
            ("unix:guid=1,path=/a%20b;unix:path=/c", Some("/a b")),
            ("unix:abstract=/tmp/x", None),
            ("tcp:host=localhost", None),
            ("unix:path=/a%2", None),
            ("", None),
        ];
        for (address, expected) in table {
            assert_eq!(path_of(address), expected.map(PathBuf::from), "{address}");
        }
    }
}
