//! `update`: the limits of a container that runs become others, all of what is asked or nothing.

use std::fs::File;
use std::process::Stdio;

use serde_json::{Value, json};

use super::file;
use crate::support::command::patience;
use crate::support::{Bundle, Output, Sandbox, claims, run};

claims![
    memory_and_swap_change_together: [Root, Controller("memory")],
    what_is_not_named_stays: [Root, Controller("memory"), Controller("pids"), Controller("cpu")],
    quota_and_period_complete_each_other: [Root, Controller("cpu")],
    the_burst_follows_the_quota_down_and_up: [Root, Controller("cpu"), Dhow],
    an_idle_container_wakes_to_its_weight: [Root, Controller("cpu"), Dhow],
    a_controller_that_nobody_asked_for_is_handed_down_later: [Root, Controller("cpuset"), TwoCpus],
    a_document_is_read_from_a_file_and_from_stdin: [Root, Controller("hugetlb"), Dhow],
    a_change_that_is_refused_is_taken_back: [Root, Controller("hugetlb"), Dhow],
    a_limit_below_the_use_is_refused_if_that_is_asked: [Root, Controller("memory")],
    a_paused_container_takes_other_limits: [Root, Controller("hugetlb"), Dhow],
    a_stopped_container_takes_none: [Root, Cgroup2],
    rules_for_devices_take_the_place_of_the_old_ones: [Root, Cgroup2, Dhow],
    without_replacement_devices_change_as_well: [Root, Cgroup2, FaultBuild],
    a_thousand_changes_of_devices_leave_one_filter: [Root, Cgroup2, Dhow],
    realtime_budgets_are_refused_by_name: [Root, Cgroup2, Dhow],
    shares_of_the_cache_need_resctrl: [Root, Cgroup2, Dhow],
];

const MIB: u64 = 1 << 20;

fn running(sandbox: &Sandbox, resources: Value) -> Bundle {
    let bundle = super::limits::limited(sandbox, resources).args(&["sleep", "1000"]);
    started(sandbox, &bundle);
    bundle
}

fn started(sandbox: &Sandbox, bundle: &Bundle) {
    let arguments = ["create", "--bundle", bundle.argument(), "c"];
    sandbox.runtime(&arguments).success();
    sandbox.runtime(&["start", "c"]).success();
}

fn update(sandbox: &Sandbox, flags: &[&str]) -> Output {
    sandbox.runtime(&[&["update"], flags, &["c"]].concat())
}

/// The same by a document.
fn update_to(sandbox: &Sandbox, resources: &Value) -> Output {
    let path = sandbox.path().join("resources.json");
    std::fs::write(&path, resources.to_string()).unwrap();
    update(sandbox, &["--resources", path.to_str().unwrap()])
}

fn delete(sandbox: &Sandbox) {
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn memory_and_swap_change_together() {
    let sandbox = Sandbox::new();
    running(
        &sandbox,
        json!({"memory": {"limit": 32 * MIB, "swap": 96 * MIB}}),
    );
    let now = || {
        (
            file(&sandbox, "memory.max"),
            file(&sandbox, "memory.swap.max"),
        )
    };
    let bytes = |memory: u64, swap: u64| ((memory * MIB).to_string(), (swap * MIB).to_string());
    assert_eq!(now(), bytes(32, 64));
    update(&sandbox, &["--memory", "64M"]).success();
    assert_eq!(now(), bytes(64, 32));
    update(&sandbox, &["--memory", "50M", "--memory-swap", "52428800"]).success();
    assert_eq!(now(), bytes(50, 0));
    update(&sandbox, &["--memory-swap", "-1"]).success();
    assert_eq!(now(), ((50 * MIB).to_string(), "max".to_owned()));
    update(&sandbox, &["--memory", "-1"]).success();
    assert_eq!(now(), ("max".to_owned(), "max".to_owned()));
    delete(&sandbox);
}

fn what_is_not_named_stays() {
    let sandbox = Sandbox::new();
    let resources = json!({
        "memory": {"limit": 64 * MIB, "reservation": 32 * MIB},
        "pids": {"limit": 20},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000},
    });
    running(&sandbox, resources);
    update(&sandbox, &["--pids-limit", "30"]).success();
    assert_eq!(file(&sandbox, "pids.max"), "30");
    update(&sandbox, &["--memory-reservation", "16M"]).success();
    assert_eq!(file(&sandbox, "memory.low"), (16 * MIB).to_string());
    assert_eq!(file(&sandbox, "memory.max"), (64 * MIB).to_string());
    assert_eq!(file(&sandbox, "cpu.max"), "50000 100000");
    update(&sandbox, &["--pids-limit", "-1"]).success();
    assert_eq!(file(&sandbox, "pids.max"), "max");
    delete(&sandbox);
}

fn quota_and_period_complete_each_other() {
    let sandbox = Sandbox::new();
    running(
        &sandbox,
        json!({"cpu": {"quota": 50_000, "period": 100_000}}),
    );
    update(&sandbox, &["--cpu-quota", "30000"]).success();
    assert_eq!(file(&sandbox, "cpu.max"), "30000 100000");
    update(&sandbox, &["--cpu-period", "60000"]).success();
    assert_eq!(file(&sandbox, "cpu.max"), "30000 60000");
    update(&sandbox, &["--cpu-quota", "-1"]).success();
    assert_eq!(file(&sandbox, "cpu.max"), "max 60000");
    delete(&sandbox);
}

fn the_burst_follows_the_quota_down_and_up() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({"cpu": {"quota": 50_000, "burst": 40_000}}));
    for (quota, burst) in [("20000", "10000"), ("90000", "80000")] {
        update(&sandbox, &["--cpu-quota", quota, "--cpu-burst", burst]).success();
        assert_eq!(file(&sandbox, "cpu.max"), format!("{quota} 100000"));
        assert_eq!(file(&sandbox, "cpu.max.burst"), burst);
    }
    delete(&sandbox);
}

fn an_idle_container_wakes_to_its_weight() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({"cpu": {"shares": 1024}}));
    update(&sandbox, &["--cpu-idle", "1"]).success();
    assert_eq!(file(&sandbox, "cpu.idle"), "1");
    let output = update(&sandbox, &["--cpu-share", "2048"]).ends_with(1);
    assert!(output.stderr.contains("cpu.idle"), "{output:?}");
    update(&sandbox, &["--cpu-idle", "0", "--cpu-share", "2048"]).success();
    assert_eq!(file(&sandbox, "cpu.idle"), "0");
    assert_eq!(file(&sandbox, "cpu.weight"), "174");
    delete(&sandbox);
}

fn a_controller_that_nobody_asked_for_is_handed_down_later() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({}));
    update(&sandbox, &["--cpuset-cpus", "1", "--cpuset-mems", "0"]).success();
    assert_eq!(file(&sandbox, "cpuset.cpus"), "1");
    delete(&sandbox);
}

fn huge(bytes: u64) -> Value {
    json!({"hugepageLimits": [{"pageSize": "2MB", "limit": bytes}]})
}

fn a_document_is_read_from_a_file_and_from_stdin() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({}));
    update_to(&sandbox, &huge(2 * MIB)).success();
    assert_eq!(file(&sandbox, "hugetlb.2MB.max"), (2 * MIB).to_string());
    let path = sandbox.path().join("stdin.json");
    std::fs::write(&path, huge(4 * MIB).to_string()).unwrap();
    for argument in ["--resources=-", "-r-"] {
        let status = sandbox
            .command()
            .args(["update", argument, "c"])
            .stdin(Stdio::from(File::open(&path).unwrap()))
            .status()
            .unwrap();
        assert!(status.success(), "{argument}");
        assert_eq!(file(&sandbox, "hugetlb.2MB.max"), (4 * MIB).to_string());
    }
    for (text, told) in [
        ("{", "resources in"),
        (r#"{"pids": {"limit": "x"}}"#, "pids.limit"),
        ("[]", "resources"),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = update(&sandbox, &["-r", path.to_str().unwrap()]).ends_with(1);
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        assert!(output.stderr.contains(told), "{output:?}");
    }
    delete(&sandbox);
}

fn a_change_that_is_refused_is_taken_back() {
    let sandbox = Sandbox::new();
    running(&sandbox, huge(2 * MIB));
    let mut resources = huge(6 * MIB);
    resources["unified"] = json!({"cgroup.max.depth": "no number"});
    let output = update_to(&sandbox, &resources).ends_with(1);
    assert!(output.stderr.contains("cgroup.max.depth"), "{output:?}");
    assert_eq!(file(&sandbox, "hugetlb.2MB.max"), (2 * MIB).to_string());
    delete(&sandbox);
}

fn a_limit_below_the_use_is_refused_if_that_is_asked() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({"memory": {"limit": 64 * MIB}}));
    let small = json!({"memory": {"limit": 4096, "swap": 4096, "checkBeforeUpdate": true}});
    update_to(&sandbox, &small).ends_with(1);
    assert_eq!(file(&sandbox, "memory.max"), (64 * MIB).to_string());
    assert_eq!(sandbox.state("c")["status"], "running");
    delete(&sandbox);
}

fn a_paused_container_takes_other_limits() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({}));
    sandbox.runtime(&["pause", "c"]).success();
    update_to(&sandbox, &huge(2 * MIB)).success();
    assert_eq!(file(&sandbox, "hugetlb.2MB.max"), (2 * MIB).to_string());
    assert_eq!(sandbox.state("c")["status"], "paused");
    delete(&sandbox);
}

fn a_stopped_container_takes_none() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({}));
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    crate::support::command::wait_for("its end", std::time::Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == "stopped").then_some(())
    });
    let output = update(&sandbox, &["--pids-limit", "5"]).ends_with(1);
    assert!(output.stderr.contains("not running"), "{output:?}");
    delete(&sandbox);
}

/// A container that opens the node of /dev/fuse (10:229) again and again and tells in a file whether it could.
fn opening(sandbox: &Sandbox) -> impl Fn() -> String {
    let script = "mknod /tmp/node c 10 229; while true; do
        if head -c 0 /tmp/node 2> /dev/null; then echo yes; else echo no; fi > /told; sleep 0.01; done";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}]);
        for set in ["bounding", "effective", "permitted"] {
            let set = spec["process"]["capabilities"][set].as_array_mut().unwrap();
            set.push(json!("CAP_MKNOD"));
        }
    });
    started(sandbox, &bundle);
    let told = bundle.rootfs().join("told");
    move || {
        let _ = std::fs::remove_file(&told);
        let limit = std::time::Duration::from_secs(5);
        crate::support::command::wait_for("what it tells", limit, || {
            let text = std::fs::read_to_string(&told).ok()?;
            text.ends_with('\n').then(|| text.trim().to_owned())
        })
    }
}

/// After a change the container may be in the middle of a turn that began before it.
#[track_caller]
fn soon(told: impl Fn() -> String, expected: &str) {
    let limit = std::time::Duration::from_secs(5);
    crate::support::command::wait_for("the other rules", limit, || {
        (told() == expected).then_some(())
    });
}

fn fuse(allow: bool) -> Value {
    json!({"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": allow, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    ]})
}

fn rules_for_devices_take_the_place_of_the_old_ones() {
    let sandbox = Sandbox::new();
    let told = opening(&sandbox);
    assert_eq!(told(), "no");
    update_to(&sandbox, &fuse(true)).success();
    soon(&told, "yes");
    // A change of something else leaves the rules alone.
    update_to(&sandbox, &json!({"unified": {"cgroup.max.depth": "7"}})).success();
    assert_eq!(told(), "yes");
    update_to(&sandbox, &fuse(false)).success();
    soon(&told, "no");
    delete(&sandbox);
}

fn without_replacement_devices_change_as_well() {
    let sandbox = Sandbox::new();
    let told = opening(&sandbox);
    let path = sandbox.path().join("resources.json");
    for (allow, expected) in [(true, "yes"), (false, "no"), (true, "yes")] {
        std::fs::write(&path, fuse(allow).to_string()).unwrap();
        let mut command = sandbox.command();
        command.args(["update", "-r", path.to_str().unwrap(), "c"]);
        run(command.env("DHOW_FAULT", "no-bpf-replace")).success();
        soon(&told, expected);
    }
    delete(&sandbox);
}

/// The kernel takes 64 programs on a cgroup: were they to pile up, the 65th change would fail.
fn a_thousand_changes_of_devices_leave_one_filter() {
    let sandbox = Sandbox::new();
    let told = opening(&sandbox);
    let rounds = 1000 / patience(std::time::Duration::from_secs(1)).as_secs();
    for round in 0..rounds.max(70) {
        update_to(&sandbox, &fuse(round % 2 == 0)).success();
    }
    update_to(&sandbox, &fuse(true)).success();
    soon(&told, "yes");
    delete(&sandbox);
}

fn realtime_budgets_are_refused_by_name() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({}));
    let output = update(&sandbox, &["--cpu-rt-runtime", "950000"]).ends_with(1);
    assert!(output.stderr.contains("realtimeRuntime"), "{output:?}");
    delete(&sandbox);
}

/// No machine of ours has it; that a line which is none is refused is seen on any.
fn shares_of_the_cache_need_resctrl() {
    let sandbox = Sandbox::new();
    running(&sandbox, json!({}));
    let output = update(&sandbox, &["--l3-cache-schema", "MB:0=5"]).ends_with(1);
    assert!(output.stderr.contains("l3CacheSchema"), "{output:?}");
    if !std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        let output = update(&sandbox, &["--mem-bw-schema", "MB:0=50"]).ends_with(1);
        assert!(output.stderr.contains("resctrl"), "{output:?}");
    }
    delete(&sandbox);
}
