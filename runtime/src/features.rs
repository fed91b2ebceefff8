//! What this build can do on this kernel, as runtime-spec's features.md has it. Nothing is claimed here: what
//! each crate's tables hold is listed, and what validate takes is tried on small configurations.
//! Not its job: what a host is set up for (an LSM that is off, a controller that is missing).

use namespaces::Namespace;
use oci_spec::runtime::{LinuxResources, Spec};
use serde_json::{Value, json};

use crate::validate::validate;

/// The document.
pub fn features() -> Value {
    let mut namespaces: Vec<&str> = Namespace::ALL
        .iter()
        .filter(|kind| {
            sys::file::exists(format!("/proc/self/ns/{}", kind.proc_name())).unwrap_or(false)
        })
        .map(|kind| kind.name())
        .collect();
    namespaces.sort_unstable();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": listed(HOOKS, is_hook),
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": crate::plan::capability_names(),
            "cgroup": cgroup(),
            "seccomp": seccomp(),
            "apparmor": {"enabled": takes("process", json!({"apparmorProfile": "p"}))},
            "selinux": {"enabled": takes("process", json!({"selinuxLabel": "l"}))},
            "intelRdt": intel_rdt(),
            "memoryPolicy": memory_policy(),
            "mountExtensions": {"idmap": {"enabled": id_mapped()}},
            "netDevices": {"enabled": takes("linux", json!({"netDevices": {"eth1": {}}}))},
        },
        "annotations": {
            "dhow.version": env!("CARGO_PKG_VERSION"),
        },
        "potentiallyUnsafeConfigAnnotations": unsafe_annotations(),
    })
}

/// Whether validate takes a configuration whose part `part` has these fields beside the needed ones.
fn takes(part: &str, fields: Value) -> bool {
    let mut config = json!({
        "ociVersion": "1.3.0",
        "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "hooks": {},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}]},
    });
    if let (Some(place), Value::Object(fields)) = (config[part].as_object_mut(), fields) {
        place.extend(fields);
    }
    serde_json::from_value::<Spec>(config).is_ok_and(|spec| validate(&spec).is_ok())
}

const HOOKS: &[&str] = &[
    "createContainer",
    "createRuntime",
    "poststart",
    "poststop",
    "prestart",
    "startContainer",
];

/// A kind that we run is judged: a path that is none is refused.
fn is_hook(kind: &str) -> bool {
    let hook = |path: &str| json!({kind: [{"path": path}]});
    takes("hooks", hook("/hook")) && !takes("hooks", hook("hook"))
}

/// Without mount_setattr(2) a mount's attributes can't be changed with all that is below.
fn mount_options() -> Vec<&'static str> {
    let whole_trees = sys::probe::Feature::MountApi.present();
    let mut words: Vec<&str> = rootfs::options::known()
        .filter(|word| whole_trees || !rootfs::options::is_recursive_attribute(word))
        .collect();
    words.sort_unstable();
    words
}

fn id_mapped() -> bool {
    sys::probe::Feature::MountApi.present() && rootfs::options::known().any(|word| word == "idmap")
}

fn cgroup() -> Value {
    let rdma = json!({"rdma": {"mlx5_0": {"hcaHandles": 1}}});
    let rdma = serde_json::from_value::<LinuxResources>(rdma)
        .is_ok_and(|resources| cgroups::limits::problems(&resources).is_empty());
    json!({"v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": rdma})
}

/// The names of runtime-spec, each as far as our compiler takes it; of the flags also as far as the kernel
/// does.
fn seccomp() -> Value {
    let profile = |change: Value| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        if let (Some(all), Value::Object(change)) = (profile.as_object_mut(), change) {
            all.extend(change);
        }
        serde_json::from_value(profile).is_ok_and(|p| crate::seccomp::check(&p).is_ok())
    };
    let rule = |rule: Value| profile(json!({"syscalls": [rule], "listenerPath": "/l"}));
    let actions = listed(ACTIONS, |action| {
        rule(json!({"names": ["sync"], "action": action}))
    });
    let operators = listed(OPERATORS, |op| {
        let args = json!([{"index": 0, "value": 1, "valueTwo": 1, "op": op}]);
        rule(json!({"names": ["sync"], "action": "SCMP_ACT_ERRNO", "args": args}))
    });
    let archs = listed(ARCHITECTURES, |arch| {
        profile(json!({"architectures": [arch]}))
    });
    let known = listed(&FLAGS.map(|(name, _)| name), |flag| {
        let notify = json!([{"names": ["sync"], "action": "SCMP_ACT_NOTIFY"}]);
        profile(json!({"flags": [flag]}))
            || profile(json!({"flags": [flag], "syscalls": notify, "listenerPath": "/l"}))
    });
    let supported = listed(&known, |flag| {
        let bits = FLAGS.iter().find(|(name, _)| *name == flag);
        bits.is_some_and(|(_, bits)| sys::seccomp::knows_flags(*bits))
    });
    json!({
        "enabled": true,
        "actions": actions,
        "operators": operators,
        "archs": archs,
        "knownFlags": known,
        "supportedFlags": supported,
    })
}

fn listed<'a>(names: &[&'a str], holds: impl Fn(&str) -> bool) -> Vec<&'a str> {
    names.iter().copied().filter(|name| holds(name)).collect()
}

const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

const ARCHITECTURES: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// By name, and with what else the kernel needs beside the flag: one about a listener needs a listener.
const FLAGS: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1 << 2),
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    (
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        (1 << 5) | sys::seccomp::NEW_LISTENER,
    ),
];

fn intel_rdt() -> Value {
    let rdt = |fields: Value| takes("linux", json!({"intelRdt": fields}));
    json!({
        "enabled": rdt(json!({"l3CacheSchema": "L3:0=f"})),
        "schemata": rdt(json!({"schemata": ["L3:0=f"]})),
        "monitoring": rdt(json!({"enableMonitoring": true})),
    })
}

/// `null` lists are unknown, empty ones say that there are none.
fn memory_policy() -> Value {
    let policy = |mode: &str, flags: Value| {
        let nodes = match mode {
            "MPOL_DEFAULT" | "MPOL_LOCAL" => "",
            _ => "0",
        };
        let policy = json!({"mode": mode, "nodes": nodes, "flags": flags});
        takes("linux", json!({"memoryPolicy": policy}))
    };
    let modes = [
        "MPOL_BIND",
        "MPOL_DEFAULT",
        "MPOL_INTERLEAVE",
        "MPOL_LOCAL",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ];
    let flags = [
        "MPOL_F_NUMA_BALANCING",
        "MPOL_F_RELATIVE_NODES",
        "MPOL_F_STATIC_NODES",
    ];
    json!({
        "modes": listed(&modes, |mode| policy(mode, json!([]))),
        "flags": listed(&flags, |flag| policy("MPOL_BIND", json!([flag]))),
    })
}

/// Annotations that change what is done: a caller who does not trust a configuration looks for them.
fn unsafe_annotations() -> Vec<&'static str> {
    vec!["org.systemd.property.", "run.oci."]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_one_of_the_spec_and_tells_both_ways() {
        let document = features();
        let read: oci_spec::runtime::Features = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(read.oci_version_min(), "1.0.0");
        let has = |path: &str, word: &str| {
            let list = document.pointer(path).and_then(Value::as_array).unwrap();
            list.iter().any(|entry| entry == word)
        };
        assert!(has("/mountOptions", "rro"));
        assert!(has("/linux/capabilities", "CAP_SYS_ADMIN"));
        assert!(has("/linux/seccomp/actions", "SCMP_ACT_ERRNO"));
        assert!(has("/linux/seccomp/archs", "SCMP_ARCH_X86_64"));
        assert!(has(
            "/linux/seccomp/supportedFlags",
            "SECCOMP_FILTER_FLAG_LOG"
        ));
        assert!(!takes(
            "linux",
            json!({"sysctl": {"kernel.core_pattern": "x"}})
        ));
    }
}
