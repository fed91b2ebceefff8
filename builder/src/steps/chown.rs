//! chown(2) of a RUN where this build has one id: the container's filter leaves the call to us, and the owner is kept
//! as COPY keeps it (`kept`). Not its job: how calls come here (sys), filters in general (image).
//!
//! The caller is hostile, and may change its memory, names and folders while we look. So its path is resolved in its
//! own root by the kernel, without the links of a procfs, to a descriptor; what that stands for is held to be of the
//! tree that is built, by its mount; and nothing is written but through that descriptor. Whatever it may have become by
//! another name meanwhile is the step's own, too.
//!
//! What belongs to other mounts of the step (caches, secrets, /dev) keeps no owner: a call that root could make is said
//! to have worked. What is no file of the tree's at all is left to the kernel, which refuses it as it always did.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::{Layer, LinkOwners, Owner, Scratch};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use sys::at::{self, AtFlags, FileType, Gid, OFlags, StatxFlags, Uid};
use sys::beneath::Root;
use sys::listener::{Answer, CHOWN_CALLS, Call, Caller, Chown, Heard, Listener, What};
use sys::probe::Feature;
use sys::{Errno, SysError};

use crate::error::{Doing, Result};
use crate::layers::links_of;

/// The name of the socket to which the container's filter sends its listener.
const SOCKET: &str = "chown";

/// Room for the words that come with a listener, which nobody here needs.
const WORDS: usize = 64 * 1024;

/// The owners of the tree that a RUN works on, and the place where its filter's listener is awaited.
pub(crate) struct Owners<'a> {
    socket: OwnedFd,
    /// The socket's folder: its name is short by way of this.
    folder: OwnedFd,
    /// The mount that all files of the tree are on.
    mount: u64,
    /// Where its changes go.
    upper: Root,
    /// Whose the layers have what has no attributes.
    below: LinkOwners,
    /// Whose the command has given it to.
    given: RefCell<HashMap<Inode, Owner>>,
    /// Where that is kept in the end.
    links: &'a RefCell<LinkOwners>,
}

/// A file by its inode and the moment at which that was made, seconds and nanoseconds: what has no attributes is known
/// by them wherever it is moved.
type Inode = (u64, i64, u32);

impl<'a> Owners<'a> {
    /// Of the tree `mount` of these layers, whose changes go to a scratch directory; `None` if files can be given to
    /// others. `folder` is for the socket.
    pub(crate) fn new(
        folder: &Path,
        mount: &OwnedFd,
        layers: &[Layer],
        scratch: &'a Scratch,
    ) -> Result<Option<Self>> {
        let doing = || "wait for the command's filter".to_owned();
        // A kernel without openat2 (5.6) or the ids of mounts (5.8) can't say what a call means: it is refused there.
        let (Some(below), true, Ok(mount)) = (
            links_of(layers)?,
            Feature::Openat2.present(),
            mount_of(mount),
        ) else {
            return Ok(None);
        };
        sys::file::create_dir_all(folder, 0o700).doing(doing)?;
        let folder = sys::file::open_dir(folder).doing(doing)?;
        Ok(Some(Self {
            socket: sys::socket::listen_stream(&folder, SOCKET).doing(doing)?,
            folder,
            mount,
            upper: Root::new(sys::file::open_path(&scratch.upper).doing(doing)?),
            below,
            given: RefCell::default(),
            links: &scratch.links,
        }))
    }

    /// Lets the container's filter leave chown to us. A container without a filter has its calls for itself.
    pub(crate) fn suit(&self, spec: &mut Value) {
        let path = format!("/proc/self/fd/{}/{SOCKET}", self.folder.as_raw_fd());
        leave_chown(spec, &path);
    }

    /// Takes the listener of the container, which has been started with such a filter.
    pub(crate) fn listener(&self) -> Result<Listener> {
        let doing = || "listen to the command's filter".to_owned();
        let socket = sys::socket::accept(&self.socket).doing(doing)?;
        let received = sys::socket::receive(&socket, &mut vec![0; WORDS]).doing(doing)?;
        let missing = || SysError::new("recvmsg", "", Errno::NOENT);
        let fd = received.fd.ok_or_else(missing).doing(doing)?;
        Ok(Listener::new(fd))
    }

    /// Answers a call that waits; whether the listener still has anybody to speak of.
    pub(crate) fn serve(&self, listener: &Listener) -> sys::Result<bool> {
        let call = match listener.hear()? {
            Heard::Call(call) => call,
            Heard::Nothing => return Ok(true),
            Heard::End => return Ok(false),
        };
        let answer = match call.chown() {
            Ok(Some(chown)) => self.chown(listener, &call, chown),
            Ok(None) => Ok(Answer::GoOn),
            Err(errno) => Err(errno),
        };
        listener.answer(&call, answer.unwrap_or_else(Answer::Failed))?;
        Ok(true)
    }

    fn chown(&self, listener: &Listener, call: &Call, chown: Chown) -> Result<Answer, Errno> {
        let caller = call.caller().map_err(|e| e.errno)?;
        let file = match find(&caller, chown.what) {
            // A link of a procfs, or too many of others: the kernel has an answer.
            Err(Errno::LOOP) => return Ok(Answer::GoOn),
            file => file?,
        };
        if !listener.still_waits(call) {
            return Err(Errno::SRCH);
        }
        let of_tree = mount_of(&file)? == self.mount || sys::fault::broken("no-tree-check");
        if !of_tree {
            return elsewhere(&file);
        }
        let to = |id: Option<u32>| id.map(|_| 0);
        let (uid, gid) = (
            to(chown.uid).map(Uid::from_raw),
            to(chown.gid).map(Gid::from_raw),
        );
        // To our own id: the kernel says whether it may be, and takes away what a new owner must not have.
        at::chownat(&file, "", uid, gid, AtFlags::EMPTY_PATH)?;
        self.keep(&file, chown).map_err(|e| e.errno)?;
        Ok(Answer::Done)
    }

    /// Keeps the owner of a file of the tree.
    fn keep(&self, file: &OwnedFd, chown: Chown) -> sys::Result<()> {
        let merged = |(uid, gid): Owner| (chown.uid.unwrap_or(uid), chown.gid.unwrap_or(gid));
        let stat = at::fstat(file).map_err(|errno| SysError::new("fstat", "", errno))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            let file = sys::proc::open_again(file, OFlags::RDONLY | OFlags::NONBLOCK)?;
            let before = image::kept_owner(&file)?.unwrap_or((0, 0));
            return match merged(before) {
                after if after == before => Ok(()),
                after => image::keep_owner(&file, after),
            };
        }
        let path = sys::proc::path_of(file)?;
        let (folder, name) = self.upper.parent(&path)?;
        let inode = match inode(folder, name.as_encoded_bytes()) {
            // Removed, and only its caller still has it: nothing is to be kept.
            Err(Errno::NOENT) => return Ok(()),
            inode => inode.map_err(|errno| SysError::new("statx", path.display(), errno))?,
        };
        let mut given = self.given.borrow_mut();
        let before = given.get(&inode).copied();
        let before = before.unwrap_or_else(|| self.below.get(path.as_os_str().as_encoded_bytes()));
        given.insert(inode, merged(before));
        Ok(())
    }

    /// The command has ended: whatever has no attributes is where it stays.
    pub(crate) fn settle(&self) -> Result<()> {
        let doing = || "look for the owners of links".to_owned();
        let given = self.given.borrow();
        let mut pending = match given.is_empty() {
            true => Vec::new(),
            false => vec![PathBuf::from(".")],
        };
        while let Some(path) = pending.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let folder = self.upper.open(&path, flags).doing(doing)?;
            for (name, kind) in sys::file::list(&folder).doing(doing)? {
                let path = path.join(&name);
                if kind == FileType::Directory {
                    pending.push(path);
                } else if kind != FileType::RegularFile {
                    let inode = inode(&folder, name.as_encoded_bytes())
                        .map_err(|errno| SysError::new("statx", path.display(), errno))
                        .doing(doing)?;
                    if let Some(owner) = given.get(&inode) {
                        self.links.borrow_mut().insert(&path, *owner);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Has the filter of a spec leave chown to whoever listens at `path`.
fn leave_chown(spec: &mut Value, path: &str) {
    let Some(Value::Object(filter)) = spec.pointer_mut("/linux/seccomp") else {
        return;
    };
    let Some(Value::Array(rules)) = filter.get_mut("syscalls") else {
        return;
    };
    for names in rules
        .iter_mut()
        .filter_map(|rule| rule["names"].as_array_mut())
    {
        names.retain(|name| !CHOWN_CALLS.iter().any(|call| name == call));
    }
    rules.retain(|rule| {
        rule["names"]
            .as_array()
            .is_none_or(|names| !names.is_empty())
    });
    rules.push(json!({"names": CHOWN_CALLS, "action": "SCMP_ACT_NOTIFY"}));
    filter.insert("listenerPath".to_owned(), path.into());
}

/// Whether the container of a spec has such a filter.
pub(crate) fn is_left_to_us(spec: &Spec) -> bool {
    let filter = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    filter.is_some_and(|filter| filter.listener_path().is_some())
}

/// The file that a call means, as its caller sees it now.
fn find(caller: &Caller, what: What) -> Result<OwnedFd, Errno> {
    let (from, path, follow, empty) = match what {
        What::Open(number) => {
            let opened = caller.opened(number)?;
            return match opened.path_only {
                true => Err(Errno::BADF),
                false => Ok(opened.fd),
            };
        }
        What::Named {
            from,
            path,
            follow,
            empty,
        } => (from, caller.path(path)?, follow, empty),
    };
    if path.is_empty() && !empty {
        return Err(Errno::NOENT);
    }
    let begin = || match from {
        None => caller.directory(),
        Some(number) => caller.opened(number).map(|opened| opened.fd),
    };
    if path.is_empty() {
        return begin();
    }
    let root = Root::new(caller.root()?);
    let path = match Path::new(&path).is_absolute() {
        true => path,
        false => below(&root, &begin()?, path)?,
    };
    let flags = match follow {
        true => OFlags::PATH,
        false => OFlags::PATH | OFlags::NOFOLLOW,
    };
    root.open(&path, flags).map_err(|e| e.errno)
}

/// A path that begins at a folder, as one that begins at the root.
fn below(root: &Root, folder: &OwnedFd, path: OsString) -> Result<OsString, Errno> {
    let stat = at::fstat(folder)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    let place = |fd: &dyn AsFd| sys::proc::path_of(fd.as_fd()).map_err(|e| e.errno);
    let (root, folder) = (place(&root.fd())?, place(folder)?);
    // One that is outside of its root (it may have changed that) has no such path: the kernel's turn.
    let folder = folder.strip_prefix(&root).map_err(|_| Errno::LOOP)?;
    // Joined as text: what the path ends in counts, be it a slash or a dot.
    let mut whole = OsString::from("/");
    whole.push(folder);
    whole.push("/");
    whole.push(path);
    Ok(whole)
}

/// What is said of a file that is not of the tree. It is not touched.
fn elsewhere(file: &OwnedFd) -> Result<Answer, Errno> {
    let stat = at::fstat(file)?;
    let about = at::fstatvfs(file)?;
    if about.f_flag.contains(at::StatVfsMountFlags::RDONLY) {
        return Err(Errno::ROFS);
    }
    match (stat.st_uid, stat.st_gid) {
        (0, 0) => Ok(Answer::Done),
        _ => Err(Errno::PERM),
    }
}

/// The id of the mount that an open file is on.
fn mount_of(file: impl AsFd) -> Result<u64, Errno> {
    let stat = at::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    match stat.stx_mask & StatxFlags::MNT_ID.bits() {
        0 => Err(Errno::OPNOTSUPP),
        _ => Ok(stat.stx_mnt_id),
    }
}

fn inode(folder: impl AsFd, name: &[u8]) -> Result<Inode, Errno> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let stat = at::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    Ok((stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chown_is_left_to_us_and_nothing_else() {
        let mut spec = json!({"linux": {"seccomp": {"syscalls": [
            {"names": ["read", "chown", "fchownat", "chmod"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["lchown"], "action": "SCMP_ACT_ALLOW"},
        ]}}});
        leave_chown(&mut spec, "/there");
        let filter = &spec["linux"]["seccomp"];
        assert_eq!(filter["listenerPath"], "/there");
        assert_eq!(filter["syscalls"].as_array().map(Vec::len), Some(2));
        assert_eq!(filter["syscalls"][0]["names"], json!(["read", "chmod"]));
        assert_eq!(filter["syscalls"][1]["names"], json!(CHOWN_CALLS));
        let mut without = json!({"linux": {}});
        leave_chown(&mut without, "/there");
        assert_eq!(without, json!({"linux": {}}));
    }
}
