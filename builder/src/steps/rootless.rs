//! What steps can't have in a user namespace: ids that it lacks, and what follows from that. Not its job: making that
//! namespace (runtime).

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use serde_json::{Value, json};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::steps::kept::keeps_owners;

/// Takes out of a container's spec what a user namespace of few ids refuses: terminals of the group tty, a list of
/// groups, and a sysfs of the host's network.
pub(crate) fn suit(spec: &mut Value) {
    let read = |path| sys::proc::read(path).unwrap_or_default();
    if !sys::privileges::is_nested() {
        return;
    }
    if !has(&read("self/gid_map"), 5) {
        without_tty(spec);
    }
    let namespaces = spec.pointer("/linux/namespaces").and_then(Value::as_array);
    if !namespaces.is_some_and(|all| all.iter().any(|one| one["type"] == "network")) {
        with_hosts_sys(spec);
    }
    if read("self/setgroups").trim() == "deny" {
        spec["process"]["user"]["additionalGids"] = Value::Array(Vec::new());
    }
}

/// What apt reads in a step of a build with one id, and where: it gives up root's rights for whatever it fetches, which
/// nobody can there.
pub(crate) const APT: (&str, &str) = ("/dev/apt.conf", "APT::Sandbox::User \"root\";\n");

/// Whether a command in this tree and with this environment is to find [`APT`].
pub(crate) fn wants_apt(root: &Root, env: &[String]) -> sys::Result<bool> {
    let said = env.iter().any(|pair| pair.starts_with("APT_CONFIG="));
    Ok(keeps_owners() && !said && root.find("/etc/apt")?.is_some())
}

/// Lets the container join a network namespace in place of getting a new one.
pub(crate) fn join_network(spec: &mut Spec, path: &str) {
    let namespaces = spec
        .linux_mut()
        .as_mut()
        .and_then(|l| l.namespaces_mut().as_mut());
    for namespace in namespaces.into_iter().flatten() {
        if namespace.typ() == LinuxNamespaceType::Network {
            namespace.set_path(Some(path.into()));
        }
    }
}

/// A sysfs is that of a network, and only the network's owner may mount another: the host's is shown.
fn with_hosts_sys(spec: &mut Value) {
    let Some(Value::Array(mounts)) = spec.get_mut("mounts") else {
        return;
    };
    for mount in mounts.iter_mut().filter(|m| m["type"] == "sysfs") {
        *mount = json!({
            "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        });
    }
}

fn without_tty(spec: &mut Value) {
    let Some(Value::Array(mounts)) = spec.get_mut("mounts") else {
        return;
    };
    for mount in mounts.iter_mut().filter(|m| m["type"] == "devpts") {
        if let Some(Value::Array(options)) = mount.get_mut("options") {
            options.retain(|option| option != "gid=5");
        }
    }
}

/// Why a file can't be given to somebody.
pub(crate) fn chown_failed(errno: Errno, uid: u32, gid: u32) -> SysError {
    let error = SysError::new("chown", format_args!("{uid}:{gid}"), errno);
    let lacks = |map: &str, id| sys::proc::read(map).is_ok_and(|text| !has(&text, id));
    if errno == Errno::INVAL && (lacks("self/uid_map", uid) || lacks("self/gid_map", gid)) {
        return error.with_note(
            "this build has not that id: it needs root, or subordinate ids in /etc/subuid and /etc/subgid",
        );
    }
    error
}

/// Whether a namespace with this map (of /proc/PID/uid_map) has the id.
fn has(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(_), Some(Ok(count))) => {
                id.checked_sub(first).is_some_and(|offset| offset < count)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_says_which_ids_there_are() {
        let one = "         0       1000          1\n";
        let many = "         0       1000          1\n         1     100000      65536\n";
        assert!(has(one, 0) && !has(one, 1));
        assert!(has(many, 65_536) && !has(many, 65_537));
        assert!(has("0 0 4294967295\n", 4_294_967_294));
    }

    #[test]
    fn terminals_lose_their_group_and_nothing_else() {
        let mut spec = json!({"mounts": [
            {"type": "devpts", "options": ["nosuid", "gid=5"]},
            {"type": "tmpfs", "options": ["gid=5"]},
        ]});
        without_tty(&mut spec);
        assert_eq!(spec["mounts"][0]["options"], json!(["nosuid"]));
        assert_eq!(spec["mounts"][1]["options"], json!(["gid=5"]));
    }
}
