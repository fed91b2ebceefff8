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
use crate::resolver::Resolver;
use crate::route;
use crate::survey::Survey;

/// The programs that can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slirp4netns,
    /// Of the package passt.
    Pasta,
}

const NONE: Error = Error::NoProgram {
    programs: "slirp4netns or pasta",
};

/// Where programs are looked for.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin"];

/// The device's name in the container.
const INSIDE: &str = "tap0";

/// Where slirp4netns answers questions for names: it asks the host's name servers, wherever they are.
const NAMES: &str = "10.0.2.3";

/// The container's addresses where pasta is told them, as slirp4netns has them by itself.
const ADDRESSES: [&str; 6] = [
    "--address",
    "10.0.2.100",
    "--netmask",
    "255.255.255.0",
    "--gateway",
    "10.0.2.2",
];

/// The container's gateway, with either program.
const GATEWAY: Prefix = Prefix::v4(10, 0, 2, 2, 32);

/// Machines' keys (see firewall).
const LINK_LOCAL: Prefix = Prefix::v4(169, 254, 0, 0, 16);

/// A way out that a container has. The program ends with this value, with our process, or when told.
#[derive(Debug)]
pub struct UserMode {
    kind: Kind,
    program: Child,
    /// slirp4netns ends when this is closed.
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
        let (kind, program) = chosen()?;
        let doing = || format!("start {}", kind.name());
        let pipe = || {
            std::io::pipe()
                .map_err(|e| sys::SysError::from_io("pipe", "", &e))
                .doing(doing)
        };
        let namespace = in_namespace(None, &shut()?)?;
        let theirs = namespace
            .try_clone()
            .map_err(|e| sys::SysError::from_io("dup", "", &e))
            .doing(doing)?;
        let (mut ready, says_ready) = pipe()?;
        let (leaves, leave) = pipe()?;
        let fds = [says_ready.into(), leaves.into(), theirs];
        let mut command = Command::new(&program);
        command
            .env_clear()
            .args(kind.arguments(&fds))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        sys::exec::die_with_us(&mut command);
        let started = sys::exec::with_fds(&mut command, fds.into())
            .spawn()
            .map_err(|e| sys::SysError::from_io("exec", program.display(), &e))
            .doing(doing)?;
        // The command holds copies of the descriptors until it is dropped.
        drop(command);
        let mut way = Self {
            kind,
            program: started,
            leave: Some(leave.into()),
            namespace,
        };
        if !matches!(ready.read(&mut [0; 32]), Ok(1..)) {
            return Err(way.failed());
        }
        // What goes out passes the gateway by; nothing goes to it. Both programs could take it for the host, and pasta
        // never answers for it.
        if !sys::fault::broken("no-loopback-closed") {
            in_namespace(Some(&way.namespace), &[GATEWAY])?;
        }
        Ok(way)
    }

    /// The path by which this process can open the namespace, as long as this value lives.
    pub fn path(&self) -> String {
        path_of(&self.namespace)
    }

    /// The container's resolv.conf.
    ///
    /// # Errors
    /// [`Error::NoProgram`]; [`Error::System`] if the host's network can't be asked for.
    pub fn resolver() -> Result<Resolver> {
        match chosen()?.0 {
            Kind::Pasta => Resolver::outbound(),
            Kind::Slirp4netns => Ok(Resolver {
                text: format!("nameserver {NAMES}\n"),
                left_out: Vec::new(),
                has_server: true,
            }),
        }
    }

    /// Ends the program and waits for that.
    ///
    /// # Errors
    /// As wait(2).
    pub fn end(mut self) -> Result<()> {
        let name = self.kind.name();
        self.stop()
            .map_err(|e| sys::SysError::from_io("wait", name, &e))
            .doing(|| format!("end {name}"))
    }

    fn stop(&mut self) -> std::io::Result<()> {
        self.leave = None;
        if self.kind == Kind::Pasta {
            self.program.kill()?;
        }
        self.program.wait().map(drop)
    }

    /// Why it is not ready, in its own words.
    fn failed(&mut self) -> Error {
        let mut words = String::new();
        if let Some(mut stderr) = self.program.stderr.take() {
            let _cut_short = stderr.read_to_string(&mut words);
        }
        let lines = words.lines().map(str::trim);
        let noise = ["WARNING", "Failed to send"];
        let lines: Vec<&str> = lines
            .filter(|line| !line.is_empty() && !noise.iter().any(|n| line.starts_with(n)))
            .collect();
        Error::Program {
            program: self.kind.name(),
            words: match lines.is_empty() {
                true => "it says nothing".to_owned(),
                false => lines.join("; "),
            },
        }
    }
}

impl Drop for UserMode {
    fn drop(&mut self) {
        let _ended = self.stop();
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// Where it is, if it is there.
    fn find(self) -> Result<Option<PathBuf>> {
        let left_out = match self {
            Self::Pasta => sys::fault::broken("no-pasta"),
            Self::Slirp4netns => sys::fault::broken("no-slirp4netns"),
        };
        if left_out {
            return Ok(None);
        }
        for folder in FOLDERS {
            let path = PathBuf::from(folder).join(self.name());
            if sys::file::exists(&path).doing(|| format!("look for {}", self.name()))? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// What it is called with: where it says that it is ready, what ends it, and the namespace.
    fn arguments(self, [ready, leave, namespace]: &[OwnedFd; 3]) -> Vec<String> {
        let open = sys::fault::broken("no-loopback-closed");
        let mut all: Vec<String> = match self {
            Self::Pasta => {
                // It stays our child, and joins no namespace but the container's network.
                let mut all = vec![
                    "--foreground",
                    "--quiet",
                    "--stderr",
                    "--config-net",
                    "--ipv4-only",
                ];
                all.extend(["--netns-only", "--ns-ifname", INSIDE]);
                all.extend(ADDRESSES);
                // No port of either side is passed on to the other.
                for flag in ["--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"] {
                    all.extend([flag, "none"]);
                }
                if !open {
                    all.push("--no-map-gw");
                }
                all.into_iter().map(str::to_owned).collect()
            }
            Self::Slirp4netns => {
                let all = [
                    "--configure",
                    "--mtu=65520",
                    "--enable-sandbox",
                    "--enable-seccomp",
                ];
                let mut all: Vec<String> = all.map(str::to_owned).to_vec();
                all.push(format!("--ready-fd={}", ready.as_raw_fd()));
                all.push(format!("--exit-fd={}", leave.as_raw_fd()));
                all.push("--netns-type=path".to_owned());
                if !open {
                    all.push("--disable-host-loopback".to_owned());
                }
                all
            }
        };
        match self {
            // Its process number is written when all is made.
            Self::Pasta => all.extend([
                "--pid".to_owned(),
                path_of(ready),
                "--netns".to_owned(),
                path_of(namespace),
            ]),
            Self::Slirp4netns => all.extend([path_of(namespace), INSIDE.to_owned()]),
        }
        all
    }
}

/// Which program does it. slirp4netns where both are there: it asks for names itself, wherever the host's servers are,
/// and pasta of 2023 was seen to lose the end of a connection that the command had closed on its side.
fn chosen() -> Result<(Kind, PathBuf)> {
    for kind in [Kind::Slirp4netns, Kind::Pasta] {
        if let Some(path) = kind.find()? {
            return Ok((kind, path));
        }
    }
    Err(NONE)
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

/// A network namespace, this one or a new one, in which routes to `shut` lead nowhere from now on. A process of its own
/// makes them: we could not come back to the host's.
fn in_namespace(known: Option<&OwnedFd>, shut: &[Prefix]) -> Result<OwnedFd> {
    let doing = || "make a network namespace".to_owned();
    let (ours, theirs) = sys::socket::pair().doing(doing)?;
    match clone(&CloneRequest::default()).doing(doing)? {
        Cloned::Child => {
            let _nobody_listens = match make_here(known, shut) {
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

fn make_here(known: Option<&OwnedFd>, shut: &[Prefix]) -> sys::Result<OwnedFd> {
    const CLONE_NEWNET: u64 = 0x4000_0000;
    match known {
        Some(namespace) => sys::namespace::enter(namespace, CLONE_NEWNET)?,
        None => {
            sys::namespace::unshare(CLONE_NEWNET)?;
            sys::network::bring_up("lo")?;
        }
    }
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
