//! What a container's program is given: identity, privileges, limits, environment, files.

use serde_json::json;

use crate::support::{Output, Sandbox, claims, run};

claims![
    environment_is_exactly_the_specs: [Root, Cgroup2],
    it_starts_in_its_cwd: [Root, Cgroup2],
    a_missing_cwd_is_made: [Root, Cgroup2],
    it_runs_as_its_user: [Root, Cgroup2],
    a_user_other_than_root_has_no_capabilities: [Root, Cgroup2],
    capabilities_are_exactly_the_specs: [Root, Cgroup2],
    no_new_privs_is_set: [Root, Cgroup2],
    no_new_privs_is_left_out_where_the_spec_does: [Root, Cgroup2],
    limits_of_resources_are_set: [Root, Cgroup2],
    a_limit_above_the_callers_can_be_set: [Root, Cgroup2, SysResource],
    a_seccomp_filter_refuses_a_call: [Root, Cgroup2],
    a_seccomp_filter_answers_with_the_specs_errno: [Root, Cgroup2],
    no_file_of_the_runtime_is_left_open: [Root, Cgroup2],
    no_file_of_the_caller_is_left_open: [Root, Cgroup2, Tool("bash")],
    only_files_that_the_caller_opened_are_preserved: [Root, Cgroup2, Dhow, Tool("bash")],
    the_null_device_on_stdin_is_the_containers: [Root, Cgroup2],
    the_null_device_on_stdin_of_an_exec_is_the_containers: [Root, Cgroup2, Dhow],
    the_umask_is_the_specs: [Root, Cgroup2],
    the_oom_score_is_raised: [Root, Cgroup2],
    a_path_of_many_words_reaches_the_program: [Root, Cgroup2],
];

fn ran(sandbox: &Sandbox, text: &str, edit: impl FnOnce(&mut serde_json::Value)) -> Output {
    let bundle = sandbox.bundle("c").script(text).edit(edit);
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success()
}

fn said(text: &str, edit: impl FnOnce(&mut serde_json::Value)) -> String {
    ran(&Sandbox::new(), text, edit).stdout
}

/// The value of `name` in the text of /proc/self/status.
fn status<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
}

fn environment_is_exactly_the_specs() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["env"]).edit(|spec| {
        spec["process"]["env"] = json!(["PATH=/bin", "KEY=a value", "EMPTY="]);
    });
    let mut command = sandbox.command();
    command
        .args(["run", "--bundle", bundle.argument(), "c"])
        .env("OURS", "1");
    let output = run(&mut command).success().stdout;
    let mut lines: Vec<&str> = output
        .lines()
        .filter(|line| !line.starts_with("HOME="))
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["EMPTY=", "KEY=a value", "PATH=/bin"]);
}

fn it_starts_in_its_cwd() {
    let seen = said("pwd", |spec| spec["process"]["cwd"] = json!("/etc"));
    assert_eq!(seen, "/etc\n");
}

fn a_missing_cwd_is_made() {
    let seen = said("pwd", |spec| {
        spec["process"]["cwd"] = json!("/new/folder");
        spec["root"]["readonly"] = json!(false);
    });
    assert_eq!(seen, "/new/folder\n");
}

fn it_runs_as_its_user() {
    let seen = said("grep -E '^(Uid|Gid|Groups)' /proc/self/status", |spec| {
        spec["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]});
    });
    assert_eq!(status(&seen, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status(&seen, "Gid"), "1001\t1001\t1001\t1001");
    let groups: Vec<&str> = status(&seen, "Groups").split(' ').collect();
    assert!(groups.contains(&"5") && groups.contains(&"6"), "{groups:?}");
    assert!(!groups.contains(&"0"), "{groups:?}");
}

fn a_user_other_than_root_has_no_capabilities() {
    let seen = said("cat /proc/self/status", |spec| {
        spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        let sets = spec["process"]["capabilities"].as_object_mut().unwrap();
        sets.remove("ambient");
    });
    assert_eq!(status(&seen, "CapEff"), "0000000000000000");
    assert_eq!(status(&seen, "CapAmb"), "0000000000000000");
}

fn capabilities_are_exactly_the_specs() {
    let seen = said("cat /proc/self/status", |spec| {
        let three = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        spec["process"]["capabilities"] =
            json!({"bounding": three, "effective": three, "permitted": three});
    });
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status(&seen, set), "0000000020000420", "{set}");
    }
    // CVE-2022-29162: an inheritable set that nobody asked for.
    assert_eq!(status(&seen, "CapInh"), "0000000000000000");
    assert_eq!(status(&seen, "CapAmb"), "0000000000000000");
}

fn no_new_privs_is_set() {
    let seen = said("cat /proc/self/status", |_| ());
    assert_eq!(status(&seen, "NoNewPrivs"), "1");
}

fn no_new_privs_is_left_out_where_the_spec_does() {
    let seen = said("cat /proc/self/status", |spec| {
        spec["process"]["noNewPrivileges"] = json!(false);
    });
    assert_eq!(status(&seen, "NoNewPrivs"), "0");
}

fn limits_of_resources_are_set() {
    let seen = said("cat /proc/self/limits", |spec| {
        spec["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ]);
    });
    let words = |name: &str| -> Vec<String> {
        let line = seen.lines().find(|line| line.starts_with(name)).unwrap();
        let rest = line.strip_prefix(name).unwrap();
        rest.split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(words("Max open files"), ["100", "200"]);
    assert_eq!(words("Max core file size"), ["0", "0"]);
}

fn a_limit_above_the_callers_can_be_set() {
    let ours = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = ours
        .lines()
        .find(|line| line.starts_with("Max pending signals"));
    let hard: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(4)
        .unwrap()
        .parse()
        .unwrap();
    let wanted = hard + 1;
    let seen = said("cat /proc/self/limits", |spec| {
        spec["process"]["rlimits"] =
            json!([{"type": "RLIMIT_SIGPENDING", "soft": wanted, "hard": wanted}]);
    });
    let line = seen
        .lines()
        .find(|line| line.starts_with("Max pending signals"));
    assert!(line.unwrap().contains(&wanted.to_string()), "{seen}");
}

fn seccomp(errno: Option<u32>) -> serde_json::Value {
    let mut rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
    if let Some(errno) = errno {
        rule["errnoRet"] = json!(errno);
    }
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [rule],
    })
}

fn a_seccomp_filter_refuses_a_call() {
    let script = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status";
    let seen = said(script, |spec| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["seccomp"] = seccomp(None);
    });
    assert!(seen.contains("Operation not permitted"), "{seen}");
    assert_eq!(status(&seen, "Seccomp"), "2");
}

fn a_seccomp_filter_answers_with_the_specs_errno() {
    let seen = said("mkdir /tmp/x 2>&1", |spec| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["seccomp"] = seccomp(Some(28)); // ENOSPC
        spec["process"]["args"] = json!(["sh", "-c", "mkdir /tmp/x 2>&1; true"]);
    });
    assert!(seen.contains("No space left"), "{seen}");
}

/// Whether stdin of process `pid` was opened through one of the mounts that it sees.
fn has_stdin_of_its_own(pid: &str) -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(
        std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap(),
        std::path::Path::new("/dev/null")
    );
    let info = read("fdinfo/0");
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let mount = format!("{} ", mount.unwrap().trim());
    read("mountinfo")
        .lines()
        .any(|line| line.starts_with(&mount))
}

fn the_null_device_on_stdin_is_the_containers() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let pid = sandbox.state("c")["pid"].to_string();
    assert!(has_stdin_of_its_own(&pid), "CRIU could not write it down");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn the_null_device_on_stdin_of_an_exec_is_the_containers() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let file = sandbox.path().join("pid");
    let pid_file = file.to_str().unwrap();
    sandbox
        .runtime(&[
            "exec",
            "--detach",
            "--pid-file",
            pid_file,
            "c",
            "sleep",
            "1000",
        ])
        .success();
    let pid = std::fs::read_to_string(&file).unwrap();
    assert!(has_stdin_of_its_own(&pid), "CRIU could not write it down");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// What file descriptors the program has beside the three of stdio and the one that `ls` opens.
const LIST_FILES: &str = "for f in /proc/self/fd/*; do readlink $f; done | tail -n +4";

fn no_file_of_the_runtime_is_left_open() {
    assert_eq!(said(LIST_FILES, |_| ()), "");
}

fn no_file_of_the_caller_is_left_open() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script(LIST_FILES);
    let script = "for n in {10..40}; do eval \"exec $n</etc\"; done; exec \"$@\"";
    let mut command = std::process::Command::new("bash");
    command
        .args(["-c", script, "bash"])
        .arg(crate::support::sandbox::runtime())
        .arg("--root")
        .arg(sandbox.state_root())
        .args(["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(run(&mut command).success().stdout, "");
}

/// A number that is free in the caller would be taken by a file of the runtime's: the host's tree.
fn only_files_that_the_caller_opened_are_preserved() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("readlink /proc/self/fd/3");
    let preserving = |count: &str| {
        let mut command = std::process::Command::new("bash");
        command
            .args(["-c", "exec \"$@\" 3</dev/null", "bash"])
            .arg(crate::support::sandbox::runtime())
            .arg("--root")
            .arg(sandbox.state_root())
            .args(["run", "--preserve-fds", count])
            .args(["--bundle", bundle.argument(), "c"]);
        run(&mut command)
    };
    assert_eq!(preserving("1").success().stdout, "/dev/null\n");
    assert_eq!(
        preserving("6").ends_with(1).stderr,
        "dhow: --preserve-fds 6: descriptor 4 is not open\n"
    );
}

fn the_umask_is_the_specs() {
    assert_eq!(said("umask", |_| ()), "0022\n");
    let seen = said("umask", |spec| {
        spec["process"]["user"]["umask"] = json!(0o77)
    });
    assert_eq!(seen, "0077\n");
}

fn the_oom_score_is_raised() {
    let seen = said("cat /proc/self/oom_score_adj", |spec| {
        spec["process"]["oomScoreAdj"] = json!(500);
    });
    assert_eq!(seen, "500\n");
}

fn a_path_of_many_words_reaches_the_program() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["echo", "a b", "", "'c'", "ü"]);
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "a b  'c' ü\n");
}
