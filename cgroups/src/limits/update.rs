//! A change of limits as writes: what is asked, completed by what holds now where one means nothing without
//! the other. Pure. Not its job: performing them (apply).

use oci_spec::runtime::LinuxResources;

use super::{Write, path, writes};
use crate::{Error, Result};

/// What holds now of the limits that depend on each other; none where there is no limit or no such file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// memory.max.
    pub memory: Option<u64>,
    /// memory.swap.max.
    pub swap: Option<u64>,
    /// The first number of cpu.max.
    pub quota: Option<u64>,
    /// The second.
    pub period: Option<u64>,
    /// memory.current.
    pub memory_used: u64,
    /// memory.swap.current.
    pub swap_used: u64,
}

/// The writes that change what holds now to what `resources` ask.
///
/// # Errors
/// As [`writes`]; [`Error::Spec`] for a limit below the use where memory.checkBeforeUpdate is set.
pub fn changes(resources: &LinuxResources, present: &Present) -> Result<Vec<Write>> {
    let completed = complete(resources, present);
    check_use(&completed, present)?;
    let mut writes = writes(&completed)?;
    let memory = resources.memory().as_ref();
    if memory.and_then(|m| m.limit()).unwrap_or(0) == 0 {
        // It was filled in for the sake of swap, and holds already.
        writes.retain(|write| write.field != "linux.resources.memory.limit");
    }
    order_burst(resources, present, &mut writes);
    Ok(writes)
}

/// The same resources with what they leave unsaid.
pub fn complete(resources: &LinuxResources, present: &Present) -> LinuxResources {
    let mut completed = resources.clone();
    if let Some(mut memory) = *resources.memory() {
        let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        match (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0)) {
            // What swap counts together with memory needs the limit of memory.
            (0, swap) if swap > 0 => {
                memory.set_limit(present.memory.map(bytes));
            }
            // Memory and swap together stay what they are, as in v1 and as runc has it; unless there is
            // now more memory than that.
            (limit, 0) if limit > 0 => {
                if let (Some(old), Some(swap)) = (present.memory, present.swap) {
                    memory.set_swap(Some(bytes(old.saturating_add(swap)).max(limit)));
                }
            }
            _ => {}
        }
        completed.set_memory(Some(memory));
    }
    if let Some(mut cpu) = resources.cpu().clone() {
        match (cpu.quota().unwrap_or(0), cpu.period().unwrap_or(0)) {
            (0, 0) => {}
            (_, 0) => {
                cpu.set_period(present.period);
            }
            (0, _) => {
                let quota = present.quota.and_then(|quota| i64::try_from(quota).ok());
                cpu.set_quota(Some(quota.unwrap_or(-1)));
            }
            _ => {}
        }
        completed.set_cpu(Some(cpu));
    }
    completed
}

/// memory.checkBeforeUpdate: a limit below the use would not be refused by the kernel but end processes.
fn check_use(resources: &LinuxResources, present: &Present) -> Result<()> {
    let Some(memory) = resources.memory() else {
        return Ok(());
    };
    if !memory.check_before_update().unwrap_or(false) {
        return Ok(());
    }
    let used = present.memory_used;
    let both = used.saturating_add(present.swap_used);
    for (field, limit, used) in [
        ("memory.limit", memory.limit(), used),
        ("memory.swap", memory.swap(), both),
    ] {
        let limit = limit.and_then(|limit| u64::try_from(limit).ok());
        if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit <= used) {
            return Err(Error::spec(
                path(field),
                format!(
                    "{limit} bytes are not more than the {used} in use, and checkBeforeUpdate is set"
                ),
            ));
        }
    }
    Ok(())
}

/// The kernel takes no burst above the quota at any moment: a smaller burst goes before a smaller quota, a
/// larger one after a larger quota.
fn order_burst(resources: &LinuxResources, present: &Present, writes: &mut [Write]) {
    let place = |writes: &[Write], file: &str| writes.iter().position(|w| w.file == file);
    let burst = resources.cpu().as_ref().and_then(|cpu| cpu.burst());
    let (Some(burst), Some(quota_at), Some(burst_at)) = (
        burst,
        place(writes, "cpu.max"),
        place(writes, "cpu.max.burst"),
    ) else {
        return;
    };
    if quota_at < burst_at && present.quota.is_none_or(|quota| burst <= quota) {
        writes.swap(quota_at, burst_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: Present = Present {
        memory: Some(100),
        swap: Some(50),
        quota: Some(20_000),
        period: Some(50_000),
        memory_used: 60,
        swap_used: 10,
    };

    fn plan(json: &str, present: &Present) -> String {
        let resources = serde_json::from_str(json).unwrap();
        match changes(&resources, present) {
            Ok(writes) => writes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
            Err(error) => error.to_string(),
        }
    }

    fn check(present: &Present, table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (json, expected) = line.split_once('|').unwrap();
            assert_eq!(plan(json, present), expected.trim(), "{json}");
        }
    }

    #[test]
    fn memory_and_swap_together_stay_what_they_are() {
        check(
            &PRESENT,
            r#"
            {"memory":{"limit":120}} | memory.swap.max = 30; memory.max = 120
            {"memory":{"limit":150}} | memory.swap.max = 0; memory.max = 150
            {"memory":{"limit":200}} | memory.swap.max = 0; memory.max = 200
            {"memory":{"limit":80,"swap":80}} | memory.swap.max = 0; memory.max = 80
            {"memory":{"limit":-1}} | memory.swap.max = max; memory.max = max
            {"memory":{"swap":130}} | memory.swap.max = 30
            {"memory":{"swap":-1}} | memory.swap.max = max
            {"memory":{"swap":90}} | linux.resources.memory.swap: 90 bytes for memory and swap together are less than memory.limit, 100
            {"memory":{"reservation":5}} | memory.low = 5
            "#,
        );
        check(
            &Present::default(),
            r#"
            {"memory":{"limit":120}} | memory.max = 120
            {"memory":{"swap":130}} | linux.resources.memory.swap: 130 bytes for memory and swap together mean nothing without memory.limit
            "#,
        );
    }

    #[test]
    fn quota_and_period_complete_each_other() {
        check(
            &PRESENT,
            r#"
            {"cpu":{"quota":30000}} | cpu.max = 30000 50000
            {"cpu":{"period":100000}} | cpu.max = 20000 100000
            {"cpu":{"quota":-1}} | cpu.max = max 50000
            {"cpu":{"quota":1,"period":2}} | cpu.max = 1 2
            {"cpu":{"shares":1024}} | cpu.weight = 100
            "#,
        );
        check(
            &Present::default(),
            r#"{"cpu":{"period":100000}} | cpu.max = max 100000"#,
        );
    }

    #[test]
    fn the_burst_never_exceeds_the_quota_on_the_way() {
        check(
            &PRESENT,
            r#"
            {"cpu":{"quota":10000,"burst":5000}} | cpu.max.burst = 5000; cpu.max = 10000 50000
            {"cpu":{"quota":40000,"burst":30000}} | cpu.max = 40000 50000; cpu.max.burst = 30000
            {"cpu":{"burst":7}} | cpu.max.burst = 7
            "#,
        );
    }

    #[test]
    fn a_limit_below_the_use_is_refused_where_that_is_asked() {
        check(
            &PRESENT,
            r#"
            {"memory":{"limit":60,"checkBeforeUpdate":true}} | linux.resources.memory.limit: 60 bytes are not more than the 60 in use, and checkBeforeUpdate is set
            {"memory":{"limit":61,"swap":70,"checkBeforeUpdate":true}} | linux.resources.memory.swap: 70 bytes are not more than the 70 in use, and checkBeforeUpdate is set
            {"memory":{"limit":61,"swap":71,"checkBeforeUpdate":true}} | memory.swap.max = 10; memory.max = 61
            {"memory":{"limit":60,"swap":70,"checkBeforeUpdate":false}} | memory.swap.max = 10; memory.max = 60
            "#,
        );
    }
}
