//! `Plan::new`: the order of the whole start. **This is the one place that knows it**; each rule is a
//! comment at its line. Pure: it looks at the spec and at facts that were asked before.
//! Not its job: doing anything.

use std::path::PathBuf;

use namespaces::{Join, Namespace, NamespaceSet, Rights, Shape, Start};
use oci_spec::runtime::{Linux, Spec};
use rootfs::mounts::Lock;
use rootfs::{CgroupView, Device, MountStep, Nodes, Surroundings};
use sys::mount::{Depth, Propagation};

use crate::conditions::Conditions;
use crate::hooks::HookEntry;
use crate::lsm;
use crate::plan::program::{Program, console_size};
use crate::plan::{ParentStep, Plan, Request, Step, outside};
use crate::{Error, Result};

impl Plan {
    /// The start of the container that `spec` describes.
    ///
    /// # Errors
    /// What the spec asks for and can't be had, by its field.
    pub fn new(spec: &Spec, request: &Request<'_>) -> Result<Self> {
        let set = NamespaceSet::from_spec(spec)?;
        let shape = Shape::of(&set, request.rights).of_caller(request.may_return);
        let conditions = Conditions::of_spec(spec, request.modules)?;
        let mut plan = Self {
            parent: outside::steps(spec, &set, &shape, request, &conditions),
            stage: Vec::new(),
            init: Vec::new(),
            clone: 0,
            stage_clone: 0,
        };
        // First of all: whatever happens to dhow from here on, nothing is left running.
        plan.init.push(Step::DieWithDhow);
        match shape {
            Shape::Direct(start) => {
                plan.clone = start.clone;
                if set.creates(Namespace::User) {
                    ask_id_maps(&set, &mut plan.init);
                }
                enter(&start, &mut plan.init);
            }
            Shape::Staged(stage) => {
                plan.stage.push(Step::DieWithDhow);
                if stage.new_user {
                    plan.clone = Namespace::User.flag();
                    ask_id_maps(&set, &mut plan.stage);
                }
                if !stage.join.is_empty() {
                    // As in `enter`.
                    plan.stage.push(Step::ForbidTracing);
                    join(stage.join, &mut plan.stage);
                }
                plan.stage.push(Step::CloneInit(stage.then.clone));
                plan.stage_clone = stage.then.clone;
                if set.creates(Namespace::User) && !stage.new_user {
                    ask_id_maps(&set, &mut plan.init);
                }
                enter(&stage.then, &mut plan.init);
            }
        }
        let builder = Builder {
            spec,
            request,
            set: &set,
            network_beside: plan.parent.contains(&ParentStep::MakeNetwork),
            conditions,
        };
        builder.isolate(&mut plan.init);
        builder.root(&mut plan.init)?;
        builder.protect(&mut plan.init)?;
        if builder.shares_mounts() {
            plan.init.push(Step::LeaveWorkshop);
        }
        builder.process(&mut plan.init)?;
        Ok(plan)
    }
}

/// The first process of a user namespace has no id that counts until the maps are written.
fn ask_id_maps(set: &NamespaceSet, steps: &mut Vec<Step>) {
    steps.push(Step::AskIdMaps);
    if set
        .id_maps
        .as_ref()
        .is_some_and(|maps| maps.uid.outside(0).is_some())
    {
        steps.push(Step::BecomeRoot);
    }
}

fn enter(start: &Start, steps: &mut Vec<Step>) {
    // Before any foreign namespace is entered: processes there must not look into this one, which still
    // has the host's files open (CVE-2016-9962). After the id maps: their writer needs our /proc files.
    steps.push(Step::ForbidTracing);
    if !start.join.is_empty() {
        join(start.join.clone(), steps);
    }
    if start.unshare != 0 {
        // The cgroup namespace takes the cgroup in which we are now as its root: the container's own.
        steps.push(Step::Unshare(start.unshare));
    }
}

fn join(list: Vec<Join>, steps: &mut Vec<Step>) {
    let enters_user = list.iter().any(|join| join.namespace == Namespace::User);
    steps.push(Step::Join(list));
    if enters_user {
        // The host's root is nobody there, and nobody can own a file in what is mounted next.
        steps.push(Step::BecomeRoot);
    }
}

struct Builder<'a> {
    spec: &'a Spec,
    request: &'a Request<'a>,
    set: &'a NamespaceSet,
    /// Whether dhow makes the network namespace while the first process is at work.
    network_beside: bool,
    conditions: Conditions,
}

impl Builder<'_> {
    fn linux(&self) -> Option<&Linux> {
        self.spec.linux().as_ref()
    }

    fn shares_mounts(&self) -> bool {
        !self.set.has(Namespace::Mount)
    }

    fn isolate(&self, steps: &mut Vec<Step>) {
        if self.request.given_stdio {
            steps.push(Step::Stdio);
        }
        // A session of its own, before the terminal is opened: it becomes this session's.
        steps.push(Step::NewSession);
        if !self.request.keep_keyring {
            steps.push(Step::NewKeyring(format!("_ses.{}", self.request.id)));
        }
        if self.set.creates(Namespace::Network) && !self.network_beside {
            steps.push(Step::Loopback);
        }
        let devices = self.linux().and_then(|l| l.net_devices().as_ref());
        if devices.is_some_and(|devices| !devices.is_empty()) {
            self.take_network(steps);
            // Before any hook, which may want to see them.
            steps.push(Step::AskNetDevices);
        }
        if let Some(name) = self.spec.hostname() {
            steps.push(Step::HostName(name.clone()));
        }
        if let Some(name) = self.spec.domainname() {
            steps.push(Step::DomainName(name.clone()));
        }
        if self.shares_mounts() {
            steps.push(Step::Workshop);
        }
        // Before the first mount: systemd makes every mount of a host shared, and ours must not travel.
        steps.push(Step::Isolate);
    }

    /// As late as can be, for it takes dhow a while to make it: before the first that shows or uses it.
    fn take_network(&self, steps: &mut Vec<Step>) {
        if self.network_beside && !steps.contains(&Step::TakeNetwork) {
            steps.push(Step::TakeNetwork);
        }
    }

    fn root(&self, steps: &mut Vec<Step>) -> Result<()> {
        steps.push(Step::AttachRoot(self.request.root.clone()));
        let around = Surroundings {
            bundle: self.request.bundle,
            cgroup: self.cgroup_view(),
            propagation: self.propagation()?,
            label: lsm::mount_label(self.spec, self.request.modules)?,
        };
        let mounts = self.spec.mounts().as_deref().unwrap_or_default();
        let mounts = rootfs::steps(mounts, &around)?;
        self.mounts_and_devices(mounts, steps)?;
        self.take_network(steps);
        self.hooks(steps);
        if let Some(process) = self.spec.process() {
            // The directory is made before the root can become read-only.
            steps.push(Step::WorkingDirectory(process.cwd().clone()));
        }
        steps.push(if self.set.joins(Namespace::Mount).is_some() {
            // Others live in that namespace, and this one has the root that they have.
            Step::EnterRoot
        } else if self.request.no_pivot {
            Step::ChangeRoot
        } else {
            Step::Pivot
        });
        Ok(())
    }

    /// Mounts in the spec's order, for a later one may lie on an earlier one. The device files need no network, which
    /// dhow may still be making: they come as soon as all mounts are there on which one lies, /dev itself for one.
    fn mounts_and_devices(&self, mounts: Vec<MountStep>, steps: &mut Vec<Step>) -> Result<()> {
        let mut devices = match rootfs::wanted(&mounts) {
            true => {
                let spec = self.linux().and_then(|l| l.devices().as_deref());
                Some(rootfs::devices(spec.unwrap_or_default())?)
            }
            false => None,
        };
        let needed = devices.as_deref().map_or(0, |d| rootfs::needed(&mounts, d));
        for (number, mount) in mounts.into_iter().enumerate() {
            if number == needed {
                self.devices(devices.take(), steps);
            }
            if mount.what.shows_network() {
                self.take_network(steps);
            }
            steps.push(Step::Mount(number, Box::new(mount)));
        }
        self.devices(devices, steps);
        Ok(())
    }

    fn devices(&self, devices: Option<Vec<Device>>, steps: &mut Vec<Step>) {
        if let Some(devices) = devices {
            steps.push(Step::Devices(devices, self.nodes()));
            steps.push(Step::DeviceLinks);
        }
    }

    fn propagation(&self) -> Result<Option<(Propagation, Depth)>> {
        let word = self.linux().and_then(|l| l.rootfs_propagation().as_deref());
        Ok(rootfs::propagation(word.unwrap_or(""))?)
    }

    /// The namespaces are there and the host's tree is still in sight: the moment that the spec gives to
    /// prestart, createRuntime and createContainer hooks.
    fn hooks(&self, steps: &mut Vec<Step>) {
        let Some(hooks) = self.spec.hooks() else {
            return;
        };
        let outside = [hooks.prestart(), hooks.create_runtime()];
        if outside
            .iter()
            .any(|list| list.as_ref().is_some_and(|l| !l.is_empty()))
        {
            steps.push(Step::AskHooks);
        }
        let inside = HookEntry::list(hooks.create_container().as_ref());
        if !inside.is_empty() {
            steps.push(Step::CreateContainerHooks(inside));
        }
    }

    fn cgroup_view(&self) -> CgroupView {
        match &self.request.cgroup {
            _ if self.set.has(Namespace::Cgroup) => CgroupView::Namespace,
            Some(facts) => CgroupView::Directory(facts.directory.clone()),
            None => CgroupView::Callers(self.request.own_cgroup.clone()),
        }
    }

    fn nodes(&self) -> Nodes {
        // mknod(2) of devices is denied below any other user namespace than the first.
        if self.set.has(Namespace::User) || self.request.rights == Rights::Few {
            Nodes::Bind
        } else {
            Nodes::Make
        }
    }

    fn protect(&self, steps: &mut Vec<Step>) -> Result<()> {
        if self
            .spec
            .process()
            .as_ref()
            .is_some_and(|p| p.terminal().unwrap_or(false))
        {
            // After the pivot: nothing of the host's /dev is in sight any more.
            let process = self.spec.process().as_ref();
            steps.push(Step::Console(process.and_then(console_size)));
        }
        let Some(linux) = self.linux() else {
            return Ok(());
        };
        // Before /proc/sys becomes read-only.
        let mut sysctls: Vec<_> = linux.sysctl().iter().flatten().collect();
        sysctls.sort();
        steps.extend(
            sysctls
                .into_iter()
                .map(|(k, v)| Step::Sysctl(k.clone(), v.clone())),
        );
        steps.extend(
            linux
                .readonly_paths()
                .iter()
                .flatten()
                .map(|p| Step::ReadOnlyPath(p.into())),
        );
        // After the read-only paths: a mask below one is not to be hidden by its new mount.
        steps.extend(
            linux
                .masked_paths()
                .iter()
                .flatten()
                .map(|p| Step::Mask(p.into())),
        );
        if let Some((propagation, depth)) = self.propagation()? {
            // Nothing can be copied out of an unbindable tree any more: after all that was.
            steps.push(Step::Propagate(propagation, depth));
        }
        // Last of all, for mount points and device files had to be made in them.
        let late = steps.iter().filter_map(|step| match step {
            Step::Mount(_, mount) if mount.lock == Lock::Late => Some(mount.destination.clone()),
            _ => None,
        });
        let late: Vec<PathBuf> = late.collect();
        if !late.is_empty() {
            steps.push(Step::ReadOnlyMounts(late));
        }
        if self
            .spec
            .root()
            .as_ref()
            .is_some_and(|r| r.readonly().unwrap_or(false))
        {
            steps.push(Step::ReadOnlyRoot);
        }
        Ok(())
    }

    fn process(&self, steps: &mut Vec<Step>) -> Result<()> {
        let Some(process) = self.spec.process() else {
            return Err(Error::Usage(
                "process: missing; nothing could be started".to_owned(),
            ));
        };
        let program = Program {
            process,
            filtering: crate::seccomp::filtering(self.linux().and_then(|l| l.seccomp().as_ref())),
            groups_denied: self.groups_denied(),
            conditions: &self.conditions,
            limits_from_outside: self.set.creates(Namespace::User),
            treated_from_outside: self.set.creates(Namespace::User),
        };
        program.rights(steps);
        steps.push(Step::Ready);
        steps.push(if self.request.begins_at_once {
            Step::OutliveDhow
        } else {
            Step::AwaitStart
        });
        if let Some(hooks) = self.spec.hooks() {
            let hooks = HookEntry::list(hooks.start_container().as_ref());
            if !hooks.is_empty() {
                steps.push(Step::StartContainerHooks(hooks));
            }
        }
        program.end(steps);
        Ok(())
    }

    /// A caller without rights who maps only its own id has lost setgroups(2) (user_namespaces(7)).
    fn groups_denied(&self) -> bool {
        self.request.rights == Rights::Few && self.request.single_id
    }
}
