//! A container's way out without root: a program that speaks with the world as any of the user's programs does,
//! and with the container by a device. Not its job: devices of the host's (outbound).
//!
//! The program has no way to this machine itself: its own door to the host's loopback is shut, and routes of the
//! container's namespace, which nothing in the container may change, lead nowhere for the host's other addresses.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sys::at::{Mode, OFlags};
use sys::netlink::{Channel, Family};
use sys::process::{CloneRequest, Cloned, clone};

use crate::error::{Doing, Error, Result};
use crate::prefix::Prefix;
use crate::route;
use crate::survey::Survey;

/// The program's name.
const PROGRAM: &str = "slirp4netns";

/// Where programs are looked for.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin"];

/// The device's name in the container.
const INSIDE: &str = "tap0";

/// Where the program answers questions for names: it asks the host's name servers, wherever they are.
const NAMES: &str = "10.0.2.3";

/// Machines' keys (see firewall).
const LINK_LOCAL: Prefix = Prefix::v4(169, 254, 0, 0, 16);

/// A way out that a container has. The program ends with this value, with our process, or when told.
#[derive(Debug)]
pub struct UserMode {
    program: Child,
    /// The program ends when this is closed.
    leave: Option<OwnedFd>,
    namespace: OwnedFd,
}

impl UserMode {
    /// Makes a network namespace with a way out, for a container to join. We must be one thread, and root of a
    /// user namespace.
    ///
    /// # Errors
    /// [`Error::NoProgram`] if there is none; [`Error::Program`] with its words; [`Error::Namespace`].
    pub fn make() -> Result<Self> {
        let program = find()?;
        let doing = || format!("start {PROGRAM}");
        let pipe = || {
            std::io::pipe()
                .map_err(|e| sys::SysError::from_io("pipe", "", &e))
                .doing(doing)
        };
        let namespace = new_namespace(&shut()?)?;
        let theirs = namespace
            .try_clone()
            .map_err(|e| sys::SysError::from_io("dup", "", &e))
            .doing(doing)?;
        let (mut ready, says_ready) = pipe()?;
        let (leaves, leave) = pipe()?;
        let mut command = Command::new(&program);
        command
            .env_clear()
            .args(["--configure", "--mtu=65520"])
            .args(["--enable-sandbox", "--enable-seccomp"])
            .arg(format!("--ready-fd={}", says_ready.as_raw_fd()))
            .arg(format!("--exit-fd={}", leaves.as_raw_fd()))
            .arg("--netns-type=path")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if !sys::fault::broken("no-loopback-closed") {
            command.arg("--disable-host-loopback");
        }
        command.args([path_of(&theirs).as_str(), INSIDE]);
        sys::exec::die_with_us(&mut command);
        let fds = vec![says_ready.into(), leaves.into(), theirs];
        let started = sys::exec::with_fds(&mut command, fds)
            .spawn()
            .map_err(|e| sys::SysError::from_io("exec", program.display(), &e))
            .doing(doing)?;
        // The command holds copies of the descriptors until it is dropped.
        drop(command);
        let mut way = Self {
            program: started,
            leave: Some(leave.into()),
            namespace,
        };
        if !matches!(ready.read(&mut [0]), Ok(1)) {
            return Err(way.failed());
        }
        Ok(way)
    }

    /// The path by which this process can open the namespace, as long as this value lives.
    pub fn path(&self) -> String {
        path_of(&self.namespace)
    }

    /// The container's resolv.conf.
    pub fn resolver() -> String {
        format!("nameserver {NAMES}\n")
    }

    /// Ends the program and waits for that.
    ///
    /// # Errors
    /// As wait(2).
    pub fn end(mut self) -> Result<()> {
        self.leave = None;
        let ended = self.program.wait();
        ended
            .map(|_| ())
            .map_err(|e| sys::SysError::from_io("wait", PROGRAM, &e))
            .doing(|| format!("end {PROGRAM}"))
    }

    /// Why it is not ready, in its own words.
    fn failed(&mut self) -> Error {
        let mut words = String::new();
        if let Some(mut stderr) = self.program.stderr.take() {
            let _cut_short = stderr.read_to_string(&mut words);
        }
        let lines = words.lines().map(str::trim);
        let lines: Vec<&str> = lines
            .filter(|line| !line.is_empty() && !line.starts_with("WARNING"))
            .collect();
        Error::Program {
            program: PROGRAM,
            words: match lines.is_empty() {
                true => "it says nothing".to_owned(),
                false => lines.join("; "),
            },
        }
    }
}

impl Drop for UserMode {
    fn drop(&mut self) {
        self.leave = None;
        let _ended = self.program.wait();
    }
}

/// Where a container may not go: this machine's own addresses, and those where clouds hand out keys.
fn shut() -> Result<Vec<Prefix>> {
    if sys::fault::broken("no-host-routes") {
        return Ok(Vec::new());
    }
    let doing = || "ask for the host's network".to_owned();
    let survey = Survey::of(&Channel::open(Family::Route).doing(doing)?)?;
    let own = survey.own_addresses().into_iter();
    Ok(own.chain([LINK_LOCAL]).collect())
}

fn path_of(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A new network namespace, in which routes to `shut` lead nowhere. A process of its own makes it: we could not come
/// back to the host's.
fn new_namespace(shut: &[Prefix]) -> Result<OwnedFd> {
    let doing = || "make a network namespace".to_owned();
    let (ours, theirs) = sys::socket::pair().doing(doing)?;
    match clone(&CloneRequest::default()).doing(doing)? {
        Cloned::Child => {
            let _nobody_listens = match make_here(shut) {
                Ok(made) => sys::socket::send(&theirs, b"made", Some(made.as_fd())),
                Err(error) => sys::socket::send(&theirs, error.to_string().as_bytes(), None),
            };
            sys::process::exit(0)
        }
        Cloned::Parent(child) => {
            drop(theirs);
            let mut words = [0; 4096];
            let heard = sys::socket::receive(&ours, &mut words).doing(doing);
            sys::process::wait(&child.pidfd).doing(doing)?;
            let heard = heard?;
            let words = String::from_utf8_lossy(&words[..heard.length]).into_owned();
            heard.fd.ok_or(Error::Namespace { words })
        }
    }
}

fn make_here(shut: &[Prefix]) -> sys::Result<OwnedFd> {
    const CLONE_NEWNET: u64 = 0x4000_0000;
    sys::namespace::unshare(CLONE_NEWNET)?;
    sys::network::bring_up("lo")?;
    let inside = Channel::open(Family::Route)?;
    for to in shut {
        match inside.ask(&route::nowhere(*to), |_, _| ()) {
            Err(e) if e.errno == sys::Errno::EXIST => {}
            result => result?,
        }
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    sys::at::openat(sys::proc::handle()?, "self/ns/net", flags, Mode::empty())
        .map_err(|errno| sys::SysError::new("open", "/proc/self/ns/net", errno))
}

fn find() -> Result<PathBuf> {
    if !sys::fault::broken("no-slirp4netns") {
        for folder in FOLDERS {
            let path = PathBuf::from(folder).join(PROGRAM);
            if sys::file::exists(&path).doing(|| format!("look for {PROGRAM}"))? {
                return Ok(path);
            }
        }
    }
    Err(Error::NoProgram { program: PROGRAM })
}
