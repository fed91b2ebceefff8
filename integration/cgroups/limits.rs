//! Limits hold: seen from inside, from the cgroup's files, and by what happens to a program that goes too far.

use std::time::Duration;

use serde_json::{Value, json};

use super::{file, read};
use crate::support::command::wait_for;
use crate::support::{Bundle, Sandbox, claims};

claims![
    the_program_is_born_in_its_cgroup: [Root, Cgroup2],
    the_cgroup_goes_with_the_container: [Root, Cgroup2],
    memory_limits_stand_in_the_cgroup: [Root, Controller("memory")],
    a_program_over_its_memory_limit_is_killed: [Root, Controller("memory")],
    the_cause_is_told_when_memory_ran_out: [Root, Controller("memory"), Dhow],
    pids_limit_stands_in_the_cgroup: [Root, Controller("pids")],
    a_fork_bomb_stops_at_the_pids_limit: [Root, Controller("pids")],
    cpu_limits_stand_in_the_cgroup: [Root, Controller("cpu")],
    the_default_shares_are_the_default_weight: [Root, Controller("cpu"), Dhow],
    half_a_cpu_is_half_a_cpu: [Root, Controller("cpu")],
    cpus_are_those_of_the_set: [Root, Controller("cpuset"), TwoCpus],
    io_weight_stands_in_the_cgroup: [Root, Controller("io")],
    unified_keys_are_written_as_they_are: [Root, Controller("memory")],
    limits_are_seen_from_inside: [Root, Controller("memory"), Controller("pids")],
    an_unlisted_device_cannot_be_opened: [Root, Cgroup2],
    a_listed_device_can_be_opened: [Root, Cgroup2],
    a_limit_whose_controller_is_missing_is_refused: [Root, Cgroup2, Dhow, Without("memory")],
];

/// A container with `resources`, created and not started.
fn created(sandbox: &Sandbox, resources: Value) -> Bundle {
    let bundle = limited(sandbox, resources).args(&["sleep", "1000"]);
    let arguments = ["create", "--bundle", bundle.argument(), "c"];
    sandbox.runtime(&arguments).success();
    bundle
}

pub(super) fn limited(sandbox: &Sandbox, resources: Value) -> Bundle {
    sandbox.bundle("c").edit(|spec| {
        let all = spec["linux"]["resources"].as_object_mut().unwrap();
        for (name, value) in resources.as_object().unwrap() {
            all.insert(name.clone(), value.clone());
        }
    })
}

/// The number after `name` in a flat keyed file such as `cpu.stat`.
fn keyed(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

fn delete(sandbox: &Sandbox) {
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn the_program_is_born_in_its_cgroup() {
    let sandbox = Sandbox::new();
    created(&sandbox, json!({}));
    let pid = sandbox.state("c")["pid"].to_string();
    assert_eq!(file(&sandbox, "cgroup.procs"), pid);
    delete(&sandbox);
}

fn the_cgroup_goes_with_the_container() {
    let sandbox = Sandbox::new();
    created(&sandbox, json!({}));
    assert!(sandbox.cgroup("c").exists());
    delete(&sandbox);
    assert!(!sandbox.cgroup("c").exists());
}

fn memory_limits_stand_in_the_cgroup() {
    let sandbox = Sandbox::new();
    let mib = 1024 * 1024;
    created(
        &sandbox,
        json!({"memory": {"limit": 64 * mib, "swap": 96 * mib, "reservation": 32 * mib}}),
    );
    assert_eq!(file(&sandbox, "memory.max"), (64 * mib).to_string());
    // The spec's swap counts memory and swap together; the kernel's file counts swap alone.
    assert_eq!(file(&sandbox, "memory.swap.max"), (32 * mib).to_string());
    assert_eq!(file(&sandbox, "memory.low"), (32 * mib).to_string());
    delete(&sandbox);
}

/// Fills memory: dd keeps one block of `mebibytes` in memory.
fn eater(sandbox: &Sandbox, limit_mebibytes: u64, mebibytes: u64) -> Bundle {
    let bytes = limit_mebibytes * 1024 * 1024;
    let bundle = limited(sandbox, json!({"memory": {"limit": bytes, "swap": bytes}}));
    bundle.args(&[
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        &format!("bs={mebibytes}M"),
        "count=1",
    ])
}

fn a_program_over_its_memory_limit_is_killed() {
    for (mebibytes, status) in [(16, 0), (64, 137)] {
        let sandbox = Sandbox::new();
        let bundle = eater(&sandbox, 32, mebibytes);
        sandbox
            .runtime(&["run", "--bundle", bundle.argument(), "c"])
            .ends_with(status);
    }
}

fn the_cause_is_told_when_memory_ran_out() {
    let sandbox = Sandbox::new();
    let bundle = eater(&sandbox, 32, 64);
    let output = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .ends_with(137);
    let told = output.stderr.lines().last().unwrap_or_default();
    assert!(
        told.contains("out of memory") && told.contains("memory limit"),
        "{told}"
    );
}

fn pids_limit_stands_in_the_cgroup() {
    let sandbox = Sandbox::new();
    created(&sandbox, json!({"pids": {"limit": 20}}));
    assert_eq!(file(&sandbox, "pids.max"), "20");
    delete(&sandbox);
}

fn a_fork_bomb_stops_at_the_pids_limit() {
    let sandbox = Sandbox::new();
    let bundle = limited(&sandbox, json!({"pids": {"limit": 20}}));
    // The shell forks as long as it may; it lives on after the refusal, so the count can be read.
    let bundle =
        bundle.script("trap '' TERM; (while true; do sleep 1000 & done) 2>/dev/null; sleep 1000");
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    let events = wait_for("a refused fork", Duration::from_secs(10), || {
        let events = file(&sandbox, "pids.events");
        (keyed(&events, "max") > 0).then_some(events)
    });
    assert!(keyed(&events, "max") > 0);
    let now: u64 = file(&sandbox, "pids.current").parse().unwrap();
    assert!(now <= 20, "{now} processes under a limit of 20");
    delete(&sandbox);
}

fn cpu_limits_stand_in_the_cgroup() {
    let sandbox = Sandbox::new();
    created(
        &sandbox,
        json!({"cpu": {"quota": 50_000, "period": 100_000}}),
    );
    assert_eq!(file(&sandbox, "cpu.max"), "50000 100000");
    delete(&sandbox);
}

/// As runc 1.4 and crun 1.23 do: a curve that leads the defaults (1024 and 100) to each other, which the straight
/// line of older ones does not.
fn the_default_shares_are_the_default_weight() {
    for (shares, weight) in [(2, "1"), (512, "59"), (1024, "100"), (262_144, "10000")] {
        let sandbox = Sandbox::new();
        created(&sandbox, json!({"cpu": {"shares": shares}}));
        assert_eq!(file(&sandbox, "cpu.weight"), weight, "{shares} shares");
        delete(&sandbox);
    }
}

fn half_a_cpu_is_half_a_cpu() {
    let sandbox = Sandbox::new();
    let bundle = limited(
        &sandbox,
        json!({"cpu": {"quota": 50_000, "period": 100_000}}),
    );
    let bundle = bundle.script("while true; do true; done");
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    let used = || keyed(&file(&sandbox, "cpu.stat"), "usage_usec");
    // The first period may be a whole one; measure after it.
    std::thread::sleep(Duration::from_millis(500));
    let (before, begin) = (used(), std::time::Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let (after, span) = (used(), begin.elapsed());
    let share = (after - before) as f64 / span.as_micros() as f64;
    delete(&sandbox);
    assert!((0.45..=0.55).contains(&share), "used {share:.3} of a CPU");
}

fn cpus_are_those_of_the_set() {
    let sandbox = Sandbox::new();
    let bundle = limited(&sandbox, json!({"cpu": {"cpus": "1", "mems": "0"}})).args(&["nproc"]);
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "1\n");
    let sandbox = Sandbox::new();
    created(&sandbox, json!({"cpu": {"cpus": "1", "mems": "0"}}));
    assert_eq!(file(&sandbox, "cpuset.cpus"), "1");
    delete(&sandbox);
}

fn io_weight_stands_in_the_cgroup() {
    let sandbox = Sandbox::new();
    created(&sandbox, json!({"blockIO": {"weight": 100}}));
    let folder = sandbox.cgroup("c");
    // Where the BFQ scheduler is compiled in, its file takes the spec's own scale; else io.weight a larger one.
    let bfq = folder.join("io.bfq.weight");
    if bfq.exists() {
        assert_eq!(read(&bfq), "default 100");
    } else {
        assert_eq!(file(&sandbox, "io.weight"), "default 910");
    }
    delete(&sandbox);
}

fn unified_keys_are_written_as_they_are() {
    let sandbox = Sandbox::new();
    created(&sandbox, json!({"unified": {"memory.high": "33554432"}}));
    assert_eq!(file(&sandbox, "memory.high"), "33554432");
    delete(&sandbox);
}

fn limits_are_seen_from_inside() {
    let sandbox = Sandbox::new();
    let resources = json!({"memory": {"limit": 64 * 1024 * 1024}, "pids": {"limit": 20}});
    let bundle = limited(&sandbox, resources)
        .script("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max")
        .edit(|spec| {
            spec["mounts"].as_array_mut().unwrap().push(json!({
                "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
            }));
        });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "67108864\n20\n");
}

/// A script that makes the node of /dev/fuse (10:229), which no default rule lists, and opens it.
const OPEN_A_NODE: &str = "mknod /tmp/node c 10 229 && head -c 0 /tmp/node";

fn opener(sandbox: &Sandbox, rules: Value) -> Bundle {
    sandbox.bundle("c").script(OPEN_A_NODE).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["resources"]["devices"] = rules;
        for set in ["bounding", "effective", "permitted"] {
            let set = spec["process"]["capabilities"][set].as_array_mut().unwrap();
            set.push(json!("CAP_MKNOD"));
        }
    })
}

fn an_unlisted_device_cannot_be_opened() {
    let sandbox = Sandbox::new();
    // mknod is allowed by its letter, opening is not.
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "m"},
    ]);
    let bundle = opener(&sandbox, rules);
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_ne!(output.status, 0);
    assert!(
        output.stderr.contains("Operation not permitted"),
        "{output:?}"
    );
}

fn a_listed_device_can_be_opened() {
    let sandbox = Sandbox::new();
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    ]);
    let bundle = opener(&sandbox, rules);
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
}

fn a_limit_whose_controller_is_missing_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = limited(&sandbox, json!({"memory": {"limit": 64 * 1024 * 1024}}));
    let output = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .ends_with(1);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains("memory"), "{}", output.stderr);
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}
