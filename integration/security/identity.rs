//! A10 to A14, A18, A19, A22: who a container's program is, what it may, and what of its caller's it can reach.

use std::process::Command;

use serde_json::{Value, json};

use super::{Canary, hostile};
use crate::support::{Output, Sandbox, claims, run};

claims![
    a10_cve_2022_29162_no_capability_is_inheritable: [Root, Cgroup2],
    a10_cve_2022_24769_a_file_with_inheritable_capabilities_gains_nothing: [Root, Cgroup2, Tool("setcap")],
    a11_cve_2016_8867_a_user_has_no_ambient_capability_unasked: [Root, Cgroup2],
    a11_an_unknown_capability_is_named: [Root, Cgroup2, Dhow],
    a13_cve_2023_25173_the_primary_group_is_among_the_groups: [Root, Cgroup2, Dhow],
    a14_cve_2026_47262_a_strange_passwd_costs_nothing: [Root, Cgroup2, FullSpeed],
    a18_cve_2017_5226_the_callers_terminal_is_out_of_reach: [Root, Cgroup2, Tool("gcc"), Tool("script")],
    a19_the_callers_keyring_is_out_of_sight: [Root, Cgroup2, Tool("gcc")],
    a22_umask_score_and_limits_are_the_specs: [Root, Cgroup2],
];

fn ran(sandbox: &Sandbox, text: &str, edit: impl FnOnce(&mut Value)) -> Output {
    let bundle = sandbox.bundle("c").script(text).edit(edit);
    sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"])
}

fn status<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
}

/// The caller's own inheritable set is filled first: that is where it came from. A spec without capabilities leaves
/// none; one that names no inheritable ones leaves none of those.
fn a10_cve_2022_29162_no_capability_is_inheritable() {
    for without_any in [false, true] {
        let sandbox = Sandbox::new();
        let bundle = sandbox
            .bundle("c")
            .args(&["cat", "/proc/self/status"])
            .edit(|spec| {
                let process = spec["process"].as_object_mut().unwrap();
                if without_any {
                    process.remove("capabilities");
                } else {
                    let one = json!(["CAP_KILL"]);
                    process["capabilities"] =
                        json!({"bounding": one, "effective": one, "permitted": one});
                }
            });
        let mut command = Command::new("setpriv");
        command
            .args([
                "--inh-caps",
                "+chown,+kill,+net_raw,+sys_admin",
                "--ambient-caps",
                "+chown,+kill,+net_raw,+sys_admin",
                "--",
            ])
            .arg(crate::support::sandbox::runtime())
            .arg("--root")
            .arg(sandbox.state_root())
            .args(["run", "--bundle", bundle.argument(), "c"]);
        let seen = run(&mut command).success().stdout;
        let expected = if without_any {
            "0000000000000000"
        } else {
            "0000000000000020"
        };
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(status(&seen, set), expected, "{set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(status(&seen, set), "0000000000000000", "{set}");
        }
    }
}

/// A file that says "inheritable" adds what the process has in that set: nothing.
fn a10_cve_2022_24769_a_file_with_inheritable_capabilities_gains_nothing() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .args(&["/gain/cat", "/proc/self/status"])
        .edit(|spec| {
            spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            spec["process"]["noNewPrivileges"] = json!(false);
            let all = json!(["CAP_NET_RAW", "CAP_SYS_ADMIN"]);
            spec["process"]["capabilities"] = json!({"bounding": all});
        });
    let file = bundle.rootfs().join("gain/cat");
    std::fs::create_dir(bundle.rootfs().join("gain")).unwrap();
    crate::support::copy_program(bundle.rootfs().join("bin/busybox"), &file);
    run(Command::new("setcap")
        .arg("cap_net_raw,cap_sys_admin+i")
        .arg(&file))
    .success();
    let seen = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success()
        .stdout;
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(&seen, set), "0000000000000000", "{set}");
    }
}

fn a11_cve_2016_8867_a_user_has_no_ambient_capability_unasked() {
    let sandbox = Sandbox::new();
    let seen = ran(&sandbox, "cat /proc/self/status", |spec| {
        spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        let some = json!(["CAP_NET_RAW", "CAP_CHOWN"]);
        spec["process"]["capabilities"] =
            json!({"bounding": some, "effective": some, "permitted": some, "inheritable": some});
    });
    let seen = seen.success().stdout;
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(&seen, set), "0000000000000000", "{set}");
    }
}

/// It can't be granted (runtime-spec 1.1): it is left out, and the log says so; the others are as asked for.
fn a11_an_unknown_capability_is_named() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .args(&["grep", "CapEff", "/proc/self/status"])
        .edit(|spec| {
            let some = json!(["CAP_KILL", "CAP_EVERYTHING"]);
            spec["process"]["capabilities"] =
                json!({"bounding": some, "effective": some, "permitted": some});
        });
    let log = sandbox.path().join("log");
    let mut command = sandbox.command();
    command.arg("--debug").arg("--log").arg(&log);
    let output = run(command.args(["run", "--bundle", bundle.argument(), "c"]));
    assert_eq!(output.success().stdout, "CapEff:\t0000000000000020\n");
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("CAP_EVERYTHING"), "{said}");
}

/// A file of mode 0604 refuses its group what others may. Who could shake the group off would be "others".
fn a13_cve_2023_25173_the_primary_group_is_among_the_groups() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .script("cat /etc/refused; id -G")
        .edit(|spec| {
            spec["process"]["user"] = json!({"uid": 1000, "gid": 7, "additionalGids": [7, 8]});
        });
    let file = bundle.rootfs().join("etc/refused");
    std::fs::write(&file, "was read\n").unwrap();
    run(Command::new("chown").arg("0:7").arg(&file)).success();
    run(Command::new("chmod").arg("0604").arg(&file)).success();
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert!(!output.stdout.contains("was read"), "{output:?}");
    assert_eq!(output.stdout, "7 8\n");
}

/// A root's /etc/passwd that is huge, a FIFO, a device, a link to a file that blocks, or leads to the host's.
fn a14_cve_2026_47262_a_strange_passwd_costs_nothing() {
    for (what, make) in [
        ("sparse", "truncate -s 8G passwd"),
        ("fifo", "mkfifo passwd"),
        ("device", "mknod passwd c 1 5"),
        ("blocking", "ln -s /proc/kmsg passwd"),
        ("host's", "ln -s ../../canary/passwd passwd"),
        ("host's, absolute", "ln -s \"$CANARY/passwd\" passwd"),
        ("folder", "mkdir passwd"),
        ("loop", "ln -s passwd passwd"),
    ] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        std::fs::write(
            canary.path().join("passwd"),
            "x:x:0:0::/from-the-host:/bin/sh\n",
        )
        .unwrap();
        let bundle = sandbox.bundle("c").args(&["env"]);
        let make = format!(
            "cd {}/etc && rm passwd && {make}",
            bundle.rootfs().display()
        );
        run(Command::new("sh")
            .args(["-c", &make])
            .env("CANARY", canary.path()))
        .success();
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert!(
            !output.stdout.contains("from-the-host"),
            "{what}: {output:?}"
        );
        if output.status == 0 {
            let home = output.stdout.lines().find(|line| line.starts_with("HOME="));
            assert_eq!(home, Some("HOME=/"), "{what}");
        }
        sandbox.runtime(&["delete", "--force", "c"]);
    }
}

/// `script` gives the runtime a terminal that it controls, as a shell has.
fn a18_cve_2017_5226_the_callers_terminal_is_out_of_reach() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["/bin/hostile", "terminal"]);
    hostile::put_into(&bundle);
    let words = format!(
        "{} --root {} run --bundle {} c",
        crate::support::sandbox::runtime().display(),
        sandbox.state_root().display(),
        bundle.argument()
    );
    let mut command = Command::new("script");
    command.args(["-qec", &words, "/dev/null"]);
    assert_eq!(run(&mut command).success().stdout, "");
}

fn a19_the_callers_keyring_is_out_of_sight() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .args(&["/bin/hostile", "keyring", "dhow-canary"]);
    hostile::put_into(&bundle);
    let with_key = |program: &[&str]| {
        let mut command = Command::new(hostile::program());
        command.args(["with-key", "dhow-canary"]).args(program);
        run(&mut command).success().stdout
    };
    let ours = hostile::program().to_str().unwrap();
    assert_eq!(with_key(&[ours, "keyring", "dhow-canary"]), "found\n");
    let (runtime, root) = (crate::support::sandbox::runtime(), sandbox.state_root());
    let words = ["run", "--bundle", bundle.argument(), "c"];
    let all = [
        &[runtime.to_str().unwrap(), "--root", root.to_str().unwrap()],
        &words[..],
    ]
    .concat();
    assert_eq!(with_key(&all), "not found\n");
}

fn a22_umask_score_and_limits_are_the_specs() {
    let sandbox = Sandbox::new();
    let script =
        "umask; cat /proc/self/oom_score_adj; grep -E 'open files|core file' /proc/self/limits";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        spec["process"]["oomScoreAdj"] = json!(321);
        spec["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 17, "hard": 19},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ]);
    });
    // The caller's own mask is none of the container's.
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 0777; ulimit -c unlimited; exec \"$@\"", "sh"])
        .arg(crate::support::sandbox::runtime())
        .arg("--root")
        .arg(sandbox.state_root())
        .args(["run", "--bundle", bundle.argument(), "c"]);
    let seen = run(&mut command).success().stdout;
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words[..2], ["0022", "321"]);
    assert!(words.windows(2).any(|pair| pair == ["17", "19"]), "{seen}");
    assert!(words.windows(2).any(|pair| pair == ["0", "0"]), "{seen}");
}
