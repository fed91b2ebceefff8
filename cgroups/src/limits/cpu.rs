//! linux.resources.cpu, as far as it is time. Not its job: which processors (cpuset).

use oci_spec::runtime::LinuxCpu;

use super::{Write, path};
use crate::{Controller, Error};

/// The kernel's own period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn read(cpu: &LinuxCpu, writes: &mut Vec<Write>, problems: &mut Vec<Error>) {
    refuse_realtime(cpu, problems);
    let new = |file, value: String, field| Write::new(Controller::CPU, file, value, field);
    let weight = cpu.shares().filter(|shares| *shares != 0).map(weight);
    let weight = weight.map(|weight| new("cpu.weight", weight.to_string(), "cpu.shares"));
    let idle = cpu
        .idle()
        .map(|idle| new("cpu.idle", idle.to_string(), "cpu.idle"));
    // An idle group takes no weight (EINVAL): first the weight, then the sleep; and the other way round
    // when it is woken.
    match cpu.idle() {
        Some(1) => writes.extend(weight.into_iter().chain(idle)),
        None | Some(0) => writes.extend(idle.into_iter().chain(weight)),
        Some(other) => problems.push(Error::spec(
            path("cpu.idle"),
            format!("{other} is neither 0 nor 1"),
        )),
    }
    let quota = cpu.quota().unwrap_or(0);
    let period = cpu.period().unwrap_or(0);
    if quota < -1 {
        problems.push(Error::spec(
            path("cpu.quota"),
            format!("{quota} µs; only -1, for no limit, is below 0"),
        ));
    }
    if quota != 0 || period != 0 {
        let quota = if quota > 0 {
            quota.to_string()
        } else {
            "max".to_owned()
        };
        let field = if cpu.quota().unwrap_or(0) != 0 {
            "cpu.quota"
        } else {
            "cpu.period"
        };
        let period = if period == 0 { DEFAULT_PERIOD } else { period };
        writes.push(new("cpu.max", format!("{quota} {period}"), field));
    }
    // After the quota, which it must not exceed.
    if let Some(burst) = cpu.burst() {
        writes.push(new("cpu.max.burst", burst.to_string(), "cpu.burst"));
    }
}

/// Realtime budgets are cgroup v1's alone. To leave one out would be less confined than asked: without
/// a budget of its own the group shares the host's.
fn refuse_realtime(cpu: &LinuxCpu, problems: &mut Vec<Error>) {
    let given = [
        (
            "cpu.realtimeRuntime",
            cpu.realtime_runtime().is_some_and(|v| v != 0),
        ),
        (
            "cpu.realtimePeriod",
            cpu.realtime_period().is_some_and(|v| v != 0),
        ),
    ];
    for (field, is_given) in given {
        if is_given {
            problems.push(Error::spec(
                path(field),
                "cgroup v2 has no realtime budgets",
            ));
        }
    }
}

/// cgroup v1's shares (2 to 262144, by default 1024) as v2's weight (1 to 10000, by default 100).
///
/// A parabola in the logarithms through the three pairs (2, 1), (1024, 100), (262144, 10000), as runc from
/// 1.3.2 on and crun from 1.23 on have it. The straight line of before put the default 1024 at 39, so that
/// containers lost to everything else on the host, which has 100 (kubernetes/kubernetes#131216).
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            #[expect(clippy::cast_precision_loss, reason = "shares are less than 2^18 here")]
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it lies between 1 and 10000"
            )]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            weight
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::weight;

    #[test]
    fn shares_become_the_weights_that_runc_and_crun_write() {
        // 2000 is the pair of opencontainers/runc#4896.
        let table = [
            (1, 1),
            (2, 1),
            (3, 2),
            (1024, 100),
            (2000, 170),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, expected) in table {
            assert_eq!(weight(shares), expected, "{shares} shares");
        }
    }

    #[test]
    fn more_shares_never_weigh_less() {
        let mut last = 0;
        for shares in 2..=262_144 {
            let weight = weight(shares);
            assert!(weight >= last, "{shares} shares");
            last = weight;
        }
    }

    #[test]
    fn processor_time_means_what_runc_means() {
        check(
            r#"
            {"cpu":{"shares":0,"quota":0,"period":0}} |
            {"cpu":{"shares":1024}} | cpu.weight = 100
            {"cpu":{"quota":50000}} | cpu.max = 50000 100000
            {"cpu":{"quota":50000,"period":200000}} | cpu.max = 50000 200000
            {"cpu":{"quota":-1}} | cpu.max = max 100000
            {"cpu":{"period":200000}} | cpu.max = max 200000
            {"cpu":{"quota":50000,"burst":10000}} | cpu.max = 50000 100000; cpu.max.burst = 10000
            {"cpu":{"idle":1,"shares":1024}} | cpu.weight = 100; cpu.idle = 1
            {"cpu":{"idle":0,"shares":1024}} | cpu.idle = 0; cpu.weight = 100
            {"cpu":{"realtimeRuntime":0,"realtimePeriod":0}} |
            "#,
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        check(
            r#"
            {"cpu":{"idle":2}} | linux.resources.cpu.idle: 2 is neither 0 nor 1
            {"cpu":{"quota":-2}} | linux.resources.cpu.quota: -2 µs; only -1, for no limit, is below 0
            {"cpu":{"realtimeRuntime":950000}} | linux.resources.cpu.realtimeRuntime: cgroup v2 has no realtime budgets
            {"cpu":{"realtimePeriod":950000}} | linux.resources.cpu.realtimePeriod: cgroup v2 has no realtime budgets
            "#,
        );
    }
}
