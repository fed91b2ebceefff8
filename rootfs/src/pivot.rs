//! Makes the container's root the root. Not its job: what is in it, and what of it is hidden.
//!
//! The container's root is a mount of its own, made detached and then attached at a place of the host's
//! tree *as this mount namespace sees it*; the host itself never sees it. A bundle's root is attached on
//! itself, where createContainer hooks look for it; an overlay, on any directory.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sys::at::{FileType, StatxFlags};
use sys::beneath::Root;
use sys::mount::{self, Attr, Change, Depth, Propagation};
use sys::{Errno, SysError};

use crate::error::Doing;
use crate::options::MountOptions;
use crate::{Error, attach, protect};

/// Understands `linux.rootfsPropagation`; an empty word is none. Pure.
///
/// # Errors
/// [`Error::Field`] for any other word than the eight.
pub fn propagation(word: &str) -> Result<Option<(Propagation, Depth)>, Error> {
    if word.is_empty() {
        return Ok(None);
    }
    match MountOptions::parse([word]).propagation.first().copied() {
        Some(found) => Ok(Some(found)),
        None => Err(Error::field(
            "linux.rootfsPropagation",
            format!(
                "`{word}` is none of private, shared, slave, unbindable, rprivate, rshared, rslave, runbindable"
            ),
        )),
    }
}

/// Cuts this mount namespace's way to the host: from now on mounts travel in, never out. The very first
/// step, since systemd makes every mount of a host shared.
///
/// # Errors
/// [`Error::Act`].
pub fn isolate() -> Result<(), Error> {
    let ours = match sys::fault::broken("no-isolation") {
        true => Propagation::Shared,
        false => Propagation::Slave,
    };
    mount::propagate_all(ours).doing(|| "keep our mounts from the host")
}

/// Whether this kernel has detached mounts, so that the parent can make them. Otherwise all is made from
/// inside.
pub fn detached() -> bool {
    sys::probe::Feature::MountApi.present()
}

/// A detached copy of the directory `path` with all that is mounted below, to be a container's root.
/// The parent may call it before it clones, or the first process itself.
///
/// # Errors
/// [`Error::Act`]: `path` is missing or no directory.
pub fn open_root(path: &Path) -> Result<OwnedFd, Error> {
    copy(path).doing(|| format!("open the root {}", path.display()))
}

fn copy(path: &Path) -> Result<OwnedFd, SysError> {
    let source = sys::file::open_dir(path)?;
    let root = mount::clone_tree(&source, "", Depth::Recursive)?;
    // What the host mounts later below may show; the root itself is on its own. pivot_root(2) also
    // refuses a root whose parent is shared.
    attach::propagate(&root, Propagation::Slave, Depth::Recursive)?;
    attach::propagate(&root, Propagation::Private, Depth::One)?;
    Ok(root)
}

/// Attaches a detached mount (of [`open_root`] or [`crate::Overlay::mount_detached`]) on the directory
/// `place` of this mount namespace, and gives it as the root of all later paths.
///
/// # Errors
/// [`Error::Act`]: `place` is missing or no directory.
pub fn attach_root(mount: OwnedFd, place: &Path) -> Result<Root, Error> {
    let target = sys::file::open_path(place).doing(|| Attaching(place))?;
    attach_root_on(mount, &target, place)
}

/// Attaches the root on the bundle's own `folder`, where createContainer hooks look for the container's
/// mounts; on top of the host's root where there is no such folder, or our user can't reach it.
///
/// # Errors
/// As [`attach_root`].
pub fn attach_root_near(mount: OwnedFd, folder: Option<&Path>) -> Result<Root, Error> {
    let reached = folder.and_then(|folder| Some((folder, sys::file::open_path(folder).ok()?)));
    match reached {
        Some((folder, target)) => attach_root_on(mount, &target, folder),
        None => attach_root(mount, Path::new("/")),
    }
}

fn attach_root_on(mount: OwnedFd, target: &OwnedFd, place: &Path) -> Result<Root, Error> {
    attach::onto(&mount, target, place).doing(|| Attaching(place))?;
    Ok(Root::new(mount))
}

/// What we do, for an error.
struct Attaching<'a>(&'a Path);

impl std::fmt::Display for Attaching<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "attach the root on {}", self.0.display())
    }
}

/// Makes `root` the root directory of this process and lets go of the host's tree.
///
/// # Errors
/// [`Error::Act`]: the host's own root is a ramfs, where only [`chroot`] can work.
pub fn pivot(root: &Root) -> Result<(), Error> {
    switch(root).doing(|| "make the container's root the root")
}

fn switch(root: &Root) -> Result<(), SysError> {
    let old = sys::file::open_path("/")?;
    sys::process::change_dir_fd(root.fd())?;
    // The old root now lies on top of the new one (pivot_root(2), NOTES): no directory is needed for it.
    mount::pivot_root_here()?;
    // "." must be the old root here: looked up from the new one, it would be the new one.
    sys::process::change_dir_fd(&old)?;
    mount::detach(".")?;
    sys::process::change_dir_fd(root.fd())
}

/// Makes `root` the root directory of this process alone: for a mount namespace that others live in, whose
/// root pivot_root(2) would take away from them.
///
/// # Errors
/// [`Error::Act`].
pub fn enter_only(root: &Root) -> Result<(), Error> {
    sys::process::change_dir_fd(root.fd())
        .and_then(|()| sys::process::change_root_here())
        .doing(|| "enter the container's root")
}

/// A copy of `root` with all that is mounted below it, attached nowhere.
///
/// # Errors
/// [`Error::Act`]: the root is unbindable (`linux.rootfsPropagation`).
pub fn copy_of(root: &Root) -> Result<OwnedFd, Error> {
    mount::clone_tree(root.fd(), "", Depth::Recursive).doing(|| "copy the container's root")
}

/// Puts `root` over the root directory and enters it: for a host whose root is a ramfs, and only when
/// asked (`--no-pivot`), since the host's root stays below. All that is mounted on it is taken away, so
/// that nobody who climbs out by chroot(2) finds a procfs or sysfs without masks.
///
/// # Errors
/// [`Error::Act`]: a mount of the host can't be taken away.
pub fn chroot(root: &Root) -> Result<(), Error> {
    enter(root).doing(|| "put the container's root over the root")
}

fn enter(root: &Root) -> Result<(), SysError> {
    let id = mount_id(root)?;
    let over = place_of(&mountinfo()?, id).as_deref() == Some(Path::new("/"));
    if !over && !sys::fault::broken("no-root-move") {
        mount::move_over_root(root.fd())?;
    }
    for path in beside(&mountinfo()?, id) {
        match mount::detach(&path) {
            // Locked, for they came with the user namespace: covered instead, as runc does.
            Err(e) if matches!(e.errno, Errno::INVAL | Errno::PERM) => cover(&path)?,
            result => result?,
        }
    }
    sys::process::change_dir_fd(root.fd())?;
    sys::process::change_root_here()
}

/// Covers a mount of the host's that can't be taken away with an empty read-only directory.
fn cover(path: &Path) -> Result<(), SysError> {
    let target = sys::file::open_path(path)?;
    if attach::file_type(&target)? != FileType::Directory {
        let null = sys::file::open_path("/dev/null")?;
        let null = mount::clone_tree(&null, "", Depth::One)?;
        return attach::onto(&null, target, path);
    }
    attach::onto(&protect::empty_directory()?, target, path)
}

/// The table of our own mount namespace, whichever thread we are.
fn mountinfo() -> Result<String, SysError> {
    sys::proc::read("thread-self/mountinfo")
}

fn mount_id(root: &Root) -> Result<u64, SysError> {
    let (flags, mask) = (sys::at::AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    let stat = sys::at::statx(root.fd(), "", flags, mask)
        .map_err(|errno| SysError::new("statx", "the container's root", errno))?;
    Ok(stat.stx_mnt_id)
}

/// Where mount `id` is, in a mountinfo table. Pure.
fn place_of(table: &str, id: u64) -> Option<PathBuf> {
    let mut mounts = table.lines().filter_map(line);
    mounts
        .find(|mount| mount.0 == id)
        .map(|mount| unescape(mount.2))
}

/// The paths of the mounts that share their parent with mount `id` in a mountinfo table. Pure.
fn beside(table: &str, id: u64) -> Vec<PathBuf> {
    let mounts: Vec<(u64, u64, &str)> = table.lines().filter_map(line).collect();
    let Some(&(_, parent, _)) = mounts.iter().find(|mount| mount.0 == id) else {
        return Vec::new();
    };
    mounts
        .iter()
        .filter(|mount| mount.1 == parent && mount.0 != id && mount.0 != parent)
        .map(|mount| unescape(mount.2))
        .collect()
}

/// A mountinfo line's mount id, parent id and mount point (proc_pid_mountinfo(5)).
fn line(line: &str) -> Option<(u64, u64, &str)> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    Some((id, parent, fields.nth(2)?))
}

/// A mount point as mountinfo writes it.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(mount::unescape(text)).into()
}

/// Makes the root's own mount read-only (`root.readonly`); what is mounted below keeps its own way.
///
/// # Errors
/// [`Error::Act`].
pub fn make_read_only(root: &Root) -> Result<(), Error> {
    let change = Change {
        set: u64::from(Attr::MOUNT_ATTR_RDONLY.bits()),
        ..Change::default()
    };
    mount::set_attr(root.fd(), Depth::One, &change).doing(|| "make the root read-only")
}

/// Gives the root's mount its final propagation (`linux.rootfsPropagation`).
///
/// # Errors
/// [`Error::Act`].
pub fn set_propagation(root: &Root, propagation: Propagation, depth: Depth) -> Result<(), Error> {
    attach::propagate(root.fd(), propagation, depth)
        .doing(|| format!("make the root's mount {propagation}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 8:1 / / rw shared:1 - ext4 /dev/sda rw
22 21 0:5 / /proc rw - proc proc rw
23 22 0:6 / /proc/sys/fs/binfmt_misc rw - autofs x rw
24 21 0:7 / /a\\040b\\134c\\0 rw - tmpfs x rw
30 21 0:9 / / rw - overlay x rw
31 30 0:10 / /proc rw - proc proc rw
";

    #[test]
    fn only_the_hosts_own_mounts_are_beside_the_containers_root() {
        let paths = [PathBuf::from("/proc"), PathBuf::from("/a b\\c\\0")];
        assert_eq!(beside(TABLE, 30), paths);
        assert!(beside(TABLE, 99).is_empty());
        assert_eq!(place_of(TABLE, 23), Some("/proc/sys/fs/binfmt_misc".into()));
    }

    #[test]
    fn a_propagation_is_one_of_eight_words() {
        let slave = (Propagation::Slave, Depth::Recursive);
        assert_eq!(propagation("rslave").unwrap(), Some(slave));
        assert_eq!(propagation("").unwrap(), None);
        let words = propagation("ro").unwrap_err().to_string();
        assert!(words.starts_with("linux.rootfsPropagation: `ro` is none of private,"));
    }
}
