//! `dhow store check`: whether the store of images is whole.

use std::ffi::OsString;

use image::{Checked, Depth, Fault, Part};
use serde_json::{Value, json};

use super::images::human;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say, unbroken, visible};

/// Look after the store of images
#[derive(Debug, clap::Parser)]
#[command(name = "store")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Read everything again: status 0 if the store is whole, 1 if something is damaged or missing
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// Hash the blobs alone, and compare no unpacked layer with its blob
    #[arg(long)]
    quick: bool,
    /// Say nothing but by the status
    #[arg(short, long, conflicts_with = "format")]
    quiet: bool,
    /// `text` for people, `json` for programs
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    format: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let Verb::Check(args) = args.verb;
    let store = crate::rootless::store(global)?;
    let depth = match args.quick {
        true => Depth::Blobs,
        false => Depth::Whole,
    };
    let checked = store.check(depth).map_err(because)?;
    match args.format.as_str() {
        _ if args.quiet => {}
        "json" => {
            let text = serde_json::to_string_pretty(&as_json(&checked)).map_err(because)?;
            say(format_args!("{text}\n"));
        }
        _ => say(format_args!("{}", as_text(&checked))),
    }
    Ok(u8::from(!checked.faults.is_empty()))
}

/// A line for each fault and each thing left over, and one for the whole.
fn as_text(checked: &Checked) -> String {
    let mut text = String::new();
    for fault in &checked.faults {
        let (kind, name) = named(fault);
        let what = unbroken(&visible(&fault.what));
        text.push_str(&format!("damaged: {kind} {name}: {what}\n"));
    }
    for left in &checked.left {
        let name = unbroken(&visible(&left.name));
        text.push_str(&format!("unused: {} {name}\n", left.kind));
    }
    let state = match checked.faults.len() {
        0 => "whole".to_owned(),
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    text.push_str(&format!(
        "{state}: {} images, {} layers, {} blobs of {}\n",
        checked.images,
        checked.layers,
        checked.blobs,
        human(checked.bytes)
    ));
    text
}

fn named(fault: &Fault) -> (&'static str, String) {
    match &fault.part {
        Part::Index => ("index", "index.json".to_owned()),
        Part::Image(id) => ("image", id.to_string()),
        Part::Blob(digest) => ("blob", digest.to_string()),
        Part::Layer(key) => ("layer", key.clone()),
    }
}

fn as_json(checked: &Checked) -> Value {
    let faults = checked.faults.iter().map(|fault| {
        let (kind, name) = named(fault);
        json!({"Kind": kind, "Name": name, "Fault": fault.what, "Images": fault.images})
    });
    let unused = checked.left.iter();
    let unused = unused.map(|left| json!({"Kind": left.kind, "Name": left.name}));
    json!({
        "Whole": checked.faults.is_empty(),
        "Faults": faults.collect::<Vec<_>>(),
        "Unused": unused.collect::<Vec<_>>(),
        "Images": checked.images,
        "Layers": checked.layers,
        "Blobs": checked.blobs,
        "Bytes": checked.bytes,
    })
}
