//! dhow's side of a start: makes the first process and does for it what only dhow may.
//! It has the caller's rights and lives in the caller's namespaces. Not its job: deciding (plan), what
//! is on disk (life).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use namespaces::join::{Opened, SteppedIn};
use namespaces::{NamespaceSet, TimeOffsets};
use sys::process::{CloneRequest, Cloned, Pid, Process};

use crate::plan::{ParentStep, Plan, Step};
use crate::process::init::Init;
use crate::process::sync::{self, Failure, Heard};
use crate::process::{init, stage};
use crate::{Error, Result};

/// The process made, and our end of the socket to it.
#[derive(Debug)]
pub(crate) struct Born {
    /// The first process, or the middle one until it has made the first.
    pub(crate) process: Process,
    /// Our end.
    pub(crate) socket: OwnedFd,
    /// Whether `process` is the middle one still.
    pub(crate) is_stage: bool,
}

impl Born {
    /// Readable when there is something to be heard.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = vec![self.socket.as_fd()];
        if self.is_stage {
            fds.push(self.process.pidfd.as_fd());
        }
        fds
    }

    /// Waits for a message. A middle process that ends without a word may have made the first one, which
    /// holds the socket open and waits for our word as we for its: its end is listened for too.
    pub(crate) fn hear(&self) -> Result<Heard> {
        let doing = "listen to the first process";
        if self.is_stage {
            let ready = sys::poll::readable(&self.fds(), None).map_err(Error::host(doing))?;
            // What it said before it ended is heard first.
            if !ready[0] {
                return Ok(Heard {
                    message: None,
                    fd: None,
                });
            }
        }
        sync::hear(&self.socket).map_err(Error::host(doing))
    }
}

/// Whom this process makes after that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// Hooks, which belong into our own namespaces.
    Hooks,
    /// Nobody.
    Nobody,
}

/// Makes the first process (or the middle one), in its namespaces and its cgroup.
///
/// `step_in` are the namespaces that only a child can be born into.
pub(crate) fn spawn(
    plan: &Plan,
    set: &NamespaceSet,
    init: Init,
    step_in: &[Opened],
    cgroup: Option<BorrowedFd<'_>>,
    socket: OwnedFd,
    later: Later,
) -> Result<Born> {
    let direct = plan.stage.is_empty();
    let is_stage = !direct || plan.init.contains(&Step::GoInside);
    let clocks = Some(&set.time_offsets).filter(|offsets: &&TimeOffsets| !offsets.is_empty());
    sys::proc::prepare().map_err(Error::host("open a private procfs"))?;
    if plan.parent.contains(&ParentStep::ForbidTracing) {
        sys::process::forbid_tracing().map_err(Error::host("forbid tracing of dhow"))?;
    }
    let home = start_on(plan)?;
    let stepped = SteppedIn::enter(step_in, clocks.filter(|_| direct))?;
    let request = CloneRequest {
        namespaces: plan.clone,
        cgroup,
        sibling: false,
    };
    let cloned = sys::process::clone(&request);
    if let (Ok(Cloned::Parent(_)), Some(home)) = (&cloned, home) {
        sys::scheduler::set_affinity(0, &home).map_err(Error::host("go back to our processors"))?;
    }
    match cloned {
        // dhow's end of the socket goes first: a child that kept a copy would wait for ever for a dhow that
        // was killed before the child could ask to die with it, and keep the lock on the state meanwhile.
        Ok(Cloned::Child) if direct => {
            drop(socket);
            init::run(plan, init, 0)
        }
        Ok(Cloned::Child) => {
            drop(socket);
            stage::run(plan, init, clocks)
        }
        Ok(Cloned::Parent(process)) => {
            let born = Born {
                process,
                socket,
                is_stage,
            };
            // Root of a user namespace alone may not come back (rootless podman): then it must not have to.
            if later == Later::Nobody {
                return Ok(born);
            }
            match stepped.back() {
                Ok(()) => Ok(born),
                Err(e) => {
                    kill(&born.process);
                    Err(e.into())
                }
            }
        }
        Err(e) => {
            let doing = match plan.clone {
                0 => "make the first process".to_owned(),
                flags => format!(
                    "make the first process with new namespaces ({})",
                    namespaces::Namespace::list(flags)
                ),
            };
            // This process ends with the error: it makes no child that would have to be at home.
            let _ends_anyway = stepped.back();
            Err(Error::host(doing)(e))
        }
    }
}

/// Moves us to where the child is to begin; gives where we were.
fn start_on(plan: &Plan) -> Result<Option<Vec<u64>>> {
    for step in &plan.parent {
        if let ParentStep::StartOn(processors) = step {
            let home =
                sys::scheduler::affinity(0).map_err(Error::host("look at our processors"))?;
            processors.apply(0).map_err(Error::host(step.to_string()))?;
            return Ok(Some(home));
        }
    }
    Ok(None)
}

/// From the middle process, which ends, to the one that it has made. Who may trace the latter may have stolen its end
/// of the socket: the handle must be that of a child of ours, or others would be treated and signalled in its place.
pub(crate) fn adopt(born: &mut Born, pid: i32, pidfd: Option<OwnedFd>) -> Result<()> {
    let unlike = || Error::Words("the middle process sent no handle of its child".to_owned());
    let pidfd = pidfd.filter(|_| born.is_stage).ok_or_else(unlike)?;
    let child = sys::process::child_of_handle(&pidfd).map_err(Error::host("look at the child"))?;
    let pid = Pid::from_raw(pid)
        .filter(|pid| *pid == child && *pid != born.process.pid)
        .ok_or_else(unlike)?;
    born.is_stage = false;
    let stage = std::mem::replace(&mut born.process, Process { pid, pidfd });
    sys::process::wait(stage.pidfd).map_err(Error::host("wait for the middle process"))?;
    sync::go(&born.socket).map_err(Error::host("answer the first process"))
}

/// Ends a process of ours and reaps it.
pub(crate) fn kill(process: &Process) {
    let _ended_already = sys::process::send_signal(&process.pidfd, sys::process::Signal::KILL);
    let _none_of_ours = sys::process::wait(&process.pidfd);
}

/// A failure of a step of `plan`, in words.
pub(crate) fn failed(plan: &Plan, failure: Failure) -> Error {
    let number = usize::try_from(failure.step).unwrap_or(usize::MAX);
    match plan.stage.iter().chain(&plan.init).nth(number) {
        // The words are complete, and callers match them.
        Some(Step::CreateContainerHooks(_)) | None => Error::Words(failure.to_string()),
        Some(Step::FindProgram(_) | Step::Exec) => Error::Program(Box::new(failure)),
        Some(step) => Error::Step {
            step: step.to_string(),
            failure: Box::new(failure),
        },
    }
}

/// Makes the network namespace of the first process, which works on its mounts meanwhile, and hands it over.
pub(crate) fn make_network(plan: &Plan, born: &Born) -> Result<()> {
    if !plan.parent.contains(&ParentStep::MakeNetwork) {
        return Ok(());
    }
    let made = namespaces::network::make()?;
    match sync::hand(&born.socket, made.as_fd()) {
        // It has failed and ended: what it said is heard next.
        Err(e) if e.errno == sys::Errno::PIPE => Ok(()),
        handed => handed.map_err(Error::host("hand over the network namespace")),
    }
}

/// Sets how likely the OOM killer takes the process.
pub(crate) fn score(plan: &Plan, pid: i32) -> Result<()> {
    for step in &plan.parent {
        if let ParentStep::OomScore(score) = step {
            set_oom_score(&pid.to_string(), *score).map_err(Error::host(step.to_string()))?;
        }
    }
    Ok(())
}

/// Sets the limits of a process that is about to be root of its own user namespace and nowhere else.
pub(crate) fn limit(plan: &Plan, pid: i32) -> Result<()> {
    for step in &plan.parent {
        if let ParentStep::Limit(limit) = step {
            sys::privileges::set_limit(pid, limit.resource, limit.soft, limit.hard)
                .map_err(Error::host(step.to_string()))?;
        }
    }
    Ok(())
}

/// Moves the host's network devices that the process asks for.
pub(crate) fn net_devices(plan: &Plan, pid: i32) -> Result<()> {
    for step in &plan.parent {
        if let ParentStep::NetDevices(devices) = step {
            namespaces::devices::move_to(devices, pid)?;
        }
    }
    Ok(())
}

/// Tells the kernel how to treat a process that is ready.
pub(crate) fn treat(plan: &Plan, pid: i32) -> Result<()> {
    for step in &plan.parent {
        if let ParentStep::Treat(treatment) = step {
            let doing = format!("set its {treatment}");
            treatment.apply(pid).map_err(Error::host(doing))?;
        }
    }
    Ok(())
}

/// Only a change is written: lowering it, even to what it is, would need CAP_SYS_RESOURCE.
pub(crate) fn set_oom_score(process: &str, score: i32) -> sys::Result<()> {
    let file = format!("{process}/oom_score_adj");
    if sys::proc::read(&file)?.trim() == score.to_string() {
        return Ok(());
    }
    sys::proc::write(&file, &score.to_string())
}
