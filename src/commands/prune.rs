//! `dhow prune`: takes away what nobody needs.

use std::ffi::OsString;
use std::time::SystemTime;

use image::{Image, Prunable, PruneOptions, Pruned};
use serde_json::json;

use super::images::human;
use super::prune_filter::Only;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say};

/// Remove images without a name, and what nothing refers to
#[derive(Debug, clap::Parser)]
#[command(name = "prune")]
struct Args {
    /// Also images that no container uses, and the build cache
    #[arg(short, long)]
    all: bool,
    /// Stop at so many bytes (50m, 10g): the least recently used go first
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    keep_storage: Option<u64>,
    /// Only what fits: until=36h (of no use for so long), label=KEY or KEY=VALUE, label!=KEY
    #[arg(long, value_name = "FILTER", value_parser = Only::parse)]
    filter: Vec<Only>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// `text` for people, `json` for programs
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    format: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = crate::rootless::store(global)?;
    // The longest of several: all must fit.
    let unused = args.filter.iter().filter_map(|filter| match filter {
        Only::Unused(time) => Some(*time),
        _ => None,
    });
    let before = unused.max().map(|time| {
        let past = SystemTime::now().checked_sub(time);
        past.unwrap_or(SystemTime::UNIX_EPOCH)
    });
    let fits = |image: &Image| args.filter.iter().all(|filter| filter.fits(image));
    let of_images = args.filter.iter().any(Only::is_of_images);
    let options = PruneOptions {
        what: match args.all {
            true => Prunable::Unused,
            false => Prunable::Nameless,
        },
        keep: args.keep_storage,
        before,
        dry_run: args.dry_run,
    };
    let pruned = store
        .prune_those(options, of_images.then_some(&fits))
        .map_err(because)?;
    match args.format.as_str() {
        "json" => {
            let text = serde_json::to_string_pretty(&as_json(&pruned, args.dry_run));
            say(format_args!("{}\n", text.map_err(because)?));
        }
        _ => say(format_args!("{}", as_text(&pruned, args.dry_run))),
    }
    Ok(0)
}

pub(super) fn as_text(pruned: &Pruned, dry_run: bool) -> String {
    let mut text = String::new();
    for (id, names) in &pruned.images {
        for name in names {
            text.push_str(&format!("Untagged: {}\n", name.familiar()));
        }
        text.push_str(&format!("Deleted: {id}\n"));
    }
    match pruned.steps.len() {
        0 => {}
        1 => text.push_str("Forgot 1 step of builds\n"),
        count => text.push_str(&format!("Forgot {count} steps of builds\n")),
    }
    let verb = match dry_run {
        true => "Would free",
        false => "Freed",
    };
    text.push_str(&format!(
        "{verb} {}, {} layers and {} blobs; {} are left\n",
        human(pruned.freed),
        pruned.layers.len(),
        pruned.blobs.len(),
        human(pruned.left)
    ));
    text
}

fn as_json(pruned: &Pruned, dry_run: bool) -> serde_json::Value {
    let images = pruned.images.iter().map(|(id, names)| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        json!({"Id": id, "Names": names})
    });
    json!({
        "DryRun": dry_run,
        "Images": images.collect::<Vec<_>>(),
        "Steps": pruned.steps,
        "Notes": pruned.notes,
        "Layers": pruned.layers,
        "Blobs": pruned.blobs,
        "Freed": pruned.freed,
        "Left": pruned.left,
    })
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    u64::try_from(super::image_run::size(text)?).map_err(|_| "less than nothing".to_owned())
}
