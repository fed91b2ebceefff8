//! COPY and ADD: what was found, into the tree that is built. Not its job: finding it (`files`), writing a file (`copy`),
//! and archives, servers' files and repositories (`archive`, `web`, `git`).

use std::collections::BTreeSet;

use image::{Layer, Scratch};
use sys::beneath::Root;

use crate::cache::Key;
use crate::copied::{Copied, Note};
use crate::error::{Doing, Result};
use crate::fingerprint::{self, Fingerprint};
use crate::git;
use crate::known::{Known, Seen};
use crate::layers::{overlay, root};
use crate::plan::CopyStep;
use crate::ready::Ready;
use crate::select::Match;
use crate::steps::files::{Found, From};
use crate::steps::fresh::{Fresh, fresh};
use crate::steps::kept::keeps_owners;
use crate::steps::metadata::clean;
use crate::steps::{copy, owner, place};

/// What a COPY to where nothing was leaves to later ones.
pub(super) struct Made {
    /// The place of its layer's note.
    note: Note,
    /// Whether all that is at the target came with it.
    whole: bool,
}

impl Made {
    /// Notes the layer, and what another COPY finds that takes all of it from here: what a copy of plain files is need not
    /// be read to be known.
    pub(super) fn remember(
        &self,
        from: &From<'_>,
        (layers, layer): (&[Layer], &Layer),
        found: &[Found],
        key: &Key,
    ) {
        let (work, step) = (from.work, from.step);
        self.note.keep(work.store, layer);
        let [Found::Files(files)] = found else {
            return;
        };
        let seen = &files.seen;
        let changed = step.chown.is_some() || step.chmod.is_some() || keeps_owners();
        if !self.whole || changed || !step.heredocs.is_empty() {
            return;
        }
        // A long list is not all in the key.
        if !seen.plain || seen.shape != "folder" || key.files().count() != files.count {
            return;
        }
        let target = clean(&step.target);
        let newest = work.options.epoch().to_string();
        let layers = [layers, std::slice::from_ref(layer)].concat();
        let list = key
            .files()
            .map(|(path, sum)| (path.to_owned(), sum.to_owned()));
        let there = Seen {
            path: target[1..].to_owned(),
            files: list.collect(),
            ..seen.clone()
        };
        Known::of(work.store, &layers, &[&target, "", &newest]).keep(&[&there]);
    }
}

/// Writes what was found upon the layers, or on nothing at all; gives the layer that is the same, if the store has one,
/// or where it is to be noted.
pub(super) fn make(
    from: &From<'_>,
    (layers, scratch): (Option<&[Layer]>, &Scratch),
    found: &mut [Found],
    made: &mut Option<Made>,
) -> Result<Option<Layer>> {
    let (work, step) = (from.work, from.step);
    let upper = || -> Result<Root> {
        let upper = sys::file::open_path(&scratch.upper).doing(|| "begin a layer".to_owned())?;
        Ok(Root::new(upper))
    };
    let mount = layers
        .map(|layers| overlay(layers, Some(scratch)))
        .transpose()?;
    let tree = match &mount {
        Some(mount) => root(mount)?,
        None => upper()?,
    };
    let chown = step.chown.as_deref();
    let owner = chown.map(|chown| owner::of_chown(&tree, chown));
    let owner = owner.transpose()?;
    let Some(place) = place_of(step, &tree, found)? else {
        return write(from, (&tree, owner, scratch), (found, Others::Overlay)).map(|_| None);
    };
    let whole = place.absent && !step.link;
    let note = same(from, (&place, owner), found);
    let same = note.map(|note| Made { note, whole });
    let again = !work.cache.write_only;
    if let Some(known) = same.as_ref().filter(|_| again)
        && let Some(layer) = known.note.recall(work.store)?
    {
        *made = same;
        return Ok(Some(layer));
    }
    place.bring_up(work.options.epoch())?;
    // The layer's directory may be written only when no overlay is upon it.
    drop((tree, mount));
    if write(from, (&upper()?, owner, scratch), (found, Others::None))? {
        *made = same;
    }
    Ok(None)
}

/// The place that the files come to, if nothing is in their way there.
fn place_of(step: &CopyStep, tree: &Root, found: &[Found]) -> Result<Option<Fresh>> {
    let mut names: BTreeSet<String> = step.heredocs.iter().map(|(name, _)| name.clone()).collect();
    for one in found {
        match one {
            Found::Files(files) => names.extend(files.names.iter().cloned()),
            // What is in an archive or comes from a server is seen when it is written.
            Found::Archive(_) | Found::Web(_) | Found::Commit(..) => return Ok(None),
        }
    }
    fresh(tree, &step.target, &names)
}

/// Where the layer of these files is noted.
fn same(
    from: &From<'_>,
    (place, owner): (&Fresh, Option<(u32, u32)>),
    found: &[Found],
) -> Option<Note> {
    if found.is_empty() {
        // A text of the recipe is written as soon as it is looked up.
        return None;
    }
    let step = from.step;
    let mut copied = Copied::to(&step.target, &place.above, from.work.options.epoch());
    copied.add("owner", &format!("{owner:?}"));
    if let Some(mode) = &step.chmod {
        copied.add("mode", &mode.key());
    }
    for one in found {
        let Found::Files(files) = one else {
            return None;
        };
        copied.add(&files.seen.shape, &files.seen.sum);
        copied.add("times", files.seen.times.as_ref()?);
    }
    for (name, content) in &step.heredocs {
        copied.add(&format!("heredoc {name}"), content);
    }
    Some(copied.note())
}

/// Who has the layer's directory beside us.
#[derive(PartialEq, Eq)]
enum Others {
    None,
    Overlay,
}

/// Writes what was found into the tree. Gives whether the files had the times that they had when they were looked for.
fn write(
    from: &From<'_>,
    (root, owner, scratch): (&Root, Option<(u32, u32)>, &Scratch),
    (found, others): (&mut [Found], Others),
) -> Result<bool> {
    let (work, step) = (from.work, from.step);
    let manner = copy::Manner {
        root,
        links: &scratch.links,
        target: &step.target,
        owner,
        mode: step.chmod.as_ref(),
        exclude: &from.exclude,
        written: (others == Others::None).then_some(&scratch.written),
        newest: Some(work.options.epoch()),
    };
    let mut times = true;
    for one in found {
        match one {
            Found::Files(files) => {
                let tree = from.tree()?;
                let mut seen = Fingerprint::new(tree.owners).until(work.options.epoch());
                copy::source(&manner, (tree, &files.ready), &files.found, &mut seen)?;
                times &= seen.times() == files.seen.times;
                // A cache entry must hold what its key says, also while somebody writes the context.
                if seen.finish().0 != files.seen.sum {
                    // Or it was not what it looked like.
                    from.forget(&files.source, &files.found.path)?;
                    return Err(fingerprint::changed(&tree.name));
                }
            }
            Found::Archive(archive) => archive.unpack(&manner)?,
            Found::Web(file) => file.write(work.store, &manner)?,
            Found::Commit(repository, commit, keep) => {
                let out = git::check_out(work.store, repository, commit, *keep)?;
                let mut seen = Fingerprint::new(out.tree.owners);
                let (all, none) = (Match::all(String::new()), Ready::default());
                copy::source(&manner, (&out.tree, &none), &all, &mut seen)?;
            }
        }
    }
    for (name, content) in &step.heredocs {
        place::text(&manner, name, content)?;
    }
    Ok(times)
}
