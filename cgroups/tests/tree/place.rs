//! A folder of a claim's own in the tree, and a process that lives in it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cgroups::{Cgroup, Location};
use sys::process::Pid;

/// One claim's folder in the tree; it goes, with all that is in it, whatever the claim did.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) top: PathBuf,
}

impl Place {
    pub(crate) fn new(claim: &str) -> Self {
        let name = format!("dhow-test-{}/{claim}", std::process::id());
        let location = Location::find(Some(&name), "").unwrap();
        let top = location.directory.parent().unwrap().to_owned();
        Self { name, top }
    }

    pub(crate) fn location(&self) -> Location {
        Location::find(Some(&self.name), "").unwrap()
    }

    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::create(&self.location(), &[]).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(cgroup) = Cgroup::open(&self.top).unwrap() {
            cgroup.thaw().unwrap();
            cgroup.kill().unwrap();
            cgroups::delete(&self.top, None).unwrap();
        }
        assert!(!self.top.exists());
    }
}

/// A process in the cgroup that is busy without end; it is reaped on drop.
pub(crate) struct Busy(Child);

impl Busy {
    pub(crate) fn new(cgroup: &Cgroup) -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        cgroup
            .add(Pid::from_raw(child.id() as i32).unwrap())
            .unwrap();
        Self(child)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
