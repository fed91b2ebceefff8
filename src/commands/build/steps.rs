//! The flags that say how steps are carried out: what RUN sees and may use. Not its job: carrying them out.

use builder::NetworkDefault;

/// How steps are carried out.
#[derive(Debug, clap::Args)]
pub(super) struct Steps {
    /// What RUN sees of networks: loopback alone, or the host's
    #[arg(long, value_name = "MODE", default_value = "none", value_parser = ["none", "host"])]
    network: String,
    /// How many steps may be at work at once [default: the number of CPUs]
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
}

impl Steps {
    pub(super) fn jobs(&self) -> usize {
        let all = || std::thread::available_parallelism().ok();
        self.jobs.or_else(all).map_or(1, std::num::NonZero::get)
    }

    pub(super) fn network(&self) -> NetworkDefault {
        match self.network.as_str() {
            "host" => NetworkDefault::Host,
            _ => NetworkDefault::None,
        }
    }
}
