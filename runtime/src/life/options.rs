//! What a caller says when a container is to be made: one struct, passed once. Not its job: defaults of
//! the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::runtime::Spec;

use crate::ContainerId;
use crate::store::Store;

/// Where the container's root comes from.
#[derive(Debug)]
pub enum RootSource {
    /// The folder that the configuration names.
    Folder(PathBuf),
    /// A detached mount of the caller's: it lives as long as the container.
    Mount(OwnedFd),
    /// Layers of an image under a writable one of the container's own.
    Layers(Layers),
}

/// Layers, and where the container's own changes go. The folder is made after the container's record,
/// which names it, and removed by `delete`.
#[derive(Debug)]
pub struct Layers {
    /// The layers, the top one first.
    pub lower: Vec<sys::mount::Tree>,
    /// The folder for the changes; it must not be there yet.
    pub scratch: PathBuf,
}

/// Who talks to the container's program.
#[derive(Debug)]
pub enum Stdio {
    /// It has our own stdin, stdout and stderr.
    Inherit,
    /// It has these three.
    Given([OwnedFd; 3]),
}

/// What a container's cgroup is to one who has no right to make it (`--rootless`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootless {
    /// Done without if we have few rights, and neither a place nor a limit is asked for.
    #[default]
    Auto,
    /// Done without if it can't be had, and neither a place nor a limit is asked for.
    Yes,
    /// Needed.
    No,
}

/// Who lets a container's program begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// `start`, from another dhow: the first process waits at a socket of its own.
    ByStart,
    /// The dhow that makes the container, as soon as its state is saved (`run`).
    AtOnce,
}

/// Everything that `create` is told.
#[derive(Debug)]
pub struct CreateOptions {
    /// The new container's name.
    pub id: ContainerId,
    /// Where its state lies.
    pub store: Store,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// Its configuration.
    pub spec: Spec,
    /// Its root.
    pub root: RootSource,
    /// Detached mounts that the caller has made, attributes and all, in place of those of the same number in the
    /// configuration's `mounts`, which are binds.
    pub mounts: BTreeMap<usize, OwnedFd>,
    /// Its stdin, stdout and stderr, if it has no terminal.
    pub stdio: Stdio,
    /// A socket to which the terminal's master is sent.
    pub console_socket: Option<OwnedFd>,
    /// A file that gets the first process' id.
    pub pid_file: Option<PathBuf>,
    /// A socket to which a handle of the first process is sent.
    pub pidfd_socket: Option<OwnedFd>,
    /// The service manager's socket, if our caller is to hear when the program is ready.
    pub notify: Option<OsString>,
    /// How many descriptors after stdio the program gets from us.
    pub preserve_fds: u32,
    /// Don't use pivot_root(2).
    pub no_pivot: bool,
    /// Stay in the caller's session keyring.
    pub keep_keyring: bool,
    /// Who makes its cgroup.
    pub driver: cgroups::Driver,
    /// Whether it may go without one.
    pub rootless: Rootless,
    /// Who lets the program begin.
    pub begin: Begin,
}

impl CreateOptions {
    /// Options for the container `id` of this bundle, all else as `create` without flags has it.
    pub fn new(
        id: ContainerId,
        store: Store,
        bundle: PathBuf,
        spec: Spec,
        root: RootSource,
    ) -> Self {
        Self {
            id,
            store,
            bundle,
            spec,
            root,
            mounts: BTreeMap::new(),
            stdio: Stdio::Inherit,
            console_socket: None,
            pid_file: None,
            pidfd_socket: None,
            notify: None,
            preserve_fds: 0,
            no_pivot: false,
            keep_keyring: false,
            driver: cgroups::Driver::default(),
            rootless: Rootless::default(),
            begin: Begin::ByStart,
        }
    }

    /// Gives the program a variable, in place of one of that name.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        let Some(process) = self.spec.process_mut() else {
            return;
        };
        let env = process.env_mut().get_or_insert_default();
        env.retain(|pair| pair.split_once('=').is_none_or(|(known, _)| known != name));
        env.push(format!("{name}={value}"));
    }
}
