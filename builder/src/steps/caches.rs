//! The cache mounts of a RUN: found, made and filled where they are new. They are part of no key and no image. Not its
//! job: mounting them, and how they lie in the store (`crate::caches`).

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use sys::file;

use crate::caches::{About, folder, instance, locked};
use crate::error::{Doing, Result};
use crate::mounts::{Access, Mounted, Sharing};
use crate::plan::RunStep;
use crate::steps::directories::own;
use crate::steps::mounting::{self, Taken};
use crate::work::Work;

/// A cache that a RUN uses.
pub(crate) struct Room {
    /// Which mounts of the step.
    pub(crate) serves: Vec<usize>,
    data: PathBuf,
    /// Locked.
    _instance: OwnedFd,
}

impl Room {
    /// The directory.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        file::open_path(&self.data).doing(|| "open a cache".to_owned())
    }
}

/// What a mount says of its cache.
struct Wanted<'a> {
    name: String,
    about: About,
    sharing: Sharing,
    access: Access,
    seed: Option<&'a Taken>,
    serves: Vec<usize>,
}

/// The caches of a step, each locked as the step shares it.
///
/// # Errors
/// If one can't be made or locked.
pub(crate) fn rooms(work: &Work<'_>, step: &RunStep, taken: &[Option<Taken>]) -> Result<Vec<Room>> {
    let mut all: Vec<Wanted<'_>> = Vec::new();
    for (index, mount) in step.mounts.iter().enumerate() {
        let Mounted::Cache {
            id,
            sharing,
            access,
            ..
        } = &mount.kind
        else {
            continue;
        };
        let seed = taken[index].as_ref();
        let about = about(id, seed);
        let name = about.name();
        match all.iter_mut().find(|one| one.name == name) {
            // One step can't wait for itself.
            Some(one) => one.serves.push(index),
            None => all.push(Wanted {
                name,
                about,
                sharing: *sharing,
                access: *access,
                seed,
                serves: vec![index],
            }),
        }
    }
    // In one order for all: no two steps wait for each other.
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.into_iter().map(|wanted| room(work, wanted)).collect()
}

fn about(id: &str, seed: Option<&Taken>) -> About {
    let from = seed.map(|seed| {
        let sum = seed.sum.clone().unwrap_or_default();
        vec![seed.tree.name.clone(), seed.found.path.clone(), sum]
    });
    About {
        id: id.to_owned(),
        from: from.unwrap_or_default(),
    }
}

fn room(work: &Work<'_>, wanted: Wanted<'_>) -> Result<Room> {
    let doing = || format!("open cache {:?}", wanted.about.id);
    let path = folder(work.store).join(&wanted.name);
    let (instance, folder) = instance(&path, wanted.sharing).doing(doing)?;
    let data = folder.join("data");
    // One makes it, the others wait.
    let whole = locked(&path).doing(doing)?;
    wanted.about.keep(&whole, &path).doing(doing)?;
    if !file::exists(&data).doing(doing)? {
        // A fill that was cut short is begun anew.
        let fresh = folder.join("new");
        file::remove_tree(&instance, "new").doing(doing)?;
        match wanted.seed {
            Some(seed) => mounting::copy_to(seed, &fresh)?,
            None => {
                file::create_dir(&fresh, 0o700).doing(doing)?;
                let Access { mode, uid, gid } = wanted.access;
                let fd = file::open_dir(&fresh).doing(doing)?;
                own(&fd, uid, gid, mode).doing(doing)?;
            }
        }
        file::rename(&fresh, &data).doing(doing)?;
    }
    file::unlock(&whole).doing(doing)?;
    Ok(Room {
        serves: wanted.serves,
        data,
        _instance: instance,
    })
}
