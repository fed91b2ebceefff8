//! `dhow run IMAGE`: a container of an image, in its own namespaces and under limits. Its exit statuses
//! are docker's: 125 our own failure, 126 a program that can't be executed, 127 one that is not found.

use std::ffi::OsString;

use image::to_spec::RunOptions;
use runtime::{CreateOptions, Layers, Manner, RootSource};
use sys::beneath::Root;

use super::run::told;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say};

/// Our own failure, in docker's count.
const OURS: u8 = 125;

/// Processes and threads that a container gets where nobody says otherwise: a fork bomb stops there.
const DEFAULT_PIDS: i64 = 2048;

/// Run a program in a container of an image
#[derive(Debug, clap::Parser)]
#[command(name = "run")]
struct Args {
    /// Keep stdin (it is ours in any case; for those whose fingers know docker)
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Remove the container when it has ended
    #[arg(long)]
    rm: bool,
    /// Come back when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Memory at most: bytes, or with k, m, g
    #[arg(short, long, value_name = "SIZE", value_parser = size)]
    memory: Option<i64>,
    /// How many CPUs' time: 0.5 is half of one
    #[arg(long, value_name = "N")]
    cpus: Option<f64>,
    /// Processes and threads at most (2048)
    #[arg(long, value_name = "N", visible_alias = "pids-limit")]
    pids: Option<i64>,
    /// The container's name
    #[arg(long)]
    name: Option<String>,
    /// A variable of the environment, NAME=value
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The working directory inside
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The user inside: name or id, with `:group` if wanted
    #[arg(short, long)]
    user: Option<String>,
    /// The program in place of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The host name inside
    #[arg(long)]
    hostname: Option<String>,
    /// The root can't be written to
    #[arg(long)]
    read_only: bool,
    /// seccomp=unconfined, or seccomp=FILE in place of the default profile
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// The first argument is an image, whatever lies in the current folder
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// The image, and what runs in place of its command
    #[arg(trailing_var_arg = true, value_name = "IMAGE [COMMAND]...")]
    words: Vec<String>,
}

/// Whether the store has an image of this name.
pub(crate) fn is_image(global: &Global, name: &str) -> Result<bool, Failure> {
    let path = global.image_store()?;
    // A store that is not there, or not ours to look into, has no image for us.
    if !sys::file::is_dir(&path).unwrap_or(false) {
        return Ok(false);
    }
    Ok(image::Store::open(&path).is_ok_and(|store| store.find(name).is_ok()))
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let parsed = parse::<Args>(arguments).map_err(|failure| failure.with_code(OURS))?;
    let Some(args) = parsed else { return Ok(0) };
    let manner = args.manner().map_err(|failure| failure.with_code(OURS))?;
    let asked = options(global, &args).map_err(|failure| failure.with_code(OURS))?;
    // The lease is held until the container is there, or has ended: nobody removes its layers.
    let (options, _lease) = asked;
    let id = options.id.to_string();
    Ok(match runtime::run(options, manner).map_err(failed)? {
        Some(outcome) => told(&global.name, &id, outcome),
        None => {
            say(format_args!("{id}\n"));
            0
        }
    })
}

fn failed(error: runtime::Error) -> Failure {
    let code = error.program_status().unwrap_or(OURS);
    Failure::from(error).with_code(code)
}

impl Args {
    fn manner(&self) -> Result<Manner, Failure> {
        match (self.detach, self.rm) {
            (true, true) => Err(Failure::new(
                "--rm: nobody waits for a detached container; `delete` removes it",
            )),
            (true, false) => Ok(Manner::Detached),
            (false, true) => Ok(Manner::Foreground),
            (false, false) => Ok(Manner::Keep),
        }
    }

    /// The image's name and the words after it.
    fn image_and_command(&self) -> Result<(&str, &[String]), Failure> {
        match (&self.image, self.words.split_first()) {
            (Some(image), _) => Ok((image, &self.words)),
            (None, Some((image, command))) => Ok((image, command)),
            (None, None) => Err(Failure::new(
                "no image given: run IMAGE [COMMAND], or --bundle DIR ID",
            )),
        }
    }
}

/// All that the container is made of.
fn options(global: &Global, args: &Args) -> Result<(CreateOptions, image::Lease), Failure> {
    let (name, command) = args.image_and_command()?;
    let path = global.image_store()?;
    let store = image::Store::open(&path).map_err(because)?;
    let image = store.find(name).map_err(because)?;
    let id = match &args.name {
        Some(name) => name.clone(),
        None => random_id()?,
    };
    let asked = run_options(args, command, &id)?;
    let config = image.configuration.config().as_ref();
    let user = args
        .user
        .as_ref()
        .or_else(|| config.and_then(|c| c.user().as_ref()));
    let lease = store.hold(&image.layers).map_err(because)?;
    let user = lookup(image.lower(), user.map_or("", String::as_str))?;
    let spec = image::to_spec::spec(&image.configuration, &user, &asked).map_err(because)?;
    let scratch = path.join("containers").join(&id);
    store.hold_while(&scratch, &image).map_err(because)?;
    store.use_image(&image).map_err(because)?;
    let root = RootSource::Layers(Layers {
        lower: image.lower(),
        scratch,
    });
    let state = runtime::Store::new(global.state_root()?);
    let mut options = CreateOptions::new(id.parse()?, state, path, spec, root);
    options.driver = global.driver;
    options.rootless = global.rootless;
    Ok((options, lease))
}

fn run_options(args: &Args, command: &[String], id: &str) -> Result<RunOptions, Failure> {
    Ok(RunOptions {
        read_only: args.read_only,
        entrypoint: args.entrypoint.clone().map(|program| vec![program]),
        args: command.to_vec(),
        env: args.env.iter().map(|entry| with_value(entry)).collect(),
        cwd: args.workdir.clone(),
        hostname: Some(args.hostname.clone().unwrap_or_else(|| id.to_owned())),
        terminal: args.tty,
        memory: args.memory,
        cpus: args.cpus,
        pids: match args.pids {
            Some(pids) => Some(pids),
            None => default_pids()?,
        },
        seccomp: super::security_opt::seccomp(&args.security_opt)?,
        host_cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        ..RunOptions::default()
    })
}

/// `NAME` alone takes the value that it has here, as docker has it.
fn with_value(entry: &str) -> String {
    match entry.contains('=') {
        true => entry.to_owned(),
        false => format!("{entry}={}", std::env::var(entry).unwrap_or_default()),
    }
}

/// Nobody asked for it, so a host that can't do it runs the container all the same.
fn default_pids() -> Result<Option<i64>, Failure> {
    let controllers = runtime::controllers().map_err(because)?;
    let limited = controllers.iter().any(|name| name == "pids");
    let limited = limited && !sys::fault::broken("no-default-limits");
    Ok(limited.then_some(DEFAULT_PIDS))
}

/// What `user` means in the image: its files are seen as the container will see them.
fn lookup(lower: Vec<sys::mount::Tree>, user: &str) -> Result<image::user::User, Failure> {
    let overlay = rootfs::Overlay {
        lower,
        ..rootfs::Overlay::default()
    };
    let root = Root::new(overlay.mount_detached().map_err(because)?);
    image::user::lookup(&root, user).map_err(because)
}

/// Twelve digits that no other container has.
fn random_id() -> Result<String, Failure> {
    let bytes = sys::random::bytes::<6>().map_err(because)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// `50m` and its like, in bytes.
pub(super) fn size(text: &str) -> Result<i64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: i64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        unit => return Err(format!("{unit:?} is no unit; b, k, m, g and t are")),
    };
    let number: i64 = digits
        .parse()
        .map_err(|_| format!("{digits:?} is no number"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_its_unit() {
        assert_eq!(size("50m"), Ok(50 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("7"), Ok(7));
        for bad in ["", "m", "1x", "9999999999999t", "1.5g"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
