//! `Step`: every single thing that the container's first process does. Its `Display` is what `dhow create
//! --plan` prints and what an error begins with. Not its job: the order (build), the doing (process/init).

use std::fmt;
use std::path::PathBuf;

use namespaces::{Join, Namespace};
use rootfs::{Device, MountStep, Nodes, Size};
use sys::mount::{Depth, Propagation};
use sys::process::NamespaceFlags;

use crate::conditions::Treatment;
use crate::hooks::HookEntry;
use crate::lsm::Label;
use crate::plan::{Credentials, CredentialsText, ParentStep};

/// The whole start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What dhow does before and beside.
    pub parent: Vec<ParentStep>,
    /// What the middle process does; empty where none is needed.
    pub stage: Vec<Step>,
    /// What the first process does, from its birth to its exec.
    pub init: Vec<Step>,
    /// The namespaces with which the first process (or the middle one) is born.
    pub clone: NamespaceFlags,
    /// The namespaces with which the middle process makes the first one.
    pub stage_clone: NamespaceFlags,
}

/// Where the container's root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootPlace {
    /// A folder of the host.
    Folder(PathBuf),
    /// A mount that the caller made.
    Mount,
    /// So many layers of an image under one of its own.
    Layers(usize),
}

impl fmt::Display for RootPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Mount => f.write_str("that was given as a mount"),
            Self::Layers(count) => write!(f, "of {count} layers and a writable one"),
        }
    }
}

/// A resource limit (getrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Its name: `RLIMIT_NOFILE`.
    pub name: &'static str,
    /// Its number.
    pub resource: u32,
    /// The limit that counts.
    pub soft: u64,
    /// The limit of the limit.
    pub hard: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} to {} of {}",
            self.name,
            amount(self.soft),
            amount(self.hard)
        )
    }
}

/// One thing that the first process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Asks to be killed when dhow ends, until it has handed over.
    DieWithDhow,
    /// Takes the stdio files that it was given instead of dhow's.
    Stdio,
    /// Asks for the id maps of the user namespace, and waits.
    AskIdMaps,
    /// Becomes the user namespace's root.
    BecomeRoot,
    /// Enters existing namespaces.
    Join(Vec<Join>),
    /// Enters these namespaces of the container's first process.
    JoinContainer(NamespaceFlags),
    /// Makes further namespaces of its own.
    Unshare(NamespaceFlags),
    /// Makes the first process, with these namespaces (the middle process' last step).
    CloneInit(NamespaceFlags),
    /// Sets how likely the OOM killer takes it and its children.
    OomScore(i32),
    /// Leaves the caller's session and terminal.
    NewSession,
    /// Leaves the caller's session keyring for a new one.
    NewKeyring(String),
    /// Closes its memory to tracers.
    ForbidTracing,
    /// Brings the loopback device up.
    Loopback,
    /// Enters the network namespace that dhow has made, with its loopback device up.
    TakeNetwork,
    /// Asks for the host's network devices that are to be its, and waits.
    AskNetDevices,
    /// Sets the host name.
    HostName(String),
    /// Sets the domain name.
    DomainName(String),
    /// Cuts the mount namespace's way to the host.
    Isolate,
    /// Attaches the container's root.
    AttachRoot(RootPlace),
    /// Makes one mount; the number is its place in the spec.
    Mount(usize, Box<MountStep>),
    /// Makes the device files.
    Devices(Vec<Device>, Nodes),
    /// Makes the links in /dev.
    DeviceLinks,
    /// Opens the terminal, binds it on /dev/console and sends it away.
    Console(Option<Size>),
    /// Opens a terminal and sends it away.
    Terminal(Option<Size>),
    /// Opens a terminal and sends it away; it becomes the session's later.
    OpenTerminal(Option<Size>),
    /// Makes stdin the terminal of the session.
    TakeTerminal,
    /// Goes on as a child, which is born inside of the PID namespace with the rights that are left.
    GoInside,
    /// Asks for the hooks of the runtime namespace, and waits.
    AskHooks,
    /// Runs the createContainer hooks.
    CreateContainerHooks(Vec<HookEntry>),
    /// Makes the container's root the root.
    Pivot,
    /// The same without pivot_root(2).
    ChangeRoot,
    /// Makes the container's root this process' root, and nobody else's.
    EnterRoot,
    /// Sets a kernel parameter of its namespaces.
    Sysctl(String, String),
    /// Sets the root's propagation.
    Propagate(Propagation, Depth),
    /// Makes a path read-only.
    ReadOnlyPath(PathBuf),
    /// Hides a path.
    Mask(PathBuf),
    /// Makes those mounts read-only that had to be written before.
    ReadOnlyMounts(Vec<PathBuf>),
    /// Makes the root read-only.
    ReadOnlyRoot,
    /// Makes the working directory, where it is missing, and checks that it lies inside.
    WorkingDirectory(PathBuf),
    /// Checks that the working directory lies inside, and goes there.
    ChangeDirectory(PathBuf),
    /// Sets the mask of file modes.
    Umask(u32),
    /// Sets a resource limit.
    Limit(Limit),
    /// Tells the kernel how to treat this process.
    Treat(Treatment),
    /// Asks a security module for the label of what it becomes.
    Label(Label),
    /// Gives the stdio files to the container's user.
    StdioOwner(u32),
    /// Drops privileges: user, groups, capabilities, no_new_privs.
    Drop(Box<Credentials>),
    /// Finds the program.
    FindProgram(String),
    /// Closes every descriptor that the program is not to have.
    CloseDescriptors,
    /// Says that all is prepared, and waits until the state is saved.
    Ready,
    /// No longer ends with dhow.
    LiveOn,
    /// Waits for `dhow start`.
    AwaitStart,
    /// Asks no longer to be killed when dhow ends: the state is saved.
    OutliveDhow,
    /// Runs the startContainer hooks.
    StartContainerHooks(Vec<HookEntry>),
    /// Asks for the agent that hears of what the filter notifies, and waits.
    AskListener,
    /// Puts the seccomp filter in force.
    Seccomp,
    /// Drops what loading the filter needed.
    FinalCapabilities(Box<Credentials>),
    /// Becomes the program.
    Exec,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DieWithDhow => f.write_str("end when dhow ends, until the state is saved"),
            Self::Stdio => f.write_str("take the given stdin, stdout and stderr"),
            Self::AskIdMaps => f.write_str("ask dhow for the id maps, wait"),
            Self::BecomeRoot => f.write_str("become the user namespace's root"),
            Self::Join(joins) => {
                let list = joins
                    .iter()
                    .map(|j| format!("{} {}", j.namespace, j.path.display()));
                write!(
                    f,
                    "join namespaces: {}",
                    list.collect::<Vec<_>>().join(", ")
                )
            }
            Self::JoinContainer(flags) => write!(
                f,
                "join the container's namespaces: {}",
                Namespace::list(*flags)
            ),
            Self::Unshare(flags) => write!(f, "make new namespaces: {}", Namespace::list(*flags)),
            Self::CloneInit(0) => f.write_str("make the first process"),
            Self::CloneInit(flags) => write!(
                f,
                "make the first process with new namespaces: {}",
                Namespace::list(*flags)
            ),
            Self::OomScore(score) => write!(f, "set oom_score_adj to {score}"),
            Self::NewSession => f.write_str("begin a new session"),
            Self::NewKeyring(name) => write!(f, "join a new session keyring {name}"),
            Self::ForbidTracing => f.write_str("forbid tracing of this process"),
            Self::Loopback => f.write_str("bring the loopback device up"),
            Self::TakeNetwork => {
                f.write_str("enter the new network namespace, its loopback device up")
            }
            Self::AskNetDevices => f.write_str("ask dhow for its network devices, wait"),
            Self::HostName(name) => write!(f, "set the host name to {name:?}"),
            Self::Isolate => f.write_str("keep our mounts from the host"),
            Self::AttachRoot(place) => write!(f, "attach the root {place}"),
            Self::Mount(_, step) => write!(f, "{step}"),
            Self::Devices(devices, nodes) => {
                f.write_str(match nodes {
                    Nodes::Make => "make devices:",
                    Nodes::Bind => "bind the host's devices:",
                })?;
                let list = devices.iter().map(|d| format!(" {}", d.path.display()));
                f.write_str(&list.collect::<Vec<_>>().join(","))
            }
            Self::DeviceLinks => f.write_str("make the links in /dev"),
            Self::Console(_) => {
                f.write_str("open the terminal, bind it on /dev/console, send it away")
            }
            Self::AskHooks => {
                f.write_str("ask dhow for the prestart and createRuntime hooks, wait")
            }
            Self::CreateContainerHooks(hooks) => {
                write!(f, "run the createContainer hooks ({})", hooks.len())
            }
            _ => self.fmt_rest(f),
        }
    }
}

impl Step {
    /// Whether it runs hooks in the first process.
    pub(crate) fn is_hooks(&self) -> bool {
        matches!(
            self,
            Self::CreateContainerHooks(_) | Self::StartContainerHooks(_)
        )
    }

    /// The steps from the pivot on.
    fn fmt_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal(_) | Self::OpenTerminal(_) => {
                f.write_str("open a terminal, send it away")
            }
            Self::TakeTerminal => f.write_str("make the terminal the session's"),
            Self::GoInside => f.write_str("go on as a child, in sight of those inside"),
            Self::DomainName(name) => write!(f, "set the domain name to {name:?}"),
            Self::Pivot => f.write_str("make the container's root the root (pivot_root)"),
            Self::EnterRoot => f.write_str("make the container's root the root (chroot)"),
            Self::ChangeRoot => f.write_str("make the container's root the root (move and chroot)"),
            Self::Sysctl(key, value) => write!(f, "set the sysctl {key} to {value:?}"),
            Self::Propagate(propagation, depth) => {
                let deep = if *depth == Depth::Recursive {
                    ", with all below"
                } else {
                    ""
                };
                write!(f, "make the root's mounts {propagation}{deep}")
            }
            Self::ReadOnlyPath(path) => write!(f, "make {} read-only", path.display()),
            Self::Mask(path) => write!(f, "mask {}", path.display()),
            Self::ReadOnlyMounts(paths) => {
                let list = paths.iter().map(|path| format!(" {}", path.display()));
                let list = list.collect::<Vec<_>>().join(",");
                write!(f, "make what has been filled read-only:{list}")
            }
            Self::ReadOnlyRoot => f.write_str("make the root read-only"),
            Self::WorkingDirectory(path) | Self::ChangeDirectory(path) => {
                write!(f, "go to the working directory {}", path.display())
            }
            Self::Umask(mask) => write!(f, "set the umask to {mask:04o}"),
            Self::Limit(limit) => write!(f, "set {limit}"),
            Self::Treat(treatment) => write!(f, "set {treatment}"),
            Self::Label(label) => write!(f, "apply {label}"),
            Self::StdioOwner(uid) => write!(f, "give stdin, stdout and stderr to user {uid}"),
            Self::Drop(credentials) => {
                write!(f, "drop privileges: {}", CredentialsText(credentials))
            }
            Self::FindProgram(name) => write!(f, "find the program {name:?}"),
            Self::CloseDescriptors => {
                f.write_str("close all descriptors that the program is not to have")
            }
            Self::Ready => {
                f.write_str("tell dhow that all is prepared, wait until the state is saved")
            }
            Self::LiveOn => f.write_str("no longer end when dhow ends"),
            Self::AwaitStart => f.write_str("wait for start"),
            Self::OutliveDhow => f.write_str("no longer end when dhow ends"),
            Self::StartContainerHooks(hooks) => {
                write!(f, "run the startContainer hooks ({})", hooks.len())
            }
            Self::AskListener => f.write_str("ask for the seccomp agent, wait"),
            Self::Seccomp => f.write_str("put the seccomp filter in force"),
            Self::FinalCapabilities(_) => {
                f.write_str("drop the capabilities that loading the filter needed")
            }
            Self::Exec => f.write_str("execute the program"),
            _ => Ok(()),
        }
    }
}

fn amount(limit: u64) -> String {
    match limit {
        u64::MAX => "unlimited".to_owned(),
        limit => limit.to_string(),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.parent {
            writeln!(f, "dhow:  {step}")?;
        }
        for step in &self.stage {
            writeln!(f, "stage: {step}")?;
        }
        for step in &self.init {
            writeln!(f, "init:  {step}")?;
        }
        Ok(())
    }
}
