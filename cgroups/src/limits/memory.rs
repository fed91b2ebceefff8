//! linux.resources.memory. Not its job: the OOM killer's choice (oom_score_adj is the process').

use oci_spec::runtime::LinuxMemory;

use super::{IfMissing, Write, path};
use crate::{Controller, Error};

/// As runc does: 0 is "not given", -1 is "no limit", and `swap` counts memory and swap together as cgroup
/// v1 did, where v2 counts swap alone.
pub(super) fn read(memory: &LinuxMemory, writes: &mut Vec<Write>, problems: &mut Vec<Error>) {
    let limit = memory.limit().unwrap_or(0);
    let reservation = memory.reservation().unwrap_or(0);
    for (field, value) in [("limit", limit), ("reservation", reservation)] {
        if value < -1 {
            problems.push(Error::spec(
                path(&format!("memory.{field}")),
                format!("{value} bytes; only -1, for no limit, is below 0"),
            ));
        }
    }
    // Swap before memory: a lowered memory.max pushes pages out at once, and they may go to swap only as
    // far as the new limit of that allows.
    match swap(limit, memory.swap().unwrap_or(0)) {
        Ok(None) => {}
        Ok(Some(value)) => {
            // A kernel without swap has no such file; "as much as there is" and "none" hold then anyway.
            let if_missing = match value {
                -1 | 0 => IfMissing::Skip,
                _ => IfMissing::Fail,
            };
            let field = if memory.swap().is_some_and(|swap| swap != 0) {
                "memory.swap"
            } else {
                "memory.limit"
            };
            writes.push(write("memory.swap.max", value, field).or(if_missing));
        }
        Err(reason) => problems.push(Error::spec(path("memory.swap"), reason)),
    }
    if limit != 0 {
        writes.push(write("memory.max", limit, "memory.limit"));
    }
    if reservation != 0 {
        // What v1 called a soft limit: memory below it is taken back last.
        writes.push(write("memory.low", reservation, "memory.reservation"));
    }
    // checkBeforeUpdate asks that a limit below the present use be refused: a new cgroup uses nothing.
}

fn write(file: &str, bytes: i64, field: &str) -> Write {
    match bytes {
        -1 => Write::new(Controller::MEMORY, file, "max", field),
        bytes => Write::new(Controller::MEMORY, file, bytes, field),
    }
}

/// memory.swap.max from v1's limits of memory and of memory and swap together; -1 is "max".
fn swap(limit: i64, both: i64) -> Result<Option<i64>, String> {
    match both {
        // Whoever lifts the limit of memory and says nothing of swap means both, as in v1.
        0 if limit == -1 => Ok(Some(-1)),
        0 => Ok(None),
        -1 => Ok(Some(-1)),
        both if both < -1 => Err(format!("{both} bytes; only -1, for no limit, is below 0")),
        both if limit <= 0 => Err(format!(
            "{both} bytes for memory and swap together mean nothing without memory.limit"
        )),
        both if both < limit => Err(format!(
            "{both} bytes for memory and swap together are less than memory.limit, {limit}"
        )),
        both => Ok(Some(both - limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, plan};

    #[test]
    fn memory_means_what_runc_means() {
        check(
            r#"
            {"memory":{}} |
            {"memory":{"limit":0,"swap":0,"reservation":0}} |
            {"memory":{"limit":100}} | memory.max = 100
            {"memory":{"limit":-1}} | memory.swap.max = max; memory.max = max
            {"memory":{"limit":100,"swap":100}} | memory.swap.max = 0; memory.max = 100
            {"memory":{"limit":100,"swap":150}} | memory.swap.max = 50; memory.max = 100
            {"memory":{"limit":100,"swap":-1}} | memory.swap.max = max; memory.max = 100
            {"memory":{"swap":-1}} | memory.swap.max = max
            {"memory":{"reservation":50}} | memory.low = 50
            {"memory":{"kernel":5,"kernelTCP":5,"swappiness":0,"disableOOMKiller":true}} |
            "#,
        );
    }

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        check(
            r#"
            {"memory":{"swap":100}} | linux.resources.memory.swap: 100 bytes for memory and swap together mean nothing without memory.limit
            {"memory":{"limit":-1,"swap":100}} | linux.resources.memory.swap: 100 bytes for memory and swap together mean nothing without memory.limit
            {"memory":{"limit":100,"swap":99}} | linux.resources.memory.swap: 99 bytes for memory and swap together are less than memory.limit, 100
            {"memory":{"swap":-2}} | linux.resources.memory.swap: -2 bytes; only -1, for no limit, is below 0
            {"memory":{"limit":-2}} | linux.resources.memory.limit: -2 bytes; only -1, for no limit, is below 0
            {"memory":{"reservation":-5}} | linux.resources.memory.reservation: -5 bytes; only -1, for no limit, is below 0
            "#,
        );
    }

    #[test]
    fn swap_is_limited_before_memory() {
        let plan = plan(r#"{"memory":{"limit":100,"swap":150}}"#);
        assert!(plan[0].starts_with("memory.swap.max"));
    }
}
