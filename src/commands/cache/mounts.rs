//! `dhow cache … --mounts` and `--mount-id`: cache mounts to and from archives, and fewer of them. Not its job: where they
//! lie, and who uses them (builder).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use builder::{PrunedMounts, Which};
use image::Store;

use super::{Verb, not_for_a_terminal};
use crate::commands::Outcome;
use crate::global::Global;
use crate::report::{Failure, because, say, visible};
use crate::whole;

/// Does to these cache mounts what the verb says.
pub(super) fn run(global: &Global, verb: &Verb, which: &Which) -> Outcome {
    if let Verb::Export { to: place, .. } | Verb::Import { from: place, .. } = verb
        && place.starts_with("docker://")
    {
        return Err(Failure::new(
            "cache: a registry takes steps alone: cache mounts go by archives",
        ));
    }
    // Their files are of many owners. Without root it is another process that goes on.
    let store = crate::rootless::store(global)?;
    match verb {
        Verb::Export { to, .. } => {
            not_for_a_terminal(to)?;
            export(&store, which, (to != "-").then_some(to.as_ref()))?;
        }
        Verb::Import { from, .. } => {
            let file = match from.as_str() {
                "-" => {
                    let stdin = std::io::stdin();
                    File::from(stdin.as_fd().try_clone_to_owned().map_err(because)?)
                }
                path => sys::file::open(path).map_err(because)?,
            };
            let count = builder::import_mounts(&store, file, which).map_err(because)?;
            say(format_args!("Cache mounts: {count}\n"));
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
