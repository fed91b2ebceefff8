//! `dhow create`: a container from a bundle, ready to be started.

use std::ffi::OsString;
use std::path::PathBuf;

use runtime::{Bundle, CreateOptions, RootSource, Store};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say};

/// Make a container from a bundle; its program waits for `start`
#[derive(Debug, clap::Parser)]
#[command(name = "create")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) bundle: BundleArgs,
    /// Print the plan of the start and make nothing
    #[arg(long)]
    plan: bool,
    /// The new container's name
    id: String,
}

/// The flags that create and run share.
#[derive(Debug, clap::Args)]
pub(crate) struct BundleArgs {
    /// The bundle's folder
    #[arg(short, long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// Another configuration than the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A socket that gets the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
    /// A file that gets the first process' id
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// A socket that gets a handle of the first process
    #[arg(long, value_name = "SOCKET")]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Don't use pivot_root; for a host whose root is a ramfs
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Stay in the caller's session keyring
    #[arg(long)]
    pub(crate) no_new_keyring: bool,
    /// Give the program this many descriptors after stdio
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u32,
}

impl BundleArgs {
    /// Reads the bundle and connects what is to be connected.
    pub(crate) fn options(&self, global: &Global, id: &str) -> Result<CreateOptions, Failure> {
        check_preserved(self.preserve_fds)?;
        let id = id.parse()?;
        let folder = self.bundle.clone().unwrap_or_else(|| ".".into());
        let bundle = Bundle::open(&folder, self.config.as_deref())?;
        let root = RootSource::Folder(bundle.root());
        let store = Store::new(global.state_root()?);
        let mut options = CreateOptions::new(id, store, bundle.path, bundle.spec, root);
        if let Some(path) = &self.console_socket {
            options.console_socket = Some(sys::socket::connect_stream(path).map_err(because)?);
        }
        if let Some(path) = &self.pidfd_socket {
            options.pidfd_socket = Some(sys::socket::connect_stream(path).map_err(because)?);
        }
        options.driver = global.driver;
        options.rootless = global.rootless;
        options.pid_file.clone_from(&self.pid_file);
        options.preserve_fds = self.preserve_fds;
        options.notify = runtime::notify::asked_for();
        hand_on(&mut options)?;
        options.no_pivot = self.no_pivot;
        options.keep_keyring = self.no_new_keyring;
        Ok(options)
    }
}

/// The sockets that a service manager opened for us (sd_listen_fds(3)) are the program's, before those of
/// --preserve-fds. Words that are for another process are not ours to pass on.
fn hand_on(options: &mut CreateOptions) -> Result<(), Failure> {
    let word = |name: &str| std::env::var(name).ok();
    let number = |name: &str| word(name).and_then(|text| text.parse::<u32>().ok());
    let ours = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|count| ours && *count > 0);
    let Some(count) = count else { return Ok(()) };
    options.preserve_fds = options.preserve_fds.saturating_add(count);
    check_preserved(options.preserve_fds)?;
    options.set_variable("LISTEN_FDS", &count.to_string());
    options.set_variable("LISTEN_PID", "1");
    if let Some(names) = word("LISTEN_FDNAMES") {
        options.set_variable("LISTEN_FDNAMES", &names);
    }
    Ok(())
}

/// A number that the caller left free would become that of a file of ours, and the container would get
/// the host's tree with it (CVE-2024-21626).
pub(crate) fn check_preserved(count: u32) -> Result<(), Failure> {
    let mut numbers = 3..count.saturating_add(3);
    match numbers.find(|number| !sys::descriptor::is_inherited(*number)) {
        None => Ok(()),
        Some(number) => Err(Failure::new(format!(
            "--preserve-fds {count}: descriptor {number} is not open"
        ))),
    }
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    if args.plan {
        let options = args.bundle.options(global, &args.id)?;
        say(format_args!("{}", runtime::plan(&options)?));
        return Ok(0);
    }
    runtime::create(args.bundle.options(global, &args.id)?)?;
    Ok(0)
}
