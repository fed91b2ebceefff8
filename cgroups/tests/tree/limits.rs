//! Limits of each controller: what stands in which file, and how a refusal is explained.

use cgroups::{Cgroup, limits};

use crate::place::Place;

pub(crate) type Limit = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// controller | linux.resources | what then stands in which file
pub(crate) const LIMITS: &[Limit] = &[
    (
        "memory",
        r#"{"memory":{"limit":67108864,"reservation":33554432}}"#,
        &[("memory.max", "67108864"), ("memory.low", "33554432")],
    ),
    (
        "cpu",
        r#"{"cpu":{"shares":2000,"quota":50000,"period":200000,"burst":10000}}"#,
        &[
            ("cpu.weight", "170"),
            ("cpu.max", "50000 200000"),
            ("cpu.max.burst", "10000"),
        ],
    ),
    (
        "cpu",
        r#"{"cpu":{"shares":1024,"idle":1}}"#,
        &[("cpu.idle", "1")],
    ),
    (
        "pids",
        r#"{"pids":{"limit":64},"unified":{"pids.max":"65"}}"#,
        &[("pids.max", "65")],
    ),
    (
        "cpuset",
        r#"{"cpu":{"cpus":"0","mems":"0"}}"#,
        &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
    ),
    ("io", r#"{"blockIO":{"weight":500}}"#, &[]),
    (
        "hugetlb",
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
        &[("hugetlb.2MB.max", "4194304")],
    ),
];

/// controller | linux.resources | how the refusal ends
pub(crate) const REFUSED: &[(&str, &str, &str)] = &[
    (
        "cpu",
        r#"{"cpu":{"quota":500}}"#,
        "quotas are 1000 µs or more, periods 1000 to 1000000 µs (invalid argument)",
    ),
    (
        "io",
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":4095,"minor":1,"rate":5}]}}"#,
        "no such block device, or a partition: only whole devices take limits (no such device)",
    ),
    (
        "memory",
        r#"{"unified":{"memory.nonsense":"1"}}"#,
        "this kernel has no such file (no such file or directory)",
    ),
];

pub(crate) fn made(place: &Place, json: &str) -> (Cgroup, cgroups::Result<()>) {
    let writes = limits::writes(&serde_json::from_str(json).unwrap()).unwrap();
    let cgroup = Cgroup::create(&place.location(), &writes).unwrap();
    let applied = cgroup.apply(&writes);
    (cgroup, applied)
}

pub(crate) fn limits_stand(place: &Place, json: &str, files: &[(&str, &str)]) {
    let (cgroup, applied) = made(place, json);
    applied.unwrap();
    for (file, expected) in files {
        let text = std::fs::read_to_string(cgroup.path().join(file)).unwrap();
        assert_eq!(text.trim(), *expected, "{file}");
    }
}

pub(crate) fn refused(place: &Place, json: &str, end: &str) {
    let (_, applied) = made(place, json);
    let error = applied.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with(end), "{error}: {source}");
}
