//! What a test may not leave behind: processes, mounts, cgroups, files. Pure reading; the sandbox removes.

use std::path::Path;

use super::cgroup::Folder;

/// One line for each thing that is left below `folder`, `state` and `cgroup`.
pub(crate) fn left_behind(folder: &Path, state: &Path, cgroup: Option<&Folder>) -> Vec<String> {
    let mut left = Vec::new();
    for point in mounts_below(folder) {
        left.push(format!("mount {point}"));
    }
    for entry in std::fs::read_dir(state).into_iter().flatten().flatten() {
        left.push(format!("state {}", entry.path().display()));
    }
    if let Some(cgroup) = cgroup {
        for id in cgroup.processes() {
            left.push(format!("process {id} ({})", name_of(id)));
        }
        for path in cgroup.children() {
            left.push(format!("cgroup {}", path.display()));
        }
    }
    left
}

/// The mount points of this mount namespace at or below `folder`.
pub(crate) fn mounts_below(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| {
            point
                .strip_prefix(&folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .map(str::to_owned)
        .collect()
}

fn name_of(id: u32) -> String {
    std::fs::read_to_string(format!("/proc/{id}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}
