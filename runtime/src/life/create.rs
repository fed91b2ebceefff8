//! `create`: everything up to the moment at which the container's program waits to be started.
//! Begun, then advanced whenever one of its descriptors is readable, then done: a supervisor can hold
//! many at once, and a slow hook stalls nobody.
//! Not its job: thinking the start through (prepare), the first process' own steps (process/init).

mod outside_hooks;
mod record;
mod revive;
mod undo;

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use cgroups::Cgroup;
use namespaces::NamespaceSet;
use sys::log::debug;
use sys::process::Process;

use crate::annotations;
use crate::entering::Entering;
use crate::hooks::{HookEntry, Running, Setting};
use crate::life::cgroup::{self, CgroupPlan};
use crate::life::made;
use crate::life::options::{Begin, CreateOptions, RootSource};
use crate::life::prepare::{self, Opening, Prepared};
use crate::life::start::Starting;
use crate::notify::{self, Proxy};
use crate::plan::{Plan, Step};
use crate::process::init::Init;
use crate::process::parent::{self, Born, Later};
use crate::process::sync::{self, FromInit};
use crate::rdt::Group;
use crate::state::{ProcessId, Record, Status};
use crate::store::Place;
use crate::{Error, Result, Stdio};

/// A container in the making.
#[derive(Debug)]
pub struct Creation {
    place: Place,
    record: Record,
    plan: Plan,
    set: NamespaceSet,
    cgroup: Option<cgroup::Made>,
    born: Option<Born>,
    proxy: Option<Proxy>,
    rdt: Option<Group>,
    queue: VecDeque<(&'static str, usize, HookEntry)>,
    running: Option<(&'static str, usize, HookEntry, Running)>,
    outside_hooks: Vec<(&'static str, usize, HookEntry)>,
    setting: Setting,
    pid_file: Option<PathBuf>,
    pidfd_socket: Option<OwnedFd>,
    begin: Begin,
    socket: Option<OwnedFd>,
    ready: bool,
}

/// How far a creation has come.
#[derive(Debug)]
pub enum Progress {
    /// It waits for one of [`Creation::waits_for`].
    Waiting,
    /// The container is there.
    Done(Box<Created>),
}

/// A container that has been made, and whose first process is our child.
#[derive(Debug)]
pub struct Created {
    /// Its record.
    pub record: Record,
    /// Its first process.
    pub process: Process,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// The way by which its program says that it is ready, if it has begun and somebody wants to know.
    pub(crate) proxy: Option<Proxy>,
}

/// Makes a container and waits until that is done.
///
/// # Errors
/// Whatever step failed; nothing is left behind then.
pub fn create(options: CreateOptions) -> Result<Created> {
    let mut creation = Creation::begin(options)?;
    loop {
        match creation.advance() {
            Ok(Progress::Done(created)) => return Ok(*created),
            Ok(Progress::Waiting) => {}
            Err(error) => return Err(creation.undo(error)),
        }
    }
}

impl Creation {
    /// Thinks the start through, records the intent, makes cgroup and first process.
    ///
    /// # Errors
    /// Whatever failed; nothing is left behind then.
    pub fn begin(mut options: CreateOptions) -> Result<Self> {
        options.store.refuse_taken(&options.id)?;
        notify::lend(&mut options);
        let prepared = prepare::think(&options)?;
        let opening = prepare::open(&prepared, &mut options)?;
        let receiver = annotations::pidfd_receiver(&options.spec)?;
        let place = options.store.claim(&options.id)?;
        let mut creation = Self::intend(place, &options, &prepared);
        let Prepared {
            set,
            plan,
            cgroup,
            rdt,
            groups_denied,
            ..
        } = prepared;
        let entering = Entering::of(
            &options.spec,
            &set,
            groups_denied,
            !options.keep_keyring,
            opening.filter.as_ref(),
            rdt.as_ref().map(|(group, _)| group),
        );
        creation.pidfd_socket = match options.pidfd_socket.take() {
            Some(socket) => Some(socket),
            None => receiver,
        };
        creation.set = set;
        creation.plan = plan;
        // What takes its time and nobody needs before `go` comes after the clone: meanwhile the first
        // process makes its mounts.
        let begun = creation
            .record_intent()
            .and_then(|()| creation.spawn(options, opening, cgroup, rdt))
            .and_then(|()| creation.filter_devices())
            .and_then(|()| match &entering {
                Some(entering) => creation.place.save_entering(entering),
                None => Ok(()),
            });
        match begun {
            Ok(()) => Ok(creation),
            Err(error) => Err(creation.undo(error)),
        }
    }

    /// The record as it stands before the first act.
    fn intend(place: Place, options: &CreateOptions, prepared: &Prepared) -> Self {
        Self {
            place,
            record: record::of(options, prepared),
            plan: Plan::default(),
            set: NamespaceSet::default(),
            cgroup: None,
            born: None,
            proxy: None,
            rdt: None,
            queue: VecDeque::new(),
            running: None,
            outside_hooks: outside_hooks::outside(&options.spec),
            setting: Setting::default(),
            pid_file: options.pid_file.clone(),
            pidfd_socket: None,
            begin: options.begin,
            socket: None,
            ready: false,
        }
    }

    /// Intent first, then the act: from here on `delete --force` finds what a crash leaves.
    fn record_intent(&mut self) -> Result<()> {
        let me = sys::process::id().as_raw_nonzero().get();
        self.record.creator = ProcessId::of(me).map_err(Error::host("look at ourselves"))?;
        self.place.save(&self.record)?;
        debug(format_args!("{}: intent recorded", self.record.id));
        Ok(())
    }

    fn spawn(
        &mut self,
        options: CreateOptions,
        mut opening: Opening,
        cgroup: Option<CgroupPlan>,
        rdt: Option<(Group, PathBuf)>,
    ) -> Result<()> {
        self.setting = Setting::of(&self.record)?;
        self.limit(cgroup, rdt)?;
        let (place, plan) = (&self.place, &self.plan);
        self.proxy = notify::make(&options, place, plan, &mut opening.mounts)?;
        let root_mount = match &options.root {
            RootSource::Layers(layers) => Some(made::stack(layers)?),
            RootSource::Folder(_) | RootSource::Mount(_) => opening.root_mount,
        };
        let listener = made::start_socket(&self.place, options.begin)?;
        let waiting = self.place.lock_init()?;
        let (ours, theirs) =
            sys::socket::pair().map_err(Error::host("make the socket to the first process"))?;
        let init = Init {
            socket: theirs,
            listener,
            waiting: Some(waiting),
            mounts: opening.mounts,
            root_mount,
            joins: opening.joins,
            container: None,
            filter: opening.filter,
            groups_denied: opening.groups_denied,
            args: opening.args,
            env: opening.env,
            console: options.console_socket,
            stdio: match options.stdio {
                Stdio::Inherit => None,
                Stdio::Given(fds) => Some(fds),
            },
            state: self.state_for_hooks(),
            setting: Setting::of(&self.record)?,
            preserved: options.preserve_fds,
        };
        let home = self.cgroup.as_ref().map(|made| made.home().dir());
        self.born = Some(parent::spawn(
            &self.plan,
            &self.set,
            init,
            &opening.step_in,
            home,
            ours,
            Later::Hooks,
        )?);
        if let Some(born) = &self.born {
            parent::make_network(&self.plan, born)?;
        }
        if let Some(made) = &mut self.cgroup {
            made.settle()?;
        }
        debug(format_args!("first process {}: made", self.pid()));
        self.share()?;
        parent::score(&self.plan, self.pid())
    }

    /// Makes what limits the container, before anything of it runs.
    fn limit(&mut self, plan: Option<CgroupPlan>, rdt: Option<(Group, PathBuf)>) -> Result<()> {
        if let Some(plan) = plan {
            let name = plan.location.name();
            self.cgroup = Some(cgroup::make(plan)?);
            debug(format_args!("cgroup {name}: made"));
        }
        if let Some((group, root)) = rdt {
            group.create(&root)?;
            self.rdt = Some(group);
        }
        Ok(())
    }

    /// Puts the first process into its share of caches.
    fn share(&self) -> Result<()> {
        match &self.rdt {
            Some(group) => group.add(self.pid()),
            None => Ok(()),
        }
    }

    /// Nobody but dhow's own code is in the cgroup yet.
    fn filter_devices(&mut self) -> Result<()> {
        match &mut self.cgroup {
            Some(made) => made.filter_devices(),
            None => Ok(()),
        }
    }

    fn state_for_hooks(&self) -> serde_json::Value {
        if !self.plan.init.iter().any(Step::is_hooks) {
            return serde_json::Value::Null;
        }
        serde_json::to_value(self.record.report(Status::Creating))
            .expect("strings and numbers always serialize")
    }

    /// What must be readable, or which moment must have come, before it is worth advancing.
    pub fn waits_for(&self) -> (Vec<BorrowedFd<'_>>, Option<Instant>) {
        let mut fds = Vec::new();
        if let Some(born) = &self.born {
            fds.extend(born.fds());
        }
        let mut deadline = None;
        if let Some((_, _, _, running)) = &self.running {
            fds.push(running.fd());
            deadline = running.deadline();
        }
        (fds, deadline)
    }

    /// Goes on by one message or one hook, waiting for it if it is not there yet.
    ///
    /// # Errors
    /// Whatever failed; the caller then gives it to [`Creation::undo`].
    pub fn advance(&mut self) -> Result<Progress> {
        if self.running.is_none() {
            return self.listen();
        }
        let (fds, deadline) = self.waits_for();
        let readable = sys::poll::readable(&fds, deadline)
            .map_err(Error::host("wait for the first process"))?;
        self.advance_hook()?;
        // A first process that dies while a hook runs is noticed at once.
        if readable.first().copied().unwrap_or(false) {
            self.listen()
        } else {
            Ok(Progress::Waiting)
        }
    }

    fn listen(&mut self) -> Result<Progress> {
        let born = self.born.as_mut().expect("begin made it");
        let heard = born.hear()?;
        match heard.message {
            Some(FromInit::NeedIdMaps) => {
                parent::limit(&self.plan, born.process.pid.as_raw_nonzero().get())?;
                if let Some(maps) = &self.set.id_maps {
                    maps.write(born.process.pid)?;
                }
                self.go()?;
            }
            Some(FromInit::Made(pid)) => {
                parent::adopt(born, pid, heard.fd)?;
                // It may have been born before its maker was put there.
                self.share()?;
            }
            Some(FromInit::NeedNetDevices) => {
                parent::net_devices(&self.plan, born.process.pid.as_raw_nonzero().get())?;
                self.go()?;
            }
            Some(FromInit::NeedHooks) => {
                self.queue = self.outside_hooks.drain(..).collect();
                self.next_hook()?;
            }
            Some(FromInit::Ready) => {
                self.save_created()?;
                if self.begin == Begin::AtOnce {
                    return self.done();
                }
            }
            Some(FromInit::HandedOver) => return self.done(),
            Some(FromInit::Failed(failure)) => return Err(parent::failed(&self.plan, failure)),
            // Who wakes it hears this.
            Some(FromInit::NeedListener) => return Err(Error::Words("it woke".to_owned())),
            None => return Err(self.ended()),
        }
        Ok(Progress::Waiting)
    }

    fn go(&self) -> Result<()> {
        let born = self.born.as_ref().expect("begin made it");
        sync::go(&born.socket).map_err(Error::host("answer the first process"))
    }

    /// The start of a container that is made and whose program begins at once.
    pub(crate) fn into_starting(self) -> Option<Starting> {
        let socket = self.socket?;
        Some(Starting::follow(self.place, self.record, socket))
    }

    fn pid(&self) -> i32 {
        self.born
            .as_ref()
            .map_or(0, |born| born.process.pid.as_raw_nonzero().get())
    }

    fn save_created(&mut self) -> Result<()> {
        parent::treat(&self.plan, self.pid())?;
        self.record.init =
            ProcessId::of(self.pid()).map_err(Error::host("look at the first process"))?;
        if let Some(path) = &self.pid_file {
            made::pid_file(path, self.pid())?;
        }
        if let (Some(socket), Some(born)) = (self.pidfd_socket.take(), &self.born) {
            // The word is runc's, for a container's first process.
            made::send_pidfd(&socket, b"standard", &born.process.pidfd)?;
        }
        if let Some(init) = self.record.init {
            self.place.save_init(init)?;
        }
        self.ready = true;
        debug(format_args!("{}: created", self.record.id));
        self.go()
    }

    fn done(&mut self) -> Result<Progress> {
        let born = self.born.take().expect("begin made it");
        self.socket = Some(born.socket);
        Ok(Progress::Done(Box::new(Created {
            record: self.record.clone(),
            process: born.process,
            cgroup: self.cgroup.take().map(|made| made.cgroup),
            proxy: self.proxy.take(),
        })))
    }
}
