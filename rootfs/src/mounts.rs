//! The spec's mounts as steps that are ready to be carried out. Pure.
//! Not its job: carrying them out (that is [`mod@crate::attach`]).

use std::fmt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use sys::mount::{Depth, Propagation};

use crate::options::{IdMapped, MountOptions};
use crate::{Error, destination};

/// What a spec's `cgroup` mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupView {
    /// The container has a cgroup namespace of its own: a new cgroup2 mount shows its cgroup as the root.
    Namespace,
    /// It has none: its cgroup's directory on the host is bound. A new cgroup2 mount would show every
    /// cgroup of the host, and made from the first cgroup namespace it would also take the host's
    /// mount options (`nsdelegate`) away.
    Directory(PathBuf),
}

/// What the mounts of a spec are read with.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    /// The bundle's directory (absolute): relative sources of bind mounts start there.
    pub bundle: &'a Path,
    /// What `cgroup` mounts show.
    pub cgroup: CgroupView,
    /// `linux.rootfsPropagation`, understood: bind mounts without a word of their own get it too.
    pub propagation: Option<(Propagation, Depth)>,
}

/// One mount, ready to be made. `Display` says it in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountStep {
    /// Where, as a path from the container's root; always absolute.
    pub destination: PathBuf,
    /// What is mounted there.
    pub what: What,
    /// Its options.
    pub options: MountOptions,
}

/// What a step mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A file or directory of the host (absolute path).
    Bind {
        /// Where it is on the host.
        source: PathBuf,
        /// Whether what is mounted below comes along.
        depth: Depth,
    },
    /// A new file system.
    FileSystem {
        /// `proc`, `tmpfs`, `overlay`, ...
        kind: String,
        /// What the spec calls its source: a device for some, a mere name for others.
        source: Option<String>,
    },
    /// Nothing new: the mount that is there gets other attributes.
    Remount,
}

/// All mounts of a spec, in its order.
///
/// # Errors
/// [`Error::Field`] for the first that can't be made.
pub fn steps(mounts: &[Mount], around: &Surroundings<'_>) -> Result<Vec<MountStep>, Error> {
    mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| step(index, mount, around))
        .collect()
}

/// The spec's `mounts[index]` as a step.
///
/// # Errors
/// [`Error::Field`] with the field's JSON path and the reason.
pub fn step(index: usize, mount: &Mount, around: &Surroundings<'_>) -> Result<MountStep, Error> {
    let fail =
        |field: &str, reason: String| Error::field(format!("mounts[{index}]{field}"), reason);
    let destination =
        destination::absolute(mount.destination()).map_err(|r| fail(".destination", r))?;
    let mut options = MountOptions::parse(mount.options().iter().flatten())
        .map_err(|reason| fail(".options", reason))?;
    let maps = [mount.uid_mappings(), mount.gid_mappings()];
    if options.ids.is_none()
        && maps
            .iter()
            .any(|maps| maps.iter().flatten().next().is_some())
    {
        // The spec asks for the word too; the maps say clearly enough what is wanted.
        options.ids = Some(IdMapped {
            depth: Depth::One,
            words: None,
        });
    }
    let what = what(mount, &options, around).map_err(|(field, reason)| fail(field, reason))?;
    check_options(&what, &options).map_err(|reason| fail(".options", reason))?;
    destination::check_proc(&destination, &what).map_err(|reason| fail(".destination", reason))?;
    if matches!(what, What::Bind { .. }) && options.propagation.is_empty() {
        // What runc's binds get from the propagation it gives the whole tree first. Slave: the host's
        // later mounts below the source show inside, ours never show outside.
        let default = (Propagation::Slave, Depth::Recursive);
        options.propagation = vec![around.propagation.unwrap_or(default)];
    }
    Ok(MountStep {
        destination,
        what,
        options,
    })
}

type Fault = (&'static str, String);

fn what(mount: &Mount, options: &MountOptions, around: &Surroundings<'_>) -> Result<What, Fault> {
    let kind = mount.typ().as_deref().unwrap_or_default();
    let bind = match (options.bind, kind) {
        (Some(depth), _) => Some(depth),
        (None, "bind") => Some(Depth::One),
        (None, _) => None,
    };
    if options.remount {
        return Ok(What::Remount);
    }
    if let Some(depth) = bind {
        let source = mount
            .source()
            .as_ref()
            .filter(|source| !source.as_os_str().is_empty())
            .ok_or((".source", "a bind mount needs a source".to_owned()))?;
        let source = around.bundle.join(source);
        return Ok(What::Bind { source, depth });
    }
    match kind {
        "" | "none" => Err((".type", "it is missing, and there is no `bind`".to_owned())),
        "cgroup" | "cgroup2" => Ok(cgroup(around)),
        kind => Ok(What::FileSystem {
            kind: kind.to_owned(),
            source: source_words(mount)?,
        }),
    }
}

/// The source of a new file system as text; the kernel takes it as a string.
fn source_words(mount: &Mount) -> Result<Option<String>, Fault> {
    let Some(source) = mount.source() else {
        return Ok(None);
    };
    match source.to_str() {
        Some("") => Ok(None),
        Some(text) => Ok(Some(text.to_owned())),
        None => Err((".source", "it is not UTF-8".to_owned())),
    }
}

fn cgroup(around: &Surroundings<'_>) -> What {
    match &around.cgroup {
        CgroupView::Namespace => What::FileSystem {
            kind: "cgroup2".to_owned(),
            source: Some("cgroup".to_owned()),
        },
        CgroupView::Directory(directory) => What::Bind {
            source: directory.clone(),
            depth: Depth::One,
        },
    }
}

fn check_options(what: &What, options: &MountOptions) -> Result<(), String> {
    if options.copy_up && !matches!(what, What::FileSystem { kind, .. } if kind == "tmpfs") {
        return Err("`tmpcopyup`: only a tmpfs can begin with what it covers".to_owned());
    }
    if options.ids.is_some() && *what == What::Remount {
        return Err("`idmap`: a mount that is in use can't get other ids".to_owned());
    }
    let Some(data) = options.data.first() else {
        return Ok(());
    };
    let kind = match what {
        // The kernel would ignore it without a word; runc refuses it too.
        What::Bind { .. } => "a bind mount",
        What::Remount => "a remount",
        What::FileSystem { .. } => return Ok(()),
    };
    Err(format!(
        "`{}`: {kind} takes no option of a file system",
        data.key
    ))
}

impl fmt::Display for MountStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = self.destination.display();
        let mut words: Vec<&str> = self.options.words.iter().map(String::as_str).collect();
        match &self.what {
            What::Bind { source, depth } => {
                write!(f, "bind {} on {destination}", source.display())?;
                if *depth == Depth::Recursive {
                    words.push("recursive");
                }
            }
            What::FileSystem { kind, .. } => write!(f, "mount {kind} on {destination}")?,
            What::Remount => write!(f, "change the mount on {destination}")?,
        }
        if words.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::MountBuilder;

    fn around() -> Surroundings<'static> {
        Surroundings {
            bundle: Path::new("/b"),
            cgroup: CgroupView::Namespace,
            propagation: None,
        }
    }

    fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        MountBuilder::default()
            .destination(destination)
            .typ(kind)
            .source(source)
            .options(options)
            .build()
            .unwrap()
    }

    fn one(mount: &Mount) -> Result<MountStep, String> {
        step(3, mount, &around()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_step_says_what_it_does_in_plain_words() {
        let proc = one(&mount("/proc", "proc", "proc", &["nosuid", "noexec"])).unwrap();
        assert_eq!(proc.to_string(), "mount proc on /proc (nosuid, noexec)");
        let bind = one(&mount("/b", "", "/a", &["rbind", "ro"])).unwrap();
        assert_eq!(bind.to_string(), "bind /a on /b (ro, recursive)");
        let plain = one(&mount("/dev/shm", "tmpfs", "shm", &[])).unwrap();
        assert_eq!(plain.to_string(), "mount tmpfs on /dev/shm");
    }

    #[test]
    fn relative_paths_start_at_the_root_and_at_the_bundle() {
        let step = one(&mount("y/../data/./x/", "bind", "vol", &[])).unwrap();
        assert_eq!(step.destination, Path::new("/data/x"));
        assert_eq!(
            step.what,
            What::Bind {
                source: "/b/vol".into(),
                depth: Depth::One
            }
        );
    }

    #[test]
    fn a_bind_without_a_word_for_it_only_receives_the_hosts_mounts() {
        let slave = [(Propagation::Slave, Depth::Recursive)];
        let step = one(&mount("/x", "", "/a", &["rbind"])).unwrap();
        assert_eq!(step.options.propagation, slave);
        let step = one(&mount("/x", "", "/a", &["rbind", "rshared"])).unwrap();
        assert_eq!(
            step.options.propagation,
            [(Propagation::Shared, Depth::Recursive)]
        );
        let step = one(&mount("/x", "tmpfs", "", &[])).unwrap();
        assert!(step.options.propagation.is_empty());
    }

    #[test]
    fn faults_name_the_field_and_the_value() {
        let table = [
            (
                mount("/", "tmpfs", "", &[]),
                "mounts[3].destination: `/` is the container's root itself",
            ),
            (
                mount("/a/../../", "tmpfs", "", &[]),
                "mounts[3].destination: `/a/../../` is the container's root itself",
            ),
            (
                mount("/a", "", "", &["ro"]),
                "mounts[3].type: it is missing, and there is no `bind`",
            ),
            (
                mount("/a", "bind", "", &["ro"]),
                "mounts[3].source: a bind mount needs a source",
            ),
            (
                mount("/a", "", "/x", &["bind", "size=3"]),
                "mounts[3].options: `size`: a bind mount takes no option of a file system",
            ),
            (
                mount("/a", "", "", &["remount", "idmap"]),
                "mounts[3].options: `idmap`: a mount that is in use can't get other ids",
            ),
            (
                mount("/proc/self/attr", "tmpfs", "x", &[]),
                "mounts[3].destination: `/proc/self/attr`: only a procfs may be mounted on /proc, and nothing over its files",
            ),
            (
                mount("/x/../proc", "tmpfs", "x", &[]),
                "mounts[3].destination: `/proc`: only a procfs may be mounted on /proc, and nothing over its files",
            ),
        ];
        for (mount, words) in table {
            assert_eq!(one(&mount).unwrap_err(), words);
        }
    }

    #[test]
    fn lxcfs_may_cover_its_files() {
        assert!(one(&mount("/proc/meminfo", "", "/var/lib/lxcfs/m", &["bind"])).is_ok());
    }

    #[test]
    fn a_cgroup_mount_without_a_namespace_shows_the_containers_own_directory() {
        let spec = mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
        assert_eq!(
            one(&spec).unwrap().to_string(),
            "mount cgroup2 on /sys/fs/cgroup (ro)"
        );
        let around = Surroundings {
            cgroup: CgroupView::Directory("/sys/fs/cgroup/unified/c1".into()),
            ..around()
        };
        assert_eq!(
            step(0, &spec, &around).unwrap().to_string(),
            "bind /sys/fs/cgroup/unified/c1 on /sys/fs/cgroup (ro)"
        );
    }
}
