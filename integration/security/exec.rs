//! B: what steps into a container that is hostile by now: its processes watch, its files and mounts have changed.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::binary::Prey;
use super::{Canary, hostile};
use crate::support::sandbox::runtime;
use crate::support::{Bundle, Sandbox, claims, run};

claims![
    b01_cve_2016_9962_an_exec_cannot_be_traced: [Root, Cgroup2, FullSpeed, Tool("gcc")],
    b01_cve_2016_9962_an_exec_brings_nothing_to_one_who_may_trace: [Root, Cgroup2, FullSpeed, Tool("gcc")],
    b01_cve_2019_5736_an_exec_gives_no_program_to_write_to: [Root, Cgroup2, FullSpeed, Tool("gcc")],
    b01_cve_2024_21626_an_exec_in_a_descriptors_folder_stays_inside: [Root, Cgroup2, FullSpeed, Tool("bash")],
    b01_cve_2025_52881_a_covered_proc_does_not_steer_an_exec: [Root, Cgroup2],
    b01_cve_2022_29162_an_exec_has_no_inheritable_capability: [Root, Cgroup2],
    b01_cve_2017_5226_an_exec_has_no_terminal_of_its_callers: [Root, Cgroup2, Tool("gcc"), Tool("script")],
    b02_cve_2022_1227_no_program_of_the_root_runs_on_the_host: [Root, Cgroup2],
    b06_cve_2022_31030_output_that_nobody_keeps_costs_no_memory: [Root, Cgroup2, FullSpeed],
    b08_an_exec_into_a_paused_container_does_not_hang: [Root, Cgroup2],
    b10_annotations_change_no_confinement: [Root, Cgroup2, Dhow],
];

/// Starts `bundle` as the container c.
fn begin(sandbox: &Sandbox, bundle: &Bundle) {
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
}

/// A container whose first process hunts for `seconds`, as `hostile` does by this word, and then reports.
fn hunter(sandbox: &Sandbox, word: &str, seconds: u32) -> Bundle {
    let script =
        format!("hostile {word} {seconds} > /tmp/report; mv /tmp/report /tmp/done; sleep 1000");
    let bundle = sandbox.bundle("c").script(&script).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
    });
    hostile::put_into(&bundle);
    bundle
}

/// Enters it again and again until it has reported: nothing was caught.
#[track_caller]
fn hunted(sandbox: &Sandbox, bundle: &Bundle, program: &std::path::Path) {
    begin(sandbox, bundle);
    let report = bundle.rootfs().join("tmp/done");
    let mut times = 0;
    while !report.exists() {
        let mut command = Command::new(program);
        command.arg("--root").arg(sandbox.state_root());
        run(command.args(["exec", "c", "true"])).success();
        times += 1;
    }
    let said = std::fs::read_to_string(report).unwrap();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    // On a busy machine it is few.
    assert!(times > 2, "only {times} came by");
    assert!(said.trim_end().ends_with(" caught 0"), "{said}");
}

/// How long a hunt lasts: some sixty execs, or thousands under `make sweep`.
fn length() -> u32 {
    if std::env::var_os("DHOW_TEST_SWEEP").is_some() {
        60
    } else {
        3
    }
}

fn b01_cve_2016_9962_an_exec_cannot_be_traced() {
    let sandbox = Sandbox::new();
    let bundle = hunter(&sandbox, "trace", length());
    hunted(&sandbox, &bundle, &runtime());
}

/// A debugger's container has CAP_SYS_PTRACE, and no user namespace to bound it: whoever comes in can be stopped. It
/// must have no more by then than the container. Debian's runc 1.1.5 gives away all capabilities here.
fn b01_cve_2016_9962_an_exec_brings_nothing_to_one_who_may_trace() {
    let sandbox = Sandbox::new();
    let bundle = hunter(&sandbox, "plunder", length()).edit(|spec| {
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = json!(["CAP_SYS_PTRACE"]);
        }
        // The filter is loaded with a right that the program does not get.
        spec["process"]["noNewPrivileges"] = json!(false);
        spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]});
    });
    hunted(&sandbox, &bundle, &runtime());
}

/// The first process opens the program of whoever comes in, and writes once the kernel lets it.
fn b01_cve_2019_5736_an_exec_gives_no_program_to_write_to() {
    let sandbox = Sandbox::new();
    let prey = Prey::new(&sandbox);
    let bundle = hunter(&sandbox, "programs", length());
    hunted(&sandbox, &bundle, prey.path());
    prey.assert_untouched();
}

fn b01_cve_2024_21626_an_exec_in_a_descriptors_folder_stays_inside() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    begin(&sandbox, &sandbox.bundle("c").args(&["sleep", "1000"]));
    let script =
        "f=$1; shift; for n in {3..20}; do eval \"exec $n<\\\"\\$f\\\"\"; done; exec \"$@\"";
    for number in 0..25 {
        for place in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/../.."),
        ] {
            let mut command = Command::new("bash");
            command.args(["-c", script, "bash"]).arg(canary.path());
            command
                .arg(runtime())
                .arg("--root")
                .arg(sandbox.state_root());
            let words = [
                "exec",
                "--cwd",
                &place,
                "c",
                "sh",
                "-c",
                "cat secret; ls -d canary",
            ];
            let output = run(command.args(words));
            canary.assert_unseen(&output.stdout);
            assert_eq!(output.stdout, "", "{place}");
        }
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// The container may mount: its /proc is a tmpfs with links in the places that a runtime writes to.
fn b01_cve_2025_52881_a_covered_proc_does_not_steer_an_exec() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let script = "mount -t tmpfs x /proc && mkdir -p /proc/self/attr /proc/self/fd /proc/sys/kernel && \
        ln -s /bin/canary /proc/self/attr/exec && ln -s /bin/canary /proc/self/exe && \
        echo mine > /bin/canary && touch /tmp/ready; sleep 1000";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
        spec["process"]["capabilities"]
            .as_object_mut()
            .unwrap()
            .remove("ambient");
    });
    begin(&sandbox, &bundle);
    let ready = bundle.rootfs().join("tmp/ready");
    crate::support::command::wait_for("the mount", Duration::from_secs(5), || {
        ready.exists().then_some(())
    });
    let output = sandbox.runtime(&[
        "exec",
        "--user",
        "7:8",
        "c",
        "sh",
        "-c",
        "id -u; id -g; cat /bin/canary",
    ]);
    assert_eq!(output.success().stdout, "7\n8\nmine\n");
    sandbox.runtime(&["delete", "--force", "c"]).success();
    canary.assert_untouched();
}

fn b01_cve_2022_29162_an_exec_has_no_inheritable_capability() {
    let sandbox = Sandbox::new();
    begin(&sandbox, &sandbox.bundle("c").args(&["sleep", "1000"]));
    for words in [
        &["exec", "c", "grep", "Cap", "/proc/self/status"][..],
        &[
            "exec",
            "--cap",
            "CAP_NET_RAW",
            "--user",
            "1000",
            "c",
            "grep",
            "Cap",
            "/proc/self/status",
        ],
    ] {
        let mut command = Command::new("setpriv");
        command.args([
            "--inh-caps",
            "+chown,+sys_admin",
            "--ambient-caps",
            "+chown,+sys_admin",
            "--",
        ]);
        command
            .arg(runtime())
            .arg("--root")
            .arg(sandbox.state_root());
        let seen = run(command.args(words)).success().stdout;
        let inheritable = seen
            .lines()
            .find_map(|line| line.strip_prefix("CapInh:\t"))
            .unwrap();
        let bits = u64::from_str_radix(inheritable, 16).unwrap();
        assert_eq!(bits & (1 | 1 << 21), 0, "{seen}");
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn b01_cve_2017_5226_an_exec_has_no_terminal_of_its_callers() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    hostile::put_into(&bundle);
    begin(&sandbox, &bundle);
    let (program, root) = (runtime(), sandbox.state_root());
    let words = format!(
        "{} --root {} exec c hostile terminal",
        program.display(),
        root.display()
    );
    let mut command = Command::new("script");
    let output = run(command.args(["-qec", &words, "/dev/null"]));
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert_eq!(output.success().stdout, "");
}

/// Whatever a runtime may call on its way lies in the root too, and writes where only the host has a folder.
fn b02_cve_2022_1227_no_program_of_the_root_runs_on_the_host() {
    let sandbox = Sandbox::new();
    let trace = sandbox.path().join("ran-on-the-host");
    let bundle = sandbox.bundle("c").args(&["/bin/busybox", "sleep", "1000"]);
    let tools = [
        "nsenter",
        "newuidmap",
        "newgidmap",
        "tar",
        "gzip",
        "xz",
        "unpigz",
        "criu",
        "getent",
        "ip",
        "ps",
        "mount",
    ];
    let script = format!("#!/bin/busybox sh\necho $0 >> {}\n", trace.display());
    for tool in tools {
        let path = bundle.rootfs().join("bin").join(tool);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, &script).unwrap();
        run(Command::new("chmod").arg("755").arg(&path)).success();
    }
    let ours = format!("{}:/usr/bin:/bin", bundle.rootfs().join("bin").display());
    for words in [
        &["create", "--bundle", bundle.argument(), "c"][..],
        &["start", "c"],
        &["state", "c"],
        &["list"],
        &["ps", "c"],
        &["exec", "c", "/bin/busybox", "true"],
        &["pause", "c"],
        &["resume", "c"],
        &["update", "--pids-limit", "100", "c"],
        &["kill", "c", "KILL"],
        &["delete", "--force", "c"],
    ] {
        let mut command = sandbox.command();
        // `ps` calls the host's own program by PATH: that is the caller's, and not the root's.
        if words[0] != "ps" {
            command.env("PATH", &ours);
        }
        let output = run(command.args(words).current_dir(bundle.rootfs()));
        assert!(output.status < 126, "{output:?}");
        assert!(
            !trace.exists(),
            "{words:?} ran {:?}",
            std::fs::read_to_string(&trace)
        );
    }
}

/// Half a gigabyte goes by; what dhow holds at most is looked at meanwhile.
fn b06_cve_2022_31030_output_that_nobody_keeps_costs_no_memory() {
    let sandbox = Sandbox::new();
    begin(&sandbox, &sandbox.bundle("c").args(&["sleep", "1000"]));
    let size = if std::env::var_os("DHOW_TEST_SWEEP").is_some() {
        "10240"
    } else {
        "512"
    };
    let count = format!("count={size}");
    let mut child = sandbox
        .command()
        .args(["exec", "c", "dd", "if=/dev/zero", "bs=1M", &count])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().split(' ').next()?.parse::<u64>().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert!((1..32 << 10).contains(&most), "{most} KiB");
}

fn b08_an_exec_into_a_paused_container_does_not_hang() {
    let sandbox = Sandbox::new();
    begin(&sandbox, &sandbox.bundle("c").args(&["sleep", "1000"]));
    sandbox.runtime(&["pause", "c"]).success();
    let output = sandbox.runtime(&["exec", "c", "true"]);
    assert_ne!(output.status, 0);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// An annotation is a note: the process is held as without it, or the container is refused.
fn b10_annotations_change_no_confinement() {
    let look = "grep -E '^(Uid|Gid|Cap|NoNew|Seccomp)' /proc/self/status; cut -d' ' -f5- /proc/self/mountinfo | wc -l; \
        ls /proc/self/ns | wc -l; cat /proc/self/oom_score_adj; ls /";
    let seen = |annotations: serde_json::Value| {
        let sandbox = Sandbox::new();
        let bundle = sandbox
            .bundle("c")
            .script(look)
            .edit(|spec| spec["annotations"] = annotations);
        sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"])
    };
    let plain = seen(json!({})).success().stdout;
    for (key, value) in [
        ("org.criu.config", "/etc/passwd"),
        ("io.dhow.privileged", "true"),
        ("run.oci.seccomp_fail_unknown_syscall", "0"),
        ("io.podman.annotations.privileged", "TRUE"),
        ("io.kubernetes.cri-o.UnifiedCgroup", "x"),
        ("a\u{0}b", "x"),
    ] {
        let output = seen(json!({key: value}));
        assert!(
            output.status == 1 || output.stdout == plain,
            "{key}: {output:?}"
        );
    }
}
