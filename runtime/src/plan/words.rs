//! A step's words: what `dhow create --plan` prints, and what an error begins with. Pure.
//! Not its job: what a step is (step).

use std::fmt;

use namespaces::Namespace;
use rootfs::Nodes;
use sys::mount::Depth;

use super::Step;
use crate::plan::CredentialsText;

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
            Self::DomainName(name) => write!(f, "set the domain name to {name:?}"),
            _ => self.fmt_root(f),
        }
    }
}

impl Step {
    /// The steps that make the root.
    fn fmt_root(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workshop => f.write_str("make a mount namespace to prepare the root in"),
            Self::LeaveWorkshop => {
                f.write_str("go back to the caller's mount namespace, with the root (chroot)")
            }
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

    /// The steps from the pivot on.
    fn fmt_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal(_) | Self::OpenTerminal(_) => {
                f.write_str("open a terminal, send it away")
            }
            Self::TakeTerminal => f.write_str("make the terminal the session's"),
            Self::GoInside => f.write_str("go on as a child, in sight of those inside"),
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
            Self::RenewNull => f.write_str("open /dev/null anew where stdio is the host's"),
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
