//! `dhow images`: the images of the store.

use std::ffi::OsString;

use image::Image;
use serde_json::json;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say};
use crate::tables::table;

/// List the images
#[derive(Debug, clap::Parser)]
#[command(name = "images")]
struct Args {
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
    /// `table` for people, `json` for programs: one array
    #[arg(short, long, value_parser = ["table", "json"], default_value = "table")]
    format: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = image::Store::open(&global.image_store()?).map_err(because)?;
    let images = store.images().map_err(because)?;
    if args.quiet {
        images
            .iter()
            .for_each(|image| say(format_args!("{}\n", image.id)));
    } else if args.format == "json" {
        let images: Vec<_> = images.iter().map(as_json).collect();
        say(format_args!(
            "{}\n",
            serde_json::to_string_pretty(&images).map_err(because)?
        ));
    } else {
        let rows: Vec<_> = images.iter().flat_map(rows).collect();
        let head = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
        say(format_args!("{}", table(head, &rows)));
    }
    Ok(0)
}

/// A line for each name; one without a name for an image that has none.
fn rows(image: &Image) -> Vec<[String; 5]> {
    let row = |repository: String, tag: String| {
        [
            repository,
            tag,
            image.id.short(),
            created(image),
            human(image.size()),
        ]
    };
    if image.names.is_empty() {
        return vec![row("<none>".to_owned(), "<none>".to_owned())];
    }
    let named = image.names.iter().map(|name| {
        let familiar = name.familiar();
        let tag = name.tag().unwrap_or("<none>").to_owned();
        let repository = familiar
            .strip_suffix(&format!(":{tag}"))
            .unwrap_or(&familiar);
        row(repository.to_owned(), tag)
    });
    named.collect()
}

/// The day that the config names; nothing where that is no date, for the text is the image's own.
fn created(image: &Image) -> String {
    let date = image
        .configuration
        .created()
        .as_deref()
        .and_then(|text| text.get(..10));
    let is_date = |text: &&str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    date.filter(is_date).unwrap_or("").to_owned()
}

fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1}{}", UNITS[unit])
}

fn as_json(image: &Image) -> serde_json::Value {
    json!({
        "id": image.id,
        "names": image.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created": image.configuration.created(),
        "size": image.size(),
    })
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(human(0), "0.0kB");
        assert_eq!(human(1_500_000), "1.5MB");
        assert_eq!(human(2_345_000_000_000_000), "2345.0TB");
    }
}
