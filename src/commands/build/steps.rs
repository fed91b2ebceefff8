//! The flags that say how steps are carried out: what RUN sees and may use. Not its job: carrying them out.

use builder::NetworkDefault;

/// How steps are carried out.
#[derive(Debug, clap::Args)]
pub(super) struct Steps {
    /// What RUN sees of networks: a way to other machines, loopback alone, or all that the host has
    #[arg(long, value_name = "MODE", default_value = "default", value_parser = ["default", "none", "host"])]
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
            "none" => NetworkDefault::None,
            _ => NetworkDefault::Outbound,
        }
    }
}
