//! The middle process: it enters what only a fork can take effect in (a PID namespace that belongs to a
//! user namespace that is joined, clocks without rights), makes the first process as its own sibling, so
//! that dhow is its parent, and ends. It has dhow's rights until it joins a user namespace.
//! Not its job: anything of the container's file system.

use std::os::fd::{AsFd, OwnedFd};

use namespaces::TimeOffsets;
use namespaces::join::SteppedIn;
use sys::SysError;
use sys::process::{CloneRequest, Cloned, Process};

use crate::plan::{Plan, Step};
use crate::privileges;
use crate::process::init::{self, Init, cause, enter, not_ours};
use crate::process::parent;
use crate::process::sync::{self, Failure, FromInit};

/// Carries out the middle process' steps; `clocks` are those of the new time namespace.
pub(crate) fn run(plan: &Plan, mut init: Init, clocks: Option<&TimeOffsets>) -> ! {
    let _cosmetic = sys::process::set_name(c"dhow:stage");
    let mut made = None;
    for (number, step) in (0_u32..).zip(&plan.stage) {
        let result = match step {
            Step::DieWithDhow => sys::process::die_with_parent(Some(sys::process::Signal::KILL)),
            Step::OomScore(score) => parent::set_oom_score("self", *score),
            Step::AskIdMaps => sync::tell(&init.socket, &FromInit::NeedIdMaps)
                .and_then(|()| sync::await_go(&init.socket)),
            Step::BecomeRoot => sys::privileges::become_user(0, 0, None)
                .and_then(|()| privileges::groups_denied())
                .map(|denied| init.groups_denied = denied),
            Step::ForbidTracing => sys::process::forbid_tracing(),
            Step::Join(_) => namespaces::join::enter(&init.joins).map_err(|e| cause(&e)),
            Step::JoinContainer(_) => enter(init.container.as_ref()),
            Step::CloneInit(_) => clone_init(plan, clocks).map(|cloned| made = Some(cloned)),
            // Passed over, it could be a protection that nobody notices to be missing.
            _ => Err(not_ours()),
        };
        if let Err(error) = result {
            let _nobody_listens = sync::tell(
                &init.socket,
                &FromInit::Failed(Failure::new(number, &error)),
            );
            sys::process::exit(1);
        }
    }
    let first = u32::try_from(plan.stage.len()).unwrap_or(u32::MAX);
    match made {
        Some(Cloned::Child) => {
            // Until dhow has our handle it would take what we say for the middle process' words.
            match sync::await_go(&init.socket) {
                Ok(()) => init::run(plan, init, first),
                Err(_) => sys::process::exit(1),
            }
        }
        Some(Cloned::Parent(process)) => leave(&init.socket, &process),
        None => sys::process::exit(1),
    }
}

fn clone_init(plan: &Plan, clocks: Option<&TimeOffsets>) -> Result<Cloned, SysError> {
    let stepped = SteppedIn::enter(&[], clocks).map_err(|e| cause(&e))?;
    let cloned = sys::process::clone(&CloneRequest {
        namespaces: plan.stage_clone,
        cgroup: None,
        sibling: true,
    })?;
    if matches!(cloned, Cloned::Parent(_)) {
        stepped.back().map_err(|e| cause(&e))?;
    }
    Ok(cloned)
}

/// What comes next is done by a child, which is born in the PID namespace that this process has entered: those inside
/// see it then for the first time, with no more rights and files than are left by now.
pub(crate) fn go_inside(channel: &OwnedFd) -> Result<(), SysError> {
    match sys::sibling::make()? {
        Cloned::Child => {
            sys::process::die_with_parent(Some(sys::process::Signal::KILL))?;
            sync::await_go(channel)
        }
        Cloned::Parent(process) => leave(channel, &process),
    }
}

fn leave(channel: &OwnedFd, process: &Process) -> ! {
    let message = FromInit::Made(process.pid.as_raw_nonzero().get());
    let told = sync::tell_with(channel, &message, process.pidfd.as_fd());
    sys::process::exit(i32::from(told.is_err()))
}
