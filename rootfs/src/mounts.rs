//! The spec's mounts as steps that are ready to be carried out. Pure.
//! Not its job: carrying them out (that is [`mod@crate::attach`]).

use std::fmt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use sys::mount::{Depth, Propagation};

use crate::options::{Data, IdMapped, MountOptions};
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
    /// It has no cgroup of its own either: the caller's is bound, never writable (CVE-2023-25809).
    Callers(PathBuf),
}

/// An SELinux label, and how a mount says it.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// The mount option: `context`, or the one that `run.oci.mount_context_type` names.
    pub option: &'a str,
    /// `system_u:object_r:container_file_t:s0:c1,c2`.
    pub label: &'a str,
}

/// What the mounts of a spec are read with.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    /// The bundle's directory (absolute): relative sources of bind mounts start there.
    pub bundle: &'a Path,
    /// What `cgroup` mounts show.
    pub cgroup: CgroupView,
    /// The SELinux label of new file systems (`linux.mountLabel`).
    pub label: Option<Label<'a>>,
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
    /// When a read-only mount becomes so.
    pub lock: Lock,
    /// The SELinux label that its root gets as an attribute, where no option of the mount can say it.
    pub label: Option<String>,
}

/// When `ro` takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// From the start.
    AtOnce,
    /// When all else is mounted: mount points and device files are made in it first, as runc does for
    /// every tmpfs and for /dev.
    Late,
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

impl What {
    /// Whether what is mounted may depend on the network namespace of who mounts it: all but the file systems that
    /// are known not to.
    pub fn shows_network(&self) -> bool {
        const WITHOUT: [&str; 5] = ["proc", "tmpfs", "devpts", "mqueue", "cgroup2"];
        match self {
            Self::FileSystem { kind, .. } => !WITHOUT.contains(&kind.as_str()),
            Self::Bind { .. } | Self::Remount => false,
        }
    }
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
    let mut options = MountOptions::parse(mount.options().iter().flatten());
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
    let shown = shows_cgroups(mount, &destination, &options, around);
    if shown && !sys::fault::broken("no-read-only-cgroup") {
        options.read_only_all();
    }
    let label = label(&what, &mut options, around);
    let late = match &what {
        What::FileSystem { kind, .. } => kind == "tmpfs" || destination == Path::new("/dev"),
        What::Bind { .. } | What::Remount => false,
    };
    Ok(MountStep {
        lock: match late && options.is_read_only() {
            true => Lock::Late,
            false => Lock::AtOnce,
        },
        destination,
        what,
        options,
        label,
    })
}

/// Whether a mount shows cgroups of the host that the container must not write (CVE-2023-25809): a bind of
/// /sys has them below, where its `ro` would not reach; and a container without a cgroup of its own sees
/// the caller's.
fn shows_cgroups(
    mount: &Mount,
    destination: &Path,
    options: &MountOptions,
    around: &Surroundings<'_>,
) -> bool {
    let kind = mount.typ().as_deref();
    let callers = matches!(around.cgroup, CgroupView::Callers(_));
    match (options.bind, kind) {
        (None, Some("cgroup" | "cgroup2")) => callers,
        (Some(Depth::Recursive), _) => destination == Path::new("/sys") && options.is_read_only(),
        _ => false,
    }
}

/// Labels a new file system: by an option where it takes one, as an attribute of its root where it does
/// not. proc, sysfs and cgroup2 are labelled by the policy alone. As runc does.
fn label(what: &What, options: &mut MountOptions, around: &Surroundings<'_>) -> Option<String> {
    let Label { option, label } = around.label?;
    match what {
        What::FileSystem { kind, .. } => match kind.as_str() {
            "proc" | "sysfs" | "cgroup2" => None,
            "mqueue" => Some(label.to_owned()),
            _ => {
                options.data.push(Data {
                    key: option.to_owned(),
                    value: Some(label.to_owned()),
                });
                None
            }
        },
        What::Bind { .. } | What::Remount => None,
    }
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
        CgroupView::Directory(directory) | CgroupView::Callers(directory) => What::Bind {
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
        What::Remount | What::FileSystem { .. } => return Ok(()),
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
mod tests;
