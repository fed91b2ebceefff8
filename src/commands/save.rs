//! `dhow save`: images to an archive.

use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use image::{Format, Image, Store};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because};

/// Write images to an archive that docker, podman and skopeo read
#[derive(Debug, clap::Parser)]
#[command(name = "save")]
struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The archive; stdout if none is named
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Its form
    #[arg(long, value_parser = ["docker-archive", "oci-archive"], default_value = "docker-archive")]
    format: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = Store::open(&global.image_store()?).map_err(because)?;
    let mut images = Vec::new();
    for wanted in &args.images {
        images.push(store.find(wanted).map_err(because)?);
    }
    let format = match args.format.as_str() {
        "oci-archive" => Format::OciArchive,
        _ => Format::DockerArchive,
    };
    match args.output.filter(|path| path.as_os_str() != "-") {
        Some(path) => to_file(&store, &images, format, &path)?,
        None if std::io::stdout().is_terminal() => {
            return Err(Failure::new(
                "save: an archive is not for a terminal; say -o FILE",
            ));
        }
        None => {
            let out = std::io::stdout().lock();
            let mut out = store.save(&images, format, out).map_err(because)?;
            out.flush().map_err(because)?;
        }
    }
    Ok(0)
}

/// Under another name until it is whole: no half archive stands where somebody takes it for one.
fn to_file(store: &Store, images: &[Image], format: Format, path: &Path) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let file = sys::file::create_new(&part, 0o644).map_err(because)?;
    let out = BufWriter::with_capacity(256 * 1024, file);
    let written = store
        .save(images, format, out)
        .map_err(because)
        .and_then(|mut out| out.flush().map_err(because))
        .and_then(|()| sys::file::rename(&part, path).map_err(because));
    if written.is_err() {
        // The first failure is the one that counts.
        let _left_over = sys::file::remove_file(&part);
    }
    written
}
