//! linux.resources.unified: raw files of cgroup v2. Not its job: knowing what they mean.

use std::collections::HashMap;

use super::{IfMissing, Write, path};
use crate::{Controller, Error};

/// Files of the cgroup itself that would not set a limit but undo what the runtime does: move processes,
/// end or freeze them, or turn the cgroup into one that takes no processes.
const NOT_LIMITS: [&str; 6] = [
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
];

/// In the order of their names, since JSON gives none.
pub(super) fn read(
    unified: &HashMap<String, String>,
    writes: &mut Vec<Write>,
    problems: &mut Vec<Error>,
) {
    let mut files: Vec<_> = unified.iter().collect();
    files.sort();
    for (file, value) in files {
        let field = format!("unified.{file}");
        match controller(file) {
            Err(reason) => problems.push(Error::spec(path(&field), reason)),
            Ok(controller) => writes.push(Write {
                file: file.clone(),
                value: value.clone(),
                field: path(&field),
                controller,
                if_missing: IfMissing::Fail,
            }),
        }
    }
}

/// Whose file it is.
fn controller(file: &str) -> Result<Option<Controller>, String> {
    if file.contains(['/', '\0']) {
        return Err(format!("{file:?} is no file name"));
    }
    if NOT_LIMITS.contains(&file) {
        return Err(format!("{file} sets no limit"));
    }
    match file.split_once('.') {
        Some(("cgroup", parameter)) if !parameter.is_empty() => Ok(None),
        Some((name, parameter)) if !name.is_empty() && !parameter.is_empty() => {
            Ok(Some(Controller::named(name)))
        }
        _ => Err(format!("{file:?} is not of the form CONTROLLER.PARAMETER")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn raw_files_pass_and_nothing_leaves_the_cgroup() {
        check(
            r#"
            {"unified":{"memory.high":"5","cgroup.max.depth":"2"}} | cgroup.max.depth = 2; memory.high = 5
            {"unified":{"io.latency":"8:0 target=1\n8:16 target=2"}} | io.latency = 8:0 target=1; 8:16 target=2
            {"unified":{"../memory.max":"5"}} | linux.resources.unified.../memory.max: "../memory.max" is no file name
            {"unified":{"memory":"5"}} | linux.resources.unified.memory: "memory" is not of the form CONTROLLER.PARAMETER
            {"unified":{".max":"5"}} | linux.resources.unified..max: ".max" is not of the form CONTROLLER.PARAMETER
            {"unified":{"cgroup.procs":"1"}} | linux.resources.unified.cgroup.procs: cgroup.procs sets no limit
            "#,
        );
    }

    #[test]
    fn the_controller_is_the_first_word() {
        assert_eq!(controller("misc.max"), Ok(Some(Controller::named("misc"))));
        assert_eq!(controller("cgroup.max.depth"), Ok(None));
    }
}
