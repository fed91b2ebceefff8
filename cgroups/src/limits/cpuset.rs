//! linux.resources.cpu, as far as it is which processors and memory nodes. Not its job: time (cpu).

use oci_spec::runtime::LinuxCpu;

use super::{Write, path};
use crate::{Controller, Error};

pub(super) fn read(cpu: &LinuxCpu, writes: &mut Vec<Write>, problems: &mut Vec<Error>) {
    let lists = [
        ("cpuset.cpus", "cpu.cpus", cpu.cpus()),
        ("cpuset.mems", "cpu.mems", cpu.mems()),
    ];
    for (file, field, list) in lists {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else {
            continue;
        };
        match problem(list) {
            Some(reason) => problems.push(Error::spec(path(field), reason)),
            None => writes.push(Write::new(Controller::CPUSET, file, list, field)),
        }
    }
}

/// What is wrong with a list like `0-3,7`, if anything; whether the host has those is the kernel's to say.
fn problem(list: &str) -> Option<String> {
    for part in list.trim_end().split(',') {
        let mut ends = part.trim().splitn(2, '-').map(str::parse::<u32>);
        let ok = match (ends.next(), ends.next()) {
            (Some(Ok(_)), None) => true,
            (Some(Ok(first)), Some(Ok(last))) => first <= last,
            _ => false,
        };
        if !ok {
            return Some(format!(
                "{list:?} is no list of numbers and ranges, as in \"0-3,7\""
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn lists_pass_and_what_is_none_is_named() {
        check(
            r#"
            {"cpu":{"cpus":"","mems":""}} |
            {"cpu":{"cpus":"0-3,7","mems":"0"}} | cpuset.cpus = 0-3,7; cpuset.mems = 0
            {"cpu":{"cpus":"3-1"}} | linux.resources.cpu.cpus: "3-1" is no list of numbers and ranges, as in "0-3,7"
            {"cpu":{"cpus":"all"}} | linux.resources.cpu.cpus: "all" is no list of numbers and ranges, as in "0-3,7"
            {"cpu":{"mems":"0,,1"}} | linux.resources.cpu.mems: "0,,1" is no list of numbers and ranges, as in "0-3,7"
            "#,
        );
    }
}
