//! Carries out RUN: the command in a container of our own runtime, on the tree that is being built. Not
//! its job: making that tree, and layers.
//!
//! The command gets eleven capabilities and may gain them by set-user-id programs (package scripts need
//! both), its own namespaces, a network that leads past the host (steps/network), and three files made for
//! it: /etc/hosts, /etc/resolv.conf, /etc/hostname. These are mounts; the empty
//! files below them are removed again, so that no layer holds them.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use runtime::{CreateOptions, Created, Force, RootSource, Stdio};
use sys::listener::Listener;
use sys::process::Exit;

use crate::error::{Doing, Error, Result};
use crate::plan::RunStep;
use crate::request::Limits;
use crate::steps::chown::{self, Owners};
use crate::steps::mounting::Mounts;
use crate::steps::network;
use crate::steps::rootless;
use crate::steps::spec::spec;
use crate::worker;

/// What a RUN needs beside itself.
pub(crate) struct Place<'a> {
    /// A folder of our own for what is made for the command; removed by whoever made it.
    pub(crate) folder: PathBuf,
    /// Where the runtime keeps its records.
    pub(crate) state: &'a Path,
    /// Our signals, as a descriptor.
    pub(crate) signals: &'a OwnedFd,
    /// What the command is held to.
    pub(crate) limits: &'a Limits,
    /// Who keeps the owners that it gives to files, where they can't be theirs.
    pub(crate) owners: Option<&'a Owners<'a>>,
}

/// Marks our containers, so that those of a build that was killed are known.
pub(crate) const MARK: &str = "dhow.build";

/// What the names of our containers begin with; the process that made them and a number follow.
const NAMES: &str = "build-";

/// How much of the last output a failure shows.
const LAST_LINES: usize = 10;
const LAST_BYTES: usize = 4096;

/// Runs the command; what it prints goes to `print`.
///
/// # Errors
/// [`Error::Command`] with its last output if it fails, and whatever kept it from running.
pub(crate) fn run(
    mount: &OwnedFd,
    step: &RunStep,
    (place, mut mounts): (&Place<'_>, Mounts),
    print: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let mut say = |text: &str| print(format!("dhow: {text}\n").as_bytes());
    mounts.resolver = network::resolver(step.network, &mut say)?;
    let way = network::before(step.network)?;
    let id = format!("{NAMES}{}-{}", std::process::id(), unique());
    let (mut spec, made) = spec(mount, (&id, step), place, &mut mounts)?;
    if let Some(path) = way.as_ref().and_then(network::Way::path) {
        rootless::join_network(&mut spec, &path);
    }
    let owners = place.owners.filter(|_| chown::is_left_to_us(&spec));
    let id: runtime::ContainerId = id.parse().map_err(container)?;
    let store = runtime::Store::new(place.state.to_owned());
    let (options, mut output) = options(mount, (&id, &store), place, (spec, made))?;
    let created = runtime::create(options).map_err(container)?;
    let mut tail = Tail::default();
    let way = network::give(
        step.network,
        way,
        created.process.pid.as_raw_nonzero().get(),
        &mut |text| print(format!("dhow: {text}\n").as_bytes()),
    );
    let ended = way.and_then(|way| {
        runtime::start(&store, &id).map_err(container)?;
        let calls = owners.map(|owners| Ok((owners, owners.listener()?)));
        let exit = calls.transpose().and_then(|calls| {
            let seen = (&mut output, calls);
            beside(&created, seen, place.signals, &mut |bytes| {
                tail.add(bytes);
                print(bytes);
            })
        });
        let ended = network::end(way);
        exit.and_then(|exit| ended.map(|()| exit))
    });
    let deleted = runtime::delete(&store, &id, Force::Yes).map_err(container);
    let exit = ended?;
    deleted?;
    match exit {
        Exit::Status(0) => Ok(()),
        exit => Err(Error::Command {
            how: match exit {
                Exit::Status(status) => format!("exit status {status}"),
                Exit::Signal(signal) => format!("ended by signal {signal}"),
            },
            output: tail.lines(),
        }),
    }
}

/// What the runtime is told, and the end of the command's output.
fn options(
    mount: &OwnedFd,
    (id, store): (&runtime::ContainerId, &runtime::Store),
    place: &Place<'_>,
    (spec, made): (Spec, BTreeMap<usize, OwnedFd>),
) -> Result<(CreateOptions, std::io::PipeReader)> {
    let root = mount
        .try_clone()
        .map_err(|e| sys::SysError::from_io("dup", "", &e))
        .doing(|| "prepare the container".to_owned())?;
    let mut options = CreateOptions::new(
        id.clone(),
        store.clone(),
        place.folder.clone(),
        spec,
        RootSource::Mount(root),
    );
    let (output, stdio) = pipes()?;
    options.stdio = stdio;
    options.mounts = made;
    if sys::privileges::is_nested() {
        // A user may have no cgroup to make another in.
        options.rootless = runtime::Rootless::Yes;
    }
    Ok((options, output))
}

/// Ends the containers of builds that were killed: nobody waits for them any more.
pub(crate) fn end_orphans(state: &Path) -> Result<()> {
    if !sys::file::exists(state).doing(|| "look for killed builds".to_owned())? {
        return Ok(());
    }
    let store = runtime::Store::new(state.to_owned());
    for (id, snapshot) in runtime::list(&store).map_err(container)? {
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            // Without a record there is no mark; the name is all that there is.
            Err(runtime::Error::Missing { .. }) if is_ours(id.as_str()) => {
                store.forget_cut_off(&id).map_err(container)?;
                continue;
            }
            // One that can't be read is not known to be ours.
            Err(_) => continue,
        };
        let ours = snapshot.record.annotations.contains_key(MARK);
        if ours && is_left_behind(&snapshot.record.bundle)? {
            runtime::delete(&store, &id, Force::Yes).map_err(container)?;
        }
    }
    Ok(())
}

/// Whether it is a name that [`run`] gives.
fn is_ours(id: &str) -> bool {
    let numbers = id.strip_prefix(NAMES).and_then(|rest| rest.split_once('-'));
    let number = |text: &str| text.parse::<u32>().is_ok();
    numbers.is_some_and(|(process, count)| number(process) && number(count))
}

/// Whether the build that made this folder is gone: a living one holds the lock on the directory around it.
fn is_left_behind(folder: &Path) -> Result<bool> {
    let doing = || format!("look for the build of {}", folder.display());
    match sys::file::open_dir(folder.parent().unwrap_or(folder)) {
        Ok(fd) => {
            sys::file::lock(&fd, sys::file::Lock::Exclusive, sys::file::Wait::Try).doing(doing)
        }
        Err(e) if e.errno == sys::Errno::NOENT => Ok(true),
        Err(e) => Err(e).doing(doing),
    }
}

fn container(error: runtime::Error) -> Error {
    Error::Container {
        source: Box::new(error),
    }
}

fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Standard input without a byte, and one pipe for both outputs, so that their order stays.
fn pipes() -> Result<(std::io::PipeReader, Stdio)> {
    let doing = || "prepare the command's output".to_owned();
    let fault = |call| move |e: std::io::Error| sys::SysError::from_io(call, "", &e);
    let input = sys::file::open("/dev/null").doing(doing)?;
    let (output, writer) = std::io::pipe().map_err(fault("pipe")).doing(doing)?;
    let second = writer.try_clone().map_err(fault("dup")).doing(doing)?;
    let stdio = Stdio::Given([input.into(), writer.into(), second.into()]);
    Ok((output, stdio))
}

/// Reads the command's output until it has ended and everybody has closed it, and answers its calls meanwhile.
fn beside(
    created: &Created,
    (output, mut calls): (&mut std::io::PipeReader, Option<(&Owners<'_>, Listener)>),
    signals: &OwnedFd,
    print: &mut dyn FnMut(&[u8]),
) -> Result<Exit> {
    let doing = || "wait for the command".to_owned();
    let pidfd = &created.process.pidfd;
    let mut buffer = vec![0; 64 * 1024];
    let mut open = true;
    loop {
        let mut fds = vec![signals.as_fd()];
        // A process that outlives the first one is killed with the namespace: the pipe closes last.
        fds.push(if open { output.as_fd() } else { pidfd.as_fd() });
        fds.extend(calls.as_ref().map(|(_, listener)| listener.fd()));
        let ready = sys::poll::readable(&fds, None).doing(doing)?;
        if ready[0] {
            worker::interrupted(signals)?;
        }
        if let Some((owners, listener)) = calls.as_ref().filter(|_| ready[2])
            && !owners.serve(listener).doing(doing)?
        {
            calls = None;
        }
        if !ready[1] {
            continue;
        }
        if !open {
            return sys::process::wait(pidfd).doing(doing);
        }
        let count = output
            .read(&mut buffer)
            .map_err(|e| sys::SysError::from_io("read", "", &e))
            .doing(doing)?;
        open = count > 0;
        print(&buffer[..count]);
    }
}

/// The end of what a command prints.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(LAST_BYTES);
        self.bytes.drain(..surplus);
    }

    fn lines(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let first = lines.len().saturating_sub(LAST_LINES);
        lines[first..]
            .iter()
            .map(|line| format!("\n  | {line}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_containers_are_known_by_their_names() {
        assert!(is_ours("build-12-0"));
        for other in [
            "build-12",
            "build-x-0",
            "build-1-2-3",
            "my-build-1-2",
            "build--",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn only_the_end_of_the_output_is_kept() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.add(format!("line {number}\n").as_bytes());
        }
        let lines = tail.lines();
        assert_eq!(lines.matches('\n').count(), LAST_LINES);
        assert!(lines.ends_with("\n  | line 9999"));
    }
}
