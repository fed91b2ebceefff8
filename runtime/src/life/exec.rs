//! `exec`: a further process in a container. Begun, then advanced whenever its descriptor is readable, then
//! running: a supervisor can hold many at once. It takes no lock and writes no state: whatever ends it
//! half-way leaves nothing. Not its job: what the process is to be (asked), its way inside (plan/exec).

pub(crate) mod asked;
pub(crate) mod entrance;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use asked::Asked;
use cgroups::Cgroup;
use entrance::{Entrance, not_running};
use namespaces::{Namespace, NamespaceSet};
use oci_spec::runtime::Process;
use sys::exec::CStrings;
use sys::process::Exit;

use crate::hooks::Setting;
use crate::life::relay::Terminal;
use crate::life::run::{interrupted, stay};
use crate::life::{made, prepare};
use crate::plan::Plan;
use crate::process::init::Init;
use crate::process::listener;
use crate::process::parent::{self, Born, Later};
use crate::process::sync::{self, FromInit};
use crate::state::{Record, Status};
use crate::store::Store;
use crate::{ContainerId, Error, Result, Stdio};

/// Everything that `exec` is told.
#[derive(Debug)]
pub struct ExecOptions {
    /// Where the container's state lies.
    pub store: Store,
    /// The container.
    pub id: ContainerId,
    /// What the process is to be.
    pub asked: Asked,
    /// Its stdin, stdout and stderr, if it has no terminal.
    pub stdio: Stdio,
    /// A socket to which the terminal's master is sent.
    pub console_socket: Option<OwnedFd>,
    /// A socket to which a handle of the process is sent.
    pub pidfd_socket: Option<OwnedFd>,
    /// A file that gets its id.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors after stdio it gets from us.
    pub preserve_fds: u32,
    /// The cgroup below the container's in which it is to be.
    pub cgroup: Option<String>,
    /// A container that is paused is no hindrance: the process begins when it goes on.
    pub ignore_paused: bool,
}

/// Whether to stay beside the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Come back when the program runs.
    Yes,
    /// Wait for its end.
    No,
}

/// Runs a process in a container; gives how it ended, if it was waited for.
///
/// # Errors
/// [`Error::Missing`], [`Error::Status`], or whatever kept it from running; nothing is left behind then.
pub fn exec(mut options: ExecOptions, background: Background) -> Result<Option<Exit>> {
    let entrance = Entrance::open(&options)?;
    let mut process = entrance.process(std::mem::take(&mut options.asked))?;
    if background == Background::Yes {
        let mut execution = Execution::begin(entrance, process, options)?;
        while execution.advance()?.is_none() {}
        return Ok(None);
    }
    // Before anything is made: a signal now must not leave a process behind.
    let signals =
        sys::signal::signals_as_fd().map_err(Error::host("take our signals as a descriptor"))?;
    let terminal = Terminal::wanted(Some(&mut process), &mut options.console_socket)?;
    let mut execution = Execution::begin(entrance, process, options)?;
    let process = loop {
        let mut fds = execution.fds();
        fds.push(signals.as_fd());
        let ready = sys::poll::readable(&fds, None).map_err(Error::host("wait for the process"))?;
        if ready.last() == Some(&true) {
            interrupted(&signals)?;
        } else if let Some(process) = execution.advance()? {
            break process;
        }
    };
    stay(&process, &signals, terminal).map(Some)
}

/// A process on its way into a container.
#[derive(Debug)]
pub struct Execution {
    record: Record,
    /// The connection to the seccomp agent, until it is passed on.
    agent: Option<OwnedFd>,
    plan: Plan,
    born: Option<Born>,
    pidfd_socket: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
    rdt: Vec<PathBuf>,
    released: bool,
}

impl Execution {
    /// Makes the process.
    ///
    /// # Errors
    /// Whatever failed; nothing is left behind then.
    pub fn begin(entrance: Entrance, process: Process, options: ExecOptions) -> Result<Self> {
        terminal(&process, &options)?;
        let agent = listener::connect(&entrance.record)?;
        let plan = entrance.plan(&process, prepare::rights()?, &options)?;
        // What dhow lacks was told when the container was made.
        prepare::doubt(&plan, u64::MAX);
        let cgroup = entrance.cgroup(options.cgroup.as_deref())?;
        let step_in = match plan.steps_in() {
            true => entrance.first.open(Namespace::Pid.flag())?,
            false => Vec::new(),
        };
        let (ours, theirs) =
            sys::socket::pair().map_err(Error::host("make the socket to the process"))?;
        let root_mount = entrance.root()?;
        let args = process.args().as_deref().unwrap_or_default();
        let record = entrance.record;
        let mut first = entrance.first;
        if plan.steps_in() {
            first.kinds &= !Namespace::Pid.flag();
        }
        let init = Init {
            socket: theirs,
            listener: None,
            waiting: None,
            mounts: Vec::new(),
            root_mount,
            joins: Vec::new(),
            container: Some(first),
            filter: entrance.filter,
            groups_denied: false,
            args: CStrings::new(args).map_err(Error::host("process.args"))?,
            env: process.env().clone().unwrap_or_default(),
            console: options.console_socket,
            stdio: match options.stdio {
                Stdio::Inherit => None,
                Stdio::Given(fds) => Some(fds),
            },
            state: serde_json::Value::Null,
            preserved: options.preserve_fds,
            setting: Setting::default(),
        };
        let cgroup = cgroup.as_ref().map(Cgroup::dir);
        let set = NamespaceSet::default();
        let born = parent::spawn(&plan, &set, init, &step_in, cgroup, ours, Later::Nobody)
            .map_err(|e| explain(e, &record))?;
        Ok(Self {
            record,
            agent,
            plan,
            born: Some(born),
            pidfd_socket: options.pidfd_socket,
            pid_file: options.pid_file,
            rdt: entrance.entering.rdt,
            released: false,
        })
    }

    /// One of these is readable when it is worth advancing.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.born.as_ref().map_or_else(Vec::new, Born::fds)
    }

    /// Goes on by one message, waiting for it if it is not there yet; gives the process once its program runs.
    ///
    /// # Errors
    /// Whatever failed; the process is gone then.
    pub fn advance(&mut self) -> Result<Option<sys::process::Process>> {
        match self.listen() {
            Ok(false) => Ok(None),
            Ok(true) => Ok(self.born.take().map(|born| born.process)),
            Err(error) => {
                self.undo();
                Err(error)
            }
        }
    }

    fn listen(&mut self) -> Result<bool> {
        let born = self.born.as_mut().expect("it is advanced until it is done");
        let heard = born.hear()?;
        match heard.message {
            Some(FromInit::Made(pid)) => parent::adopt(born, pid, heard.fd)?,
            Some(FromInit::Ready) => self.release()?,
            Some(FromInit::NeedListener) => {
                let pid = born.process.pid.as_raw_nonzero().get();
                let (agent, record) = (self.agent.take(), &self.record);
                listener::give(&born.socket, agent, record, Status::Running, pid)?;
            }
            Some(FromInit::Failed(failure)) => return Err(parent::failed(&self.plan, failure)),
            Some(_) => {
                return Err(Error::Words(
                    "the process sent an unknown message".to_owned(),
                ));
            }
            // The exec closes the other end: silence is success.
            None if self.released => return Ok(true),
            None => return Err(ended(born)),
        }
        Ok(false)
    }

    /// All is prepared: what only we may do for it is done, who asked for its id hears of it, and it goes on.
    fn release(&mut self) -> Result<()> {
        let born = self.born.as_ref().expect("it is advanced until it is done");
        let pid = born.process.pid.as_raw_nonzero().get();
        parent::score(&self.plan, pid)?;
        parent::limit(&self.plan, pid)?;
        crate::rdt::add(&self.rdt, pid)?;
        parent::treat(&self.plan, pid)?;
        if let Some(path) = &self.pid_file {
            made::pid_file(path, pid)?;
        }
        if let Some(socket) = &self.pidfd_socket {
            // The word is runc's, for a process that entered.
            made::send_pidfd(socket, b"setns", &born.process.pidfd)?;
        }
        self.released = true;
        sync::go(&born.socket).map_err(Error::host("answer the process"))
    }

    fn undo(&mut self) {
        if let Some(born) = self.born.take() {
            parent::kill(&born.process);
        }
        if self.released
            && let Some(path) = &self.pid_file
        {
            let _gone_already = sys::file::remove_file(path);
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if self.born.is_some() {
            self.undo();
        }
    }
}

/// A PID namespace whose first process has ended takes no more, and says ENOMEM (pid_namespaces(7)).
fn explain(error: Error, record: &Record) -> Error {
    match error {
        Error::Host { source, .. } if source.errno == sys::Errno::NOMEM => not_running(record),
        error => error,
    }
}

/// It closed its end and said nothing: it was killed, perhaps with its container.
fn ended(born: &Born) -> Error {
    let cause = match sys::process::wait(&born.process.pidfd) {
        Ok(Exit::Signal(signal)) => format!("killed by signal {signal}"),
        Ok(Exit::Status(status)) => format!("exit status {status}"),
        Err(_) => "unknown".to_owned(),
    };
    Error::Words(format!("the process ended before it was ready: {cause}"))
}

fn terminal(process: &Process, options: &ExecOptions) -> Result<()> {
    let wanted = process.terminal().unwrap_or(false);
    match (wanted, options.console_socket.is_some()) {
        (true, false) => Err(Error::Usage(
            "a terminal is asked for, but nobody to hold it: --detach needs --console-socket"
                .to_owned(),
        )),
        (false, true) => Err(Error::Usage(
            "--console-socket is given, but no terminal is asked for".to_owned(),
        )),
        _ => Ok(()),
    }
}
