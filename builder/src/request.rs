//! What a caller of the builder says, and what it is told meanwhile. Not its job: flags and printing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use image::registry::Access;

use crate::instruction::Network;

/// What is to be built, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that COPY takes files from.
    pub context: PathBuf,
    /// The recipe; without it, `Dockerfile` in the context.
    pub file: Option<PathBuf>,
    /// Build args, target, labels, network.
    pub settings: Settings,
    /// How many steps may be at work at once; at least one is.
    pub jobs: usize,
    /// Whether every step is done anew.
    pub no_cache: bool,
    /// How registries are reached, for images that the store lacks.
    pub access: Access,
    /// Whether registries are asked for images that the store has, too.
    pub pull: bool,
    /// No time in the image is later than this (SOURCE_DATE_EPOCH), in seconds since 1970.
    pub epoch: i64,
    /// Where the runtime keeps the records of RUN's containers.
    pub state: PathBuf,
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
    /// `--network`: what RUN sees unless it says otherwise.
    pub network: NetworkDefault,
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

/// What `--network` of a RUN comes to, or why not.
pub(crate) fn network(
    wanted: Network,
    default: NetworkDefault,
) -> std::result::Result<NetworkDefault, String> {
    match (wanted, default) {
        (Network::Default, default) => Ok(default),
        (Network::None, _) => Ok(NetworkDefault::None),
        (Network::Host, NetworkDefault::Host) => Ok(NetworkDefault::Host),
        // A recipe must not open the host's network by itself.
        (Network::Host, NetworkDefault::Outbound | NetworkDefault::None) => Err(
            "RUN --network=host is not allowed: the build must be started with --network=host"
                .to_owned(),
        ),
    }
}
