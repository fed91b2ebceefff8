//! Whether what a checkpoint made is confined as the bundle says. A checkpoint is a program of somebody's: its
//! files say which namespaces, capabilities and filters its processes have, and CRIU obeys. So before they run
//! on they are looked at from outside, and what is missing stops the restore.
//! Not its job: what the processes are (their memory, their filters' rules: the checkpoint's own).

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use namespaces::{IdMap, Namespace, NamespaceSet};
use oci_spec::runtime::Spec;

use crate::plan::Credentials;
use crate::{Error, Result};

/// What every process of the container must show.
#[derive(Debug)]
pub(crate) struct Demands<'a> {
    set: &'a NamespaceSet,
    credentials: Credentials,
    filtered: bool,
    root: &'a Path,
}

impl<'a> Demands<'a> {
    /// What `spec` demands, with `root` as the container's.
    pub(crate) fn of(spec: &Spec, set: &'a NamespaceSet, root: &'a Path) -> Option<Self> {
        let filtered = spec.linux().as_ref().is_some_and(|l| l.seccomp().is_some());
        Some(Self {
            set,
            credentials: Credentials::new(spec.process().as_ref()?, filtered, false),
            filtered,
            root,
        })
    }

    /// Holds the container's processes against it; `first` is the first one.
    ///
    /// # Errors
    /// [`Error::Words`] with the process and what it lacks.
    pub(crate) fn met_by(&self, first: i32, all: &[i32]) -> Result<()> {
        if sys::fault::broken("no-restore-check") {
            return Ok(());
        }
        let refuse = |pid: i32, reason: String| {
            Error::Words(format!(
                "restore: process {pid} of the checkpoint is not confined as the configuration says: {reason}"
            ))
        };
        self.first(first).map_err(|reason| refuse(first, reason))?;
        for pid in all {
            self.every(*pid, first)
                .map_err(|reason| refuse(*pid, reason))?;
        }
        Ok(())
    }

    fn first(&self, pid: i32) -> Result<(), String> {
        let place = |path: &Path| {
            sys::file::follow(path)
                .map(|at| (at.dev(), at.ino()))
                .map_err(|e| e.to_string())
        };
        if place(Path::new(&format!("/proc/{pid}/root")))? != place(self.root)? {
            return Err(format!("its root is not {}", self.root.display()));
        }
        for join in &self.set.join {
            let own = format!("/proc/{pid}/ns/{}", join.namespace.proc_name());
            if place(Path::new(&own))? != place(&join.path)? {
                return Err(format!(
                    "its {} namespace is not {}",
                    join.namespace,
                    join.path.display()
                ));
            }
        }
        if let Some(maps) = self.set.id_maps.as_ref() {
            for (file, map) in [("uid_map", &maps.uid), ("gid_map", &maps.gid)] {
                let text = read(&format!("/proc/{pid}/{file}"))?;
                if !is_map(&text, map) {
                    return Err(format!(
                        "its {file} is not linux.{}s",
                        file.replace("_map", "Mapping")
                    ));
                }
            }
        }
        Ok(())
    }

    fn every(&self, pid: i32, first: i32) -> Result<(), String> {
        for kind in Namespace::ALL {
            if self.set.creates(kind) && namespace(pid, kind)? == namespace(own(), kind)? {
                return Err(format!("it is in the host's {kind} namespace"));
            }
        }
        let status = read(&format!("/proc/{pid}/status"))?;
        // In a user namespace of its own making a process has all capabilities, over that alone.
        if namespace(pid, Namespace::User)? == namespace(first, Namespace::User)? {
            self.privileges(&status)?;
        }
        if self.credentials.no_new_privileges && field(&status, "NoNewPrivs") != Some("1") {
            return Err("no_new_privs is not set".to_owned());
        }
        if self.filtered && field(&status, "Seccomp") != Some("2") {
            return Err("it has no seccomp filter".to_owned());
        }
        Ok(())
    }

    fn privileges(&self, status: &str) -> Result<(), String> {
        let c = &self.credentials;
        let all = c.bounding | c.permitted | c.inheritable | c.ambient;
        for (name, allowed) in [
            ("CapBnd", c.bounding),
            ("CapPrm", all),
            ("CapInh", all),
            ("CapAmb", all),
        ] {
            let held = field(status, name)
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .ok_or_else(|| format!("its {name} can't be read"))?;
            if held & !allowed != 0 {
                return Err(format!("{name} is {held:x}, of which {allowed:x} may be"));
            }
        }
        Ok(())
    }
}

fn own() -> i32 {
    sys::process::id().as_raw_nonzero().get()
}

fn namespace(pid: i32, kind: Namespace) -> Result<(u64, u64), String> {
    let path = format!("/proc/{pid}/ns/{}", kind.proc_name());
    let at = sys::file::follow(path).map_err(|e| e.to_string())?;
    Ok((at.dev(), at.ino()))
}

fn read(path: &str) -> Result<String, String> {
    let name = path.strip_prefix("/proc/").unwrap_or(path);
    sys::proc::read(name).map_err(|e| e.to_string())
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

/// Whether the text of a uid_map says what `map` does. Pure.
fn is_map(text: &str, map: &IdMap) -> bool {
    let mut count = 0;
    let same = text.lines().all(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(size))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        count += 1;
        map.ranges
            .iter()
            .any(|range| (range.inside, range.outside, range.size) == (inside, outside, size))
    });
    same && count == map.ranges.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demands<'a>(process: &str, set: &'a NamespaceSet) -> Demands<'a> {
        let spec = format!(
            r#"{{"ociVersion":"1.0.0","process":{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}},{process}}}}}"#
        );
        let spec: Spec = serde_json::from_str(&spec).unwrap();
        Demands::of(&spec, set, Path::new("/")).unwrap()
    }

    #[test]
    fn a_capability_beyond_the_bundles_is_seen() {
        let set = NamespaceSet::default();
        let demands = demands(
            r#""capabilities":{"bounding":["CAP_KILL"],"permitted":["CAP_KILL"]}"#,
            &set,
        );
        let status = |bounding: &str| {
            format!("CapInh:\t0\nCapPrm:\t20\nCapEff:\t20\nCapBnd:\t{bounding}\nCapAmb:\t0\n")
        };
        assert_eq!(demands.privileges(&status("20")), Ok(()));
        let refused = demands.privileges(&status("200020")).unwrap_err();
        assert_eq!(refused, "CapBnd is 200020, of which 20 may be");
    }

    #[test]
    fn a_process_of_the_host_is_seen() {
        let set = NamespaceSet {
            create: Namespace::Network.flag(),
            ..NamespaceSet::default()
        };
        let demands = demands(r#""noNewPrivileges":false"#, &set);
        let refused = demands.met_by(own(), &[own()]).unwrap_err().to_string();
        assert!(
            refused.ends_with("it is in the host's network namespace"),
            "{refused}"
        );
    }

    #[test]
    fn another_map_of_ids_is_seen() {
        let mut problems = Vec::new();
        let json = r#"[{"containerID":0,"hostID":1000,"size":10}]"#;
        let map = IdMap::read(
            "x",
            &serde_json::from_str::<Vec<_>>(json).unwrap(),
            &mut problems,
        );
        assert!(is_map("         0       1000         10\n", &map));
        assert!(!is_map("         0          0 4294967295\n", &map));
        assert!(!is_map("", &map));
    }
}
