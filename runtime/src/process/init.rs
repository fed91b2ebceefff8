//! The container's first process, from its birth by clone3 to its exec: a loop over the plan's steps.
//!
//! It is a copy of dhow in new namespaces and in the container's cgroup, with the host's tree in sight
//! until the pivot and with dhow's rights (in a user namespace: all rights over that) until it drops
//! them. It neither logs nor panics nor returns: it leaves by exec, or by `exit` after it has told why.
//! Not its job: the order of the steps (plan/build).

mod directory;
mod root;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use namespaces::OfProcess;
use namespaces::join::{Opened, SteppedIn};
use rootfs::Masks;
use sys::beneath::Root;
use sys::exec::CStrings;
use sys::seccomp::Filter;
use sys::{Errno, SysError};

use crate::hooks::{self, HookEntry, Setting};
use crate::plan::{Plan, Step};
use crate::process::listener::{self, Agent};
use crate::process::parent;
use crate::process::sync::{self, Failure, FromInit};
use crate::process::{stage, terminal};
use crate::{account, privileges, program, self_image};

/// All that the first process needs, made ready before it is born.
#[derive(Debug)]
pub(crate) struct Init {
    /// To dhow, until the state is saved.
    pub(crate) socket: OwnedFd,
    /// Where `dhow start` connects to a container's first process, if it has to.
    pub(crate) listener: Option<OwnedFd>,
    /// The lock that says that it waits for start; only held, never read.
    pub(crate) waiting: Option<OwnedFd>,
    /// The detached mounts of the plan's mount steps, by their number.
    pub(crate) mounts: Vec<Option<OwnedFd>>,
    /// The root, detached, where dhow could make it.
    pub(crate) root_mount: Option<OwnedFd>,
    /// The namespaces that it enters.
    pub(crate) joins: Vec<Opened>,
    /// The container that it enters, if it is there already.
    pub(crate) container: Option<OfProcess>,
    /// The seccomp filter.
    pub(crate) filter: Option<Filter>,
    /// setgroups(2) is denied in our user namespace; known once we are in it.
    pub(crate) groups_denied: bool,
    /// argv.
    pub(crate) args: CStrings,
    /// The environment, `NAME=value`.
    pub(crate) env: Vec<String>,
    /// Where the terminal's master goes.
    pub(crate) console: Option<OwnedFd>,
    /// The stdio files that it is given instead of dhow's.
    pub(crate) stdio: Option<[OwnedFd; 3]>,
    /// The state for hooks, as JSON, with a process id of 0; null where there are none.
    pub(crate) state: serde_json::Value,
    /// Where hooks run and what becomes of their output.
    pub(crate) setting: Setting,
    /// How many descriptors of the caller's after stdio the program is to have.
    pub(crate) preserved: u32,
}

/// What the steps leave for later ones.
struct Life {
    init: Init,
    root: Option<Root>,
    /// The way back to the caller's mount namespace.
    workshop: Option<SteppedIn>,
    masks: Masks,
    /// Mounts that become read-only when all is in them.
    filled: Vec<OwnedFd>,
    cwd: Option<CString>,
    program: Option<CString>,
    /// Who hears of what the filter notifies.
    agent: Option<Agent>,
    /// The number of the step that is carried out.
    step: u32,
    /// The channel to whoever waits for us: dhow create, then dhow start.
    channel: OwnedFd,
}

/// Why a step failed: a system call, or words of a hook.
pub(crate) enum Fault {
    Call(SysError),
    Words(String),
}

impl From<SysError> for Fault {
    fn from(error: SysError) -> Self {
        Self::Call(error)
    }
}

impl From<namespaces::Error> for Fault {
    fn from(error: namespaces::Error) -> Self {
        Self::Call(cause(&error))
    }
}

impl From<rootfs::Error> for Fault {
    fn from(error: rootfs::Error) -> Self {
        Self::Call(cause(&error))
    }
}

/// The system call at the end of an error's chain.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> SysError {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(call) = error.downcast_ref::<SysError>() {
            return call.clone();
        }
        next = error.source();
    }
    SysError::new("", "", Errno::INVAL).with_note(error.to_string())
}

/// Lives the first process' life. `first` is the number of its first step in the plan's count, in which
/// the middle process' steps come before.
pub(crate) fn run(plan: &Plan, init: Init, first: u32) -> ! {
    let _cosmetic = sys::process::set_name(c"dhow:init");
    let Ok(channel) = init.socket.try_clone() else {
        sys::process::exit(1)
    };
    let mut life = Life {
        init,
        root: None,
        workshop: None,
        masks: Masks::default(),
        filled: Vec::new(),
        cwd: None,
        program: None,
        agent: None,
        step: first,
        channel,
    };
    for (number, step) in (first..).zip(&plan.init) {
        life.step = number;
        if let Err(fault) = life.carry_out(step) {
            let failure = match fault {
                Fault::Call(error) => Failure::new(number, &error),
                Fault::Words(words) => Failure::words(number, words),
            };
            let _nobody_listens = sync::tell(&life.channel, &FromInit::Failed(failure));
            sys::process::exit(1);
        }
    }
    sys::process::exit(1)
}

impl Life {
    fn carry_out(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::DieWithDhow => self.die_with_dhow()?,
            Step::Stdio => self.take_stdio()?,
            Step::AskIdMaps => self.ask(&FromInit::NeedIdMaps)?,
            // setgroups(2) may be denied for ever here, and nothing is lost: the groups are the caller's.
            Step::BecomeRoot => {
                sys::privileges::become_user(0, 0, None)?;
                self.init.groups_denied = privileges::groups_denied()?;
            }
            Step::Join(_) => namespaces::join::enter(&self.init.joins)?,
            Step::JoinContainer(_) => enter(self.init.container.as_ref())?,
            Step::EnterRoot => rootfs::enter_only(self.container_root()?)?,
            Step::Unshare(flags) => namespaces::join::unshare(*flags)?,
            Step::NewSession => sys::process::new_session()?,
            Step::NewKeyring(name) => privileges::new_keyring(name)?,
            Step::ForbidTracing => sys::process::forbid_tracing()?,
            Step::Loopback => namespaces::network::loopback_up()?,
            Step::TakeNetwork => namespaces::network::enter(sync::take_fd(&self.channel)?)?,
            Step::AskNetDevices => self.ask(&FromInit::NeedNetDevices)?,
            Step::HostName(name) => namespaces::uts::set_host_name(name)?,
            Step::DomainName(name) => namespaces::uts::set_domain_name(name)?,
            Step::Isolate => {
                rootfs::isolate()?;
                self_image::park();
            }
            Step::AttachRoot(place) => self.attach_root(place)?,
            Step::Mount(index, step) => {
                let prepared = self.init.mounts.get_mut(*index).and_then(Option::take);
                let filled = rootfs::attach(self.root()?, step, prepared)?;
                self.filled.extend(filled);
            }
            Step::Devices(devices, nodes) => rootfs::make(self.root()?, devices, *nodes)?,
            Step::DeviceLinks => rootfs::link(self.root()?)?,
            Step::Console(size) => {
                let socket = self.init.console.take();
                terminal::console(self.root()?, *size, socket)?;
            }
            Step::Terminal(size) => terminal::terminal(*size, self.init.console.take())?,
            Step::OpenTerminal(size) => terminal::open(*size, self.init.console.take())?,
            Step::TakeTerminal => terminal::take_stdin()?,
            Step::GoInside => stage::go_inside(&self.channel)?,
            Step::AskHooks => self.ask(&FromInit::NeedHooks)?,
            Step::CreateContainerHooks(hooks) => {
                self.init.setting.outside_root();
                self.hooks("createContainer", "creating", hooks)?
            }
            step => self.carry_out_rest(step)?,
        }
        Ok(())
    }

    /// The steps from the pivot on.
    fn carry_out_rest(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::Workshop => self.workshop = Some(SteppedIn::workshop()?),
            Step::LeaveWorkshop => self.leave_workshop()?,
            Step::Pivot => rootfs::pivot(self.root()?)?,
            Step::ChangeRoot => rootfs::chroot(self.root()?)?,
            Step::Sysctl(key, value) => privileges::set_sysctl(key, value)?,
            Step::Propagate(propagation, depth) => {
                rootfs::set_propagation(self.root()?, *propagation, *depth)?
            }
            Step::ReadOnlyPath(path) => rootfs::protect::make_read_only(self.root()?, path)?,
            Step::Mask(path) => self.mask(path)?,
            Step::ReadOnlyMounts(_) => self.filled.iter().try_for_each(rootfs::attach::lock)?,
            Step::ReadOnlyRoot => rootfs::make_read_only(self.root()?)?,
            Step::WorkingDirectory(path) => self.working_directory(path)?,
            Step::ChangeDirectory(path) => self.change_directory(path)?,
            Step::OomScore(score) => parent::set_oom_score("self", *score)?,
            Step::Umask(mask) => {
                if !sys::fault::broken("no-umask") {
                    sys::process::set_umask(*mask);
                }
            }
            Step::Limit(limit) => {
                sys::privileges::set_limit(0, limit.resource, limit.soft, limit.hard)?;
            }
            Step::Treat(treatment) => treatment.apply(0)?,
            Step::Label(label) => label.apply()?,
            Step::RenewNull => sys::descriptor::renew_null()?,
            Step::StdioOwner(uid) => privileges::give_stdio(*uid)?,
            Step::Drop(credentials) => privileges::drop(credentials, self.init.groups_denied)?,
            Step::FindProgram(name) => self.find_program(name)?,
            Step::CloseDescriptors => self.close_descriptors()?,
            Step::Ready => self.ask(&FromInit::Ready)?,
            Step::AwaitStart => self.await_start()?,
            Step::LiveOn | Step::OutliveDhow => sys::process::die_with_parent(None)?,
            Step::StartContainerHooks(hooks) => {
                self.init.setting.inside_root();
                self.hooks("startContainer", "created", hooks)?;
            }
            Step::AskListener => self.agent = Some(listener::ask(&self.channel)?),
            Step::Seccomp => self.load_filter()?,
            Step::FinalCapabilities(credentials) => privileges::set_capabilities(credentials, 0)?,
            Step::Exec => return Err(Fault::Call(self.exec())),
            // Passed over, it could be a protection that nobody notices to be missing.
            _ => return Err(not_ours().into()),
        }
        Ok(())
    }

    /// A plan that has this step and no filter would start less confined than asked.
    fn load_filter(&mut self) -> Result<(), SysError> {
        if sys::fault::broken("no-filter") {
            return Ok(());
        }
        let missing = |what| SysError::new("seccomp", "", Errno::NOENT).with_note(what);
        let filter = self.init.filter.as_ref();
        let filter = filter.ok_or_else(|| missing("there is no filter"))?;
        if !filter.notifies() {
            return filter.load().map(drop);
        }
        let agent = self.agent.take();
        let agent = agent.ok_or_else(|| missing("nobody listens to its notifications"))?;
        listener::load(filter, agent, &self.channel, self.step)
    }

    fn die_with_dhow(&mut self) -> Result<(), SysError> {
        // If dhow has ended before this, the next message that we wait for never comes, and its closed
        // end of the socket ends us.
        sys::process::die_with_parent(Some(sys::process::Signal::KILL))?;
        sys::signal::reset_signals();
        // Modes given to mkdir and mknod are to be exactly those.
        sys::process::set_umask(0);
        Ok(())
    }

    fn take_stdio(&self) -> Result<(), SysError> {
        for (number, fd) in (0..).zip(self.init.stdio.iter().flatten()) {
            sys::descriptor::set_stdio(fd, number)?;
        }
        Ok(())
    }

    fn ask(&self, request: &FromInit) -> Result<(), SysError> {
        sync::tell(&self.channel, request)?;
        sync::await_go(&self.channel)
    }

    fn mask(&mut self, path: &Path) -> Result<(), Fault> {
        let Some(root) = &self.root else {
            return Ok(self.root().map(drop)?);
        };
        Ok(self.masks.cover(root, path)?)
    }

    /// runtime.md, "State": to a hook in the container's namespaces, our id is the one seen from there.
    fn hooks(&self, kind: &'static str, status: &str, list: &[HookEntry]) -> Result<(), Fault> {
        let mut state = self.init.state.clone();
        state["pid"] = sys::process::id().as_raw_nonzero().get().into();
        state["status"] = status.into();
        let state = state.to_string();
        hooks::run_all(kind, list, &self.init.setting, state.as_bytes())
            .map_err(|e| Fault::Words(e.to_string()))
    }

    fn close_descriptors(&mut self) -> Result<(), SysError> {
        self.try_working_directory()?;
        if sys::fault::broken("no-close-descriptors") {
            return Ok(());
        }
        let first = 3 + self.init.preserved;
        let mut kept = vec![self.channel.as_fd()];
        kept.extend(self.init.listener.as_ref().map(AsFd::as_fd));
        kept.extend(self.init.waiting.as_ref().map(AsFd::as_fd));
        kept.extend(self.init.setting.fds());
        sys::descriptor::close_all_but(first, &kept)?;
        // The preserved ones pass the exec, whatever flags they came with.
        for number in 3..first {
            sys::descriptor::keep_inherited(number)?;
        }
        Ok(())
    }

    fn find_program(&mut self, name: &str) -> Result<(), SysError> {
        self.enter_working_directory()?;
        if !self.init.env.iter().any(|pair| pair.starts_with("HOME=")) {
            let home = account::home(sys::privileges::ids().0)?;
            self.init.env.push(format!("HOME={home}"));
        }
        let search = self
            .init
            .env
            .iter()
            .rev()
            .find_map(|pair| pair.strip_prefix("PATH="));
        self.program = Some(program::find(name, search)?);
        Ok(())
    }

    fn await_start(&mut self) -> Result<(), SysError> {
        // dhow waits until this is done before it ends: its end must not be ours any more.
        sys::process::die_with_parent(None)?;
        sync::hand_over(&self.channel)?;
        let listener = self.init.listener.as_ref().ok_or_else(not_ours)?;
        self.channel = sys::socket::accept(listener)?;
        Ok(())
    }

    fn exec(&self) -> SysError {
        let Some(program) = &self.program else {
            return SysError::new("exec", "", Errno::NOENT);
        };
        match CStrings::new(&self.init.env) {
            Ok(env) => {
                let error = sys::exec::exec(program, &self.init.args, &env);
                program::explain(program, error)
            }
            Err(error) => error,
        }
    }
}

/// Into the container that is there already.
pub(crate) fn enter(container: Option<&OfProcess>) -> Result<(), SysError> {
    let container = container.ok_or_else(not_ours)?;
    container.enter().map_err(|e| cause(&e))
}

/// A step that this process has no way to carry out.
pub(crate) fn not_ours() -> SysError {
    SysError::new("", "", Errno::NOSYS).with_note("this process can't carry the step out")
}

fn missing_root() -> SysError {
    SysError::new("", "", Errno::NOENT).with_note("the root is not attached")
}
