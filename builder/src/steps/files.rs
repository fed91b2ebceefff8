//! COPY and ADD: which files, and their key. Not its job: writing them (`put`), archives (`archive`), and what comes
//! from servers (`web`, `git`).

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;

use image::Layer;

use crate::cache::{Key, Outcome};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::git;
use crate::ignore::Ignore;
use crate::include::Include;
use crate::known::{Known, Seen};
use crate::material::Material;
use crate::memory::Memory;
use crate::plan::CopyStep;
use crate::ready::Ready;
use crate::remote::{Remote, Repository, remote};
use crate::select::{Match, look};
use crate::steps::archive::Archive;
use crate::steps::fresh::first_names;
use crate::steps::metadata::clean;
use crate::steps::put::make;
use crate::steps::web::WebFile;
use crate::tree::Tree;
use crate::work::Work;
use crate::worker::Message;

/// What a source turned out to be.
pub(super) enum Found {
    /// Files of a source.
    Files(Box<Files>),
    /// An archive whose files are meant.
    Archive(Archive),
    /// A file of a web server.
    Web(Box<WebFile>),
    /// A commit of a repository, and whether `.git` is wanted too.
    Commit(Repository, String, bool),
}

/// Files of a source.
pub(super) struct Files {
    pub(super) source: String,
    pub(super) found: Match,
    /// What they were when they were looked for; without their list.
    pub(super) seen: Seen,
    /// How many they are.
    pub(super) count: usize,
    /// Their names below the target.
    pub(super) names: BTreeSet<String>,
    /// What of them is at hand.
    pub(super) ready: Ready,
}

/// What a COPY takes from.
pub(super) struct From<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) step: &'a CopyStep,
    /// What is left out, below each source.
    pub(super) exclude: Ignore,
    /// The layers; `None` for the context.
    layers: Option<Vec<Layer>>,
    /// Opened when it is needed, and kept through the step: what is hashed is what is copied.
    tree: OnceCell<Tree>,
    /// Room for files that are read.
    room: Cell<Ready>,
}

impl<'a> From<'a> {
    pub(super) fn tree(&self) -> Result<&Tree> {
        match self.tree.get() {
            Some(tree) => Ok(tree),
            None => {
                let tree = self.work.tree(&self.step.origin)?;
                Ok(self.tree.get_or_init(|| tree))
            }
        }
    }

    /// What earlier builds know of a source, where it can be known.
    fn known(&self, source: &str) -> Option<Known<'a>> {
        let parents = if self.step.parents { "parents" } else { "" };
        let newest = self.work.options.epoch().to_string();
        // With parents, a `.` of it says which folders come along.
        let place = match self.step.parents {
            true => source.to_owned(),
            false => clean(source),
        };
        let mut words = vec![place.as_str(), parents, &newest];
        words.extend(self.step.exclude.iter().map(String::as_str));
        let layers = self.layers.as_ref()?;
        Some(Known::of(self.work.store, layers, &words))
    }

    /// Forgets what is known of a source.
    pub(super) fn forget(&self, source: &str, path: &str) -> Result<()> {
        if let Some(known) = self.known(source) {
            known.forget();
        }
        if let Some(subject) = self.tree()?.subject(source, path, &self.step.exclude) {
            Memory::forget(self.work.store, &subject);
        }
        Ok(())
    }
}

/// Copies files, unless the same ones were copied before.
pub(crate) fn files(work: &Work<'_>, layers: &[Layer], step: &CopyStep) -> Result<Outcome> {
    let from = From {
        work,
        step,
        exclude: Ignore::patterns(&step.exclude).map_err(Error::Refused)?,
        layers: work.layers_of(&step.origin)?,
        tree: OnceCell::new(),
        room: Cell::default(),
    };
    let below = if step.link { &[] } else { layers };
    let mut key = work.key("copy", below);
    say(&mut key, step);
    let mut found = Vec::new();
    for source in &step.sources {
        match step.adding.as_ref().map(|_| remote(source)).transpose() {
            Ok(None | Some(None)) => find(&from, source, &mut key, &mut found)?,
            Ok(Some(Some(one))) => found.push(find_remote(work, step, one, &mut key)?),
            Err(why) => return Err(Error::Refused(why)),
        }
    }
    for (name, content) in &step.heredocs {
        key.add(&format!("heredoc {name}"), content.as_str());
    }
    let mut made = None;
    let outcome = work.known_or(&key, |scratch| {
        let below = (!step.link).then_some(layers);
        make(&from, (below, scratch), &mut found, &mut made)
    })?;
    if let (Some(made), Outcome::Layer(layer)) = (made, &outcome) {
        made.remember(&from, (layers, layer), &found, &key);
    }
    Ok(outcome)
}

/// What the instruction itself says, as parts of its key.
fn say(key: &mut Key, step: &CopyStep) {
    key.add("target", step.target.as_str());
    key.add("chown", step.chown.clone().unwrap_or_default());
    key.add(
        "chmod",
        step.chmod.as_ref().map(|c| c.key()).unwrap_or_default(),
    );
    if step.link {
        key.add("link", "");
    }
}

/// What a source led to.
enum Looked {
    Files(Seen, Ready),
    Archive(Archive),
}

/// Finds what a source means, and adds it to the key.
fn find(from: &From<'_>, source: &str, key: &mut Key, found: &mut Vec<Found>) -> Result<()> {
    let looked = match from.known(source) {
        Some(known) => of_layers(from, source, &known)?,
        None => look_for(from, source)?,
    };
    for one in looked {
        let (mut seen, ready) = match one {
            Looked::Files(seen, ready) => (seen, ready),
            Looked::Archive(archive) => {
                key.add(&format!("archive {source}"), archive.sum());
                found.push(Found::Archive(archive));
                continue;
            }
        };
        let part = format!("source {source} {}", seen.shape);
        let names = first_names(seen.files.iter().map(|(path, _)| path.as_str()));
        let list = std::mem::take(&mut seen.files);
        let count = list.len();
        key.add_files(&part, seen.sum.clone(), list);
        let include = match from.step.parents {
            true => Some(Include::parse(source).map_err(Error::Refused)?.1),
            false => None,
        };
        found.push(Found::Files(Box::new(Files {
            source: source.to_owned(),
            found: Match {
                path: seen.path.clone(),
                include,
            },
            seen,
            count,
            names,
            ready,
        })));
    }
    Ok(())
}

/// What a source of layers means: known, or looked for and remembered.
fn of_layers(from: &From<'_>, source: &str, known: &Known<'_>) -> Result<Vec<Looked>> {
    if let Some(seen) = known.recall() {
        let of_seen = |seen| Looked::Files(seen, Ready::default());
        return Ok(seen.into_iter().map(of_seen).collect());
    }
    let looked = look_for(from, source)?;
    let seen = looked.iter().filter_map(|one| match one {
        Looked::Files(seen, _) => Some(seen),
        // Archives of other trees than the context are never unpacked.
        Looked::Archive(_) => None,
    });
    known.keep(&seen.collect::<Vec<_>>());
    Ok(looked)
}

/// Looks for the files that a source means.
fn look_for(from: &From<'_>, source: &str) -> Result<Vec<Looked>> {
    let (work, step, tree) = (from.work, from.step, from.tree()?);
    let matches = match step.parents {
        true => tree.find_with_parents(source)?,
        false => tree.find(source)?,
    };
    let unpack = step.adding.as_ref().and_then(|add| add.unpack);
    let unpack = step.adding.is_some() && unpack != Some(false);
    let literal = matches
        .iter()
        .any(|one| one.include.as_ref().is_some_and(|i| i.literal));
    let mut all = Vec::new();
    for one in matches {
        if unpack && let Some(archive) = Archive::of_tree(tree, &one)? {
            all.push(Looked::Archive(archive));
            continue;
        }
        let subject = tree.subject(source, &one.path, &step.exclude);
        let memory = subject.map(|subject| Memory::of(work.store, subject));
        let room = from.room.take();
        let newest = work.options.epoch();
        let mut seen = Fingerprint::remembering(tree.owners, memory, room).until(newest);
        let shape = look(tree, &one, &from.exclude, &mut seen)?;
        if let Some(memory) = seen.memory() {
            memory.keep(work.store);
        }
        let ready = seen.ready();
        from.room.set(ready.next());
        let (times, plain) = (seen.times(), seen.plain);
        let (sum, files) = seen.finish();
        // With parents, a folder is there only for what is in it.
        if one.include.is_some() && files.is_empty() {
            continue;
        }
        let seen = Seen {
            path: one.path,
            shape: match one.include {
                Some(_) => "with parents".to_owned(),
                None => shape,
            },
            sum,
            times,
            plain,
            files,
        };
        all.push(Looked::Files(seen, ready));
    }
    match literal && all.is_empty() {
        true => Err(tree.missing(source)),
        false => Ok(all),
    }
}

/// Asks a server what a source is, and adds it to the key.
fn find_remote(work: &Work<'_>, step: &CopyStep, remote: Remote, key: &mut Key) -> Result<Found> {
    let adding = step.adding.clone().unwrap_or_default();
    let (store, checksum) = (work.store, adding.checksum);
    let mut repository = match remote {
        Remote::File(url) => {
            let unpack = adding.unpack == Some(true);
            let remember = !work.cache.write_only;
            let file = WebFile::new(store, &url, checksum.as_deref(), unpack, remember)?;
            let (name, sum) = file.part();
            key.add(&name, sum);
            work.voice.say(&Message::Material(file.material()));
            return Ok(Found::Web(Box::new(file)));
        }
        Remote::Repository(repository) => repository,
    };
    if checksum.is_some() {
        repository.checksum = checksum;
    }
    repository.agent = work.options.git_agent();
    let keep = adding
        .keep_git_dir
        .or(repository.keep_git_dir)
        .unwrap_or(false);
    let commit = git::commit(store, &repository)?;
    let material = Material::commit(&repository, &commit);
    work.voice.say(&Message::Material(material));
    key.add("commit", commit.as_str());
    key.add("folder", repository.folder.clone().unwrap_or_default());
    key.add("keep git dir", keep.to_string());
    key.add("submodules", repository.submodules.to_string());
    // One commit may be in two repositories; what its submodules' relative addresses mean is not.
    key.add("repository", repository.url.as_str());
    Ok(Found::Commit(repository, commit, keep))
}
