//! linux.resources.hugepageLimits. Not its job: mounting hugetlbfs.

use oci_spec::runtime::LinuxHugepageLimit;

use super::{IfMissing, Write, path};
use crate::{Controller, Error};

pub(super) fn read(
    limits: &[LinuxHugepageLimit],
    writes: &mut Vec<Write>,
    problems: &mut Vec<Error>,
) {
    for (i, limit) in limits.iter().enumerate() {
        let field = format!("hugepageLimits[{i}]");
        let size = limit.page_size();
        if !is_page_size(size) {
            problems.push(Error::spec(
                path(&format!("{field}.pageSize")),
                format!("{size:?} is no page size, as in \"2MB\""),
            ));
            continue;
        }
        let bytes = match limit.limit() {
            -1 => "max".to_owned(),
            bytes if bytes < -1 => {
                problems.push(Error::spec(
                    path(&format!("{field}.limit")),
                    format!("{bytes} bytes; only -1, for no limit, is below 0"),
                ));
                continue;
            }
            bytes => bytes.to_string(),
        };
        let field = format!("{field}.limit");
        let new = |file: String| Write::new(Controller::HUGETLB, &file, &bytes, &field);
        writes.push(new(format!("hugetlb.{size}.max")));
        // Pages that are reserved (mmap) count apart since Linux 5.7. Without this a container reserves
        // what it may not use, and gets SIGBUS when it touches it.
        writes.push(new(format!("hugetlb.{size}.rsvd.max")).or(IfMissing::Skip));
    }
}

/// A number and KB, MB or GB, as the kernel names its files.
fn is_page_size(size: &str) -> bool {
    ["KB", "MB", "GB"].iter().any(|unit| {
        size.strip_suffix(unit).is_some_and(|number| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && !number.is_empty()
                && !number.starts_with('0')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn a_limit_holds_for_use_and_for_reservations() {
        check(
            r#"
            {"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]} | hugetlb.2MB.max = 4194304; hugetlb.2MB.rsvd.max = 4194304
            {"hugepageLimits":[{"pageSize":"1GB","limit":-1}]} | hugetlb.1GB.max = max; hugetlb.1GB.rsvd.max = max
            {"hugepageLimits":[{"pageSize":"2MB","limit":-3}]} | linux.resources.hugepageLimits[0].limit: -3 bytes; only -1, for no limit, is below 0
            {"hugepageLimits":[{"pageSize":"../x","limit":1}]} | linux.resources.hugepageLimits[0].pageSize: "../x" is no page size, as in "2MB"
            {"hugepageLimits":[{"pageSize":"02MB","limit":1}]} | linux.resources.hugepageLimits[0].pageSize: "02MB" is no page size, as in "2MB"
            "#,
        );
    }
}
