//! COPY and ADD: which files, their key, and their way into the tree. Not its job: writing them (`copy`).

use image::Layer;

use crate::cache::Outcome;
use crate::error::{Error, Result};
use crate::fingerprint::{self, Fingerprint};
use crate::ignore::Ignore;
use crate::layers::root;
use crate::plan::CopyStep;
use crate::select::look;
use crate::stages::Origin;
use crate::steps::{copy, owner};
use crate::work::Work;

/// Copies files, unless the same ones were copied before.
pub(crate) fn files(work: &mut Work<'_>, layers: &[Layer], step: &CopyStep) -> Result<Outcome> {
    // Its tree is kept through the step: what is hashed is what is copied.
    let tree = work.tree(&step.origin)?;
    let exclude = Ignore::patterns(&step.exclude).map_err(Error::Refused)?;
    let mut key = work.key("copy", layers);
    key.add("target", step.target.as_str());
    key.add("chown", step.chown.clone().unwrap_or_default());
    key.add(
        "chmod",
        step.chmod.as_ref().map(|c| c.key()).unwrap_or_default(),
    );
    let mut found = Vec::new();
    for source in &step.sources {
        for found_now in tree.find(source)? {
            if step.refuse_archives && tree.is_archive(&found_now)? {
                return Err(Error::Refused(format!(
                    "ADD {source}: unpacking archives is not supported yet (COPY copies the archive)"
                )));
            }
            let mut seen = Fingerprint::new(tree.owners);
            let shape = look(&tree, &found_now, &exclude, &mut seen)?;
            let (sum, files) = seen.finish();
            key.add_files(&format!("source {source} {shape}"), sum.clone(), files);
            found.push((found_now, sum));
        }
    }
    for (name, content) in &step.heredocs {
        key.add(&format!("heredoc {name}"), content.as_str());
    }
    let outcome = work.once(&key, layers, |_, mount, _| {
        let root = root(mount)?;
        let manner = copy::Manner {
            root: &root,
            target: &step.target,
            owner: step
                .chown
                .as_deref()
                .map(|chown| owner::of_chown(&root, chown))
                .transpose()?,
            mode: step.chmod.as_ref(),
            exclude: &exclude,
        };
        for (found, sum) in &found {
            let mut seen = Fingerprint::new(tree.owners);
            copy::source(&manner, &tree, found, &mut seen)?;
            // A cache entry must hold what its key says, also while somebody writes the context.
            if seen.finish().0 != *sum {
                return Err(fingerprint::changed(&tree.name));
            }
        }
        for (name, content) in &step.heredocs {
            copy::text(&manner, name, content)?;
        }
        Ok(None)
    });
    if step.origin == Origin::Context {
        work.context = Some(tree);
    }
    outcome
}
