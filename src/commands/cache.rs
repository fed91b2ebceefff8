//! `dhow cache`: the build cache to and from other stores, and less of it. Not its job: what it holds, and cache
//! mounts (`mounts`).

mod mounts;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use builder::{Carried, Which};
use image::registry::{Access, PullOptions, PushOptions};
use image::{Format, Image, LoadOptions, Names, Prunable, PruneOptions, Reference, Source, Store};

use super::load::stdin;
use super::pull::Registry;
use super::{Outcome, parse, prune};
use crate::global::Global;
use crate::progress::Progress;
use crate::report::{Failure, because, say};
use crate::whole;

/// Bring the build cache to other stores and back, or make it smaller
#[derive(Debug, clap::Parser)]
#[command(name = "cache")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write the cache to an archive, an OCI layout with the layers that steps left, or to a registry
    Export {
        /// A file, `-` for stdout, or docker://NAME
        to: String,
        #[command(flatten)]
        mounts: Mounts,
        #[command(flatten)]
        registry: Registry,
    },
    /// Take a cache that was exported; whoever made it is believed that its steps leave these layers
    Import {
        /// A file, `-` for stdin, or docker://NAME
        from: String,
        #[command(flatten)]
        mounts: Mounts,
        #[command(flatten)]
        registry: Registry,
    },
    /// Forget steps, those that were of no use for longest first, and remove what nothing refers to
    Prune {
        /// Stop at so many bytes (50m, 10g)
        #[arg(long, value_name = "BYTES", value_parser = prune::bytes, conflicts_with_all = ["mounts", "mount_id"])]
        keep_storage: Option<u64>,
        /// Only steps that were of no use for so long: until=36h
        #[arg(long, value_name = "until=TIME", value_parser = until)]
        filter: Option<Duration>,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        mounts: Mounts,
    },
}

/// Cache mounts in the place of steps.
#[derive(Debug, clap::Args)]
struct Mounts {
    /// All cache mounts instead of steps
    #[arg(long, conflicts_with = "mount_id")]
    mounts: bool,
    /// The cache mount that has this id, instead of steps; may be given several times
    #[arg(long, value_name = "ID")]
    mount_id: Vec<String>,
}

impl Mounts {
    fn which(&self) -> Option<Which> {
        match (self.mounts, &self.mount_id[..]) {
            (true, _) => Some(Which::All),
            (false, []) => None,
            (false, ids) => Some(Which::Named(ids.to_vec())),
        }
    }
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    if let Some(which) = args.verb.mounts().which() {
        return mounts::run(global, &args.verb, &which);
    }
    // The layers of steps are those of builds: of many owners, where the user has further ids.
    let store = crate::rootless::store(global)?;
    match args.verb {
        Verb::Export { to, registry, .. } => {
            not_for_a_terminal(&to)?;
            let carried = builder::export(&store).map_err(because)?;
            match to.strip_prefix("docker://") {
                Some(name) => {
                    let name = name.parse().map_err(because)?;
                    push(&store, &carried.image, &name, &registry.access(), false)?;
                }
                None => write(&store, &carried, (to != "-").then_some(to.as_ref()))?,
            }
            if let Some(text) = left_out(&carried) {
                eprintln!("{text}");
            }
        }
        Verb::Import { from, registry, .. } => {
            let added = match from.strip_prefix("docker://") {
                Some(name) => {
                    let image = pull(&store, &name.parse().map_err(because)?, &registry.access())?;
                    builder::import(&store, &image).map_err(because)?
                }
                None if from == "-" => read(&store, stdin()?)?,
                None => read(&store, Source::Path(from.into()))?,
            };
            say(format_args!("Steps that are new: {added}\n"));
        }
        Verb::Prune {
            keep_storage,
            filter,
            dry_run,
            ..
        } => {
            let options = PruneOptions {
                what: Prunable::Steps,
                keep: keep_storage,
                before: filter.and_then(|age| SystemTime::now().checked_sub(age)),
                dry_run,
            };
            let pruned = store.prune(options).map_err(because)?;
            say(format_args!("{}", prune::as_text(&pruned, dry_run)));
        }
    }
    Ok(0)
}

impl Verb {
    fn mounts(&self) -> &Mounts {
        match self {
            Self::Export { mounts, .. }
            | Self::Import { mounts, .. }
            | Self::Prune { mounts, .. } => mounts,
        }
    }
}

fn not_for_a_terminal(to: &str) -> Result<(), Failure> {
    match to == "-" && std::io::stdout().is_terminal() {
        true => Err(Failure::new(
            "cache export: an archive is not for a terminal",
        )),
        false => Ok(()),
    }
}

/// What had no room, in words.
pub(super) fn left_out(carried: &Carried<'_>) -> Option<String> {
    let count = carried.left_out;
    let why = "a manifest has no room for them";
    (count > 0).then(|| format!("left out {count} steps of longest ago: {why}"))
}

/// Brings a cache to a registry.
pub(super) fn push(
    store: &Store,
    image: &Image,
    name: &Reference,
    access: &Access,
    quiet: bool,
) -> Result<(), Failure> {
    let progress = Progress::begin(&format!("push {}", name.familiar()), quiet);
    let options = PushOptions {
        watch: Some(progress.watch()),
        ..PushOptions::default()
    };
    let pushed = store.push(image, name, access, &options);
    progress.end();
    pushed.map(drop).map_err(because)
}

/// Writes a cache to an archive; without a path, stdout.
fn write(store: &Store, carried: &Carried<'_>, path: Option<&Path>) -> Result<(), Failure> {
    let images = std::slice::from_ref(&*carried.image);
    match path {
        Some(path) => whole::write(path, |out| {
            store
                .save(images, Format::OciArchive, out)
                .map_err(because)
                .map(drop)
        }),
        None => {
            let out = std::io::stdout().lock();
            let mut out = store
                .save(images, Format::OciArchive, out)
                .map_err(because)?;
            out.flush().map_err(because)
        }
    }
}

/// Brings the image that carries a cache from a registry, without a name.
fn pull(store: &Store, name: &Reference, access: &Access) -> Result<Image, Failure> {
    let progress = Progress::begin(&format!("pull {}", name.familiar()), false);
    let options = PullOptions {
        watch: Some(progress.watch()),
        nameless: true,
        ..PullOptions::default()
    };
    let pulled = store.pull(name, access, &options);
    progress.end();
    Ok(pulled.map_err(because)?.loaded.image)
}

/// Takes the cache of an archive; gives how many steps are new.
fn read(store: &Store, source: Source) -> Result<usize, Failure> {
    let options = LoadOptions {
        names: Names::Leave,
        ..LoadOptions::default()
    };
    let mut added = 0;
    for loaded in store.load(source, &options).map_err(because)? {
        added += builder::import(store, &loaded.image).map_err(because)?;
    }
    Ok(added)
}

/// `until=36h`, as docker has it: a number and s, m, h or d.
pub(super) fn until(text: &str) -> Result<Duration, String> {
    let refuse = || "it is until= and a time like 90m, 36h or 7d".to_owned();
    let time = text.strip_prefix("until=").ok_or_else(refuse)?;
    let (last, _) = time.char_indices().next_back().ok_or_else(refuse)?;
    let (number, unit) = time.split_at(last);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let seconds = number.checked_mul(seconds).ok_or_else(refuse)?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_its_unit() {
        assert_eq!(until("until=90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(until("until=7d"), Ok(Duration::from_secs(7 * 86_400)));
        for text in [
            "7d",
            "until=",
            "until=d",
            "until=7",
            "until=-1h",
            "until=1w",
            "until=99999999999999999999d",
            "until=é",
        ] {
            assert!(until(text).is_err(), "{text}");
        }
    }
}
