//! What holds a process, read from outside and compared.

use serde_json::{Value, json};

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
    // Without the ids, which differ each time; with the order, since a later mount covers an earlier one.
    let mounts: Vec<String> = read("mountinfo")
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let kind = words
                .iter()
                .position(|word| *word == "-")
                .map_or("", |at| words[at + 1]);
            format!("{} {} {kind}", words[4], words[5])
        })
        .collect();
    json!({
        "status": status,
        "namespaces": namespaces,
        "mounts": mounts,
        "limits": read("limits"),
        "score": read("oom_score_adj"),
        "cgroup": read("cgroup"),
        "files": std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
        "folder": std::fs::read_link(format!("/proc/{pid}/cwd")).ok(),
    })
}

/// A process that has ended is no less confined: its own calls fail too, and a program without memory ends.
pub(super) fn same(expected: &Value, found: &Value) -> Result<(), String> {
    let ended = found["mounts"].as_array().is_some_and(Vec::is_empty);
    if ended {
        return Ok(());
    }
    let keys = expected.as_object().unwrap().keys();
    let other: Vec<String> = keys
        .filter(|key| expected[*key] != found[*key])
        .map(|key| format!("{key}: {} instead of {}", found[key], expected[key]))
        .collect();
    if other.is_empty() {
        Ok(())
    } else {
        Err(format!("it is confined otherwise: {}", other.join("; ")))
    }
}
