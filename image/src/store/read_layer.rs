//! Reads one layer of an offer: its blob is kept and held to all that was promised, while the tar in it
//! is unpacked. Not its job: the way of the bytes (`stages.rs`), which layers to read, and their
//! publication.

use std::cell::Cell;
use std::collections::BTreeMap;

use sys::file;

use super::form::{self, Form};
use super::layer::{self, Kept};
use super::stages::{Found, Stages};
use super::work::Work;
use crate::budget::{Budget, most};
use crate::erofs::{self, Made};
use crate::error::Doing;
use crate::layer::entry::{Entries, Limits, Skip};
use crate::layer::tree::{AskBelow, Shape};
use crate::layer::unpack::{Manner, Unpacked, unpack};
use crate::manifest::Descriptor;
use crate::offer::OfferedLayer;
use crate::pipe::Intake;
use crate::source::missing;
use crate::{Digest, Error, Result};

/// What to do with a layer.
pub(super) enum Task<'a> {
    /// Unpack it into the work directory `layer`, and keep its blob.
    Unpack {
        layer: String,
        manner: &'a Manner,
        form: Form,
        ask: &'a AskBelow<'a>,
    },
    /// It is unpacked already; only check and keep its blob.
    Check,
}

/// What came of a tar.
enum Taken {
    Unpacked(Unpacked),
    /// It holds what no image can.
    Unfit,
    /// It was only looked at.
    Nothing,
}

impl Taken {
    fn unpacked(self) -> Option<Unpacked> {
        match self {
            Self::Unpacked(unpacked) => Some(unpacked),
            Self::Unfit | Self::Nothing => None,
        }
    }
}

impl Task<'_> {
    fn layer(&self) -> &str {
        match self {
            Self::Unpack { layer, .. } => layer,
            Self::Check => "",
        }
    }

    fn form(&self) -> Form {
        match self {
            Self::Unpack { form, .. } => *form,
            Self::Check => Form::Folder,
        }
    }

    fn as_folder(&self) -> Self {
        match self {
            Self::Check => Self::Check,
            Self::Unpack {
                layer, manner, ask, ..
            } => Self::Unpack {
                layer: layer.clone(),
                manner,
                form: Form::Folder,
                ask: *ask,
            },
        }
    }
}

/// A layer read and found to be what was promised.
pub(super) struct ReadLayer {
    pub(super) kept: Kept,
    /// What it hangs on, if it was unpacked.
    pub(super) shape: Option<Shape>,
}

/// Reads `offered` and keeps its blob in `work` as `blob`. `go_on` is asked now and then.
pub(super) fn read_layer(
    work: &Work,
    offered: &OfferedLayer,
    blob: &str,
    task: &Task<'_>,
    budget: &Budget,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<ReadLayer> {
    let read = |task: &Task<'_>| read_once(work, offered, blob, task, budget, go_on);
    let mut form = task.form();
    let (found, unpacked) = match read(task)? {
        (_, Taken::Unfit) => {
            // Rare: it is read once more, for a folder.
            for name in [blob, task.layer()] {
                file::remove_tree(&work.dir, name).doing(|| format!("remove {name}"))?;
            }
            form = Form::Folder;
            let (found, taken) = read(&task.as_folder())?;
            (found, taken.unpacked())
        }
        (found, taken) => (found, taken.unpacked()),
    };
    let shape = unpacked.as_ref().map(|unpacked| unpacked.shape);
    let left_out = unpacked
        .iter()
        .flat_map(|unpacked| unpacked.left_out.clone());
    let kept = Kept {
        diff_id: offered.diff_id,
        tar_size: found.tar_size,
        covers: shape.is_some_and(|shape| shape.covers),
        states_root: shape.is_some_and(|shape| shape.states_root),
        form,
        left_out: left_out.collect(),
        blobs: vec![descriptor(offered, &found)],
    };
    if let (Task::Unpack { layer, .. }, Some(unpacked)) = (task, &unpacked) {
        keep_beside(work, layer, &kept, unpacked)?;
    }
    Ok(ReadLayer { kept, shape })
}

fn read_once(
    work: &Work,
    offered: &OfferedLayer,
    blob: &str,
    task: &Task<'_>,
    budget: &Budget,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<(Found, Taken)> {
    let what = format!("layer {}", offered.name);
    let source = offered.blob.as_deref().ok_or_else(|| missing(&what))?;
    // What is unpacked may need the layers below, and they a large window: theirs first.
    let ready = || match task {
        Task::Unpack { ask, .. } => ask().map(drop),
        Task::Check => Ok(()),
    };
    let stages = Stages {
        blob: source,
        promise: offered.promise(),
        diff_id: offered.diff_id,
        keep: work.create(blob)?,
        most: most(source.length()),
        budget,
        go_on,
        ready: &ready,
    };
    stages
        .run(|tar| take(work, tar, task, offered.diff_id, budget, go_on))
        .map_err(|e| match e {
            Error::Stopped => e,
            e => e.inside(what),
        })
}

/// Does with the tar what is to be done, and reads it to the end of the stream: what stands behind the
/// end of the tar is part of it too, and wrong bytes may turn out not to be those promised.
fn take(
    work: &Work,
    tar: Intake,
    task: &Task<'_>,
    diff_id: Digest,
    budget: &Budget,
    go_on: &dyn Fn() -> bool,
) -> Result<Taken> {
    let mut entries = Entries::new(tar, Limits::default());
    let over = Cell::new(None);
    let go_on = &|| match budget.entry() {
        Ok(()) => go_on(),
        Err(e) => {
            over.set(Some(e));
            false
        }
    };
    let result = match task {
        Task::Unpack {
            layer,
            manner,
            form: Form::Image,
            ask,
        } => image_into(work, layer, &mut entries, manner, diff_id, *ask, go_on),
        Task::Unpack {
            layer, manner, ask, ..
        } => unpack_into(work, layer, &mut entries, manner, *ask, go_on).map(Taken::Unpacked),
        Task::Check => pass(&mut entries, go_on).map(|()| Taken::Nothing),
    };
    if let Err(Error::Stopped) = result {
        return Err(over.take().unwrap_or(Error::Stopped));
    }
    match entries.into_inner().drain() {
        Ok(()) => result,
        Err(_) => Err(Error::Stopped),
    }
}

fn unpack_into<R: Skip>(
    work: &Work,
    layer: &str,
    entries: &mut Entries<R>,
    manner: &Manner,
    ask: &AskBelow<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<Unpacked> {
    work.create_dir(layer, 0o700)?;
    let root = work.create_dir(&format!("{layer}/fs"), 0o700)?;
    let root = file::open_dir(root).doing(|| "open the layer's root".to_owned())?;
    unpack(entries, root, manner, ask, go_on)
}

fn image_into<R: Skip>(
    work: &Work,
    layer: &str,
    entries: &mut Entries<R>,
    manner: &Manner,
    diff_id: Digest,
    ask: &AskBelow<'_>,
    go_on: &dyn Fn() -> bool,
) -> Result<Taken> {
    work.create_dir(layer, 0o700)?;
    let file = form::create(work, layer)?;
    let made = erofs::unpack(entries, file, &manner.owners, diff_id.uuid(), ask, go_on)?;
    Ok(match made {
        Made::Image(shape) => Taken::Unpacked(Unpacked {
            shape,
            owners: BTreeMap::new(),
            left_out: Vec::new(),
            // Nobody asks for it of a layer.
            newest: None,
        }),
        Made::Unfit => Taken::Unfit,
    })
}

/// Goes through the entries: a blob that is no good tar is refused even where it is not unpacked.
fn pass<R: Skip>(entries: &mut Entries<R>, go_on: &dyn Fn() -> bool) -> Result<()> {
    while entries.next()?.is_some() {
        if !go_on() {
            return Err(Error::Stopped);
        }
    }
    Ok(())
}

fn descriptor(offered: &OfferedLayer, found: &Found) -> Descriptor {
    let media_type = match &offered.descriptor {
        Some(descriptor) => &descriptor.media_type,
        None => found.compression.media_type(),
    };
    Descriptor::new(media_type, found.blob, found.size)
}

/// Writes what the directory can't say: `layer.json`, and `owners`.
fn keep_beside(work: &Work, layer: &str, kept: &Kept, unpacked: &Unpacked) -> Result<()> {
    let doing = || format!("write beside {layer}");
    let dir = file::open_dir(work.path.join(layer)).doing(doing)?;
    kept.write(&dir, file::Durability::Memory)?;
    layer::keep_owners(&dir, &unpacked.owners)
}
