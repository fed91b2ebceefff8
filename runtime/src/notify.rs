//! sd_notify(3) for a container's program: it gets a socket of its own in /run/notify, and whoever starts it
//! passes on to the service manager that it is ready, and nothing else: what a container says must not end
//! or reconfigure the service that it runs in. Nobody stays for that: `start` comes back when the program
//! is ready or has ended. Not its job: other words of the protocol.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use namespaces::Rights;
use oci_spec::runtime::{Mount, Spec};
use sys::SysError;
use sys::at::{AtFlags, Mode, OFlags};
use sys::process::Pid;

use crate::life::options::{Begin, CreateOptions};
use crate::life::prepare;
use crate::plan::{Plan, Step};
use crate::store::Place;
use crate::{Error, Result};

/// The folder in a container's state directory that it sees at [`INSIDE`].
const FOLDER: &str = "notify";

/// The socket in it.
const SOCKET: &str = "notify.sock";

/// Where the container sees the folder.
const INSIDE: &str = "/run/notify";

/// The variable that names a socket to a program.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// How long the service manager has to take our words.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives the container a place for a socket, if its caller is told to say when it is ready. A configuration
/// that names a socket itself is left alone.
pub(crate) fn lend(options: &mut CreateOptions) {
    if options.notify.is_none() || names_one(&options.spec) {
        options.notify = None;
        return;
    }
    let source = folder(options);
    let mut mount = Mount::default();
    mount
        .set_destination(INSIDE.into())
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(source))
        .set_options(Some(
            ["bind", "nosuid", "noexec", "nodev", "ro"]
                .map(str::to_owned)
                .to_vec(),
        ));
    let mounts = options.spec.mounts_mut().get_or_insert_default();
    mounts.push(mount);
    options.set_variable(VARIABLE, &format!("{INSIDE}/{SOCKET}"));
}

fn names_one(spec: &Spec) -> bool {
    let env = spec.process().as_ref().and_then(|p| p.env().as_ref());
    env.is_some_and(|env| env.iter().any(|pair| pair.starts_with("NOTIFY_SOCKET=")))
}

/// The folder of the container that is being made.
pub(crate) fn folder(options: &CreateOptions) -> PathBuf {
    options.store.root().join(options.id.as_str()).join(FOLDER)
}

/// Makes the folder of a container that is to have one, and opens the sockets where nobody comes later to do
/// it before the program runs.
pub(crate) fn make(
    options: &CreateOptions,
    place: &Place,
    plan: &Plan,
    mounts: &mut [Option<OwnedFd>],
) -> Result<Option<Proxy>> {
    let Some(manager) = &options.notify else {
        return Ok(None);
    };
    make_folder(place, plan, mounts)?;
    match options.begin {
        Begin::AtOnce => Proxy::open(place, Some(manager)),
        Begin::ByStart => Ok(None),
    }
}

/// Makes that folder, which everybody may enter: the program's user is not known to the host. Where `mounts`
/// are opened by us, it is opened too.
fn make_folder(place: &Place, plan: &Plan, mounts: &mut [Option<OwnedFd>]) -> Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    sys::at::mkdirat(place.dir(), FOLDER, mode)
        .and_then(|()| sys::at::chmodat(place.dir(), FOLDER, mode, AtFlags::empty()))
        .map_err(|e| {
            Error::host("make the folder of the notify socket")(SysError::new("mkdir", FOLDER, e))
        })?;
    if prepare::rights()? == Rights::Few {
        return Ok(());
    }
    for step in &plan.init {
        if let Step::Mount(index, step) = step
            && step.destination == Path::new(INSIDE)
            && let Some(mount) = mounts.get_mut(*index)
        {
            *mount = rootfs::prepare(step, None)?;
        }
    }
    Ok(())
}

/// The container's socket, and the one to the service manager.
#[derive(Debug)]
pub(crate) struct Proxy {
    inside: OwnedFd,
    outside: OwnedFd,
}

impl Proxy {
    /// Opens both, before the program runs; `None` if the container was made without.
    pub(crate) fn open(place: &Place, host: Option<&OsStr>) -> Result<Option<Self>> {
        let Some(host) = host else { return Ok(None) };
        let fail = || Error::host("open the notify socket");
        let folder = match sys::at::openat(
            place.dir(),
            FOLDER,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(folder) => folder,
            Err(sys::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(fail()(SysError::new("open", FOLDER, e))),
        };
        Ok(Some(Self {
            inside: sys::socket::bind_datagram(&folder, SOCKET, 0o777).map_err(fail())?,
            outside: sys::socket::connect_datagram(host).map_err(Error::host(VARIABLE))?,
        }))
    }

    /// Readable when the program says something.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    /// Reads one message and passes on that the program is ready, `main` being the process that the
    /// service manager is to watch; whether it was that.
    pub(crate) fn pass_on(&self, main: i32) -> Result<bool> {
        let mut buffer = [0; 4096];
        let length = match sys::socket::receive(&self.inside, &mut buffer) {
            Ok(received) => received.length,
            Err(e) if e.errno == sys::Errno::MSGSIZE => return Ok(false),
            Err(e) => return Err(Error::host("read the notify socket")(e)),
        };
        let Some(ready) = ready(&buffer[..length]) else {
            return Ok(false);
        };
        let fail = || Error::host("notify the service manager");
        let words = format!("{ready}\nMAINPID={main}\n");
        sys::socket::send(&self.outside, words.as_bytes(), None).map_err(fail())?;
        self.barrier().map_err(fail())?;
        Ok(true)
    }

    /// sd_notify_barrier(3): waits until the manager has read all, or it would not find out who we were.
    fn barrier(&self) -> sys::Result<()> {
        let (ours, theirs) = sys::socket::pair()?;
        sys::socket::send(&self.outside, b"BARRIER=1", Some(theirs.as_fd()))?;
        drop(theirs);
        sys::poll::readable(&[ours.as_fd()], Some(Instant::now() + PATIENCE)).map(drop)
    }

    /// Waits until the process `pid` is ready or has ended.
    pub(crate) fn wait(&self, pid: i32) -> Result<()> {
        let Some(pid) = Pid::from_raw(pid) else {
            return Ok(());
        };
        let process = match sys::process::open_process(pid) {
            Err(e) if e.errno == sys::Errno::SRCH => return Ok(()),
            process => process.map_err(Error::host("look at the container"))?,
        };
        loop {
            let ready = sys::poll::readable(&[self.fd(), process.as_fd()], None)
                .map_err(Error::host("wait until the program is ready"))?;
            if ready[0] && self.pass_on(pid.as_raw_nonzero().get())? || ready[1] {
                return Ok(());
            }
        }
    }
}

/// The line of a message that says that the program is ready.
fn ready(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    text.lines().find(|line| *line == "READY=1")
}

/// The socket on which our own caller waits for such words.
pub fn asked_for() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|socket| !socket.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_that_the_program_is_ready_is_passed_on() {
        assert_eq!(ready(b"STATUS=x\nREADY=1\nMAINPID=1"), Some("READY=1"));
        for other in [
            "MAINPID=1",
            "STOPPING=1",
            "XREADY=1",
            "READY=0",
            "FDSTORE=1",
        ] {
            assert_eq!(ready(other.as_bytes()), None);
        }
    }
}
