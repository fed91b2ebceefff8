//! `dhow update`: other limits for a container that is there.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use runtime::{ContainerId, Shares, Store};
use serde_json::{Map, Value};

use super::{Outcome, parse};
use crate::cli::Global;
use crate::report::{Failure, because};

/// The largest document of limits.
const MAX_DOCUMENT: u64 = 4 << 20;

/// Change the limits of a container; flags win over the document
#[derive(Debug, clap::Parser)]
#[command(name = "update")]
struct Args {
    /// A JSON document in the shape of linux.resources; - is stdin
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Memory, in bytes or with a unit (50M); -1 for no limit
    #[arg(long, allow_hyphen_values = true, value_parser = size)]
    memory: Option<i64>,
    /// Memory that is taken back last
    #[arg(long, allow_hyphen_values = true, value_parser = size)]
    memory_reservation: Option<i64>,
    /// Memory and swap together
    #[arg(long, allow_hyphen_values = true, value_parser = size)]
    memory_swap: Option<i64>,
    /// The period of the quota, in microseconds
    #[arg(long)]
    cpu_period: Option<u64>,
    /// Processor time in a period, in microseconds; -1 for no limit
    #[arg(long, allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Unused time that may be saved up, in microseconds
    #[arg(long)]
    cpu_burst: Option<u64>,
    /// The share of processor time against others
    #[arg(long, visible_alias = "cpu-shares")]
    cpu_share: Option<u64>,
    /// 1: only time that nobody else wants
    #[arg(long)]
    cpu_idle: Option<i64>,
    /// Refused: cgroup v2 has no realtime budgets
    #[arg(long)]
    cpu_rt_period: Option<u64>,
    /// Refused: cgroup v2 has no realtime budgets
    #[arg(long, allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// The processors that may be used: 0-3,7
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// The memory nodes that may be used
    #[arg(long)]
    cpuset_mems: Option<String>,
    /// Processes and threads; -1 for no limit
    #[arg(long, allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// The share of the devices' time against others, from 10 to 1000
    #[arg(long)]
    blkio_weight: Option<u16>,
    /// The schema of Intel's cache allocation
    #[arg(long)]
    l3_cache_schema: Option<String>,
    /// The schema of Intel's memory bandwidth allocation
    #[arg(long)]
    mem_bw_schema: Option<String>,
    /// Obsolete; says nothing, as in runc
    #[arg(long, hide = true, allow_hyphen_values = true)]
    kernel_memory: Option<String>,
    /// Obsolete; says nothing, as in runc
    #[arg(long, hide = true, allow_hyphen_values = true)]
    kernel_memory_tcp: Option<String>,
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let id: ContainerId = args.id.parse()?;
    let mut document = match args.resources.as_deref() {
        Some(file) => document(file)?,
        None => Value::Object(Map::new()),
    };
    args.set(&mut document)?;
    let resources = runtime::resources(document)?;
    let shares = Shares {
        cache: args.l3_cache_schema,
        bandwidth: args.mem_bw_schema,
    };
    runtime::update(&Store::new(global.state_root()?), &id, &resources, &shares)?;
    Ok(0)
}

impl Args {
    /// The flags as members of the document.
    fn set(&self, document: &mut Value) -> Result<(), Failure> {
        let number = |value: Option<i64>| value.map(Value::from);
        let natural = |value: Option<u64>| value.map(Value::from);
        let text = |value: &Option<String>| value.clone().map(Value::from);
        let flags = [
            ("memory", "limit", number(self.memory)),
            ("memory", "reservation", number(self.memory_reservation)),
            ("memory", "swap", number(self.memory_swap)),
            ("cpu", "period", natural(self.cpu_period)),
            ("cpu", "quota", number(self.cpu_quota)),
            ("cpu", "burst", natural(self.cpu_burst)),
            ("cpu", "shares", natural(self.cpu_share)),
            ("cpu", "idle", number(self.cpu_idle)),
            ("cpu", "realtimePeriod", natural(self.cpu_rt_period)),
            ("cpu", "realtimeRuntime", number(self.cpu_rt_runtime)),
            ("cpu", "cpus", text(&self.cpuset_cpus)),
            ("cpu", "mems", text(&self.cpuset_mems)),
            // 0 is runc's word for no change.
            ("pids", "limit", number(self.pids_limit.filter(|l| *l != 0))),
            ("blockIO", "weight", self.blkio_weight.map(Value::from)),
        ];
        for (part, member, value) in flags {
            let Some(value) = value else { continue };
            let object = document
                .as_object_mut()
                .map(|document| document.entry(part).or_insert(Value::Null));
            let part = object.map(|object| match object {
                Value::Null => {
                    *object = Value::Object(Map::new());
                    object
                }
                other => other,
            });
            match part.and_then(Value::as_object_mut) {
                Some(part) => part.insert(member.to_owned(), value),
                None => return Err(Failure::new("resources: it is no document of limits")),
            };
        }
        Ok(())
    }
}

fn document(file: &Path) -> Result<Value, Failure> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::new(format!("read the resources from stdin: {e}")))?;
        bytes
    } else {
        sys::file::read(file, MAX_DOCUMENT).map_err(because)?
    };
    serde_json::from_slice(&bytes)
        .map_err(|e| Failure::new(format!("resources in {}: {e}", file.display())))
}

/// `50M` and its like, in bytes, as docker and runc read sizes: units of 1024, fractions, -1 for no limit.
fn size(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err("it is no size in bytes, as in 50M".to_owned()),
    };
    let factor = 1_i64 << (10 * power);
    if let Ok(whole) = number.parse::<i64>() {
        return whole
            .checked_mul(factor)
            .ok_or_else(|| "it is too large".to_owned());
    }
    let number: f64 = number
        .parse()
        .map_err(|_| "it is no size in bytes, as in 50M".to_owned())?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a fraction of a unit is no exact number, and 2^63 is refused"
    )]
    match number * factor as f64 {
        bytes if bytes < 9.2e18 => Ok(bytes as i64),
        _ => Err("it is too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_read_as_runc_reads_them() {
        let table = [
            ("-1", -1),
            ("0", 0),
            ("67108864", 64 << 20),
            ("50M", 50 << 20),
            ("50mb", 50 << 20),
            ("1.5g", 3 << 29),
            ("1 GiB", 1 << 30),
            ("9p", 9 << 50),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "-2",
            "M",
            "1x",
            "1..5g",
            "99999999999p",
            "9999999999999999999",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_win_over_the_document() {
        let line = "update --memory 1k --cpu-quota -1 --pids-limit=0 --cpuset-cpus 0 c";
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        let mut document = json!({"memory": {"limit": 5, "swap": 6}, "cpu": null});
        args.set(&mut document).unwrap();
        assert_eq!(
            document,
            json!({"memory": {"limit": 1024, "swap": 6}, "cpu": {"quota": -1, "cpus": "0"}})
        );
    }

    #[test]
    fn a_document_that_is_none_is_refused() {
        let args = Args::try_parse_from(["update", "--memory", "1", "c"]).unwrap();
        for document in [json!([]), json!({"memory": 7})] {
            assert!(args.set(&mut document.clone()).is_err(), "{document}");
        }
    }
}
