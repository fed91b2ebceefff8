//! All that `create` finds out and makes ready before anything is made on the host: the plan, the cgroup's
//! place and writes, descriptors of what the first process will need. What is wrong is found here.
//! Not its job: acts that leave something behind (create).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use namespaces::join::{Opened, open_all};
use namespaces::{MountIds, Namespace, NamespaceSet, Rights, Shape};
use oci_spec::runtime::Spec;
use rootfs::{MountStep, What};
use sys::exec::CStrings;
use sys::privileges::Capabilities;
use sys::seccomp::Filter;

use crate::entering::Entering;
use crate::life::cgroup::{self, CgroupPlan};
use crate::life::options::{Begin, CreateOptions, RootSource};
use crate::lsm::Modules;
use crate::notify;
use crate::plan::{Plan, Request, RootPlace, Step};
use crate::privileges::groups_denied;
use crate::rdt::{Group, Wanted};
use crate::validate::validate;
use crate::{Error, Result};

/// CAP_SYS_ADMIN's bit.
const SYS_ADMIN: u64 = 1 << 21;

/// A start that is thought through.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) set: NamespaceSet,
    pub(crate) plan: Plan,
    pub(crate) cgroup: Option<CgroupPlan>,
    /// Its share of caches and memory bandwidth, and where resctrl is.
    pub(crate) rdt: Option<(Group, PathBuf)>,
    pub(crate) rights: Rights,
    /// Whether we are in another user namespace than the first.
    pub(crate) nested: bool,
    /// Whether setgroups(2) is denied inside.
    pub(crate) groups_denied: bool,
}

/// What this process may do on the host.
pub(crate) fn rights() -> Result<Rights> {
    held().map(|held| rights_of(&held))
}

fn held() -> Result<Capabilities> {
    sys::privileges::capabilities().map_err(Error::host("read our capabilities"))
}

fn rights_of(held: &Capabilities) -> Rights {
    match held.effective & SYS_ADMIN {
        0 => Rights::Few,
        _ => Rights::Full,
    }
}

/// Warns of what the program can't be given by a process that holds `held`.
pub(crate) fn doubt(plan: &Plan, held: u64) {
    let credentials = plan.init.iter().find_map(|step| match step {
        Step::Drop(credentials) => Some(credentials),
        _ => None,
    });
    for words in credentials.iter().flat_map(|c| c.doubts(held)) {
        sys::log::warn(format_args!("process.capabilities: {words}"));
    }
}

/// Thinks a start through; makes nothing.
pub(crate) fn think(options: &CreateOptions) -> Result<Prepared> {
    validate(&options.spec).map_err(Error::Invalid)?;
    let held = held()?;
    let rights = rights_of(&held);
    let set = NamespaceSet::from_spec(&options.spec)?;
    let cgroup = cgroup::find(options, &set, rights)?;
    let nested = sys::privileges::is_nested();
    let request = Request {
        id: &options.id,
        bundle: &options.bundle,
        root: match &options.root {
            RootSource::Folder(path) => RootPlace::Folder(path.clone()),
            RootSource::Mount(_) => RootPlace::Mount,
            RootSource::Layers(layers) => RootPlace::Layers(layers.lower.len()),
        },
        cgroup: cgroup.as_ref().map(CgroupPlan::facts),
        own_cgroup: match cgroup {
            Some(_) => std::path::PathBuf::new(),
            None => cgroups::own()?,
        },
        rights,
        single_id: set
            .id_maps
            .as_ref()
            .is_some_and(|maps| maps.gid.is_single()),
        modules: Modules::needed(
            options.spec.process().as_ref(),
            options.spec.linux().as_ref(),
        ),
        no_pivot: options.no_pivot,
        keep_keyring: options.keep_keyring,
        begins_at_once: options.begin == Begin::AtOnce,
        may_return: !set.creates(Namespace::Network) || !nested,
        given_stdio: matches!(options.stdio, crate::Stdio::Given(_)),
    };
    let plan = Plan::new(&options.spec, &request)?;
    terminal(options)?;
    // In a user namespace of its own it holds all.
    let held = match set.has(Namespace::User) {
        true => u64::MAX,
        false => held.permitted,
    };
    doubt(&plan, held);
    if sys::log::is_heard() {
        for line in plan.to_string().lines() {
            sys::log::debug(format_args!("plan: {line}"));
        }
    }
    Ok(Prepared {
        set,
        plan,
        cgroup,
        rdt: rdt(options)?,
        rights,
        nested,
        groups_denied: rights == Rights::Few && request.single_id,
    })
}

fn rdt(options: &CreateOptions) -> Result<Option<(Group, PathBuf)>> {
    let linux = options.spec.linux().as_ref();
    let Some(spec) = linux.and_then(|l| l.intel_rdt().as_ref()) else {
        return Ok(None);
    };
    let wanted = Wanted::read(spec)
        .map_err(|(field, reason)| Error::Usage(format!("linux.intelRdt{field}: {reason}")))?;
    let root = crate::rdt::root()?;
    Ok(Some((wanted.place(&root, options.id.as_str())?, root)))
}

/// The plan of a start, for people.
///
/// # Errors
/// As `create`, as far as it can be known before anything is made.
pub fn plan(options: &CreateOptions) -> Result<Plan> {
    think(options).map(|prepared| prepared.plan)
}

fn terminal(options: &CreateOptions) -> Result<()> {
    let wanted = options
        .spec
        .process()
        .as_ref()
        .is_some_and(|p| p.terminal().unwrap_or(false));
    match (wanted, options.console_socket.is_some()) {
        (true, false) => Err(Error::Usage(
            "process.terminal is true: --console-socket is needed, to which its terminal is sent"
                .to_owned(),
        )),
        (false, true) => Err(Error::Usage(
            "--console-socket is given, but process.terminal is not true".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// What is opened for the first process before it is born.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) mounts: Vec<Option<OwnedFd>>,
    pub(crate) root_mount: Option<OwnedFd>,
    pub(crate) joins: Vec<Opened>,
    pub(crate) step_in: Vec<Opened>,
    pub(crate) filter: Option<Filter>,
    pub(crate) args: CStrings,
    pub(crate) env: Vec<String>,
    /// Whether setgroups(2) is denied to ourselves, in the user namespace of somebody without root.
    pub(crate) groups_denied: bool,
}

/// Opens it: sources of binds, the root, namespaces; compiles the filter.
pub(crate) fn open(prepared: &Prepared, options: &mut CreateOptions) -> Result<Opening> {
    let mut made = std::mem::take(&mut options.mounts);
    let (joins, step_in) = match Shape::of(&prepared.set, prepared.rights) {
        Shape::Direct(start) => (start.join, start.step_in),
        Shape::Staged(stage) => (stage.join, Vec::new()),
    };
    let process = options.spec.process().as_ref();
    let args = process
        .and_then(|p| p.args().as_deref())
        .unwrap_or_default();
    Ok(Opening {
        mounts: mounts(prepared, options, &mut made)?,
        root_mount: root_mount(&options.root, prepared.rights)?,
        joins: open_all(&joins)?,
        step_in: open_all(&step_in)?,
        filter: filter(&options.spec)?,
        args: CStrings::new(args).map_err(Error::host("process.args"))?,
        env: process.and_then(|p| p.env().clone()).unwrap_or_default(),
        groups_denied: prepared.nested
            && groups_denied().map_err(Error::host("ask whether groups can be set"))?,
    })
}

/// What the first process is given for each mount. Bind sources are opened with our rights: a container's
/// root user may not reach them by path. But for what is made later than this: the container's own cgroup,
/// which everybody can reach, and the folder of its notify socket.
fn mounts(
    prepared: &Prepared,
    options: &CreateOptions,
    made: &mut BTreeMap<usize, OwnedFd>,
) -> Result<Vec<Option<OwnedFd>>> {
    let spec = &options.spec;
    let own_cgroup = prepared.cgroup.as_ref().map(CgroupPlan::home);
    let notify = options.notify.as_ref().map(|_| notify::folder(options));
    let mut held = Vec::new();
    let mut open = |index: usize, step: &MountStep| match &step.what {
        What::Bind { .. } if made.contains_key(&index) => Ok(made.remove(&index)),
        _ if prepared.rights == Rights::Few => few(index, step).map(|()| None),
        What::Bind { source, .. } if Some(source) == own_cgroup.as_ref() => Ok(None),
        What::Bind { source, .. } if Some(source) == notify.as_ref() => Ok(None),
        _ => Ok(rootfs::prepare(
            step,
            ids(prepared, spec, (index, step), &mut held)?,
        )?),
    };
    let steps = prepared.plan.init.iter().filter_map(|step| match step {
        Step::Mount(index, mount) => Some((*index, mount.as_ref())),
        _ => None,
    });
    steps.map(|(index, step)| open(index, step)).collect()
}

/// The kernel lets nobody else map the ids of the host's file systems (mount_setattr(2)).
fn few(index: usize, step: &MountStep) -> Result<()> {
    match &step.options.ids {
        None => Ok(()),
        Some(_) => Err(Error::Words(format!(
            "mounts[{index}].options: `idmap`: only root on the host may map the ids of a mount"
        ))),
    }
}

/// The user namespace whose ids an id-mapped mount gets. Mounts with the same ids share one.
fn ids(
    prepared: &Prepared,
    spec: &Spec,
    (index, step): (usize, &MountStep),
    held: &mut Vec<(MountIds, OwnedFd)>,
) -> Result<Option<OwnedFd>> {
    let Some(mapped) = &step.options.ids else {
        return Ok(None);
    };
    let Some(mount) = spec.mounts().iter().flatten().nth(index) else {
        return Ok(None);
    };
    if prepared.set.has(Namespace::User) && !matches!(step.what, What::Bind { .. }) {
        return Err(Error::Words(format!(
            "mounts[{index}].options: `idmap`: a new file system has the ids of the container's user namespace already"
        )));
    }
    let ids = MountIds::of(index, mount, mapped.words.as_deref(), &prepared.set)?;
    let known = match held.iter().position(|(known, _)| *known == ids) {
        Some(known) => known,
        None => {
            let namespace = ids.open()?;
            held.push((ids, namespace));
            held.len() - 1
        }
    };
    held[known]
        .1
        .try_clone()
        .map(Some)
        .map_err(|e| Error::host("a user namespace")(sys::SysError::from_io("dup", "", &e)))
}

fn root_mount(root: &RootSource, rights: Rights) -> Result<Option<OwnedFd>> {
    match root {
        RootSource::Mount(fd) => fd
            .try_clone()
            .map(Some)
            .map_err(|e| Error::host("the root")(sys::SysError::from_io("dup", "", &e))),
        // Made when its folder is: after the record.
        RootSource::Layers(_) => Ok(None),
        RootSource::Folder(path) if rights == Rights::Full && rootfs::detached() => {
            Ok(Some(rootfs::open_root(path)?))
        }
        RootSource::Folder(path) => {
            // The first process opens it itself; that it is there is said now.
            sys::file::open_dir(path).map_err(Error::host("root.path"))?;
            Ok(None)
        }
    }
}

/// What a further process of the container will need to know.
pub(crate) fn entering(prepared: &Prepared, options: &CreateOptions) -> Result<Option<Entering>> {
    let filter = filter(&options.spec)?;
    Ok(Entering::of(
        &options.spec,
        &prepared.set,
        prepared.groups_denied,
        !options.keep_keyring,
        filter.as_ref(),
        None,
    ))
}

fn filter(spec: &Spec) -> Result<Option<Filter>> {
    match spec.linux().as_ref().and_then(|l| l.seccomp().as_ref()) {
        Some(profile) => crate::seccomp::filter(profile).map(Some),
        None => Ok(None),
    }
}
