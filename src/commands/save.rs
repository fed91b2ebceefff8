//! `dhow save`: images to an archive.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use image::{Format, Image, Method, Outgoing, Reference, Store};

use super::compression::Compression;
use super::{Outcome, parse};
use crate::global::Global;
use crate::progress::Progress;
use crate::report::{Failure, because, unbroken, visible};
use crate::whole;

/// Write images to an archive or a layout folder that docker, podman and skopeo read
#[derive(Debug, clap::Parser)]
#[command(name = "save")]
struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The archive, or the folder; without one or with `-` stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Its form
    #[arg(long, value_parser = ["docker-archive", "oci-archive", "oci-dir"], default_value = "docker-archive")]
    format: String,
    #[command(flatten)]
    compression: Compression,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let leaving = args.compression.leaving(Method::None)?;
    let store = Store::open(&global.image_store()?).map_err(because)?;
    let images = asked_for(&store, &args.images)?;
    let output = args.output.filter(|path| path.as_os_str() != "-");
    if output.is_none() && args.format != "oci-dir" && std::io::stdout().is_terminal() {
        return Err(Failure::new(
            "save: an archive is not for a terminal; say -o FILE",
        ));
    }
    let what = unbroken(&visible(&format!("save {}", args.images.join(" "))));
    let mut outgoing = store.outgoing(&images, leaving).map_err(because)?;
    let progress = Progress::begin(&what, args.quiet);
    let saved = write(&mut outgoing, (&args.format, output), &progress);
    progress.end();
    saved.map(|()| 0)
}

fn write(
    outgoing: &mut Outgoing<'_>,
    (format, output): (&str, Option<PathBuf>),
    progress: &Progress,
) -> Result<(), Failure> {
    let watch = Some(progress.watch());
    if format == "oci-dir" {
        let dir = output.ok_or_else(|| Failure::new("save: a folder is no stream; say -o DIR"))?;
        return outgoing.save_layout(&dir, watch).map_err(because);
    }
    let format = match format {
        "oci-archive" => Format::OciArchive,
        _ => Format::DockerArchive,
    };
    match output {
        Some(path) => whole::write(&path, |out| {
            let saved = outgoing.save(format, out, watch);
            saved.map_err(because).map(drop)
        }),
        None => {
            let out = std::io::stdout().lock();
            let saved = outgoing.save(format, out, watch);
            saved.map_err(because)?.flush().map_err(because)
        }
    }
}

/// Each image once, with the names by which it was asked for; one that was asked for by its id has all of its names.
fn asked_for(store: &Store, wanted: &[String]) -> Result<Vec<Image>, Failure> {
    let mut images: Vec<Image> = Vec::new();
    for wanted in wanted {
        let mut image = store.find(wanted).map_err(because)?;
        let name: Option<Reference> = wanted.parse().ok();
        if let Some(name) = name.filter(|name| image.names.contains(name)) {
            image.names = vec![name];
        }
        match images.iter_mut().find(|known| known.id == image.id) {
            Some(known) => {
                known.names.extend(image.names);
                known.names.sort();
                known.names.dedup();
            }
            None => images.push(image),
        }
    }
    Ok(images)
}
