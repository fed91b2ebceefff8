//! Secrets and agents' sockets of a RUN: files of a file system in memory that is never swapped out (ramfs), in a mount
//! namespace of the step's process, gone with it and the container. A secret's value is on no disk, in no key and in
//! no message of ours. Not its job: what stands behind an agent's socket.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sys::SysError;
use sys::at::{self, Mode};
use sys::beneath::Root;
use sys::mount::{self, Attr, FsContext};

use crate::error::{Doing, Error, Result};
use crate::mounts::{Access, Mounted};
use crate::request::{Options, Secret, SecretSource};
use crate::steps::agent::Agent;
use crate::steps::directories::own;
use crate::steps::mounting::{Mounts, attach, clone};

/// More is no secret (BuildKit's limit).
const LARGEST: u64 = 500 << 10;

/// Memory as a file system, attached where we alone see it.
pub(crate) struct Memory {
    root: Root,
    at: PathBuf,
    count: usize,
}

impl Memory {
    /// Attaches it to `at`, a new folder.
    pub(crate) fn new(at: &Path) -> Result<Self> {
        let doing = || "make a place for secrets".to_owned();
        let context = FsContext::new("ramfs").doing(doing)?;
        context.set("mode", "700").doing(doing)?;
        let mount = context
            .mount(Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV)
            .doing(doing)?;
        attach(&mount, at).doing(doing)?;
        Ok(Self {
            root: Root::new(mount),
            at: at.to_owned(),
            count: 0,
        })
    }

    /// Takes it out of our own sight: what was cloned of it stays.
    pub(crate) fn hide(self) -> Result<()> {
        mount::detach(&self.at).doing(|| "hide the secrets".to_owned())
    }

    fn name(&mut self) -> String {
        self.count += 1;
        self.count.to_string()
    }

    fn file(&mut self, value: &[u8], access: Access) -> Result<OwnedFd> {
        let doing = || "write a secret to memory".to_owned();
        let name = self.name();
        let fd = self.root.create_file(&name, 0o600).doing(doing)?;
        let mut rest = value;
        while !rest.is_empty() {
            let count = at::write(&fd, rest)
                .map_err(|errno| SysError::new("write", "", errno))
                .doing(doing)?;
            rest = &rest[count..];
        }
        own(&fd, access.uid, access.gid, access.mode).doing(doing)?;
        clone(self.root.open_path(&name).doing(doing)?, true)
    }

    fn socket(&mut self, access: Access) -> Result<(OwnedFd, OwnedFd)> {
        let doing = || "make an agent's socket".to_owned();
        let name = self.name();
        let listener = sys::socket::listen_stream(self.root.fd(), &name).doing(doing)?;
        let fail = |call| move |errno| SysError::new(call, "a socket", errno);
        let (uid, gid) = (at::Uid::from_raw(access.uid), at::Gid::from_raw(access.gid));
        let none = at::AtFlags::SYMLINK_NOFOLLOW;
        at::chownat(self.root.fd(), &name, Some(uid), Some(gid), none)
            .map_err(fail("chown"))
            .doing(doing)?;
        let mode = Mode::from_raw_mode(access.mode);
        at::chmodat(self.root.fd(), &name, mode, at::AtFlags::empty())
            .map_err(fail("chmod"))
            .doing(doing)?;
        let mount = clone(self.root.open_path(&name).doing(doing)?, false)?;
        Ok((listener, mount))
    }
}

/// Mounts a secret or an agent's socket, or says why it can't be had; one that is not required may lack.
pub(crate) fn mount(
    options: &Options,
    wanted: &Mounted,
    memory: &mut Memory,
    mounts: &mut Mounts,
) -> Result<()> {
    match wanted {
        Mounted::Secret {
            id,
            target,
            env,
            required,
            access,
        } => {
            let secret = options.secrets.iter().find(|secret| secret.id == *id);
            let Some(secret) = secret else {
                return lacking(*required, "secret", id);
            };
            let value = value(secret)?;
            if let Some(target) = target {
                mounts.add(target, memory.file(&value, *access)?);
            }
            if let Some(name) = env {
                mounts.env.push(format!("{name}={}", text(id, value)?));
            }
        }
        Mounted::Ssh {
            id,
            target,
            required,
            access,
        } => {
            let agent = options.agents.iter().find(|agent| agent.id == *id);
            let Some(agent) = agent else {
                return lacking(*required, "ssh", id);
            };
            let (listener, mount) = memory.socket(*access)?;
            mounts.add_agent(Agent::start(listener, &agent.socket)?);
            mounts.add(target, mount);
        }
        Mounted::Bind { .. } | Mounted::Cache { .. } | Mounted::Tmpfs { .. } => {}
    }
    Ok(())
}

/// A secret's value, for a fault that tests make.
pub(crate) fn text_of(options: &Options, id: &str) -> Result<String> {
    let secret = options.secrets.iter().find(|secret| secret.id == *id);
    secret.map_or(Ok(String::new()), |secret| text(id, value(secret)?))
}

fn lacking(required: bool, kind: &str, id: &str) -> Result<()> {
    match required {
        false => Ok(()),
        true => Err(Error::Refused(format!(
            "--mount=type={kind} needs {id:?}: the build must be started with --{kind} {}",
            match kind {
                "ssh" => id.to_owned(),
                _ => format!("id={id},src=FILE"),
            }
        ))),
    }
}

fn value(secret: &Secret) -> Result<Vec<u8>> {
    match &secret.source {
        SecretSource::File(path) => {
            sys::file::read(path, LARGEST).doing(|| format!("read secret {:?}", secret.id))
        }
        SecretSource::Variable(name) => match std::env::var_os(name) {
            Some(value) => Ok(value.into_encoded_bytes()),
            None => Err(Error::Refused(format!(
                "secret {:?}: our environment has no {name}",
                secret.id
            ))),
        },
    }
}

fn text(id: &str, value: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(value).ok();
    text.filter(|text| !text.contains('\0')).ok_or_else(|| {
        Error::Refused(format!(
            "secret {id:?} can't be a variable: it is no text without NUL"
        ))
    })
}
