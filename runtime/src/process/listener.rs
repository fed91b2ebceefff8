//! SCMP_ACT_NOTIFY: a filter's listener goes to the agent that the profile names, with the container's state
//! (config-linux.md, "The Container Process State"). dhow connects to the agent by the host's path, init sends.
//! Not its job: answering notifications.
//!
//! ```text
//!  dhow                               init                                its helper thread
//!   | <--- NeedListener ---------------|
//!   | ---- connection, state --------> | ---- begins ---------------------> |
//!   |                                  | seccomp(2): the filter is in force |   (not for this thread)
//!   |                                  | ---- the listener's number ------> |   through memory
//!   |                                  |                                    | sends it and the state to the agent
//!   |                                  | <--- done -------------------------|   through memory
//!   |                                  | exec
//! ```
//! A thread, since every call of init's own after seccomp(2) may be one that the agent is to answer, which has no
//! listener yet. So each call can be notified, `write` and `sendmsg` too.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use serde::Serialize;
use sys::SysError;
use sys::seccomp::Filter;

use crate::process::sync::{self, Failure, FromInit};
use crate::state::{Record, Status};
use crate::{Error, Result};

/// The container process state, with the names of the spec.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: State<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'static str,
    pid: i32,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'a std::collections::BTreeMap<String, String>,
}

/// A connection to the agent of a container.
///
/// # Errors
/// [`Error::Host`] if nobody listens there.
pub(crate) fn connect(record: &Record) -> Result<Option<OwnedFd>> {
    let Some(agent) = &record.seccomp_agent else {
        return Ok(None);
    };
    let agent = sys::socket::connect_stream(&agent.path)
        .map_err(Error::host("linux.seccomp.listenerPath"))?;
    Ok(Some(agent))
}

/// dhow's answer to [`FromInit::NeedListener`], for the process `pid`.
///
/// # Errors
/// [`Error::Host`] if the process has ended.
pub(crate) fn give(
    socket: impl AsFd,
    agent: Option<OwnedFd>,
    record: &Record,
    status: Status,
    pid: i32,
) -> Result<()> {
    let metadata = record.seccomp_agent.as_ref().map(|agent| &agent.metadata);
    let state = ProcessState {
        oci_version: &record.oci_version,
        fds: ["seccompFd"],
        pid,
        metadata: metadata.map_or("", String::as_str),
        state: State {
            oci_version: &record.oci_version,
            id: &record.id,
            status: status.word(),
            pid: record.init.map_or(pid, |init| init.pid),
            bundle: &record.bundle,
            annotations: &record.annotations,
        },
    };
    let state = serde_json::to_vec(&state).expect("strings and numbers always serialize");
    let agent = agent.ok_or_else(|| Error::Words("no seccomp agent is known".to_owned()))?;
    sync::give(socket, &state, agent.as_fd()).map_err(Error::host("answer the process"))
}

/// Where a process sends the listener of its filter, and with what words.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: OwnedFd,
    state: Vec<u8>,
}

/// init's side: asks for the agent.
pub(crate) fn ask(channel: impl AsFd) -> Result<Agent, SysError> {
    sync::tell(&channel, &FromInit::NeedListener)?;
    let (state, socket) = sync::take_given(&channel)?;
    Ok(Agent { socket, state })
}

/// Puts the filter in force and sends its listener. Nobody answers notified calls if that fails, so the process
/// ends: the helper thread says why, as step number `step`.
pub(crate) fn load(
    filter: &Filter,
    agent: Agent,
    channel: &OwnedFd,
    step: u32,
) -> Result<(), SysError> {
    let channel = channel
        .try_clone()
        .map_err(|e| SysError::from_io("dup", "", &e))?;
    filter.load_with_listener(move |listener| {
        let sent = sys::socket::send(&agent.socket, &agent.state, Some(listener.as_fd()));
        if let Err(error) = sent {
            let error = SysError {
                subject: "the seccomp agent".to_owned(),
                ..error
            };
            let _nobody_listens =
                sync::tell(&channel, &FromInit::Failed(Failure::new(step, &error)));
            sys::process::exit(1);
        }
    })
}
