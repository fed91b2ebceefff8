//! `Step`: every single thing that the container's first process does. Not its job: the order (build), the words
//! (words), the doing (process/init).

use std::fmt;
use std::path::PathBuf;

use namespaces::Join;
use rootfs::{Device, MountStep, Nodes, Size};
use sys::mount::{Depth, Propagation};
use sys::process::NamespaceFlags;

use crate::conditions::Treatment;
use crate::hooks::HookEntry;
use crate::lsm::Label;
use crate::plan::{Credentials, ParentStep};

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
    /// Makes a mount namespace in which the root is prepared, of a container that has the caller's.
    Workshop,
    /// Goes back to the caller's mount namespace, with a copy of the root that is mounted nowhere.
    LeaveWorkshop,
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
    /// Where stdio is the host's null device, takes the container's.
    RenewNull,
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

impl Step {
    /// Whether it runs hooks in the first process.
    pub(crate) fn is_hooks(&self) -> bool {
        matches!(
            self,
            Self::CreateContainerHooks(_) | Self::StartContainerHooks(_)
        )
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
