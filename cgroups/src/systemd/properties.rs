//! Limits as properties of a unit, so that systemd does not write others over them when it is reloaded.
//! Made of the writes, so that there is one reading of the spec only. Pure. Not its job: the writes, which
//! follow in any case, since systemd knows not all of them and rounds some.

use super::message::{Property, Value};
use crate::Write;

/// systemd's word for no limit.
const NONE: u64 = u64::MAX;

/// The properties for these writes; of several for one property the last counts. What systemd has no
/// property for has none here.
pub(super) fn properties(writes: &[Write]) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    for write in writes {
        for (name, value) in of(&write.file, write.value.trim()) {
            all.retain(|(other, _)| *other != name);
            all.push((name.to_owned(), value));
        }
    }
    all
}

fn of(file: &str, value: &str) -> Vec<(&'static str, Value)> {
    let one = |name, value: Option<Value>| value.map(|value| (name, value)).into_iter().collect();
    let number = || match value {
        "max" => Some(Value::U64(NONE)),
        number => number.parse().ok().map(Value::U64),
    };
    match file {
        "memory.max" => one("MemoryMax", number()),
        "memory.high" => one("MemoryHigh", number()),
        "memory.low" => one("MemoryLow", number()),
        "memory.min" => one("MemoryMin", number()),
        "memory.swap.max" => one("MemorySwapMax", number()),
        "pids.max" => one("TasksMax", number()),
        "cpu.weight" => one("CPUWeight", number()),
        // To systemd idle is a weight of 0 (252); any other weight wakes it.
        "cpu.idle" if value == "1" => one("CPUWeight", Some(Value::U64(0))),
        "cpu.max" => quota(value).unwrap_or_default(),
        "cpuset.cpus" => one("AllowedCPUs", bits(value).map(Value::Bytes)),
        "cpuset.mems" => one("AllowedMemoryNodes", bits(value).map(Value::Bytes)),
        _ => Vec::new(),
    }
}

/// systemd counts time for each second of a processor's, in hundredths of it; runc rounds up to these, and so
/// do we: what cpu.max says exactly is written after it.
fn quota(value: &str) -> Option<Vec<(&'static str, Value)>> {
    const STEP: u64 = 10_000;
    let mut words = value.split_ascii_whitespace();
    let quota = words.next()?;
    let period: u64 = words.next().unwrap_or("100000").parse().ok()?;
    let a_second = match quota {
        "max" => NONE,
        quota => {
            let quota: u64 = quota.parse().ok()?;
            let a_second = quota.checked_mul(1_000_000)?.checked_div(period)?;
            a_second.checked_next_multiple_of(STEP)?
        }
    };
    Some(vec![
        ("CPUQuotaPeriodUSec", Value::U64(period)),
        ("CPUQuotaPerSecUSec", Value::U64(a_second)),
    ])
}

/// A list such as `0-3,7` as bits, the lowest first.
fn bits(list: &str) -> Option<Vec<u8>> {
    /// More processors than any kernel is built for.
    const MAX: usize = 1 << 16;
    let mut bytes = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MAX {
            return None;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        for bit in first..=last {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxResources;

    use super::*;

    fn plan(json: &str) -> String {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        properties(&crate::limits::writes(&resources).unwrap())
            .iter()
            .map(|(name, value)| match value {
                Value::U64(NONE) => format!("{name}=infinity"),
                Value::U64(number) => format!("{name}={number}"),
                other => format!("{name}={other:?}"),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn limits_become_the_properties_that_runc_sets() {
        let table = [
            (
                r#"{"memory":{"limit":100,"swap":150,"reservation":50}}"#,
                "MemorySwapMax=50 MemoryMax=100 MemoryLow=50",
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                "MemorySwapMax=infinity MemoryMax=infinity",
            ),
            (r#"{"pids":{"limit":-1}}"#, "TasksMax=infinity"),
            (r#"{"cpu":{"shares":1024}}"#, "CPUWeight=100"),
            (r#"{"cpu":{"shares":1024,"idle":1}}"#, "CPUWeight=0"),
            (r#"{"cpu":{"shares":1024,"idle":0}}"#, "CPUWeight=100"),
            (
                r#"{"cpu":{"quota":50000,"period":100000}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=500000",
            ),
            (
                r#"{"cpu":{"quota":12345,"period":100000}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=130000",
            ),
            (
                r#"{"cpu":{"quota":-1}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=infinity",
            ),
            (
                r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
                "AllowedCPUs=Bytes([7, 2]) AllowedMemoryNodes=Bytes([1])",
            ),
            (
                r#"{"memory":{"limit":1},"unified":{"memory.max":"2","memory.high":"max","io.max":"8:0 rbps=1"}}"#,
                "MemoryHigh=infinity MemoryMax=2",
            ),
            (r#"{"blockIO":{"weight":10}}"#, ""),
        ];
        for (json, expected) in table {
            assert_eq!(plan(json), expected, "{json}");
        }
    }

    #[test]
    fn what_no_property_can_hold_has_none() {
        for (file, value) in [
            ("cpuset.cpus", "0-99999999"),
            ("cpuset.cpus", "x"),
            ("cpu.max", "1 0"),
            ("cpu.max", "99999999999999999999 1"),
            ("memory.max", "1G"),
        ] {
            assert_eq!(of(file, value), [], "{file} {value}");
        }
    }
}
