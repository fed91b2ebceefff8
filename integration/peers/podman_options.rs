//! podman: what the options of `podman run` ask of the runtime, as the container sees it.
//! Not its job: a container's life (podman).

use super::engine::Engine;
use super::podman::Podman;
use crate::support::needs::program;
use crate::support::{claims, run};

claims![
    podman_roots_can_be_read_only_with_tmpfs: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_volumes_are_mounted_as_asked: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_volumes_propagate: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_users_and_groups_are_set: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_capabilities_are_added_and_dropped: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_security_options_hold: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_process_limits_hold: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_sysctls_are_set: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_namespaces_are_shared_as_asked: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_user_namespaces_are_mapped: [Root, Brisk, Cgroup2, Overlay, UserNamespaces, Tool("podman"), Tool("conmon")],
    podman_inits_reap_and_pass_on: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon"), Tool("tini-static")],
    podman_privileged_containers_run: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_devices_appear_and_are_guarded: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_runs_without_cgroups: [Root, Brisk, Cgroup2, Overlay, Dhow, Tool("podman"), Tool("conmon")],
    podman_names_of_hosts_are_set: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
];

fn podman_roots_can_be_read_only_with_tmpfs() {
    let podman = Podman::new();
    podman
        .run("run --rm --read-only box touch /srv/x")
        .ends_with(1);
    let kinds = podman.ok(
        "run --rm --read-only --tmpfs /x:size=64k,mode=700,noexec box sh -c 'touch /x/y && grep \" /x \" /proc/mounts && stat -c %a /x'",
    );
    assert!(
        kinds.contains("tmpfs") && kinds.contains("noexec"),
        "{kinds}"
    );
    assert!(
        kinds.contains("size=64k") && kinds.ends_with("700"),
        "{kinds}"
    );
}

fn podman_volumes_are_mounted_as_asked() {
    let podman = Podman::new();
    let folder = podman.home.sandbox.path().join("volume");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "from outside\n").unwrap();
    let shown = folder.display();
    podman.ok(&format!(
        "run --rm -v {shown}:/v box sh -c 'cp /v/file /v/copy'"
    ));
    assert_eq!(
        std::fs::read_to_string(folder.join("copy")).unwrap(),
        "from outside\n"
    );
    podman
        .run(&format!("run --rm -v {shown}:/v:ro box touch /v/x"))
        .ends_with(1);
    podman.ok(&format!(
        "run --rm -v {shown}/file:/srv/one:ro box cat /srv/one"
    ));
    podman.ok("volume create kept");
    podman.ok("run --rm -v kept:/kept box sh -c 'echo 1 > /kept/x'");
    assert_eq!(
        podman.ok("run --rm -v kept:/kept:nosuid box cat /kept/x"),
        "1"
    );
    podman.ok("volume rm kept");
}

fn podman_volumes_propagate() {
    let podman = Podman::new();
    let folder = podman.home.sandbox.path().join("volume");
    std::fs::create_dir_all(folder.join("later")).unwrap();
    let mount = |arguments: &[&str]| {
        let mut command = podman.home.place.command(&program("mount").unwrap());
        run(command.args(arguments)).success();
    };
    let shown = folder.to_str().unwrap();
    mount(&["--bind", shown, shown]);
    mount(&["--make-shared", shown]);
    podman.ok(&format!(
        "run -d --name slave -v {shown}:/v:rslave box sleep 1000"
    ));
    podman.ok(&format!(
        "run -d --name alone -v {shown}:/v:rprivate box sleep 1000"
    ));
    mount(&[
        "-t",
        "tmpfs",
        "tmpfs",
        folder.join("later").to_str().unwrap(),
    ]);
    let sees = |name: &str| {
        podman
            .ok(&format!("exec {name} cat /proc/mounts"))
            .contains(" /v/later ")
    };
    assert!(sees("slave"), "rslave does not see what is mounted later");
    assert!(!sees("alone"), "rprivate sees what is mounted later");
}

fn podman_users_and_groups_are_set() {
    let podman = Podman::new();
    let ids = "sh -c 'id -u; id -g; id -G; pwd; umask'";
    let plain = podman.ok(&format!("run --rm box {ids}"));
    assert_eq!(plain, "0\n0\n0\n/\n0022");
    let web = podman.ok(&format!(
        "run --rm -u web --group-add 55 -w /srv --umask 0077 box {ids}"
    ));
    assert_eq!(web, "101\n102\n102 7 55\n/srv\n0077");
}

/// The set `name` of /proc/self/status as the container started with `options` sees it.
#[track_caller]
fn set(podman: &Podman, options: &str, name: &str) -> u64 {
    let line = podman.ok(&format!(
        "run --rm {options} box grep {name} /proc/self/status"
    ));
    let hex = line.split_whitespace().last().unwrap().to_owned();
    u64::from_str_radix(&hex, 16).unwrap()
}

fn podman_capabilities_are_added_and_dropped() {
    let podman = Podman::new();
    let (chown, admin) = (1 << 0, 1 << 21);
    let plain = set(&podman, "", "CapBnd");
    assert_eq!(plain & (chown | admin), chown);
    for name in ["CapBnd", "CapPrm", "CapEff"] {
        let changed = set(&podman, "--cap-add SYS_ADMIN --cap-drop CHOWN", name);
        assert_eq!(changed, plain & !chown | admin, "{name}");
    }
    assert_eq!(set(&podman, "--cap-drop ALL", "CapBnd"), 0);
    assert_eq!(set(&podman, "-u 1:1", "CapEff"), 0);
    let kept = set(&podman, "-u 1:1 --cap-add SYS_ADMIN", "CapEff");
    assert_eq!(kept, admin);
}

fn podman_security_options_hold() {
    let podman = Podman::new();
    let status = "box grep -E ^(NoNewPrivs|Seccomp): /proc/self/status";
    let plain = podman.ok(&format!("run --rm {status}"));
    assert_eq!(plain, "NoNewPrivs:\t0\nSeccomp:\t2");
    let other = podman.ok(&format!(
        "run --rm --security-opt no-new-privileges --security-opt seccomp=unconfined {status}"
    ));
    assert_eq!(other, "NoNewPrivs:\t1\nSeccomp:\t0");
    let profile = podman.home.sandbox.path().join("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"],
        "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]}"#;
    std::fs::write(&profile, text).unwrap();
    let refused = podman.run(&format!(
        "run --rm --security-opt seccomp={} box mkdir /srv/x",
        profile.display()
    ));
    assert!(refused.ends_with(1).stderr.contains("quota"));
    let hidden =
        podman.ok("run --rm --security-opt mask=/proc/meminfo box sh -c 'wc -c < /proc/meminfo'");
    assert_eq!(hidden, "0");
    let masked = podman.ok("run --rm box sh -c 'wc -c < /proc/keys; ls /proc/acpi | wc -l'");
    assert_eq!(masked, "0\n0");
    assert_eq!(
        podman.run("run --rm box touch /proc/sys/kernel/x").status,
        1
    );
}

fn podman_process_limits_hold() {
    let podman = Podman::new();
    let limits = podman.ok("run --rm --ulimit nofile=100:200 --ulimit nproc=90:90 --ulimit core=0:0 box sh -c 'ulimit -n; ulimit -Hn; ulimit -c'");
    assert_eq!(limits, "100\n200\n0");
    let score = podman.ok("run --rm --oom-score-adj 500 box cat /proc/self/oom_score_adj");
    assert_eq!(score, "500");
}

fn podman_sysctls_are_set() {
    let podman = Podman::new();
    let values = podman.ok(
        "run --rm --sysctl kernel.msgmax=4096 --sysctl net.ipv4.ip_forward=1 box cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward",
    );
    assert_eq!(values, "4096\n1");
}

fn podman_namespaces_are_shared_as_asked() {
    let podman = Podman::new();
    let link = |kind: &str| {
        let path = format!("/proc/self/ns/{kind}");
        std::fs::read_link(path).unwrap().display().to_string()
    };
    let kinds = ["pid", "ipc", "uts", "net"];
    let see = |options: &str| {
        // busybox's readlink takes one path.
        let script = kinds.map(|kind| format!("readlink /proc/self/ns/{kind}"));
        let seen = podman.ok(&format!(
            "run --rm {options} box sh -c '{}'",
            script.join("; ")
        ));
        seen.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let own = see("");
    let host = see("--pid host --ipc host --uts host --network host");
    for (number, kind) in kinds.iter().enumerate() {
        assert_ne!(own[number], link(kind), "{kind} is the host's");
        assert_eq!(host[number], link(kind), "{kind} is not the host's");
    }
    podman.ok("run -d --name one --ipc shareable box sleep 1000");
    let pid = podman.inspect("one", ".State.Pid");
    let joined = see("--pid container:one --ipc container:one --network container:one");
    for (number, kind) in [(0, "pid"), (1, "ipc"), (3, "net")] {
        let its = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(joined[number], its.display().to_string(), "{kind}");
    }
}

fn podman_user_namespaces_are_mapped() {
    let podman = Podman::new();
    let map = podman.ok("run --rm --uidmap 0:100000:1000 --gidmap 0:200000:1000 box sh -c 'cat /proc/self/uid_map /proc/self/gid_map; touch /srv/x; stat -c %u:%g /srv/x /bin/busybox'");
    let numbers: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(
        numbers,
        ["0", "100000", "1000", "0", "200000", "1000", "0:0", "0:0"]
    );
    podman.ok("run -d --name one --uidmap 0:100000:1000 --gidmap 0:100000:1000 box sleep 1000");
    assert_eq!(
        podman
            .ok("exec one cat /proc/self/uid_map")
            .split_whitespace()
            .nth(1),
        Some("100000")
    );
    podman.ok("exec -u web one sh -c 'touch /tmp/x && stat -c %u /tmp/x'");
}

fn podman_inits_reap_and_pass_on() {
    let podman = Podman::new();
    let programs = podman.ok("run --rm --init box sh -c 'cat /proc/1/comm; echo done'");
    assert!(
        programs.contains("init") && programs.ends_with("done"),
        "{programs}"
    );
    podman
        .run("run --rm --init box sh -c 'exit 9'")
        .ends_with(9);
    podman.ok("run -d --init --name one box sleep 1000");
    podman.ok("stop -t 30 one");
    assert_eq!(podman.inspect("one", ".State.ExitCode"), "143");
}

fn podman_privileged_containers_run() {
    let podman = Podman::new();
    let seen = podman.ok("run --rm --privileged box sh -c 'mount -t tmpfs x /srv && touch /srv/y && wc -l < /proc/cpuinfo && test -c /dev/kmsg; grep Seccomp: /proc/self/status'");
    assert!(seen.ends_with("Seccomp:\t0"), "{seen}");
}

fn podman_devices_appear_and_are_guarded() {
    let podman = Podman::new();
    let fuse = "run --rm --device /dev/fuse:/dev/given:rm box sh -c";
    let seen = podman.ok(&format!(
        "{fuse} ': < /dev/given && stat -c %t:%T /dev/given'"
    ));
    assert_eq!(seen, "a:e5");
    // To read was granted alone; and a device that was not named can be made but not opened.
    let refused = podman.run(&format!("{fuse} ': > /dev/given'"));
    assert!(refused.stderr.contains("not permitted"), "{refused:?}");
    let refused = podman.run("run --rm box sh -c 'mknod /srv/fuse c 10 229 && : < /srv/fuse'");
    assert!(refused.stderr.contains("not permitted"), "{refused:?}");
}

fn podman_names_of_hosts_are_set() {
    let podman = Podman::new();
    let names = podman.ok("run --rm --hostname ship --add-host port:10.1.2.3 box sh -c 'hostname; grep port /etc/hosts'");
    assert_eq!(names, "ship\n10.1.2.3\tport");
}

fn podman_runs_without_cgroups() {
    let podman = Podman::new();
    let line = "run --rm --cgroups disabled box echo here";
    assert_eq!(podman.ok(line), "here");
}
