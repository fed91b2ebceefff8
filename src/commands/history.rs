//! `dhow history`: how an image came about, the last step first.

use std::ffi::OsString;

use image::HistoryEntry;
use serde_json::{Value, json};

use super::images::{human, in_line};
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say};
use crate::tables::table;
use crate::template::Format;

/// Show how an image came about, the last step first
#[derive(Debug, clap::Parser)]
#[command(name = "history")]
struct Args {
    /// A name or id
    image: String,
    /// `table`, `json`, or a template: {CreatedBy} {Size}
    #[arg(long, value_parser = Format::parse, default_value = "table")]
    format: Format,
    /// Commands, remarks and digests in full
    #[arg(long)]
    no_trunc: bool,
    /// Print the diff ids of the layers alone
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = image::Store::open(&global.image_store()?).map_err(because)?;
    let image = store.find(&args.image).map_err(because)?;
    let mut entries = image::history(&image);
    entries.reverse();
    if args.quiet {
        for layer in entries.iter().filter_map(|entry| entry.layer.as_ref()) {
            say(format_args!("{}\n", layer.diff_id));
        }
        return Ok(0);
    }
    let objects: Vec<Value> = entries.iter().map(object).collect();
    let text = match args.format.for_programs(&objects)? {
        Some(text) => text,
        None => {
            let rows: Vec<_> = entries.iter().map(|e| row(e, args.no_trunc)).collect();
            table(["LAYER", "CREATED", "SIZE", "CREATED BY", "COMMENT"], &rows)
        }
    };
    say(format_args!("{text}"));
    Ok(0)
}

fn object(entry: &HistoryEntry) -> Value {
    json!({
        "Created": entry.created,
        "CreatedBy": entry.created_by,
        "Author": entry.author,
        "Comment": entry.comment,
        "EmptyLayer": entry.layer.is_none(),
        "Layer": entry.layer.as_ref().map(|layer| layer.diff_id),
        "Size": entry.layer.as_ref().map_or(0, |layer| layer.tar_size),
    })
}

fn row(entry: &HistoryEntry, whole: bool) -> [String; 5] {
    let cut = |text: &str, most: usize| in_line(text, if whole { usize::MAX } else { most });
    let layer = entry.layer.as_ref();
    [
        layer.map_or("-".to_owned(), |layer| match whole {
            true => layer.diff_id.to_string(),
            false => layer.diff_id.short(),
        }),
        cut(&entry.created, 19),
        human(layer.map_or(0, |layer| layer.tar_size)),
        cut(&entry.created_by, 45),
        cut(&entry.comment, 30),
    ]
}
