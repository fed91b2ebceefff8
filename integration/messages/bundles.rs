//! Faults of config.json and of what it points to.

use serde_json::json;

use super::{Case, RUN};

/// A case that changes the spec and runs it.
macro_rules! spec {
    ($name:literal, $($path:tt).+ = $value:tt, $names:expr) => {
        Case {
            name: $name,
            broken: |_, bundle| {
                let value = json!($value);
                bundle.set(stringify!($($path).+), value);
            },
            command: RUN,
            names: $names,
        }
    };
}

pub(super) const CASES: &[Case] = &[
    spec!(
        "rootfs_is_missing",
        root.path = "/nope/rootfs",
        &["/nope/rootfs"]
    ),
    spec!(
        "rootfs_is_a_file",
        root.path = "/etc/passwd",
        &["/etc/passwd"]
    ),
    spec!("root_is_missing", root = null, &["root"]),
    spec!("process_is_missing", process = null, &["process"]),
    spec!("version_is_missing", ociVersion = null, &["ociVersion"]),
    spec!(
        "version_is_not_ours",
        ociVersion = "2.0.0",
        &["ociVersion", "2.0.0"]
    ),
    spec!("args_is_a_string", process.args = "true", &["process.args"]),
    spec!("args_is_empty", process.args = [], &["process.args"]),
    spec!(
        "cwd_is_relative",
        process.cwd = "tmp",
        &["process.cwd", "tmp"]
    ),
    spec!(
        "uid_is_negative",
        process.user.uid = (-1),
        &["process.user.uid"]
    ),
    spec!(
        "no_new_privileges_is_a_word",
        process.noNewPrivileges = "yes",
        &["process.noNewPrivileges"]
    ),
    spec!("rlimit_is_unknown", process.rlimits = [{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}], &["RLIMIT_NOPE"]),
    spec!("rlimit_is_upside_down", process.rlimits = [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}], &["process.rlimits"]),
    spec!("rlimit_stands_twice", process.rlimits = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], &["RLIMIT_CORE"]),
    spec!("scheduler_priority_is_of_another_policy", process.scheduler = {"policy": "SCHED_BATCH", "priority": 3}, &["process.scheduler.priority", "3"]),
    spec!("scheduler_policy_is_unknown", process.scheduler = {"policy": "SCHED_NOPE"}, &["process.scheduler.policy", "SCHED_NOPE"]),
    spec!("io_priority_is_out_of_range", process.ioPriority = {"class": "IOPRIO_CLASS_BE", "priority": 9}, &["process.ioPriority.priority", "9"]),
    spec!("processors_run_backwards", process.execCPUAffinity = {"initial": "3-1"}, &["process.execCPUAffinity.initial", "3-1"]),
    spec!("personality_has_a_flag", linux.personality = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}, &["linux.personality.flags", "ADDR_NO_RANDOMIZE"]),
    spec!("memory_nodes_are_words", linux.memoryPolicy = {"mode": "MPOL_BIND", "nodes": "one"}, &["linux.memoryPolicy.nodes", "one"]),
    spec!(
        "environment_lacks_an_equals_sign",
        process.env = ["PATH"],
        &["process.env"]
    ),
    spec!("namespace_is_unknown", linux.namespaces = [{"type": "nope"}], &["linux.namespaces", "nope"]),
    spec!("namespace_stands_twice", linux.namespaces = [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "pid"}], &["linux.namespaces", "pid"]),
    spec!("namespace_path_is_missing", linux.namespaces = [{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/nope"}], &["/run/netns/nope"]),
    spec!("namespace_path_is_of_another_kind", linux.namespaces = [{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/proc/self/ns/uts"}], &["/proc/self/ns/uts", "network"]),
    spec!("user_namespace_has_no_mappings", linux.namespaces = [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "user"}], &["linux.uidMappings"]),
    spec!("host_name_without_a_namespace", linux.namespaces = [{"type": "pid"}, {"type": "mount"}], &["hostname", "uts"]),
    spec!("sysctl_is_the_hosts", linux.sysctl = {"kernel.core_pattern": "|/bin/x"}, &["kernel.core_pattern"]),
    spec!("sysctl_leaves_its_folder", linux.sysctl = {"net.../../kernel.core_pattern": "x"}, &["linux.sysctl"]),
    spec!(
        "cgroups_path_is_the_root",
        linux.cgroupsPath = "/x/../..",
        &["linux.cgroupsPath", "/x/../.."]
    ),
    spec!("device_rule_is_of_no_kind", linux.resources.devices = [{"allow": true, "type": "x", "access": "rwm"}], &["linux.resources.devices"]),
    spec!("device_access_is_unknown", linux.resources.devices = [{"allow": true, "type": "c", "access": "q"}], &["linux.resources.devices"]),
    spec!("seccomp_action_is_unknown", linux.seccomp = {"defaultAction": "SCMP_ACT_NOPE"}, &["SCMP_ACT_NOPE"]),
    spec!("seccomp_architecture_is_unknown", linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOPE"]}, &["SCMP_ARCH_NOPE"]),
    spec!(
        "masked_path_is_relative",
        linux.maskedPaths = ["proc/keys"],
        &["linux.maskedPaths", "proc/keys"]
    ),
    spec!("hook_is_missing", hooks = {"createRuntime": [{"path": "/nope/hook"}]}, &["/nope/hook", "createRuntime"]),
    spec!("hook_path_is_relative", hooks = {"createRuntime": [{"path": "hook"}]}, &["hooks.createRuntime", "hook"]),
    spec!("hook_fails_and_says_why", hooks = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo the disk is on fire >&2; exit 3"]}]}, &["createRuntime", "/bin/sh", "3", "the disk is on fire"]),
    spec!("hook_takes_too_long", hooks = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}, &["createRuntime", "/bin/sleep", "1"]),
    spec!("mount_type_is_unknown", mounts = [{"destination": "/tmp", "type": "nopefs", "source": "x"}], &["nopefs", "/tmp"]),
    spec!("mount_option_has_a_bad_value", mounts = [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=banana"]}], &["/tmp", "size"]),
    spec!("mount_option_is_unknown", mounts = [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nope=1"]}], &["/tmp", "nope"]),
    spec!("bind_source_is_missing", mounts = [{"destination": "/tmp", "type": "bind", "source": "/nope/data", "options": ["rbind"]}], &["/nope/data"]),
    spec!("bind_of_a_folder_onto_a_file", mounts = [{"destination": "/etc/passwd", "type": "bind", "source": "/tmp", "options": ["rbind"]}], &["/etc/passwd", "/tmp"]),
    Case {
        name: "terminal_without_a_socket",
        broken: |_, bundle| bundle.set("process.terminal", json!(true)),
        command: &["create", "--bundle", "BUNDLE", "c"],
        names: &["terminal", "--console-socket"],
    },
    Case {
        name: "config_is_missing",
        broken: |_, bundle| std::fs::remove_file(bundle.path().join("config.json")).unwrap(),
        command: RUN,
        names: &["BUNDLE/config.json"],
    },
    Case {
        name: "config_is_cut_short",
        broken: |_, bundle| {
            let path = bundle.path().join("config.json");
            let text = std::fs::read_to_string(&path).unwrap();
            // Where it is cut must not hang on the length of a temporary path.
            let (kept, _) = text.split_once("\"cwd\"").unwrap();
            std::fs::write(&path, kept).unwrap();
        },
        command: RUN,
        names: &["BUNDLE/config.json", "line"],
    },
    Case {
        name: "config_is_empty",
        broken: |_, bundle| std::fs::write(bundle.path().join("config.json"), "").unwrap(),
        command: RUN,
        names: &["BUNDLE/config.json"],
    },
    Case {
        name: "config_is_no_json",
        broken: |_, bundle| {
            std::fs::write(bundle.path().join("config.json"), "process: x\n").unwrap()
        },
        command: RUN,
        names: &["BUNDLE/config.json", "line 1"],
    },
];
