//! COPY and ADD: which files, their key, and their way into the tree. Not its job: writing them (`copy`),
//! archives (`archive`), and what comes from servers (`web`, `git`).

use image::{Layer, Scratch};
use sys::beneath::Root;

use crate::cache::{Key, Outcome};
use crate::error::{Error, Result};
use crate::fingerprint::{self, Fingerprint};
use crate::git;
use crate::ignore::Ignore;
use crate::layers::root;
use crate::memory::Memory;
use crate::plan::CopyStep;
use crate::remote::{Remote, Repository, remote};
use crate::select::{Match, look};
use crate::steps::archive::Archive;
use crate::steps::web::WebFile;
use crate::steps::{copy, owner, place};
use crate::tree::Tree;
use crate::work::Work;

/// What a source turned out to be.
enum Found {
    /// Files, with the digest of all that is read of them.
    Files(Match, String),
    /// An archive whose files are meant.
    Archive(Archive),
    /// A file of a web server.
    Web(Box<WebFile>),
    /// A commit of a repository, and whether `.git` is wanted too.
    Commit(Repository, String, bool),
}

/// Copies files, unless the same ones were copied before.
pub(crate) fn files(work: &Work<'_>, layers: &[Layer], step: &CopyStep) -> Result<Outcome> {
    // Its tree is kept through the step: what is hashed is what is copied.
    let tree = work.tree(&step.origin)?;
    let exclude = Ignore::patterns(&step.exclude).map_err(Error::Refused)?;
    let below = if step.link { &[] } else { layers };
    let mut key = work.key("copy", below);
    say(&mut key, step);
    let mut found = Vec::new();
    for source in &step.sources {
        match step.adding.as_ref().map(|_| remote(source)).transpose() {
            Ok(None | Some(None)) => {
                find(work, &tree, step, source, &exclude, &mut key, &mut found)?
            }
            Ok(Some(Some(one))) => found.push(find_remote(work, step, one, &mut key)?),
            Err(why) => return Err(Error::Refused(why)),
        }
    }
    for (name, content) in &step.heredocs {
        key.add(&format!("heredoc {name}"), content.as_str());
    }
    let mut write = |root: &Root, scratch: &Scratch| {
        write(work, (root, scratch), step, &tree, &exclude, &mut found)
    };
    match step.link {
        true => work.apart(&key, write),
        false => work.once(&key, layers, |mount, scratch| {
            write(&root(mount)?, scratch)?;
            Ok(None)
        }),
    }
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

/// Finds what a source means, and adds it to the key.
fn find(
    work: &Work<'_>,
    tree: &Tree,
    step: &CopyStep,
    source: &str,
    exclude: &Ignore,
    key: &mut Key,
    found: &mut Vec<Found>,
) -> Result<()> {
    let matches = match step.parents {
        true => tree.find_with_parents(source)?,
        false => tree.find(source)?,
    };
    let before = found.len();
    // Archives of other trees than the context are never unpacked.
    let unpack = step.adding.as_ref().and_then(|add| add.unpack);
    let unpack = step.adding.is_some() && unpack != Some(false);
    let literal = matches
        .iter()
        .any(|one| one.include.as_ref().is_some_and(|i| i.literal));
    for one in matches {
        if unpack && let Some(archive) = Archive::of_tree(tree, &one)? {
            key.add(&format!("archive {source}"), archive.sum());
            found.push(Found::Archive(archive));
            continue;
        }
        let subject = tree.subject(source, &one.path, &step.exclude);
        let memory = subject.map(|subject| Memory::of(work.store, subject));
        let mut seen = Fingerprint::remembering(tree.owners, memory);
        let shape = look(tree, &one, exclude, &mut seen)?;
        if let Some(memory) = seen.memory() {
            memory.keep(work.store);
        }
        let (sum, files) = seen.finish();
        // With parents, a folder is there only for what is in it.
        if one.include.is_some() && files.is_empty() {
            continue;
        }
        let shape = match one.include {
            Some(_) => "with parents".to_owned(),
            None => shape,
        };
        key.add_files(&format!("source {source} {shape}"), sum.clone(), files);
        found.push(Found::Files(one, sum));
    }
    match literal && found.len() == before {
        true => Err(tree.missing(source)),
        false => Ok(()),
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
            return Ok(Found::Web(Box::new(file)));
        }
        Remote::Repository(repository) => repository,
    };
    if checksum.is_some() {
        repository.checksum = checksum;
    }
    let keep = adding
        .keep_git_dir
        .or(repository.keep_git_dir)
        .unwrap_or(false);
    let commit = git::commit(store, &repository)?;
    key.add("commit", commit.as_str());
    key.add("folder", repository.folder.clone().unwrap_or_default());
    key.add("keep git dir", keep.to_string());
    key.add("submodules", repository.submodules.to_string());
    // One commit may be in two repositories; what its submodules' relative addresses mean is not.
    key.add("repository", repository.url.as_str());
    Ok(Found::Commit(repository, commit, keep))
}

/// Writes what was found into the tree.
fn write(
    work: &Work<'_>,
    (root, scratch): (&Root, &Scratch),
    step: &CopyStep,
    tree: &Tree,
    exclude: &Ignore,
    found: &mut [Found],
) -> Result<()> {
    let chown = step.chown.as_deref();
    let manner = copy::Manner {
        root,
        links: &scratch.links,
        target: &step.target,
        owner: chown
            .map(|chown| owner::of_chown(root, chown))
            .transpose()?,
        mode: step.chmod.as_ref(),
        exclude,
    };
    for one in found {
        match one {
            Found::Files(found, sum) => {
                let mut seen = Fingerprint::new(tree.owners);
                copy::source(&manner, tree, found, &mut seen)?;
                // A cache entry must hold what its key says, also while somebody writes the context.
                if seen.finish().0 != *sum {
                    // Or it was not what it looked like.
                    for source in &step.sources {
                        if let Some(subject) = tree.subject(source, &found.path, &step.exclude) {
                            Memory::forget(work.store, &subject);
                        }
                    }
                    return Err(fingerprint::changed(&tree.name));
                }
            }
            Found::Archive(archive) => archive.unpack(&manner)?,
            Found::Web(file) => file.write(work.store, &manner)?,
            Found::Commit(repository, commit, keep) => {
                let out = git::check_out(work.store, repository, commit, *keep)?;
                let mut seen = Fingerprint::new(out.tree.owners);
                copy::source(&manner, &out.tree, &Match::all(String::new()), &mut seen)?;
            }
        }
    }
    for (name, content) in &step.heredocs {
        place::text(&manner, name, content)?;
    }
    Ok(())
}
