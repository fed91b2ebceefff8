//! `dhow images`: the images of the store.

use std::ffi::OsString;

use image::{Image, Reference};
use serde_json::{Value, json};

use super::image_filter::Filter;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say, unbroken, visible};
use crate::tables::table;
use crate::template::Format;

/// List the images
#[derive(Debug, clap::Parser)]
#[command(name = "images")]
struct Args {
    /// Only those of this name; `*` and `?` stand for parts of it
    name: Option<String>,
    /// Nothing is hidden in any case; for those whose fingers know docker
    #[arg(short, long)]
    all: bool,
    /// Only those that fit: dangling=true, label=KEY or KEY=VALUE, reference=NAME, before=IMAGE, since=IMAGE, until=36h
    #[arg(short, long, value_name = "FILTER", value_parser = Filter::parse)]
    filter: Vec<Filter>,
    /// `table`, `json`, or a template: {Name} {Id}
    #[arg(long, value_parser = Format::parse, default_value = "table")]
    format: Format,
    /// The manifests' digests too
    #[arg(long)]
    digests: bool,
    /// Ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
}

/// An image under one of its names; without one, once all the same.
struct Row<'a> {
    image: &'a Image,
    name: Option<&'a Reference>,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(mut args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    args.filter.extend(args.name.take().map(Filter::Reference));
    let store = image::Store::open(&global.image_store()?).map_err(because)?;
    let images = store.images().map_err(because)?;
    let find = |name: &str| store.find(name).map_err(because);
    let filters = std::mem::take(&mut args.filter).into_iter();
    args.filter = filters
        .map(|filter| filter.resolve(find))
        .collect::<Result<_, _>>()?;
    let rows: Vec<Row<'_>> = images
        .iter()
        .flat_map(rows)
        .filter(|row| args.filter.iter().all(|f| f.fits(row.image, row.name)))
        .collect();
    if args.quiet {
        let mut ids: Vec<_> = rows.iter().map(|row| row.image.id).collect();
        ids.dedup();
        for id in ids {
            say(format_args!("{id}\n"));
        }
        return Ok(0);
    }
    let objects: Vec<Value> = rows.iter().map(Row::object).collect();
    let text = match args.format.for_programs(&objects)? {
        Some(text) => text,
        None => args.table(&rows),
    };
    say(format_args!("{text}"));
    Ok(0)
}

impl Args {
    fn table(&self, rows: &[Row<'_>]) -> String {
        let cells = |row: &Row<'_>| {
            let (repository, tag) = row.repository_and_tag();
            let none = |text: Option<&str>| text.unwrap_or("<none>").to_owned();
            let id = match self.no_trunc {
                true => row.image.id.to_string(),
                false => row.image.id.short(),
            };
            let size = human(row.image.size());
            [
                none(repository.as_deref()),
                none(tag),
                id,
                created(row.image),
                size,
            ]
        };
        let lines: Vec<[String; 5]> = rows.iter().map(cells).collect();
        if !self.digests {
            let head = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
            return table(head, &lines);
        }
        let lines = lines.into_iter().zip(rows).map(|(line, row)| {
            let [repository, tag, id, created, size] = line;
            let digest = row.image.manifest.to_string();
            [repository, tag, digest, id, created, size]
        });
        let lines: Vec<[String; 6]> = lines.collect();
        let head = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"];
        table(head, &lines)
    }
}

fn rows(image: &Image) -> Vec<Row<'_>> {
    if image.names.is_empty() {
        return vec![Row { image, name: None }];
    }
    let named = image.names.iter().map(|name| Row {
        image,
        name: Some(name),
    });
    named.collect()
}

impl Row<'_> {
    fn repository_and_tag(&self) -> (Option<String>, Option<&str>) {
        match self.name {
            Some(name) => (Some(repository(name)), name.tag()),
            None => (None, None),
        }
    }

    fn object(&self) -> Value {
        let (repository, tag) = self.repository_and_tag();
        json!({
            "Id": self.image.id,
            "Name": self.name.map(Reference::familiar),
            "Repository": repository,
            "Tag": tag,
            "Digest": self.image.manifest,
            "Created": self.image.configuration.created(),
            "Size": self.image.size(),
        })
    }
}

/// A name without its tag, as a person writes it.
pub(super) fn repository(name: &Reference) -> String {
    let familiar = name.familiar();
    let tag = format!(":{}", name.tag().unwrap_or_default());
    familiar.strip_suffix(&tag).unwrap_or(&familiar).to_owned()
}

/// The names by which exactly this image can be asked for.
pub(super) fn digests(image: &Image) -> Vec<String> {
    let named = |name| format!("{}@{}", repository(name), image.manifest);
    let mut all: Vec<String> = image.names.iter().map(named).collect();
    all.dedup();
    all
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

/// Somebody's text in one cell of a table: one line of so many letters at most, that steers no terminal.
pub(super) fn in_line(text: &str, most: usize) -> String {
    let words = unbroken(&visible(text.trim()));
    match words.chars().count() > most {
        true => words.chars().take(most - 1).chain(['…']).collect(),
        false => words,
    }
}

/// A length as people read it.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{human, in_line};

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(human(0), "0.0kB");
        assert_eq!(human(1_500_000), "1.5MB");
        assert_eq!(human(2_345_000_000_000_000), "2345.0TB");
    }

    #[test]
    fn a_cell_is_one_line_of_so_many_letters() {
        assert_eq!(in_line("RUN a\n  b\u{1b}", 40), "RUN a\\n  b\\u{1b}");
        assert_eq!(in_line("12345", 5), "12345");
        assert_eq!(in_line("123456", 5), "1234…");
    }
}
