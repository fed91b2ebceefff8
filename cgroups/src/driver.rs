//! Who makes a container's cgroup: the words of `--cgroup-manager`. Not its job: making one.

use std::fmt;
use std::str::FromStr;

/// Who makes a container's cgroup and sets its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Driver {
    /// dhow, in the file system.
    #[default]
    FileSystem,
    /// systemd, asked over D-Bus: a transient scope.
    Systemd,
    /// Nobody: the container stays in its caller's.
    Disabled,
}

impl Driver {
    /// All of them, as `--cgroup-manager` has them.
    pub const ALL: [Self; 3] = [Self::FileSystem, Self::Systemd, Self::Disabled];

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::FileSystem => "cgroupfs",
            Self::Systemd => "systemd",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Driver {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|driver| driver.word() == word)
            .ok_or(())
    }
}
