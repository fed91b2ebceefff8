//! The flags that say how steps are carried out: what RUN sees and may use. Not its job: carrying them out.

use std::path::{Path, PathBuf};

use builder::{Agent, Allowed, Limits, NetworkDefault, Secret, SecretSource};

use super::agent;
use crate::commands::image_run::size;
use crate::report::Failure;

/// How steps are carried out.
#[derive(Debug, clap::Args)]
pub(super) struct Steps {
    /// What RUN sees of networks: a way to other machines, loopback alone, or all that the host has
    #[arg(long, value_name = "MODE", default_value = "default", value_parser = ["default", "none", "host"])]
    network: String,
    /// How many steps may be at work at once [default: the number of CPUs]
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// A secret for `RUN --mount=type=secret`: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// An agent for `RUN --mount=type=ssh`: default (that of SSH_AUTH_SOCK), ID=SOCKET, or ID=KEYFILE,KEYFILE
    #[arg(long, value_name = "AGENT")]
    ssh: Vec<String>,
    /// What recipes may ask for beyond the usual
    #[arg(long, value_name = "RIGHT", value_parser = ["network.host", "security.insecure"])]
    allow: Vec<String>,
    /// Memory of each RUN at most: bytes, or with k, m, g
    #[arg(short, long, value_name = "SIZE", value_parser = size)]
    memory: Option<i64>,
    /// How many CPUs' time each RUN may have: 0.5 is half of one
    #[arg(long, value_name = "N")]
    cpus: Option<f64>,
    /// Processes and threads of each RUN at most [default: 32768 where the controller is there]
    #[arg(long, value_name = "N")]
    pids_limit: Option<i64>,
    /// A limit of the kernel's for RUN's processes: NAME=SOFT or NAME=SOFT:HARD
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    /// How much /dev/shm of a RUN may hold [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    shm_size: Option<i64>,
    /// A line for RUN's /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// The cgroup below which those of RUN are made
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<PathBuf>,
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

    pub(super) fn allowed(&self) -> Allowed {
        let says = |right: &str| self.allow.iter().any(|given| given == right);
        Allowed {
            network_host: says("network.host"),
            security_insecure: says("security.insecure"),
        }
    }

    pub(super) fn secrets(&self) -> Result<Vec<Secret>, Failure> {
        self.secret.iter().map(|text| secret(text)).collect()
    }

    pub(super) fn agents(&self) -> Result<Vec<Agent>, Failure> {
        self.ssh.iter().map(|text| agent::agent(text)).collect()
    }

    pub(super) fn limits(&self) -> Result<Limits, Failure> {
        Ok(Limits {
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids_limit,
            ulimits: self
                .ulimit
                .iter()
                .map(|text| ulimit(text))
                .collect::<Result<_, _>>()?,
            shm_size: self.shm_size,
            hosts: self
                .add_host
                .iter()
                .map(|text| host(text))
                .collect::<Result<_, _>>()?,
            cgroup_parent: self.cgroup_parent.clone(),
        })
    }
}

pub(super) fn fault(flag: &str, text: &str, why: &str) -> Failure {
    Failure::new(format!("--{flag} {text}: {why}"))
}

/// `id=NAME[,type=file|env][,src=FILE][,env=VARIABLE]`; without a source, the variable or else the file of that name.
fn secret(text: &str) -> Result<Secret, Failure> {
    let fail = |why: &str| fault("secret", text, why);
    let (mut id, mut source, mut kind) = (None, None, None);
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(fail("each part must be KEY=VALUE"));
        };
        match key {
            "id" => id = Some(value.to_owned()),
            "type" if ["file", "env"].contains(&value) => kind = Some(value),
            "src" | "source" => source = Some(SecretSource::File(value.into())),
            "env" => source = Some(SecretSource::Variable(value.to_owned())),
            "type" => return Err(fail("its type must be file or env")),
            _ => return Err(fail("its keys are id, type, src and env")),
        }
    }
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| fail("it needs id=NAME"))?;
    let source = match (source, kind) {
        (Some(SecretSource::File(path)), Some("env")) => {
            let name = path.to_str().ok_or_else(|| fail("it is not UTF-8"))?;
            SecretSource::Variable(name.to_owned())
        }
        (Some(source), _) => source,
        (None, Some("env")) => SecretSource::Variable(id.clone()),
        (None, None) if std::env::var_os(&id).is_some() => SecretSource::Variable(id.clone()),
        (None, _) => SecretSource::File(id.clone().into()),
    };
    if let SecretSource::File(path) = &source {
        there(path).map_err(|why| fail(&why))?;
    }
    Ok(Secret { id, source })
}

fn there(path: &Path) -> Result<(), String> {
    sys::file::follow(path)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

const LIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn ulimit(text: &str) -> Result<(String, u64, u64), Failure> {
    let fail = |why: &str| fault("ulimit", text, why);
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| fail("it must be NAME=SOFT[:HARD]"))?;
    if !LIMITS.contains(&name) {
        return Err(fail("the kernel has no such limit"));
    }
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        digits => digits
            .parse::<u64>()
            .map_err(|_| fail("its values must be numbers, or unlimited")),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(fail("the soft limit is above the hard one"));
    }
    Ok((format!("RLIMIT_{}", name.to_uppercase()), soft, hard))
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`.
fn host(text: &str) -> Result<(String, std::net::IpAddr), Failure> {
    let fail = |why: &str| fault("add-host", text, why);
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| fail("it must be NAME:ADDRESS"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(fail("this is no host's name"));
    }
    let address = address.trim_start_matches('[').trim_end_matches(']');
    match address.parse() {
        Ok(address) => Ok((name.to_owned(), address)),
        Err(_) => Err(fail("this is no address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_a_name_and_two_values() {
        let limit = |text| ulimit(text).ok();
        assert_eq!(limit("nofile=9"), Some(("RLIMIT_NOFILE".to_owned(), 9, 9)));
        assert_eq!(
            limit("core=0:unlimited"),
            Some(("RLIMIT_CORE".to_owned(), 0, u64::MAX))
        );
        for bad in ["nofile", "no=1", "nofile=2:1", "nofile=x"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_host_is_a_name_and_an_address_and_no_more_lines() {
        assert_eq!(
            host("a:1.2.3.4").ok(),
            Some(("a".into(), [1, 2, 3, 4].into()))
        );
        assert!(host("six:::1").is_ok());
        assert!(host("six=[::1]").is_ok());
        for bad in ["a", "a:b", ":1.2.3.4", "a\nb:1.2.3.4"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
