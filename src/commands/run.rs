//! `dhow run`: one verb that means two things. `--bundle`, or a single argument beside a config.json in
//! the current folder, means a bundle; otherwise the first argument is an image. Where both hold it stops
//! and says which flag decides; a config.json that is none of the runtime-spec's gives way to an image.

use std::ffi::OsString;

use clap::Parser;
use runtime::Manner;

use super::create::BundleArgs;
use super::{Outcome, image_run, parse};
use crate::global::Global;
use crate::report::{Failure, because, warn};

/// Create a bundle's container, start it, wait and delete it (`run IMAGE --help` tells of images)
#[derive(Debug, clap::Parser)]
#[command(name = "run")]
struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Come back when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Leave the stopped container there
    #[arg(long)]
    keep: bool,
    /// Accepted for callers of runc: a foreground container is waited for by its handle
    #[arg(long)]
    no_subreaper: bool,
    /// The new container's name
    id: String,
}

/// What the arguments mean.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Bundle,
    Image,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    match meaning(global, arguments)? {
        Meaning::Bundle => run_bundle(global, arguments),
        Meaning::Image => image_run::run(global, arguments),
    }
}

fn meaning(global: &Global, arguments: &[OsString]) -> Result<Meaning, Failure> {
    let says = |names: [&str; 2]| {
        arguments
            .iter()
            .take_while(|a| *a != "--")
            .filter_map(|a| a.to_str())
            .any(|a| {
                names.iter().any(|name| {
                    a == *name
                        || a.strip_prefix(name)
                            .is_some_and(|rest| rest.starts_with('='))
                })
            })
    };
    if says(["--image", "--image"]) {
        return Ok(Meaning::Image);
    }
    if says(["--bundle", "-b"]) {
        return Ok(Meaning::Bundle);
    }
    // Flags of images alone, or words after the name, can't be a bundle's.
    let Ok(args) = Args::try_parse_from(arguments) else {
        return Ok(Meaning::Image);
    };
    let Some(config) = config_here()? else {
        return Ok(Meaning::Image);
    };
    match (image_run::is_image(global, &args.id)?, config) {
        (false, _) => Ok(Meaning::Bundle),
        (true, Config::Other) => Ok(Meaning::Image),
        (true, Config::OfABundle) => Err(Failure::new(format!(
            "{:?} is the name of an image, and here is a bundle: say `run --image {0}` or `run --bundle . {0}`",
            args.id
        ))),
    }
}

/// What a config.json is.
enum Config {
    /// One of the runtime-spec: it has a version, whatever else is wrong with it.
    OfABundle,
    /// One that is broken before its version, or has none, or is something else's.
    Other,
}

/// The config.json of the current folder, if there is one.
fn config_here() -> Result<Option<Config>, Failure> {
    const MAX_CONFIG: u64 = 16 << 20;
    if !sys::file::exists("config.json").map_err(because)? {
        return Ok(None);
    }
    let bytes = sys::file::read("config.json", MAX_CONFIG).map_err(because)?;
    // A config.json that is cut short is still one: what is wrong with it is said later.
    let has_version = String::from_utf8_lossy(&bytes).contains("\"ociVersion\"");
    Ok(Some(match has_version {
        true => Config::OfABundle,
        false => Config::Other,
    }))
}

fn run_bundle(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let manner = match (args.detach, args.keep) {
        (true, _) => Manner::Detached,
        (false, true) => Manner::Keep,
        (false, false) => Manner::Foreground,
    };
    let outcome = runtime::run(args.bundle.options(global, &args.id)?, manner)?;
    Ok(outcome.map_or(0, |outcome| told(&global.name, &args.id, outcome)))
}

/// The exit status; a lack of memory is told, for the status alone does not.
pub(crate) fn told(name: &str, id: &str, outcome: runtime::Outcome) -> u8 {
    if outcome.oom_kills > 0 {
        let count = outcome.oom_kills;
        eprintln!(
            "{name}: {id}: out of memory: the kernel killed {count} of its processes at the memory limit"
        );
    }
    warn(&outcome.poststop);
    outcome.exit.code()
}
