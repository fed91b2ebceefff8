//! What a caller of the builder says, and what it is told meanwhile. Not its job: flags and printing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use image::Lender;
use image::registry::Access;

use crate::contexts::Contexts;
use crate::instruction::Network;
use crate::platform::Platform;

/// What is to be built, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files are that COPY takes.
    pub context: Context,
    /// The recipe; without it, `Dockerfile` in the context.
    pub file: Option<PathBuf>,
    /// Build args, target, labels, network.
    pub settings: Settings,
    /// How many steps may be at work at once; at least one is.
    pub jobs: usize,
    /// What RUN may mount as secrets.
    pub secrets: Vec<Secret>,
    /// What RUN may reach of agents.
    pub agents: Vec<Agent>,
    /// What each RUN is held to.
    pub limits: Limits,
    /// Whether every step is done anew.
    pub no_cache: bool,
    /// Stages, by name or number, whose steps are done anew.
    pub no_cache_filter: Vec<String>,
    /// Whether it is told why steps are not found in the cache.
    pub explain: bool,
    /// Caches elsewhere whose word is taken for steps.
    pub cache_from: Vec<Lender>,
    /// Whether the image says which steps made its layers, so that it can serve as a cache.
    pub cache_inline: bool,
    /// How registries are reached, for images that the store lacks.
    pub access: Access,
    /// Whether registries are asked for images that the store has, too.
    pub pull: bool,
    /// No time in the image is later than this. Without it a global ARG of the recipe may say it; else it is the
    /// beginning of time.
    pub epoch: Option<Epoch>,
    /// Where the runtime keeps the records of RUN's containers.
    pub state: PathBuf,
}

impl Options {
    /// The socket of the agent that git's ssh may ask: the one without a name of its own.
    pub(crate) fn git_agent(&self) -> Option<PathBuf> {
        let default = self.agents.iter().find(|agent| agent.id == "default");
        default.map(|agent| agent.socket.clone())
    }

    /// The latest time in the image, once it is settled.
    pub(crate) fn epoch(&self) -> i64 {
        self.seconds().unwrap_or(0)
    }

    /// The same, if somebody has said it.
    pub(crate) fn seconds(&self) -> Option<i64> {
        match self.epoch {
            Some(Epoch::Seconds(seconds)) => Some(seconds),
            Some(Epoch::Context) | None => None,
        }
    }
}

/// SOURCE_DATE_EPOCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epoch {
    /// In seconds since 1970.
    Seconds(i64),
    /// When the context was made: a commit's time, what a web server says, or the latest time of an archive's entries.
    Context,
}

impl Epoch {
    /// # Errors
    /// A text that is neither a number nor `context`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seconds) => Ok(Self::Seconds(seconds)),
            Err(_) if text == "context" => Ok(Self::Context),
            Err(_) => Err(format!(
                "SOURCE_DATE_EPOCH={text}: it must be a number of seconds since 1970, or context"
            )),
        }
    }
}

/// What each RUN is held to. None of it is part of a step's key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// How many CPUs' time.
    pub cpus: Option<f64>,
    /// Processes and threads; without it, 32768 where the host has the controller, else a warning.
    pub pids: Option<i64>,
    /// `RLIMIT_NAME`, soft and hard value.
    pub ulimits: Vec<(String, u64, u64)>,
    /// Bytes of /dev/shm.
    pub shm_size: Option<i64>,
    /// Further lines of /etc/hosts.
    pub hosts: Vec<(String, IpAddr)>,
    /// The cgroup below which those of RUN are made.
    pub cgroup_parent: Option<PathBuf>,
}

/// `--allow`: what recipes may ask for beyond the usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `RUN --network=host`
    pub network_host: bool,
    /// `RUN --security=insecure`
    pub security_insecure: bool,
}

/// `--secret`: what no layer, key, history or log may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name in recipes.
    pub id: String,
    /// Where its value is.
    pub source: SecretSource,
}

/// Where a secret is; it is read when a step needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// A variable of our own environment.
    Variable(String),
}

/// `--ssh`: an agent that RUN may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name in recipes.
    pub id: String,
    /// Its socket.
    pub socket: PathBuf,
}

/// Where a build's files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A folder of this host.
    Folder(PathBuf),
    /// An archive, or a recipe alone, on standard input.
    Input,
    /// The same, in a file of this host.
    Archive(PathBuf),
    /// The same, on a web server; or a git repository.
    Address(String),
}

/// What happens in a build, for whoever shows it. Several steps may run at once: what one says names it by its
/// number.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something to know.
    Warning(&'a str),
    /// An image is brought from a registry.
    Pull(&'a str),
    /// A step begins. Steps that do not need each other begin in any order.
    Step {
        /// Its number, from 1: its place in the plan, whatever runs first.
        number: usize,
        /// How many there are.
        total: usize,
        /// Its stage's name.
        stage: Option<&'a str>,
        /// The instruction.
        text: &'a str,
    },
    /// A step was not found in the cache, if [`Options::explain`] asks why.
    Missed {
        /// Which one.
        number: usize,
        /// What has changed since the last build.
        why: &'a [String],
    },
    /// Time goes by while steps are at work: what is shown of it may be shown anew.
    Tick,
    /// A step was done in an earlier build; `Done` follows.
    Cached {
        /// Which one.
        number: usize,
    },
    /// A step's command prints something.
    Output {
        /// Which step's.
        number: usize,
        /// Any part of what it prints.
        bytes: &'a [u8],
    },
    /// A step came to its end.
    Done {
        /// Which one.
        number: usize,
        /// How long it was at work.
        took: Duration,
    },
    /// A step failed, or was ended because another one failed.
    Failed {
        /// Which one.
        number: usize,
        /// How long it was at work.
        took: Duration,
    },
}

/// What the person asks for beside the recipe.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `--build-arg NAME=value`
    pub build_args: BTreeMap<String, String>,
    /// `--target`
    pub target: Option<String>,
    /// `--label name=value`
    pub labels: BTreeMap<String, String>,
    /// `--platform`: what the image is for, if not for this machine.
    pub platform: Option<Platform>,
    /// `--network`: what RUN sees unless it says otherwise.
    pub network: NetworkDefault,
    /// `--allow`
    pub allowed: Allowed,
    /// `--build-context NAME=…`
    pub contexts: Contexts,
}

/// The network of RUN steps that do not name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkDefault {
    /// Their own, with a way to other machines, and none to this one.
    #[default]
    Outbound,
    /// Their own, with nothing but loopback.
    None,
    /// The host's.
    Host,
}

/// What network a RUN gets, or why it can't have what it asks for.
pub(crate) fn network(
    wanted: Network,
    settings: &Settings,
) -> std::result::Result<NetworkDefault, String> {
    let host = settings.network == NetworkDefault::Host || settings.allowed.network_host;
    match wanted {
        Network::Default => Ok(settings.network),
        Network::None => Ok(NetworkDefault::None),
        // A recipe must not open the host's network by itself.
        Network::Host if host || sys::fault::broken("no-entitlements") => Ok(NetworkDefault::Host),
        Network::Host => Err(
            "RUN --network=host is not allowed: the build must be started with --allow network.host or --network=host"
                .to_owned(),
        ),
    }
}
