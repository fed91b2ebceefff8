//! The kinds of namespace and their three names: in the spec, in clone(2), in /proc. Not its job: using them.

use std::fmt;

use oci_spec::runtime::LinuxNamespaceType;
use sys::process::NamespaceFlags;

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// Users and groups, and what their capabilities count for.
    User,
    /// Which cgroup looks like the root.
    Cgroup,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// Network devices, addresses, ports.
    Network,
    /// Process ids.
    Pid,
    /// Offsets of the monotonic and the boot clock.
    Time,
    /// Mounts.
    Mount,
}

impl Namespace {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Cgroup,
        Self::Ipc,
        Self::Uts,
        Self::Network,
        Self::Pid,
        Self::Time,
        Self::Mount,
    ];

    /// Its name in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::Mount => "mount",
        }
    }

    /// Its name in /proc/PID/ns.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.name(),
        }
    }

    /// Its bit for clone(2), unshare(2) and setns(2), as linux/sched.h has it.
    pub const fn flag(self) -> NamespaceFlags {
        match self {
            Self::Time => 0x0000_0080,
            Self::Mount => 0x0002_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Uts => 0x0400_0000,
            Self::Ipc => 0x0800_0000,
            Self::User => 0x1000_0000,
            Self::Pid => 0x2000_0000,
            Self::Network => 0x4000_0000,
        }
    }

    /// The kind with this bit.
    pub fn from_flag(flag: NamespaceFlags) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.flag() == flag)
    }

    /// The names of all kinds in `flags`, separated by commas.
    pub fn list(flags: NamespaceFlags) -> String {
        let kinds = Self::ALL.iter().filter(|kind| flags & kind.flag() != 0);
        kinds.map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<LinuxNamespaceType> for Namespace {
    fn from(kind: LinuxNamespaceType) -> Self {
        match kind {
            LinuxNamespaceType::Mount => Self::Mount,
            LinuxNamespaceType::Cgroup => Self::Cgroup,
            LinuxNamespaceType::Uts => Self::Uts,
            LinuxNamespaceType::Ipc => Self::Ipc,
            LinuxNamespaceType::User => Self::User,
            LinuxNamespaceType::Pid => Self::Pid,
            LinuxNamespaceType::Network => Self::Network,
            LinuxNamespaceType::Time => Self::Time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_agrees_on_every_bit_and_name() {
        for kind in Namespace::ALL {
            let path = format!("/proc/self/ns/{}", kind.proc_name());
            let file = sys::file::open(&path).unwrap();
            assert_eq!(
                sys::namespace::kind(file),
                Ok(Some(kind.flag())),
                "{path} is of another kind"
            );
        }
    }

    #[test]
    fn a_kind_is_found_by_its_bit() {
        for kind in Namespace::ALL {
            assert_eq!(Namespace::from_flag(kind.flag()), Some(kind));
        }
        assert_eq!(Namespace::from_flag(1), None);
    }

    #[test]
    fn a_list_names_every_kind_of_the_bits() {
        let flags = Namespace::Pid.flag() | Namespace::User.flag();
        assert_eq!(Namespace::list(flags), "user, pid");
    }
}
