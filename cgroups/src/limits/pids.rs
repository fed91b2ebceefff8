//! linux.resources.pids. Not its job: RLIMIT_NPROC, which counts a user's processes.

use oci_spec::runtime::LinuxPids;

use super::{Write, path};
use crate::{Controller, Error};

/// -1 is "no limit". 0 is a limit, says runtime-spec 1.3; it is written as 1, as runc does: systemd knows
/// no 0, and with 0 nothing could be cloned into the cgroup, so that not even the first process would start.
pub(super) fn read(pids: &LinuxPids, writes: &mut Vec<Write>, problems: &mut Vec<Error>) {
    let value = match pids.limit() {
        -1 => "max".to_owned(),
        0 => "1".to_owned(),
        limit if limit < -1 => {
            return problems.push(Error::spec(
                path("pids.limit"),
                format!("{limit}; only -1, for no limit, is below 0"),
            ));
        }
        limit => limit.to_string(),
    };
    writes.push(Write::new(
        Controller::PIDS,
        "pids.max",
        value,
        "pids.limit",
    ));
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn zero_is_a_limit_and_minus_one_is_none() {
        check(
            r#"
            {"pids":{"limit":64}} | pids.max = 64
            {"pids":{"limit":-1}} | pids.max = max
            {"pids":{"limit":0}} | pids.max = 1
            {"pids":{"limit":-2}} | linux.resources.pids.limit: -2; only -1, for no limit, is below 0
            "#,
        );
    }
}
