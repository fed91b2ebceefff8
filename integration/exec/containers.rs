//! Containers of every kind that can be entered: with user namespaces, with namespaces of others or of the host.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{end, exec, running, said_in, status};
use crate::support::command::wait_for;
use crate::support::sandbox::dhow;
use crate::support::{Bundle, Sandbox, claims, run};

claims![
    one_with_a_user_namespace_is_entered_as_its_root: [Root, Cgroup2, UserNamespaces],
    an_id_without_a_map_is_refused: [Root, Cgroup2, UserNamespaces],
    one_in_the_hosts_pid_namespace_is_entered: [Root, Cgroup2],
    one_with_namespaces_of_another_is_entered: [Root, Cgroup2],
    one_in_a_mount_namespace_of_others_is_entered_at_its_root: [Root, Cgroup2, Tool("unshare"), Dhow],
    one_with_a_time_namespace_is_entered: [Root, Cgroup2, Dhow],
    capabilities_of_a_user_namespace_do_not_count_outside: [Root, Cgroup2, UserNamespaces],
    limits_are_the_containers_in_a_user_namespace_too: [Root, Cgroup2, UserNamespaces],
    one_that_may_trace_is_entered_like_any_other: [Root, Cgroup2, Tool("script")],
    a_users_own_is_entered_by_them_and_by_root: [Root, UserNamespaces, Tool("setpriv"), Dhow],
];

/// Ids of the host that belong to nobody.
fn mapped(spec: &mut Value) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
}

fn one_with_a_user_namespace_is_entered_as_its_root() {
    let script = "id -u; cat /proc/self/uid_map; touch /dev/shm/x && stat -c %u /dev/shm/x";
    let seen = said_in(mapped, &["c", "sh", "-c", script]);
    let seen: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(seen, ["0", "0", "100000", "65536", "0"]);
}

fn an_id_without_a_map_is_refused() {
    let sandbox = Sandbox::new();
    running(&sandbox, mapped);
    let output = exec(&sandbox, &["--user", "70000", "c", "true"]);
    assert_ne!(output.status, 0);
    end(&sandbox);
}

fn capabilities_of_a_user_namespace_do_not_count_outside() {
    let seen = said_in(mapped, &["c", "cat", "/proc/self/status"]);
    assert_eq!(status(&seen, "CapEff"), "0000000020000420");
    assert_eq!(status(&seen, "CapInh"), "0000000000000000");
}

fn limits_are_the_containers_in_a_user_namespace_too() {
    let seen = said_in(mapped, &["c", "cat", "/proc/self/limits"]);
    let line = seen.lines().find(|l| l.starts_with("Max open files"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(&words[3..5], ["1024", "1024"]);
}

fn one_in_the_hosts_pid_namespace_is_entered() {
    let shared = |spec: &mut Value| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "pid");
    };
    let ours = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let seen = said_in(shared, &["c", "readlink", "/proc/self/ns/pid"]);
    assert_eq!(seen.trim(), ours.to_str().unwrap());
}

fn one_with_namespaces_of_another_is_entered() {
    let sandbox = Sandbox::new();
    let other = sandbox.bundle("other").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["run", "--detach", "--bundle", other.argument(), "other"])
        .success();
    let pid = sandbox.state("other")["pid"].to_string();
    running(&sandbox, |spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("pid", "pid")] {
            namespaces.retain(|n| n["type"] != kind);
            namespaces.push(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
        }
    });
    for file in ["net", "ipc", "pid"] {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
        let seen = exec(
            &sandbox,
            &["c", "readlink", &format!("/proc/self/ns/{file}")],
        );
        assert_eq!(seen.success().stdout.trim(), link.to_str().unwrap());
    }
    end(&sandbox);
    sandbox.runtime(&["delete", "--force", "other"]).success();
}

fn one_with_a_time_namespace_is_entered() {
    let seen = said_in(
        |spec| {
            let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.push(json!({"type": "time"}));
            spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 86_400_000}});
        },
        &["c", "cat", "/proc/uptime"],
    );
    let uptime: f64 = seen.split('.').next().unwrap().parse().unwrap();
    assert!(uptime > 86_400_000.0, "{seen}");
}

/// A container of user 1000, who maps one id and has no cgroup: entered by way of a middle process.
fn a_users_own_is_entered_by_them_and_by_root() {
    let sandbox = Sandbox::new();
    let own = sandbox.path().join("own");
    let bundle = Bundle::create(&own.join("c"), "");
    let bundle = bundle.args(&["sleep", "1000"]).edit(|spec| {
        mapped(spec);
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        spec["linux"]["uidMappings"] = map.clone();
        spec["linux"]["gidMappings"] = map;
        spec["linux"]["cgroupsPath"] = json!("");
        spec["process"]["oomScoreAdj"] = json!(100);
        let kinds = spec["linux"]["namespaces"].as_array_mut().unwrap();
        kinds.retain(|n| n["type"] != "cgroup");
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| m["type"] != "cgroup" && m["type"] != "sysfs");
        for mount in mounts {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|o| !o.as_str().unwrap().starts_with("gid="));
            }
        }
        spec["process"].as_object_mut().unwrap().remove("rlimits");
    });
    crate::support::copy_program(dhow(), own.join("program"));
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(sandbox.path(), open).unwrap();
    let owner = Command::new("chown")
        .args(["-R", "1000:1000"])
        .arg(&own)
        .status();
    assert!(owner.unwrap().success());
    let user = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=1000", "--regid=1000", "--clear-groups"])
            .arg(own.join("program"))
            .args(arguments)
            .env("XDG_RUNTIME_DIR", &own);
        run(&mut command).success().stdout
    };
    user(&["run", "--detach", "--bundle", bundle.argument(), "c"]);
    let script = "id -u; cat /proc/self/oom_score_adj; cat /proc/1/comm";
    assert_eq!(user(&["exec", "c", "sh", "-c", script]), "0\n100\nsleep\n");
    let mut root = Command::new(dhow());
    root.arg("--root").arg(own.join("dhow"));
    let output = run(root.args(["exec", "c", "sh", "-c", script]));
    assert_eq!(output.success().stdout, "0\n100\nsleep\n");
    user(&["delete", "--force", "c"]);
}

/// Its root is its own while the mount namespace has another, here a copy of the host's: what is entered is the
/// container.
fn one_in_a_mount_namespace_of_others_is_entered_at_its_root() {
    let sandbox = Sandbox::new();
    let mut holder = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sleep", "1000"])
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/ns/mnt", holder.id());
    let ours = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    let link = wait_for("its namespace", Duration::from_secs(5), || {
        std::fs::read_link(&path).ok().filter(|link| *link != ours)
    });
    running(&sandbox, |spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "mount");
        namespaces.push(json!({"type": "mount", "path": path}));
    });
    let script = "readlink /proc/self/ns/mnt; ls -d /bin/busybox /rootfs /usr 2>/dev/null";
    let seen = exec(&sandbox, &["c", "sh", "-c", script]).stdout;
    end(&sandbox);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(seen, format!("{}\n/bin/busybox\n", link.display()));
}

/// Its way inside is another one (security/exec): a child's, and past the filter. What comes of it is the same.
fn one_that_may_trace_is_entered_like_any_other() {
    let look = "grep -E '^(Umask|Uid|Gid|Groups|NoNewPrivs|Seccomp|SigBlk|SigIgn|ShdPnd)' /proc/self/status; \
        cat /proc/$$/limits /proc/$$/oom_score_adj /proc/$$/cgroup; for n in ipc mnt net pid uts; do test -e /proc/$$/ns/$n; done; \
        set -- $(cat /proc/$$/stat); test $1 = $5 && echo leads its group; test $1 = $6 && echo leads its session; \
        ls /proc/$$/fd; pwd; tty; test $7 != 0 && echo has a terminal of its own; true";
    let seen = |capability: &str, terminal: bool, user: &str| {
        let sandbox = Sandbox::new();
        running(&sandbox, |spec| {
            for set in ["bounding", "effective", "permitted"] {
                spec["process"]["capabilities"][set] = json!([capability]);
            }
            spec["process"]["noNewPrivileges"] = json!(false);
            spec["process"]["oomScoreAdj"] = json!(77);
            spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 23, "hard": 29}]);
            spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
                [{"names": ["clone3", "mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]});
        });
        let ours = sandbox.command();
        let mut words: Vec<&str> = ours.get_args().map(|word| word.to_str().unwrap()).collect();
        words.extend(["exec", "--user", user]);
        words.extend(terminal.then_some("-t"));
        words.extend(["c", "sh", "-c", "$LOOK"]);
        let program = ours.get_program().to_str().unwrap();
        let line = format!("{program} {}", words.join(" ")).replace("$LOOK", "\"$LOOK\"");
        let mut command = match terminal {
            true => Command::new("script"),
            false => Command::new("sh"),
        };
        match terminal {
            true => command.args(["-qec", &line, "/dev/null"]),
            false => command.args(["-c", &line]),
        };
        let output = run(command.env("LOOK", look)).success().stdout;
        end(&sandbox);
        // `script` types the end of its input, at some moment.
        output.replace("^@", "")
    };
    for terminal in [false, true] {
        for user in ["0", "1000:1000"] {
            let expected = seen("CAP_KILL", terminal, user);
            assert!(expected.contains("leads its session"), "{expected}");
            assert_eq!(
                expected.contains("terminal of its own"),
                terminal,
                "{expected}"
            );
            assert_eq!(seen("CAP_SYS_PTRACE", terminal, user), expected);
        }
    }
}
