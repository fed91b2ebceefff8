//! `dhow cache … --mounts` and `--mount-id`: cache mounts to and from archives and registries, and fewer of
//! them. Not its job: where they
//! lie, and who uses them (builder).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use builder::{PrunedMounts, Which};
use image::registry::Access;
use image::{Reference, Store};

use super::{Verb, not_for_a_terminal, pull, push};
use crate::commands::Outcome;
use crate::global::Global;
use crate::report::{Failure, because, say, visible};
use crate::whole;

/// Does to these cache mounts what the verb says.
pub(super) fn run(global: &Global, verb: &Verb, which: &Which) -> Outcome {
    let far = Far::of(verb)?;
    // Their files are of many owners. Without root it is another process that goes on.
    let store = crate::rootless::store(global)?;
    match verb {
        Verb::Export { to, .. } => match far {
            Some(Far { name, access }) => {
                let held = builder::hold_mounts(&store, which).map_err(because)?;
                let image = held.into_image().map_err(because)?;
                push(&store, &image, &name, &access, false)?;
            }
            None => {
                not_for_a_terminal(to)?;
                export(&store, which, (to != "-").then_some(to.as_ref()))?;
            }
        },
        Verb::Import { from, .. } => {
            let count = match far {
                Some(Far { name, access }) => {
                    let image = pull(&store, &name, &access)?;
                    builder::import_mounts_of(&store, image, which)
                }
                None => builder::import_mounts(&store, archive(from)?, which),
            };
            say(format_args!("Cache mounts: {}\n", count.map_err(because)?));
        }
        Verb::Prune {
            filter, dry_run, ..
        } => {
            let before = filter.and_then(|age| SystemTime::now().checked_sub(age));
            let pruned = builder::prune_mounts(&store, which, before, *dry_run).map_err(because)?;
            tell(&pruned, *dry_run);
        }
    }
    Ok(0)
}

/// A registry, and what is needed to reach it.
struct Far {
    name: Reference,
    access: Access,
}

impl Far {
    /// The one that is meant, if it is one.
    fn of(verb: &Verb) -> Result<Option<Self>, Failure> {
        let (Verb::Export {
            to: place,
            registry,
            ..
        }
        | Verb::Import {
            from: place,
            registry,
            ..
        }) = verb
        else {
            return Ok(None);
        };
        let Some(name) = place.strip_prefix("docker://") else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: name.parse().map_err(because)?,
            access: registry.access(),
        }))
    }
}

fn archive(from: &str) -> Result<File, Failure> {
    match from {
        "-" => {
            let stdin = std::io::stdin();
            let stdin = stdin.as_fd().try_clone_to_owned().map_err(because)?;
            Ok(File::from(stdin))
        }
        path => sys::file::open(path).map_err(because),
    }
}

/// Writes them to an archive; without a path, stdout.
fn export(store: &Store, which: &Which, path: Option<&Path>) -> Result<(), Failure> {
    let held = builder::hold_mounts(store, which).map_err(because)?;
    match path {
        Some(path) => whole::write(path, |out| held.write(out).map_err(because).map(drop)),
        None => {
            let out = BufWriter::with_capacity(256 * 1024, std::io::stdout().lock());
            let mut out = held.write(out).map_err(because)?;
            out.flush().map_err(because)
        }
    }
}

fn tell(pruned: &PrunedMounts, dry: bool) {
    let verb = if dry { "Would remove" } else { "Removed" };
    for id in &pruned.removed {
        say(format_args!("{verb} cache mount {}\n", visible(id)));
    }
    for id in &pruned.used {
        eprintln!("warning: cache mount {} is in use: it stays", visible(id));
    }
}
