//! `dhow pull`: images from a registry into the store.

use std::ffi::OsString;
use std::path::PathBuf;

use image::registry::{Access, Credentials, PullOptions};
use image::{Platform, Reference};

use super::layer_form::LayerForm;
use super::{Outcome, parse};
use crate::global::Global;
use crate::progress::Progress;
use crate::report::{because, say};

/// Bring images from a registry
#[derive(Debug, clap::Parser)]
#[command(name = "pull")]
struct Args {
    /// Names, as docker completes them
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<Reference>,
    /// For another platform: os/architecture[/variant]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    form: LayerForm,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
}

/// How registries are reached.
#[derive(Debug, clap::Args)]
pub(super) struct Registry {
    /// The file of credentials, in place of docker's and podman's
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Take any certificate, or none
    #[arg(long)]
    insecure: bool,
}

impl Registry {
    pub(super) fn access(&self) -> Access {
        let variable = |name: &str| std::env::var_os(name);
        let credentials = Credentials::new(self.authfile.clone(), variable);
        let mut access = Access::new(credentials, variable);
        access.insecure = self.insecure;
        access
    }
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let access = args.registry.access();
    let store = args.form.store(global)?;
    for name in &args.images {
        let progress = Progress::begin(&format!("pull {}", name.familiar()), args.quiet);
        let options = PullOptions {
            platform: args.platform.clone(),
            watch: Some(progress.watch()),
            ..PullOptions::default()
        };
        let pulled = store.pull(name, &access, &options);
        progress.end();
        let pulled = pulled.map_err(because)?;
        for what in &pulled.loaded.left_out {
            eprintln!("{}: left out {what}: only root can make it", global.name);
        }
        match args.quiet {
            true => say(format_args!("{}\n", pulled.loaded.image.id)),
            false => say(format_args!(
                "Pulled image: {}\nDigest: {}\n",
                name.familiar(),
                pulled.digest
            )),
        }
    }
    Ok(0)
}
