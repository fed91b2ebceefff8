//! A container's cgroup before it is made, and its making: in the file system, by systemd, or not at all.
//! Not its job: where cgroups lie and what limits mean (cgroups), and taking it back (create, delete).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cgroups::devices::Filter;
use cgroups::systemd::{self, Scope};
use cgroups::{Cgroup, Driver, Location, Write};
use namespaces::{NamespaceSet, Rights};
use oci_spec::runtime::{LinuxResources, Spec};
use sys::process::{CloneRequest, Cloned, Pid, Process};

use crate::life::options::{CreateOptions, Rootless};
use crate::plan::CgroupFacts;
use crate::process::parent;
use crate::state::Unit;
use crate::{Error, Result};

/// A container's cgroup before it is made.
#[derive(Debug)]
pub(crate) struct CgroupPlan {
    pub(crate) location: Location,
    pub(crate) writes: Vec<Write>,
    filter: Option<Filter>,
    /// The unit to be made of it, if systemd makes it.
    scope: Option<Scope>,
    /// Where the container's processes live below it; nothing for in it.
    inner: PathBuf,
    /// Whose it is to be.
    owner: Option<u32>,
}

impl CgroupPlan {
    /// The directory of the cgroup in which the container's processes live.
    pub(crate) fn home(&self) -> PathBuf {
        match self.inner.as_os_str().is_empty() {
            true => self.location.directory.clone(),
            false => self.location.directory.join(&self.inner),
        }
    }

    /// systemd's unit, for the record.
    pub(crate) fn unit(&self) -> Option<Unit> {
        self.scope.as_ref().map(|scope| Unit {
            name: scope.name().to_owned(),
            of_user: systemd::Whose::ours() == systemd::Whose::User,
        })
    }

    /// What the plan says of it.
    pub(crate) fn facts(&self) -> CgroupFacts {
        let mut path = self.location.name();
        for part in self.inner.components() {
            path.push('/');
            path.push_str(&part.as_os_str().to_string_lossy());
        }
        CgroupFacts {
            path,
            directory: self.home(),
            writes: self
                .writes
                .iter()
                .map(|w| format!("{}={}", w.file, w.value))
                .collect(),
            device_filter: self.filter.is_some(),
        }
    }
}

/// The cgroup's place and limits. A caller without rights, who has no cgroup to make one in, goes without
/// if no limit and no place is asked for.
pub(crate) fn find(
    options: &CreateOptions,
    set: &NamespaceSet,
    rights: Rights,
) -> Result<Option<CgroupPlan>> {
    let linux = options.spec.linux().as_ref();
    let resources = linux.and_then(|l| l.resources().as_ref());
    let path = linux
        .and_then(|l| l.cgroups_path().as_ref())
        .map(|p| p.to_string_lossy());
    let writes = match resources {
        Some(resources) => cgroups::limits::writes(resources)?,
        None => Vec::new(),
    };
    let unasked = path.as_deref().is_none_or(str::is_empty) && writes.is_empty();
    let is_missing = match options.rootless {
        _ if options.driver == Driver::Systemd => false,
        Rootless::Auto => rights == Rights::Few,
        Rootless::Yes => rights == Rights::Few || !cgroups::can_make()?,
        Rootless::No => false,
    };
    if options.driver == Driver::Disabled {
        return without(&writes);
    }
    if is_missing && unasked {
        return Ok(None);
    }
    let empty = Default::default();
    let annotations = options.spec.annotations().as_ref().unwrap_or(&empty);
    let scope = match options.driver {
        Driver::Systemd => Some(Scope::find(
            path.as_deref(),
            options.id.as_str(),
            annotations,
        )?),
        Driver::FileSystem | Driver::Disabled => None,
    };
    let location = match &scope {
        Some(scope) => scope.location.clone(),
        None => Location::find(path.as_deref(), options.id.as_str())?,
    };
    refuse_populated(&location)?;
    let annotation = |key: &str| annotations.get(key).map(String::as_str);
    Ok(Some(CgroupPlan {
        inner: cgroups::inner::place(annotation, scope.is_some())?,
        filter: filter(resources, rights)?,
        owner: owner(&options.spec, set).filter(|_| rights == Rights::Full),
        location,
        writes,
        scope,
    }))
}

/// Without a cgroup there are no limits. The rules for devices every caller passes, who then says that it
/// wants none: they are no limit that somebody asked for.
fn without(writes: &[Write]) -> Result<Option<CgroupPlan>> {
    match writes.first() {
        None => Ok(None),
        Some(write) => Err(Error::Usage(format!(
            "{}: --cgroup-manager disabled makes no cgroup, in which it could be set",
            write.field
        ))),
    }
}

/// Below a user namespace no program can be attached, and none is needed: mknod(2) is denied there.
fn filter(resources: Option<&LinuxResources>, rights: Rights) -> Result<Option<Filter>> {
    let rules = resources
        .and_then(|r| r.devices().as_deref())
        .unwrap_or_default();
    match rights {
        Rights::Full => Ok(Some(Filter::new(rules)?)),
        Rights::Few => Ok(None),
    }
}

/// Who gets the cgroup, as runc has it: the container's user, where the container has a cgroup namespace and
/// the cgroup file system to write to. It is then the root of all that it sees.
fn owner(spec: &Spec, set: &NamespaceSet) -> Option<u32> {
    let has_namespace = set.create & namespaces::Namespace::Cgroup.flag() != 0;
    let is_writable = spec.mounts().iter().flatten().any(|mount| {
        let is_cgroup = matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
        let words = mount.options().as_deref().unwrap_or_default();
        is_cgroup
            && mount.destination().as_path() == Path::new("/sys/fs/cgroup")
            && !words.iter().any(|word| word == "ro" || word == "rro")
    });
    if !has_namespace || !is_writable {
        return None;
    }
    let uid = spec.process().as_ref().map_or(0, |p| p.user().uid());
    let outside = match &set.id_maps {
        Some(maps) => maps.uid.outside(uid)?,
        // Of a user namespace that is joined we know no ids.
        None if set
            .join
            .iter()
            .any(|j| j.namespace == namespaces::Namespace::User) =>
        {
            return None;
        }
        None => uid,
    };
    // What is root's stays root's.
    Some(outside).filter(|uid| *uid != 0)
}

/// Said before the intent is recorded: what the record names, `delete --force` ends.
fn refuse_populated(location: &Location) -> Result<()> {
    let Some(cgroup) = Cgroup::open(&location.directory)? else {
        return Ok(());
    };
    if cgroup.populated()? {
        let path = location.name();
        return Err(Error::Words(format!(
            "linux.cgroupsPath {path}: container's cgroup is not empty"
        )));
    }
    Ok(())
}

/// A cgroup that has been made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The one with the limits.
    pub(crate) cgroup: Cgroup,
    /// The one below it in which the container's processes live, if that is another.
    inner: Option<Cgroup>,
    /// The filter that is still to be put on it.
    filter: Option<Filter>,
    /// What keeps a scope until the container's first process is in it.
    held: Option<(Holder, Scope, Vec<Write>)>,
}

impl Made {
    /// Where the first process is born.
    pub(crate) fn home(&self) -> &Cgroup {
        self.inner.as_ref().unwrap_or(&self.cgroup)
    }

    /// Puts the device filter on it.
    pub(crate) fn filter_devices(&mut self) -> Result<()> {
        match self.filter.take() {
            Some(filter) => Ok(unless_nested(filter.attach(&self.cgroup))?),
            None => Ok(()),
        }
    }

    /// The first process is there: its place need not be held any longer.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let Some((holder, mut scope, late)) = self.held.take() else {
            return Ok(());
        };
        drop(holder);
        if late.is_empty() {
            return Ok(());
        }
        scope.settle(&late)?;
        Ok(self.cgroup.apply(&late)?)
    }
}

/// Makes the cgroup with its limits, before any process of the container's is in it.
pub(crate) fn make(plan: CgroupPlan) -> Result<Made> {
    let CgroupPlan {
        location,
        writes,
        filter,
        scope,
        inner,
        owner,
    } = plan;
    let unit = scope.as_ref().map(|scope| scope.name().to_owned());
    let made = match scope {
        Some(scope) => in_scope(scope, &location, writes),
        None => in_files(&location, &writes),
    };
    let made = made.and_then(|mut made| {
        made.filter = filter;
        if !inner.as_os_str().is_empty() {
            let holder = made.held.as_ref().map(|(holder, ..)| holder.pid());
            made.inner = Some(made.cgroup.make_below(&inner, holder)?);
        }
        if let Some(uid) = owner {
            made.home().give_to(uid)?;
        }
        Ok(made)
    });
    made.map_err(|error| {
        let unit = unit.map(|name| Unit {
            name,
            of_user: systemd::Whose::ours() == systemd::Whose::User,
        });
        match remove(
            &location.directory,
            location.made_from.as_deref(),
            unit.as_ref(),
        ) {
            Ok(()) => error,
            Err(e) => Error::AndThen {
                first: Box::new(error),
                notes: vec![crate::error::chain(&e)],
            },
        }
    })
}

fn in_files(location: &Location, writes: &[Write]) -> Result<Made> {
    let cgroup = Cgroup::create(location, writes)?;
    cgroup.apply(writes)?;
    Ok(Made {
        cgroup,
        inner: None,
        filter: None,
        held: None,
    })
}

/// systemd makes no scope without a process; the container's own is to be born inside, with all limits in
/// place. So a process that only waits keeps it until then.
fn in_scope(mut scope: Scope, location: &Location, writes: Vec<Write>) -> Result<Made> {
    let holder = Holder::new()?;
    scope.start(holder.pid(), &writes)?;
    let cgroup = Cgroup::open(&location.directory)?.ok_or_else(|| {
        Error::Words(format!(
            "unit {}: systemd started it, but its cgroup is not at {}",
            scope.name(),
            location.directory.display()
        ))
    })?;
    // The holder counts: a limit of one process holds once it has gone.
    let (late, now): (Vec<_>, Vec<_>) = writes
        .into_iter()
        .partition(|write| write.file == "pids.max" && matches!(write.value.as_str(), "0" | "1"));
    cgroup.hand_down(&now)?;
    cgroup.apply(&now)?;
    Ok(Made {
        cgroup,
        inner: None,
        filter: None,
        held: Some((holder, scope, late)),
    })
}

/// Root of another user namespace than the first can load no device filter; there mknod(2) makes no device
/// either, so none is needed. Anywhere else a filter that can't be had stops the start.
fn unless_nested(attached: cgroups::Result<()>) -> cgroups::Result<()> {
    match attached {
        Err(e) if e.is_device_filter_forbidden() && sys::privileges::is_nested() => Ok(()),
        result => result,
    }
}

/// Removes a container's cgroup, whose processes have been killed, and systemd's unit with it.
pub(crate) fn remove(
    directory: &Path,
    made_from: Option<&Path>,
    unit: Option<&Unit>,
) -> Result<()> {
    let stopped = match unit {
        Some(unit) => systemd::stop(unit.whose(), &unit.name),
        None => Ok(()),
    };
    cgroups::delete(directory, made_from)?;
    // Without its cgroup a scope is none: that systemd could not be told is no reason to keep the rest.
    if let Err(error) = stopped {
        sys::log::debug(format_args!("{}", crate::error::chain(&error)));
    }
    Ok(())
}

/// A process that waits for its end, which comes with ours at the latest.
#[derive(Debug)]
struct Holder {
    process: Process,
    /// Closed when it is dropped, or when we end.
    _end: OwnedFd,
}

impl Holder {
    fn new() -> Result<Self> {
        let doing = "make a process to begin a unit with";
        let (ours, theirs) = sys::socket::pair().map_err(Error::host(doing))?;
        match sys::process::clone(&CloneRequest::default()).map_err(Error::host(doing))? {
            Cloned::Parent(process) => Ok(Self {
                process,
                _end: ours,
            }),
            Cloned::Child => {
                // If we ended before it asked, the socket's end tells; later the kernel does.
                drop(ours);
                let _ = sys::process::die_with_parent(Some(sys::process::Signal::KILL));
                let _ = sys::socket::receive(&theirs, &mut [0; 1]);
                sys::process::exit(0)
            }
        }
    }

    fn pid(&self) -> Pid {
        self.process.pid
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        parent::kill(&self.process);
    }
}
