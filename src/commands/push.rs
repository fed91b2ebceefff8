//! `dhow push`: an image of the store to a registry.

use std::ffi::OsString;

use image::registry::PushOptions;
use image::{Method, Reference, Store};

use super::compression::Compression;
use super::pull::Registry;
use super::{Outcome, parse};
use crate::global::Global;
use crate::progress::Progress;
use crate::report::{because, say};

/// Bring an image to a registry; layers that are not compressed leave with gzip
#[derive(Debug, clap::Parser)]
#[command(name = "push")]
struct Args {
    /// A name or id
    image: String,
    /// Where to, if not to where its name says
    #[arg(value_name = "NAME")]
    name: Option<Reference>,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    compression: Compression,
    /// Print the digest alone
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let name = match args.name {
        Some(name) => name,
        None => args.image.parse().map_err(because)?,
    };
    let leaving = args.compression.leaving(Method::GZIP)?;
    let access = args.registry.access();
    let store = Store::open(&global.image_store()?).map_err(because)?;
    let image = store.find(&args.image).map_err(because)?;
    let progress = Progress::begin(&format!("push {}", name.familiar()), args.quiet);
    let options = PushOptions {
        watch: Some(progress.watch()),
        ..PushOptions::default()
    };
    let outgoing = store.outgoing(std::slice::from_ref(&image), leaving);
    let digest = outgoing.and_then(|mut outgoing| outgoing.push(&name, &access, &options));
    progress.end();
    let digest = digest.map_err(because)?;
    match args.quiet {
        true => say(format_args!("{digest}\n")),
        false => say(format_args!(
            "Pushed image: {}\nDigest: {digest}\n",
            name.familiar()
        )),
    }
    Ok(0)
}
