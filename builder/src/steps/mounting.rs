//! Carries out `RUN --mount`: for each, a detached mount with its attributes, handed to the command's container. Bind
//! sources are found and hashed before, for the key. Not its job: caches, secrets and agents, each of which has a file.
//!
//! Files of the context are copied as COPY would have them (owners, what is left out), so what the command sees is what
//! its key says, and what it writes to them is thrown away with the copy. Layers of a stage or image are mounted. All
//! sources are resolved below a descriptor of their tree (CVE-2024-1753, CVE-2024-23651). What is attached for a moment,
//! to be cloned from, is attached in a mount namespace that nobody else is in.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use image::{Layer, Scratch};
use serde_json::{Value, json};
use sys::beneath::Root;
use sys::mount::{self, Attr, Change, Depth, Propagation};

use crate::cache::Key;
use crate::error::{Doing, Result};
use crate::fingerprint::{self, Fingerprint};
use crate::ignore::Ignore;
use crate::layers::overlay;
use crate::mounts::{Mount, Mounted};
use crate::plan::RunStep;
use crate::ready::Ready;
use crate::select::{Match, look};
use crate::stages::Origin;
use crate::steps::agent::Agent;
use crate::steps::secrets::Memory;
use crate::steps::{caches, copy, secrets};
use crate::tree::{Tree, path_or_root};
use crate::work::Work;

/// Files that a mount takes, found and hashed.
pub(crate) struct Taken {
    pub(crate) tree: Tree,
    pub(crate) found: Match,
    /// The digest of all that is read of them; none where their layers say it.
    pub(crate) sum: Option<String>,
}

/// What a command sees beside its tree.
#[derive(Default)]
pub(crate) struct Mounts {
    /// Entries for the spec's `mounts`, each with its mount unless the runtime makes it.
    pub(crate) entries: Vec<(Value, Option<OwnedFd>)>,
    /// `NAME=value`
    pub(crate) env: Vec<String>,
    /// What /etc/resolv.conf says.
    pub(crate) resolver: Vec<u8>,
    agents: Vec<Agent>,
    caches: Vec<caches::Room>,
    scratches: Vec<Scratch>,
}

/// Finds the files that the mounts take, and adds the mounts to the key: all but the names of caches and the values of
/// secrets.
///
/// # Errors
/// Names the source that is not there.
pub(crate) fn take(work: &Work<'_>, step: &RunStep, key: &mut Key) -> Result<Vec<Option<Taken>>> {
    let mut all = Vec::new();
    for mount in &step.mounts {
        let (words, from) = match &mount.kind {
            Mounted::Bind {
                origin,
                source,
                target,
                read_only,
            } => (format!("bind {target} {read_only}"), Some((origin, source))),
            Mounted::Cache {
                target,
                read_only,
                seed,
                ..
            } => (
                format!("cache {target} {read_only}"),
                seed.as_ref().map(|seed| (&seed.origin, &seed.source)),
            ),
            Mounted::Tmpfs { target, size } => (format!("tmpfs {target} {size:?}"), None),
            Mounted::Secret { id, .. } if sys::fault::broken("no-secret-apart") => {
                (secrets::text_of(work.options, id)?, None)
            }
            Mounted::Secret { .. } | Mounted::Ssh { .. } => (format!("{:?}", mount.kind), None),
        };
        key.add("mount", words);
        all.push(match from {
            Some((origin, source)) => Some(find(work, origin, source, key)?),
            None => None,
        });
    }
    Ok(all)
}

fn find(work: &Work<'_>, origin: &Origin, source: &str, key: &mut Key) -> Result<Taken> {
    let tree = work.tree(origin)?;
    let path = source.trim_start_matches('/').to_owned();
    let found = match tree.find(source)?.as_slice() {
        // A source is a path, no pattern.
        [one] if one.path == path => one.clone(),
        _ => return Err(tree.missing(source)),
    };
    let layers = work.layers_of(origin)?;
    let sum = match layers {
        Some(layers) if path.is_empty() => {
            let ids: Vec<String> = layers.iter().map(|l| l.diff_id.to_string()).collect();
            key.add("mounted layers", ids.join(" "));
            None
        }
        _ => {
            let mut seen = Fingerprint::new(tree.owners);
            let shape = look(&tree, &found, &Ignore::default(), &mut seen)?;
            let (sum, files) = seen.finish();
            key.add_files(&format!("mounted {source} {shape}"), sum.clone(), files);
            Some(sum)
        }
    };
    Ok(Taken { tree, found, sum })
}

/// Where the mounts of a step are seen.
pub(crate) fn targets(step: &RunStep) -> Vec<String> {
    let all = step.mounts.iter().filter_map(target);
    all.map(str::to_owned).collect()
}

/// Where a mount is seen; a secret may be but a variable.
fn target(mount: &Mount) -> Option<&str> {
    match &mount.kind {
        Mounted::Bind { target, .. }
        | Mounted::Cache { target, .. }
        | Mounted::Tmpfs { target, .. }
        | Mounted::Ssh { target, .. } => Some(target),
        Mounted::Secret { target, .. } => target.as_deref(),
    }
}

/// Makes the mounts. `folder` is one of our own.
///
/// # Errors
/// Names what can't be had: a required secret, say.
pub(crate) fn make(
    work: &Work<'_>,
    step: &RunStep,
    taken: &[Option<Taken>],
    folder: &Path,
) -> Result<Mounts> {
    if step.mounts.is_empty() {
        return Ok(Mounts::default());
    }
    sys::file::create_dir_all(folder, 0o700).doing(|| "make a folder for mounts".to_owned())?;
    sys::namespace::with_own_mounts(|| make_here(work, step, taken, folder))
        .doing(|| "have mounts of our own".to_owned())?
}

fn make_here(
    work: &Work<'_>,
    step: &RunStep,
    taken: &[Option<Taken>],
    folder: &Path,
) -> Result<Mounts> {
    let mut mounts = Mounts::default();
    let mut rooms = caches::rooms(work, step, taken)?;
    let mut memory = None;
    // A mount below another one comes after it.
    let mut order: Vec<usize> = (0..step.mounts.len()).collect();
    let depth = |index: &usize| target(&step.mounts[*index]).map(|path| path.matches('/').count());
    order.sort_by_key(depth);
    for index in order {
        let at = folder.join(format!("mount-{index}"));
        match &step.mounts[index].kind {
            Mounted::Bind {
                origin,
                target,
                read_only,
                ..
            } => {
                if let Some(taken) = &taken[index] {
                    let made = bind(work, &mut mounts, (origin, taken), &at, *read_only)?;
                    mounts.add(target, made);
                }
            }
            Mounted::Cache {
                target, read_only, ..
            } => {
                if let Some(room) = rooms.iter().find(|room| room.serves.contains(&index)) {
                    mounts.add(target, clone(room.open()?, *read_only)?);
                }
            }
            Mounted::Tmpfs { target, size } => mounts.add_tmpfs(target, *size),
            Mounted::Secret { .. } | Mounted::Ssh { .. } => {
                let memory = match &mut memory {
                    Some(memory) => memory,
                    none => none.insert(Memory::new(&folder.join("memory"))?),
                };
                secrets::mount(work.options, &step.mounts[index].kind, memory, &mut mounts)?;
            }
        }
    }
    mounts.caches.append(&mut rooms);
    if let Some(memory) = memory {
        memory.hide()?;
    }
    Ok(mounts)
}

fn bind(
    work: &Work<'_>,
    mounts: &mut Mounts,
    (origin, taken): (&Origin, &Taken),
    at: &Path,
    read_only: bool,
) -> Result<OwnedFd> {
    let doing = || format!("mount {:?} of {}", taken.found.path, taken.tree.name);
    let Some(layers) = work.layers_of(origin)? else {
        copy_to(taken, at)?;
        return clone(sys::file::open_path(at).doing(doing)?, read_only);
    };
    let writable;
    let root = match read_only {
        true => &taken.tree.root,
        false => {
            writable = Root::new(written(work, mounts, &layers)?);
            &writable
        }
    };
    // Only what is attached can be cloned (before Linux 6.15).
    attach(root.fd(), at).doing(doing)?;
    let fd = root
        .open_path(path_or_root(&taken.found.path))
        .doing(doing)?;
    let cloned = clone(fd, read_only)?;
    mount::detach(at).doing(doing)?;
    Ok(cloned)
}

/// Layers with somewhere for changes to go, which nobody keeps.
fn written(work: &Work<'_>, mounts: &mut Mounts, layers: &[Layer]) -> Result<OwnedFd> {
    let scratch = work
        .store
        .scratch()
        .doing(|| "make room for what is written".to_owned())?;
    let mount = overlay(layers, Some(&scratch))?;
    mounts.scratches.push(scratch);
    Ok(mount)
}

/// Copies what was found to `at`, as COPY would.
pub(crate) fn copy_to(taken: &Taken, at: &Path) -> Result<()> {
    let doing = || format!("copy {:?} of {}", taken.found.path, taken.tree.name);
    let (Some(folder), Some(name)) = (at.parent(), at.file_name()) else {
        return Ok(());
    };
    let exclude = Ignore::default();
    let manner = copy::Manner {
        root: &Root::new(sys::file::open_path(folder).doing(doing)?),
        links: &RefCell::default(),
        target: &format!("/{}", name.to_string_lossy()),
        owner: None,
        mode: None,
        exclude: &exclude,
        written: None,
        newest: None,
    };
    let mut seen = Fingerprint::new(taken.tree.owners);
    let from = (&taken.tree, &Ready::default());
    copy::source(&manner, from, &taken.found, &mut seen)?;
    match &taken.sum {
        Some(sum) if seen.finish().0 != *sum => Err(fingerprint::changed(&taken.tree.name)),
        _ => Ok(()),
    }
}

/// Attaches a mount to a new folder.
pub(crate) fn attach(mount: impl AsFd, at: &Path) -> sys::Result<()> {
    sys::file::create_dir_all(at, 0o700)?;
    mount::attach(mount, sys::file::open_path(at)?)
}

/// A detached mount of what `fd` is open on.
pub(crate) fn clone(fd: impl AsFd, read_only: bool) -> Result<OwnedFd> {
    let doing = || "clone a mount".to_owned();
    let mount = mount::clone_tree(fd, "", Depth::One).doing(doing)?;
    let mut set = Attr::MOUNT_ATTR_NODEV;
    if read_only {
        set |= Attr::MOUNT_ATTR_RDONLY;
    }
    let change = Change {
        set: u64::from(set.bits()),
        propagation: Some(Propagation::Private),
        ..Change::default()
    };
    mount::set_attr(&mount, Depth::One, &change).doing(doing)?;
    Ok(mount)
}

impl Mounts {
    /// Adds a mount that is made.
    pub(crate) fn add(&mut self, target: &str, made: OwnedFd) {
        let entry = json!({
            "destination": target, "type": "bind", "source": "/", "options": ["bind"],
        });
        self.entries.push((entry, Some(made)));
    }

    /// Adds an agent that is asked for us while the command runs.
    pub(crate) fn add_agent(&mut self, agent: Agent) {
        self.agents.push(agent);
    }

    fn add_tmpfs(&mut self, target: &str, size: Option<u64>) {
        let mut options = vec![
            "nosuid".to_owned(),
            "nodev".to_owned(),
            "mode=1777".to_owned(),
        ];
        options.extend(size.map(|size| format!("size={size}")));
        let entry = json!({
            "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options,
        });
        self.entries.push((entry, None));
    }
}
