//! `dhow load`: images from an archive or layout into the store.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;

use image::{LoadOptions, Names, Reference, Source};

use super::layer_form::LayerForm;
use super::{Outcome, parse};
use crate::global::Global;
use crate::progress::Progress;
use crate::report::{Failure, because, say, unbroken, visible};

/// Take images from a docker archive, an OCI archive or an OCI layout
#[derive(Debug, clap::Parser)]
#[command(name = "load")]
struct Args {
    /// The archive or layout directory; `-` or nothing is stdin
    file: Option<PathBuf>,
    /// The same, for those whose fingers know docker
    #[arg(short, long, conflicts_with = "file")]
    input: Option<PathBuf>,
    /// One more name for the image
    #[arg(short, long, value_name = "NAME")]
    tag: Option<Reference>,
    /// Names that other images have move to the loaded ones
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    form: LayerForm,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let source = match args
        .file
        .or(args.input)
        .filter(|path| path.as_os_str() != "-")
    {
        Some(path) => Source::Path(path),
        None => stdin()?,
    };
    let what = match &source {
        Source::Path(path) => format!("load {}", path.display()),
        Source::Stream { name, .. } => format!("load {name}"),
    };
    let what = unbroken(&visible(&what));
    let store = args.form.store(global)?;
    let progress = Progress::begin(&what, args.quiet);
    let options = LoadOptions {
        names: if args.force { Names::Move } else { Names::Keep },
        name: args.tag,
        watch: Some(progress.watch()),
        ..LoadOptions::default()
    };
    let loaded = store.load(source, &options);
    progress.end();
    for loaded in loaded.map_err(because)? {
        for what in &loaded.left_out {
            eprintln!("{}: left out {what}: only root can make it", global.name);
        }
        let image = loaded.image;
        match (args.quiet, &image.names[..]) {
            (true, _) => say(format_args!("{}\n", image.id)),
            (false, []) => say(format_args!("Loaded image ID: {}\n", image.id)),
            (false, names) => {
                for name in names {
                    say(format_args!("Loaded image: {}\n", name.familiar()));
                }
            }
        }
    }
    Ok(0)
}

pub(super) fn stdin() -> Result<Source, Failure> {
    use std::io::IsTerminal;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::new("load: name an archive, or send one to stdin"));
    }
    let fd = stdin.as_fd().try_clone_to_owned().map_err(because)?;
    let name = "stdin".to_owned();
    Ok(Source::Stream { name, fd })
}
