//! `linux.intelRdt`: a share of the processors' cache and memory bandwidth, by the resctrl file system. Which
//! group and what it is to say (pure), and making it. Not its job: mounting resctrl, limits of a cgroup.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;

use crate::limits::Wrong;
use crate::{Error, Result};

/// What resctrl itself has in each group: no class can have these names.
const TAKEN: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// What a container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The class that it names, which may be there and is not ours then.
    class: Option<String>,
    /// The lines for the group's `schemata`.
    schemata: Vec<String>,
    /// It is to be accounted for by itself.
    monitored: bool,
}

impl Wanted {
    pub(crate) fn read(spec: &LinuxIntelRdt) -> Result<Self, Wrong> {
        let class = spec.clos_id().clone().filter(|class| !class.is_empty());
        if let Some(class) = &class
            && (class.contains(['/', '\n', '\0'])
                || class.starts_with('.')
                || TAKEN.contains(&class.as_str()))
            && !sys::fault::broken("no-class-name-check")
        {
            return Err((".closID", format!("{class:?} can't be the name of a class")));
        }
        let mut schemata = Vec::new();
        for (field, text, kinds) in [
            (".l3CacheSchema", spec.l3_cache_schema(), &["L3"][..]),
            (".memBwSchema", spec.mem_bw_schema(), &["MB"]),
        ] {
            for line in text.iter().flat_map(|text| text.lines()) {
                let line = line.trim();
                let kind = line.split(':').next().unwrap_or_default();
                if !kinds.iter().any(|known| kind.starts_with(known)) {
                    return Err((field, format!("{line:?} is no line of {}", kinds[0])));
                }
                schemata.push(line.to_owned());
            }
        }
        for line in spec.schemata().iter().flatten() {
            if line.contains('\n') || !line.contains(':') {
                return Err((
                    ".schemata",
                    format!("{line:?} is no line of a schemata file"),
                ));
            }
            schemata.push(line.trim().to_owned());
        }
        Ok(Self {
            class,
            schemata,
            monitored: spec.enable_monitoring().unwrap_or(false),
        })
    }

    /// The group in the resctrl file system at `root`, and what of it is to be made. A class without limits
    /// of its own must be there; one that is there must have the limits that are asked for, which others may
    /// share.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(crate) fn place(self, root: &Path, id: &str) -> Result<Group> {
        let folder = root.join(self.class.as_deref().unwrap_or(id));
        let is_there = sys::file::exists(&folder).map_err(Error::host("linux.intelRdt"))?;
        let fault = |reason: String| Err(Error::Usage(format!("linux.intelRdt: {reason}")));
        match (&self.class, is_there) {
            (Some(class), false) if self.schemata.is_empty() => {
                return fault(format!(
                    "closID {class:?} is not there, and no limits are given"
                ));
            }
            (None, true) => return fault(format!("the group {} is taken", folder.display())),
            (Some(class), true) if !self.schemata.is_empty() => {
                let text = sys::file::read(folder.join("schemata"), MAX_SCHEMATA)
                    .map_err(Error::host("linux.intelRdt"))?;
                if !holds(&String::from_utf8_lossy(&text), &self.schemata) {
                    return fault(format!("closID {class:?} is there and has other limits"));
                }
            }
            _ => {}
        }
        let monitor = self.monitored.then(|| folder.join("mon_groups").join(id));
        Ok(Group {
            schemata: match is_there {
                true => Vec::new(),
                false => self.schemata,
            },
            make: !is_there,
            folder,
            monitor,
        })
    }
}

impl Wanted {
    /// The group of a container that is there already, to be changed or made now; `made` are the folders that
    /// were made with it. A class that it shares with others is left: it gets a group of its own.
    ///
    /// # Errors
    /// [`Error::Usage`] for a group of that name that is not the container's.
    pub(crate) fn change(self, root: &Path, id: &str, made: &[PathBuf]) -> Result<Group> {
        let own = made.iter().find(|folder| folder.parent() == Some(root));
        let Some(folder) = own else {
            return Self {
                class: None,
                ..self
            }
            .place(root, id);
        };
        Ok(Group {
            folder: folder.clone(),
            make: false,
            schemata: self.schemata,
            monitor: None,
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.class {
            Some(class) => write!(f, "the resctrl class {class}")?,
            None => f.write_str("a resctrl group of its own")?,
        }
        if !self.schemata.is_empty() {
            write!(f, " with {}", self.schemata.join(", "))?;
        }
        if self.monitored {
            f.write_str(", accounted for by itself")?;
        }
        Ok(())
    }
}

/// Larger than any schemata file: a line a resource, a number a cache.
const MAX_SCHEMATA: u64 = 1 << 20;

/// Whether the schemata file `text` says what the lines of `wanted` say: the kernel writes numbers with
/// other zeroes and all caches, also those that nobody named.
fn holds(text: &str, wanted: &[String]) -> bool {
    let there = parse(text.lines());
    let wanted = parse(wanted.iter().map(String::as_str));
    wanted
        .iter()
        .all(|(key, value)| there.get(key) == Some(value))
}

/// (resource, cache) → value.
fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<(String, String), String> {
    let mut map = BTreeMap::new();
    for (resource, caches) in lines.filter_map(|line| line.trim().split_once(':')) {
        for (cache, value) in caches.split(';').filter_map(|part| part.split_once('=')) {
            let plain = |text: &str| text.trim().trim_start_matches('0').to_ascii_lowercase();
            map.insert((resource.to_owned(), plain(cache)), plain(value));
        }
    }
    map
}

/// A container's group, and what of it is made with the container and removed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    folder: PathBuf,
    make: bool,
    schemata: Vec<String>,
    monitor: Option<PathBuf>,
}

impl Group {
    /// The folders that will be made: to be recorded before they are.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let own = self.make.then(|| self.folder.clone());
        own.into_iter().chain(self.monitor.clone()).collect()
    }

    /// Makes the folders and sets the limits.
    ///
    /// # Errors
    /// As mkdir(2) and write(2); the kernel's own words, where it gives some.
    pub(crate) fn create(&self, root: &Path) -> Result<()> {
        let doing = || Error::host("linux.intelRdt");
        for folder in self.folders() {
            sys::file::create_dir(&folder, 0o755).map_err(doing())?;
        }
        if self.schemata.is_empty() {
            return Ok(());
        }
        let text = self.schemata.join("\n") + "\n";
        sys::kernfs::write(self.folder.join("schemata"), &text).map_err(|e| {
            let said = sys::file::read(root.join("info/last_cmd_status"), MAX_SCHEMATA);
            let said = said.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
            doing()(match said {
                Ok(said) if !said.is_empty() && said != "ok" => e.with_note(said),
                _ => e,
            })
        })
    }

    /// Puts a process in.
    ///
    /// # Errors
    /// As write(2).
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        add(&self.places(), pid)
    }

    /// The folders that a process of the container is put into.
    pub(crate) fn places(&self) -> Vec<PathBuf> {
        let folder = std::iter::once(self.folder.clone());
        folder.chain(self.monitor.clone()).collect()
    }
}

/// Puts a process into the groups at `places`.
///
/// # Errors
/// As write(2).
pub(crate) fn add(places: &[PathBuf], pid: i32) -> Result<()> {
    for folder in places {
        sys::kernfs::write(folder.join("tasks"), &pid.to_string())
            .map_err(Error::host("linux.intelRdt"))?;
    }
    Ok(())
}

/// Removes folders that were made, the inner ones first. What is gone is removed already.
pub(crate) fn remove(folders: &[PathBuf]) -> Result<()> {
    for folder in folders.iter().rev() {
        match sys::file::remove_dir(folder) {
            Err(e) if e.errno == sys::Errno::NOENT => {}
            result => result.map_err(Error::host("remove the resctrl group"))?,
        }
    }
    Ok(())
}

/// Where resctrl is mounted.
///
/// # Errors
/// [`Error::Usage`] where it is not: a container that asks for it would start without its limits.
pub(crate) fn root() -> Result<PathBuf> {
    let text = sys::proc::read("self/mountinfo").map_err(Error::host("linux.intelRdt"))?;
    mounted(&text).ok_or_else(|| {
        Error::Usage(
            "linux.intelRdt: no resctrl file system is mounted, or these processors have none"
                .to_owned(),
        )
    })
}

fn mounted(mountinfo: &str) -> Option<PathBuf> {
    let line = mountinfo.lines().find(|line| {
        line.split_once(" - ")
            .is_some_and(|(_, rest)| rest.starts_with("resctrl "))
    })?;
    line.split(' ').nth(4).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(json: &str) -> Result<Wanted, String> {
        let spec: LinuxIntelRdt = serde_json::from_str(json).unwrap();
        Wanted::read(&spec).map_err(|(field, reason)| format!("{field}: {reason}"))
    }

    #[test]
    fn a_class_can_not_lead_out_of_resctrl() {
        for class in ["../x", "/x", "..", ".", "info", "a/b", "mon_groups"] {
            let json = serde_json::json!({ "closID": class }).to_string();
            assert!(wanted(&json).unwrap_err().starts_with(".closID"), "{class}");
        }
    }

    #[test]
    fn the_lines_stand_in_their_order_and_under_their_names() {
        let asked =
            wanted(r#"{"l3CacheSchema":"L3:0=f","memBwSchema":"MB:0=50","schemata":["L2:0=1"]}"#);
        assert_eq!(asked.unwrap().schemata, ["L3:0=f", "MB:0=50", "L2:0=1"]);
        assert!(wanted(r#"{"l3CacheSchema":"MB:0=50"}"#).is_err());
        assert!(wanted(r#"{"schemata":["L3:0=f\nMB:0=1"]}"#).is_err());
    }

    #[test]
    fn the_kernels_way_of_writing_is_the_same_limit() {
        let text = "    L3:0=00ff;1=ffff\n    MB:0=  50;1= 100\n";
        let holds = |line: &str| holds(text, &[line.to_owned()]);
        assert!(holds("L3:0=ff") && holds("MB:1=100;0=50") && holds("L3:0=FF"));
        assert!(!holds("L3:0=f") && !holds("L2:0=ff"));
    }

    fn group(root: &Path, json: &str) -> Result<Group, String> {
        wanted(json)?.place(root, "c").map_err(|e| e.to_string())
    }

    #[test]
    fn only_what_is_made_for_the_container_is_removed_with_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        sys::file::create_dir(root.join("gold"), 0o755).unwrap();
        sys::file::replace(
            sys::file::open_dir(root.join("gold")).unwrap(),
            "schemata",
            b"L3:0=ff\n",
            0o600,
            sys::file::Durability::Memory,
        )
        .unwrap();
        let shared = group(
            root,
            r#"{"closID":"gold","l3CacheSchema":"L3:0=ff","enableMonitoring":true}"#,
        );
        assert_eq!(shared.unwrap().folders(), [root.join("gold/mon_groups/c")]);
        let other = group(root, r#"{"closID":"gold","l3CacheSchema":"L3:0=f"}"#).unwrap_err();
        assert!(other.ends_with("is there and has other limits"), "{other}");
        let missing = group(root, r#"{"closID":"tin"}"#).unwrap_err();
        assert!(missing.contains("is not there"), "{missing}");
        let own = group(root, r#"{"l3CacheSchema":"L3:0=f"}"#).unwrap();
        assert_eq!(own.folders(), [root.join("c")]);
        sys::file::create_dir(root.join("c"), 0o755).unwrap();
        assert!(
            group(root, r#"{"l3CacheSchema":"L3:0=f"}"#).is_err(),
            "its name is taken"
        );
        remove(&own.folders()).unwrap();
        remove(&own.folders()).unwrap();
        assert!(!sys::file::exists(root.join("c")).unwrap());
    }

    #[test]
    fn a_change_is_for_the_containers_own_group() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let asked = || wanted(r#"{"l3CacheSchema":"L3:0=3"}"#).unwrap();
        let made = asked().change(root, "c", &[]).unwrap();
        assert_eq!(made.folders(), [root.join("c")]);
        sys::file::create_dir(root.join("c"), 0o755).unwrap();
        assert!(asked().change(root, "c", &[]).is_err(), "it is another's");
        let changed = asked().change(root, "c", &[root.join("c")]).unwrap();
        assert_eq!(changed.folders(), Vec::<PathBuf>::new());
        assert_eq!(changed.schemata, ["L3:0=3"]);
    }

    #[test]
    fn resctrl_is_found_where_it_is_mounted() {
        let line = "31 24 0:27 / /sys/fs/resctrl rw,relatime shared:9 - resctrl resctrl rw\n";
        assert_eq!(mounted(line), Some("/sys/fs/resctrl".into()));
        assert_eq!(mounted("31 24 0:27 / /x rw - tmpfs resctrl rw\n"), None);
    }
}
