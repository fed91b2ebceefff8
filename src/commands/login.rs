//! `dhow login`: name and password for a registry, tried and then kept.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Read};

use image::registry::{Login, domain, log_in};

use super::pull::Registry;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say};

/// A password is not longer.
const MAX_SECRET: u64 = 64 << 10;

/// Keep name and password for a registry that takes them, where docker or podman keeps them
#[derive(Debug, clap::Parser)]
#[command(name = "login")]
struct Args {
    /// The registry; docker's if none is named
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    server: String,
    /// The name; asked for if not given
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from stdin; it is asked for on a terminal otherwise
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    registry: Registry,
}

pub(crate) fn run(_global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let domain = domain(&args.server).map_err(because)?;
    let (user, secret) = match (args.username, args.password_stdin) {
        (Some(user), true) => (user, from_stdin()?),
        (None, true) => return Err(Failure::new("login: --password-stdin needs --username")),
        (user, false) => ask(user)?,
    };
    if user.is_empty() || user.contains(':') || secret.is_empty() {
        return Err(Failure::new(
            "login: a name without ':' and a password are needed",
        ));
    }
    let login = Login::Password { user, secret };
    let access = args.registry.access();
    log_in(&domain, &login, &access).map_err(because)?;
    let place = access.credentials.keep(&domain, &login).map_err(because)?;
    say(format_args!(
        "Logged in to {domain}; kept by {}\n",
        place.display()
    ));
    Ok(0)
}

fn from_stdin() -> Result<String, Failure> {
    let mut secret = String::new();
    std::io::stdin()
        .take(MAX_SECRET)
        .read_to_string(&mut secret)
        .map_err(because)?;
    Ok(without_end(&secret).to_owned())
}

/// Name and password from the person at the terminal.
fn ask(user: Option<String>) -> Result<(String, String), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(
            "login: stdin is no terminal; say --username and --password-stdin",
        ));
    }
    let line = || {
        let mut text = String::new();
        let read = stdin.lock().take(MAX_SECRET).read_line(&mut text);
        read.map_err(because).map(|_| without_end(&text).to_owned())
    };
    let user = match user {
        Some(user) => user,
        None => {
            eprint!("Username: ");
            line()?
        }
    };
    eprint!("Password: ");
    let before = sys::tty::hide(&stdin).map_err(because)?;
    let secret = line();
    let restored = sys::tty::restore(&stdin, &before).map_err(because);
    eprintln!();
    let secret = secret?;
    restored.map(|()| (user, secret))
}

fn without_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
