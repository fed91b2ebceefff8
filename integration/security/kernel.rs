//! A15, A20, C9, C10: the kernel's own surface: parameters, dangerous calls, what /proc and /sys show.

use std::process::Command;

use serde_json::json;

use crate::support::{Sandbox, claims, run};

claims![
    a15_cve_2022_0811_only_parameters_of_its_own_namespaces: [Root, Cgroup2, FullSpeed],
    a20_cve_2026_31431_faulty_parts_of_the_kernel_are_out_of_reach: [Root, Cgroup2, Overlay, Tool("gcc"), Dhow],
    c09_a_second_procfs_is_refused: [Root, Cgroup2, UserNamespaces],
    d01_cve_2022_0492_no_cgroup_of_version_1_can_be_had: [Root, Cgroup2],
];

/// Keys that are another namespace's, another way to write one, or more than one; values that are two.
fn a15_cve_2022_0811_only_parameters_of_its_own_namespaces() {
    let sandbox = Sandbox::new();
    let parameter = "/proc/sys/kernel/core_pattern";
    let before = std::fs::read_to_string(parameter).unwrap();
    // What is there already: a guard that is missing must not harm the machine.
    let harmless = before.trim_end();
    for (key, value) in [
        ("kernel.core_pattern", harmless),
        ("kernel/core_pattern", harmless),
        ("kernel.shm_rmid_forced+kernel.core_pattern", "1"),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=x"),
        ("net.ipv4.ip_forward", "1\n0"),
        ("net/../kernel/core_pattern", harmless),
        ("net.ipv4/../../kernel/core_pattern", harmless),
        ("../sys/kernel/core_pattern", harmless),
        ("/kernel/core_pattern", harmless),
        ("net..ipv4", "1"),
        ("net.ipv4.ip_forward ", "1"),
        ("vm.overcommit_memory", "0"),
        ("fs.file-max", "1"),
        ("user.max_user_namespaces", "1"),
        ("", "1"),
    ] {
        let bundle = sandbox
            .bundle("c")
            .edit(|spec| spec["linux"]["sysctl"] = json!({key: value}));
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert_ne!(output.status, 0, "{key:?} = {value:?} was taken");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{key:?}");
        assert_eq!(
            std::fs::read_to_string(parameter).unwrap(),
            before,
            "{key:?}"
        );
        std::fs::remove_dir_all(bundle.path()).unwrap();
    }
    let bundle = sandbox
        .bundle("c")
        .args(&["cat", "/proc/sys/net/ipv4/ip_forward"]);
    let bundle = bundle.edit(|spec| spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"}));
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "1\n");
}

/// What the faults of these years went through, by dhow's own profile (all of it, foreign ABIs too: seccomp). Not by what
/// the program may: it is root, and a kernel without one of them answers as one that refuses it.
fn a20_cve_2026_31431_faulty_parts_of_the_kernel_are_out_of_reach() {
    let calls = [
        ("socket", "38 5 0"),             // AF_ALG: CVE-2026-31431
        ("socket", "40 1 0"),             // AF_VSOCK
        ("socket", "16 3 12"),            // nf_tables: CVE-2024-1086
        ("fsopen", "0 0"),                // CVE-2022-0185
        ("unshare", "0x10000000"),        // a user namespace: the way to all of them
        ("clone", "0x10000011"),          // the same
        ("io_uring_setup", "1 0"),        // CVE-2022-29582 and its kin
        ("userfaultfd", "1"),             // what widens a race
        ("bpf", "0 0 0"),                 // CVE-2022-23222
        ("perf_event_open", "0 0 0 0 0"), // CVE-2013-2094
        ("keyctl", "0 0 0"),              // CVE-2016-0728
        ("ptrace", "0x4206 1 0 0"),       // CVE-2026-46333
    ];
    let errnos = crate::seccomp::Site::new().errnos(&[], &calls);
    let expected = [
        "97", "97", "93", "1", "1", "1", "1", "1", "1", "1", "1", "1",
    ];
    assert_eq!(errnos, expected);
}

/// With masks in place a new procfs would show what they hide: the kernel wants one that is fully visible.
fn c09_a_second_procfs_is_refused() {
    let sandbox = Sandbox::new();
    let script = "unshare -Urpf --mount-proc true; unshare -Ur mount -t proc proc /tmp; ls /tmp";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
    });
    std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin/unshare")).unwrap();
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert!(!output.stdout.contains("self"), "{output:?}");
    assert!(output.stderr.contains("not permitted"), "{output:?}");
}

/// `release_agent` runs a program of the host's choosing by whoever can write a cgroup of version 1.
fn d01_cve_2022_0492_no_cgroup_of_version_1_can_be_had() {
    let sandbox = Sandbox::new();
    let script = "for c in memory rdma cpu name=x; do unshare -UrC mount -t cgroup -o $c x /tmp && echo mounted; \
        mount -t cgroup -o $c x /tmp && echo mounted; done; find / -xdev -name release_agent; \
        grep ' cgroup ' /proc/mounts | grep -w rw";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "cgroup"}));
        spec["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        }));
    });
    for applet in ["unshare", "find"] {
        std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin").join(applet)).unwrap();
    }
    let mut command = Command::new(crate::support::sandbox::runtime());
    command.arg("--root").arg(sandbox.state_root()).args([
        "run",
        "--bundle",
        bundle.argument(),
        "c",
    ]);
    assert_eq!(run(&mut command).stdout, "");
}
