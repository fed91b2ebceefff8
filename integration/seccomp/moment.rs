//! The moment at which a filter comes into force: I4 and I5 of the threat list. Every call of ours after it would be a
//! hole that each profile has to have.

use serde_json::{Value, json};

use crate::support::{Sandbox, claims, run};

claims![
    i5_at_most_three_calls_lead_from_the_filter_to_the_program: [Root, Cgroup2, Dhow, Tool("strace")],
    i5_the_filter_is_in_force_whatever_the_program_may_do: [Root, Cgroup2],
    i4_an_errno_that_the_kernel_would_cut_is_refused: [Root, Cgroup2, Dhow],
];

/// All but what strace and a shell need is allowed.
fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    })
}

/// The calls that a traced process makes after it has loaded its filter, up to the exec with which its program begins.
fn after_the_filter(trace: &str) -> Vec<String> {
    let calls = |line: &str| {
        let (task, call) = line.split_once(' ').unwrap_or_default();
        (task.to_owned(), call.trim_start().to_owned())
    };
    let mut lines = trace.lines().map(calls);
    let (task, _) = lines
        .find(|(_, call)| call.starts_with("seccomp(SECCOMP_SET_MODE_FILTER"))
        .expect("a filter is loaded");
    let mut after = Vec::new();
    // A call that another task's line cut in two is told twice; its second half is no call.
    let is_call = |call: &str| !call.starts_with("<...");
    for (_, call) in lines.filter(|(of, call)| *of == task && is_call(call)) {
        let exec = call.starts_with("execve");
        after.push(call);
        if exec {
            return after;
        }
    }
    panic!("no program begins: {after:?}");
}

fn i5_at_most_three_calls_lead_from_the_filter_to_the_program() {
    let sandbox = Sandbox::new();
    for (name, no_new_privileges, most) in [("a", true, 1), ("b", false, 3)] {
        let bundle = sandbox.bundle(name).args(&["true"]).edit(|spec| {
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            spec["linux"]["seccomp"] = profile();
        });
        let trace = sandbox.path().join("trace");
        let ours = sandbox.command();
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(&trace);
        strace.arg(ours.get_program()).args(ours.get_args());
        strace.args(["run", "--bundle", bundle.argument(), name]);
        run(&mut strace).success();
        let after = after_the_filter(&std::fs::read_to_string(&trace).unwrap());
        assert!(after.len() <= most, "{after:#?}");
    }
}

fn i5_the_filter_is_in_force_whatever_the_program_may_do() {
    let sandbox = Sandbox::new();
    let cases = [(true, 0), (true, 5), (false, 0), (false, 5)];
    for (name, (no_new_privileges, uid)) in ["a", "b", "c", "d"].into_iter().zip(cases) {
        let script =
            "mkdir /tmp/x 2>&1; grep -e Seccomp: -e CapEff: -e NoNewPrivs: /proc/self/status";
        let bundle = sandbox.bundle(name).script(script).edit(|spec| {
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            spec["process"]["user"] = json!({"uid": uid, "gid": uid});
            spec["process"]["capabilities"] = json!({});
            spec["linux"]["seccomp"] = profile();
        });
        let arguments = ["run", "--bundle", bundle.argument(), name];
        let output = sandbox.runtime(&arguments).success().stdout;
        assert!(output.contains("No space left"), "{output}");
        assert!(output.contains("Seccomp:\t2"), "{output}");
        // CAP_SYS_ADMIN, without which no filter is loaded where there is no no_new_privs, is not left.
        assert!(output.contains("CapEff:\t0000000000000000"), "{output}");
        let said = format!("NoNewPrivs:\t{}", u8::from(no_new_privileges));
        assert!(output.contains(&said), "{output}");
    }
}

fn i4_an_errno_that_the_kernel_would_cut_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["true"]).edit(|spec| {
        spec["linux"]["seccomp"] = profile();
        spec["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = json!(4096);
    });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    let expected = "dhow: linux.seccomp: syscalls[0].action: errnoRet 4096 is above 4095\n";
    assert_eq!(output.ends_with(1).stderr, expected);
}
