//! linux.resources.blockIO. Not its job: a process' I/O priority.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::{IfMissing, Write, path};
use crate::{Controller, Error};

/// The weights that cgroup v1 knew, and BFQ still knows.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

pub(super) fn read(io: &LinuxBlockIo, writes: &mut Vec<Write>, problems: &mut Vec<Error>) {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        push_weight("", weight, "blockIO.weight", writes, problems);
    }
    for (i, device) in io.weight_device().iter().flatten().enumerate() {
        // A leaf weight is v1's alone: v2 has no processes beside a cgroup's children.
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            let field = format!("blockIO.weightDevice[{i}]");
            if check_number(device.major(), device.minor(), &field, problems) {
                let number = format!("{}:{} ", device.major(), device.minor());
                push_weight(
                    &number,
                    weight,
                    &format!("{field}.weight"),
                    writes,
                    problems,
                );
            }
        }
    }
    let throttles = [
        (
            "rbps",
            "throttleReadBpsDevice",
            io.throttle_read_bps_device(),
        ),
        (
            "wbps",
            "throttleWriteBpsDevice",
            io.throttle_write_bps_device(),
        ),
        (
            "riops",
            "throttleReadIOPSDevice",
            io.throttle_read_iops_device(),
        ),
        (
            "wiops",
            "throttleWriteIOPSDevice",
            io.throttle_write_iops_device(),
        ),
    ];
    for (key, field, devices) in throttles {
        for (i, device) in devices.iter().flatten().enumerate() {
            let field = format!("blockIO.{field}[{i}]");
            if check_number(device.major(), device.minor(), &field, problems) {
                writes.push(throttle(key, device, &field));
            }
        }
    }
}

/// BFQ's own file where that scheduler is in the kernel, as its weights are v1's; else io.weight, on the
/// scale of v2. `device` is empty, or `8:0 `.
fn push_weight(
    device: &str,
    weight: u16,
    field: &str,
    writes: &mut Vec<Write>,
    problems: &mut Vec<Error>,
) {
    if !WEIGHTS.contains(&weight) {
        return problems.push(Error::spec(
            path(field),
            format!("{weight} is no weight from 10 to 1000"),
        ));
    }
    // From 10..1000 to 1..10000, in a straight line, as runc has it.
    let scaled = 1 + (u64::from(weight) - 10) * 9999 / 990;
    let write = Write::new(
        Controller::IO,
        "io.bfq.weight",
        format!("{device}{weight}"),
        field,
    );
    writes.push(write.or(IfMissing::Instead(
        "io.weight".to_owned(),
        format!("{device}{scaled}"),
    )));
}

fn throttle(key: &str, device: &LinuxThrottleDevice, field: &str) -> Write {
    // In v1 a rate of 0 took the limit away; v2 calls that max, and refuses 0.
    let rate = match device.rate() {
        0 => "max".to_owned(),
        rate => rate.to_string(),
    };
    let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
    Write::new(Controller::IO, "io.max", value, field)
}

fn check_number(major: i64, minor: i64, field: &str, problems: &mut Vec<Error>) -> bool {
    let mut ok = true;
    for (member, number) in [("major", major), ("minor", minor)] {
        if u32::try_from(number).is_err() {
            problems.push(Error::spec(
                path(&format!("{field}.{member}")),
                format!("{number} is no device number"),
            ));
            ok = false;
        }
    }
    ok
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn block_io_means_what_runc_means() {
        check(
            r#"
            {"blockIO":{"weight":0,"leafWeight":5}} |
            {"blockIO":{"weight":10}} | io.bfq.weight = 10
            {"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500}]}} | io.bfq.weight = 8:0 500
            {"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}]}} | io.max = 8:0 rbps=1024
            {"blockIO":{"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}]}} | io.max = 8:0 wbps=max
            {"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":5}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":6}]}} | io.max = 8:0 riops=5; io.max = 8:16 wiops=6
            {"blockIO":{"weight":9}} | linux.resources.blockIO.weight: 9 is no weight from 10 to 1000
            {"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}} | linux.resources.blockIO.throttleReadBpsDevice[0].major: -1 is no device number
            "#,
        );
    }

    #[test]
    fn without_bfq_a_weight_goes_to_io_weight_on_its_scale() {
        for (weight, scaled) in [(10, "1"), (500, "4950"), (1000, "10000")] {
            let mut writes = Vec::new();
            push_weight("8:0 ", weight, "f", &mut writes, &mut Vec::new());
            let instead = IfMissing::Instead("io.weight".to_owned(), format!("8:0 {scaled}"));
            assert_eq!(writes[0].if_missing, instead);
        }
    }
}
