//! The lines of `events`, in the shape that runc gives them (its types/events.go) and programs read.
//! What cgroup v2 does not tell stands as 0 or is left out, as runc does. Not its job: finding it out.

use std::collections::BTreeMap;

use cgroups::stats::{Averages, Cpu, DeviceIo, HugePages, Io, Memory, Pids, Pressure, Stats};
use serde_json::{Map, Value, json};

/// The line of a container's use.
pub(super) fn stats(id: &str, stats: &Stats) -> Vec<u8> {
    line(json!({ "type": "stats", "id": id, "data": data(stats) }))
}

/// The line of a process killed for want of memory.
pub(super) fn oom(id: &str) -> Vec<u8> {
    line(json!({ "type": "oom", "id": id }))
}

fn line(value: Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn data(stats: &Stats) -> Value {
    json!({
        "cpu": cpu(&stats.cpu.clone().unwrap_or_default()),
        "cpuset": cpuset(),
        "memory": memory(&stats.memory.clone().unwrap_or_default()),
        "pids": pids(&stats.pids.clone().unwrap_or_default()),
        "blkio": blkio(&stats.io.clone().unwrap_or_default()),
        "hugetlb": hugetlb(&stats.hugetlb),
        "intel_rdt": {},
        "network_interfaces": Value::Null,
    })
}

/// Times in nanoseconds.
fn cpu(cpu: &Cpu) -> Value {
    let mut usage = json!({
        "kernel": cpu.system.saturating_mul(1000),
        "user": cpu.user.saturating_mul(1000),
    });
    put(&mut usage, "total", cpu.usage.saturating_mul(1000));
    let mut throttling = json!({});
    put(&mut throttling, "periods", cpu.periods);
    put(&mut throttling, "throttledPeriods", cpu.throttled_periods);
    put(
        &mut throttling,
        "throttledTime",
        cpu.throttled.saturating_mul(1000),
    );
    with_pressure(
        json!({ "usage": usage, "throttling": throttling }),
        cpu.pressure.as_ref(),
    )
}

/// cgroup v2 has none of this; the keys are runc's.
fn cpuset() -> Value {
    json!({
        "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
        "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
        "sched_load_balance": 0, "sched_relax_domain_level": 0,
    })
}

fn memory(memory: &Memory) -> Value {
    let mut raw = Map::new();
    for (key, value) in &memory.stat {
        raw.insert(key.clone(), json!(value));
    }
    let cache = memory.stat.iter().find(|(key, _)| key == "file");
    let usage = entry(limit(memory.limit, memory.usage), memory.usage, memory.peak);
    // As cgroup v1 counted it: memory and swap together.
    let swap = match memory.swap {
        None => entry(memory.limit.unwrap_or(0), memory.usage, None),
        Some((used, most)) => {
            let most = match (most, memory.limit) {
                (Some(most), Some(limit)) => most.saturating_add(limit),
                _ => u64::MAX,
            };
            entry(most, used.saturating_add(memory.usage), None)
        }
    };
    let mut value = json!({
        "usage": usage, "swap": swap, "kernel": entry(0, 0, None), "kernelTCP": entry(0, 0, None),
    });
    put(&mut value, "cache", cache.map_or(0, |(_, bytes)| *bytes));
    if !raw.is_empty() {
        value["raw"] = Value::Object(raw);
    }
    let events: BTreeMap<_, _> = memory.events.iter().cloned().collect();
    value["event_count"] = json!(events);
    with_pressure(value, memory.pressure.as_ref())
}

/// No limit reads as the largest number, where there is something to be limited at all.
fn limit(limit: Option<u64>, usage: u64) -> u64 {
    match (limit, usage) {
        (Some(limit), _) => limit,
        (None, 0) => 0,
        (None, _) => u64::MAX,
    }
}

fn entry(limit: u64, usage: u64, peak: Option<u64>) -> Value {
    let mut value = json!({ "limit": limit, "failcnt": 0 });
    put(&mut value, "usage", usage);
    put(&mut value, "max", peak.unwrap_or(0));
    value
}

fn pids(pids: &Pids) -> Value {
    let mut value = json!({});
    put(&mut value, "current", pids.current);
    put(&mut value, "limit", pids.limit.unwrap_or(0));
    value
}

fn blkio(io: &Io) -> Value {
    let mut value = json!({});
    let bytes = table(&io.devices, |d| (d.read_bytes, d.written_bytes));
    let counts = table(&io.devices, |d| (d.reads, d.writes));
    if !bytes.is_empty() {
        value["ioServiceBytesRecursive"] = json!(bytes);
        value["ioServicedRecursive"] = json!(counts);
    }
    with_pressure(value, io.pressure.as_ref())
}

/// Two rows for each device: what was read, what was written.
fn table(devices: &[DeviceIo], numbers: impl Fn(&DeviceIo) -> (u64, u64)) -> Vec<Value> {
    let row = |device: &DeviceIo, op: &str, number| {
        let mut row = json!({ "op": op });
        put(&mut row, "major", device.major);
        put(&mut row, "minor", device.minor);
        put(&mut row, "value", number);
        row
    };
    devices
        .iter()
        .flat_map(|device| {
            let (read, written) = numbers(device);
            [row(device, "Read", read), row(device, "Write", written)]
        })
        .collect()
}

fn hugetlb(sizes: &[(String, HugePages)]) -> Value {
    let mut map = Map::new();
    for (size, pages) in sizes {
        let mut value = json!({ "failcnt": pages.failures });
        put(&mut value, "usage", pages.usage);
        map.insert(size.clone(), value);
    }
    Value::Object(map)
}

fn with_pressure(mut value: Value, pressure: Option<&Pressure>) -> Value {
    if let Some(pressure) = pressure {
        value["psi"] = json!({ "some": averages(pressure.some), "full": averages(pressure.full) });
    }
    value
}

fn averages(averages: Averages) -> Value {
    json!({
        "avg10": averages.avg10, "avg60": averages.avg60, "avg300": averages.avg300,
        "total": averages.total,
    })
}

/// Sets a key unless the number is 0, which runc leaves out.
fn put(value: &mut Value, key: &str, number: u64) {
    if number != 0 {
        value[key] = json!(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(stats: &Stats) -> Value {
        serde_json::from_slice(&super::stats("c", stats)).unwrap()
    }

    #[test]
    fn a_line_is_one_line_and_names_its_container() {
        assert_eq!(oom("c"), b"{\"type\":\"oom\",\"id\":\"c\"}\n");
        let text = stats("c", &Stats::default());
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(parsed(&Stats::default())["id"], "c");
    }

    #[test]
    fn without_controllers_the_shape_is_the_same() {
        let value = parsed(&Stats::default());
        for path in [
            "/data/cpu/usage/kernel",
            "/data/cpu/usage/user",
            "/data/memory/usage/limit",
            "/data/memory/swap/failcnt",
        ] {
            assert_eq!(value.pointer(path), Some(&json!(0)), "{path}");
        }
        assert_eq!(value["data"]["pids"], json!({}));
        assert_eq!(value["data"]["hugetlb"], json!({}));
    }

    #[test]
    fn times_are_nanoseconds_and_swap_counts_memory_too() {
        let stats = Stats {
            cpu: Some(Cpu {
                usage: 3,
                ..Cpu::default()
            }),
            memory: Some(Memory {
                usage: 10,
                limit: Some(100),
                swap: Some((5, Some(50))),
                stat: vec![("file".into(), 7)],
                ..Memory::default()
            }),
            ..Stats::default()
        };
        let value = parsed(&stats);
        assert_eq!(value["data"]["cpu"]["usage"]["total"], 3000);
        assert_eq!(value["data"]["memory"]["swap"]["usage"], 15);
        assert_eq!(value["data"]["memory"]["swap"]["limit"], 150);
        assert_eq!(value["data"]["memory"]["cache"], 7);
        assert_eq!(value["data"]["memory"]["raw"]["file"], 7);
    }

    #[test]
    fn no_limit_is_the_largest_number_for_memory_and_none_for_processes() {
        let stats = Stats {
            memory: Some(Memory {
                usage: 10,
                ..Memory::default()
            }),
            pids: Some(Pids {
                current: 2,
                limit: None,
            }),
            ..Stats::default()
        };
        let value = parsed(&stats);
        assert_eq!(value["data"]["memory"]["usage"]["limit"], u64::MAX);
        assert_eq!(value["data"]["pids"], json!({"current": 2}));
    }

    #[test]
    fn a_device_has_a_row_for_each_direction() {
        let stats = Stats {
            io: Some(Io {
                devices: vec![DeviceIo {
                    major: 8,
                    minor: 0,
                    read_bytes: 1,
                    written_bytes: 2,
                    reads: 3,
                    writes: 4,
                }],
                pressure: None,
            }),
            ..Stats::default()
        };
        let rows = &parsed(&stats)["data"]["blkio"]["ioServiceBytesRecursive"];
        assert_eq!(rows[0], json!({"op": "Read", "major": 8, "value": 1}));
        assert_eq!(rows[1], json!({"op": "Write", "major": 8, "value": 2}));
    }
}
