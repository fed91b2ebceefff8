//! linux.resources.rdma. Not its job: the devices themselves.

use std::collections::HashMap;

use oci_spec::runtime::LinuxRdma;

use super::{Write, path};
use crate::{Controller, Error};

pub(super) fn read(
    devices: &HashMap<String, LinuxRdma>,
    writes: &mut Vec<Write>,
    problems: &mut Vec<Error>,
) {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let field = format!("rdma.{name}");
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
            problems.push(Error::spec(
                path(&field),
                format!("{name:?} is no device name"),
            ));
            continue;
        }
        let limits = [
            ("hca_handle", limit.hca_handles()),
            ("hca_object", limit.hca_objects()),
        ];
        let limits: Vec<_> = limits
            .iter()
            .filter_map(|(key, value)| value.map(|value| format!(" {key}={value}")))
            .collect();
        if !limits.is_empty() {
            let value = format!("{name}{}", limits.concat());
            writes.push(Write::new(Controller::RDMA, "rdma.max", value, &field));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn each_device_is_a_line_of_its_own() {
        check(
            r#"
            {"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":5},"idle":{}}} | rdma.max = mlx4_0 hca_object=5; rdma.max = mlx5_1 hca_handle=3 hca_object=10000
            {"rdma":{"a b":{"hcaHandles":3}}} | linux.resources.rdma.a b: "a b" is no device name
            "#,
        );
    }
}
