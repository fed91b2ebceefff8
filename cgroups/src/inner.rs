//! Cgroups below a container's own, made for it: its processes live there, and its limits stand above them,
//! out of their reach; and handing a cgroup over to who the container's processes are.
//! Not its job: who asks for that.

use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use sys::at::{self, AtFlags};
use sys::{Errno, SysError};

use crate::{Cgroup, Error, Result, cgroup};

/// What the kernel lets be given away, where it does not say so itself (before Linux 4.15; cgroups(7)).
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// The place below a container's cgroup that annotations name: crun's `run.oci.systemd.subgroup`, where
/// systemd makes the cgroup, and below it `run.oci.delegate-cgroup`.
///
/// # Errors
/// [`Error::Spec`] for what is no name of a single cgroup.
pub fn place<'a>(annotation: impl Fn(&str) -> Option<&'a str>, systemd: bool) -> Result<PathBuf> {
    let mut place = PathBuf::new();
    for (key, counts) in [
        ("run.oci.systemd.subgroup", systemd),
        ("run.oci.delegate-cgroup", true),
    ] {
        let Some(name) = annotation(key).filter(|name| counts && !name.is_empty()) else {
            continue;
        };
        let mut parts = Path::new(name).components();
        let is_one = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None)
            if part == name);
        // Names with these beginnings are the kernel's own files, now or some day.
        let is_files = name.contains('.') && !name.ends_with(".scope") && !name.ends_with(".slice");
        if !is_one || is_files || name.contains(['\0', '\n']) {
            return Err(Error::spec(
                format!("annotations.{key}"),
                format!("{name:?} is no name of a cgroup"),
            ));
        }
        place.push(name);
    }
    Ok(place)
}

impl Cgroup {
    /// Makes the cgroups of `place` below it, and hands all its controllers down to them. `holder`, a process
    /// that lives in it, goes into the innermost, since controllers pass by no process.
    ///
    /// # Errors
    /// [`Error::Directory`], [`Error::Interface`].
    pub fn make_below(&self, place: &Path, holder: Option<sys::process::Pid>) -> Result<Self> {
        let mut all: Vec<Self> = Vec::new();
        for part in place.components() {
            let above = all.last().unwrap_or(self);
            let path = above.path.join(part);
            let dir = cgroup::make(above.dir.as_fd(), Path::new(&part), &path)?;
            all.push(Self { path, dir });
        }
        let Some(innermost) = all.pop() else {
            return Err(Error::Directory {
                what: "make",
                path: self.path.clone(),
                source: SysError::new("mkdir", "", Errno::INVAL),
            });
        };
        if let Some(holder) = holder {
            innermost.add(holder)?;
        }
        for above in std::iter::once(self).chain(&all) {
            let has = above.read("read the controllers of", "cgroup.controllers")?;
            let names: Vec<_> = has
                .split_ascii_whitespace()
                .map(|name| format!("+{name}"))
                .collect();
            if !names.is_empty() {
                above.write(
                    "hand controllers down from",
                    "cgroup.subtree_control",
                    &names.join(" "),
                )?;
            }
        }
        Ok(innermost)
    }

    /// Gives it to the user `uid`: the directory and those files by which its own tree is made, and no limit.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn give_to(&self, uid: u32) -> Result<()> {
        let owner = Some(at::Uid::from_raw(uid));
        let fail =
            |name: &str, errno| self.interface("give away")(SysError::new("chown", name, errno));
        at::fchown(&self.dir, owner, None).map_err(|errno| fail("", errno))?;
        for name in delegated().lines() {
            match at::chownat(&self.dir, name, owner, None, AtFlags::SYMLINK_NOFOLLOW) {
                // The list is the kernel's for all controllers, and not all are here.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(fail(name, errno)),
            }
        }
        Ok(())
    }
}

fn delegated() -> String {
    let list = sys::file::read("/sys/kernel/cgroup/delegate", 64 * 1024);
    let text = list.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let is_names = |text: &String| text.lines().all(|name| !name.contains('/'));
    text.filter(is_names)
        .unwrap_or_else(|| DELEGATED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(subgroup: &str, delegate: &str, systemd: bool) -> Result<PathBuf, String> {
        let annotation = |key: &str| match key {
            "run.oci.systemd.subgroup" => Some(subgroup),
            _ => Some(delegate),
        };
        place(annotation, systemd).map_err(|error| error.to_string())
    }

    #[test]
    fn a_subgroup_is_systemds_and_a_delegated_one_is_below_it() {
        assert_eq!(place_of("a", "b", true), Ok("a/b".into()));
        assert_eq!(place_of("a", "b", false), Ok("b".into()));
        assert_eq!(place_of("", "", true), Ok(PathBuf::new()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in [
            "..",
            ".",
            "a/b",
            "/a",
            "a/",
            "../a",
            "a\nb",
            "cgroup.procs",
            "memory.max",
            "a\0",
        ] {
            let error = place_of("", name, false).unwrap_err();
            assert!(
                error.starts_with("annotations.run.oci.delegate-cgroup: "),
                "{error}"
            );
            assert!(place_of(name, "", true).is_err(), "{name}");
        }
    }
}
