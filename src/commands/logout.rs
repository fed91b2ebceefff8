//! `dhow logout`: name and password for a registry are forgotten.

use std::ffi::OsString;
use std::path::PathBuf;

use image::registry::{Credentials, domain};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say};

/// Forget name and password for a registry, wherever pull and push would find them
#[derive(Debug, clap::Parser)]
#[command(name = "logout")]
struct Args {
    /// The registry; docker's if none is named
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    server: String,
    /// The file of credentials, in place of docker's and podman's
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

pub(crate) fn run(_global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let domain = domain(&args.server).map_err(because)?;
    let credentials = Credentials::new(args.authfile, |name| std::env::var_os(name));
    match credentials.remove(&domain).map_err(because)? {
        true => {
            say(format_args!("Logged out of {domain}\n"));
            Ok(0)
        }
        false => Err(Failure::new(format!(
            "logout: nothing is kept for {domain}"
        ))),
    }
}
