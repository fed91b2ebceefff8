//! What holds a process, read from outside and compared.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use serde_json::{Value, json};

/// Where the call was that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// In dhow, or in the process that it makes, before this became the program.
    InDhow,
    /// In a process that is made, while it waits for `start` or once it is the program: it may end of that.
    InTheMade,
}

/// All that holds a process, as the host sees it.
pub(super) fn confinement(pid: u64) -> Value {
    let read =
        |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let wanted = [
        "Uid",
        "Gid",
        "Groups",
        "Umask",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
    ];
    let status: Vec<String> = read("status")
        .lines()
        .filter(|line| {
            wanted
                .iter()
                .any(|name| line.starts_with(&format!("{name}:")))
        })
        .map(str::to_owned)
        .collect();
    let namespaces: Vec<String> = std::fs::read_dir("/proc/self/ns")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{}", name.to_string_lossy()));
            theirs.ok() != std::fs::read_link(entry.path()).ok()
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mounts = mounts(pid);
    let nodes: Vec<Option<u64>> = ["null", "zero", "full", "random", "urandom", "tty"]
        .iter()
        .map(|name| device(&format!("/proc/{pid}/root/dev/{name}")))
        .collect();
    json!({
        "status": status,
        "namespaces": namespaces,
        "mounts": mounts,
        "nodes": nodes,
        "limits": read("limits"),
        "score": read("oom_score_adj"),
        "cgroup": read("cgroup"),
        "files": std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
        "folder": std::fs::read_link(format!("/proc/{pid}/cwd")).ok(),
    })
}

/// Without the ids, which differ each time; with the order, since a later mount covers an earlier one. A device
/// is one wherever its node comes from: where none may be made, the host's is mounted.
fn mounts(pid: u64) -> Vec<String> {
    std::fs::read_to_string(format!("/proc/{pid}/mountinfo"))
        .unwrap_or_default()
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let kind = words
                .iter()
                .position(|word| *word == "-")
                .map_or("", |at| words[at + 1]);
            match device(&format!("/proc/{pid}/root{}", words[4])) {
                Some(number) => format!("{} device {number:x}", words[4]),
                None => format!("{} {} {kind}", words[4], words[5]),
            }
        })
        .filter(|line| !line.starts_with("/dev/") || !line.contains(" device "))
        .collect()
}

/// The number of the device whose node `path` is, if it is one.
fn device(path: &str) -> Option<u64> {
    let node = std::fs::symlink_metadata(path).ok()?;
    node.file_type().is_char_device().then(|| node.rdev())
}

/// Whether the process is held as it should be. Where the call that failed was its own it may have ended.
pub(super) fn same(expected: &Value, pid: u64, failed: Failed) -> Result<(), String> {
    let mut other = differences(expected, &confinement(pid));
    for _ in 0..200 {
        let ended = failed == Failed::InTheMade && !lives(pid);
        if other.is_empty() || ended {
            return Ok(());
        }
        if failed == Failed::InDhow {
            break;
        }
        // It may be ending now.
        std::thread::sleep(Duration::from_millis(5));
        other = differences(expected, &confinement(pid));
    }
    Err(format!("it is confined otherwise: {}", other.join("; ")))
}

fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let keys = expected.as_object().unwrap().keys();
    keys.filter(|key| expected[*key] != found[*key])
        .map(|key| format!("{key}: {} instead of {}", found[key], expected[key]))
        .collect()
}

/// Whether there is such a process and it has not ended (then it has no mounts).
fn lives(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|text| !text.is_empty())
}
