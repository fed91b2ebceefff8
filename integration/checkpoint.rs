//! Checkpoint and restore: a container is written to files and goes on from them, as the bundle says and not
//! as the files say. CRIU needs a kernel that it knows: the rig's.

pub(crate) mod hostile;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::support::command::{patience, wait_for};
use crate::support::{Bundle, Output, Sandbox, claims};

claims![
    a_restored_container_goes_on_where_it_was: [Root, Cgroup2, Criu],
    it_runs_on_when_it_is_left_running: [Root, Cgroup2, Criu],
    a_checkpoint_leans_on_an_earlier_one: [Root, Cgroup2, Criu],
    what_is_bound_comes_from_the_bundle: [Root, Cgroup2, Criu],
    a_restored_container_is_entered_paused_and_deleted: [Root, Cgroup2, Criu, Dhow],
    a_restored_container_opens_no_device_of_the_host: [Root, Cgroup2, Criu, Dhow],
    restore_waits_for_the_end_and_gives_its_status: [Root, Cgroup2, Criu],
    a_missing_criu_is_named_and_the_container_runs_on: [Root, Cgroup2, Dhow],
    a_created_container_is_not_checkpointed: [Root, Cgroup2],
];

/// Counts in a file of its root, with stdio of its own.
const COUNT: &str = "exec </dev/null >/dev/null 2>&1; i=0; \
    while :; do i=$((i+1)); echo $i >> /count; sleep 0.1; done";

/// A bundle that counts.
fn counting(sandbox: &Sandbox) -> Bundle {
    sandbox.bundle("c").edit(|spec| {
        spec["process"]["args"] = json!(["sh", "-c", COUNT]);
        spec["root"]["readonly"] = json!(false);
    })
}

fn started(sandbox: &Sandbox, bundle: &Bundle) {
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    counts_beyond(bundle, 0);
}

/// Waits until the count is above `last`, and gives it.
#[track_caller]
fn counts_beyond(bundle: &Bundle, last: u64) -> u64 {
    wait_for("the count", patience(Duration::from_secs(10)), || {
        count(bundle).filter(|count| *count > last)
    })
}

fn count(bundle: &Bundle) -> Option<u64> {
    let text = std::fs::read_to_string(bundle.rootfs().join("count")).ok()?;
    text.lines().last()?.parse().ok()
}

fn images(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.path().join(name)
}

fn checkpoint(sandbox: &Sandbox, images: &Path, flags: &[&str]) -> Output {
    let path = images.to_str().unwrap();
    let mut words = vec!["checkpoint", "--image-path", path];
    words.extend(flags);
    words.push("c");
    sandbox.runtime(&words)
}

fn restore(sandbox: &Sandbox, images: &Path, bundle: &Bundle, flags: &[&str]) -> Output {
    let path = images.to_str().unwrap();
    let mut words = vec![
        "restore",
        "--image-path",
        path,
        "--bundle",
        bundle.argument(),
    ];
    words.extend(flags);
    words.push("c");
    sandbox.runtime(&words)
}

/// All of a failed command, with CRIU's own log.
#[track_caller]
fn good(output: Output, images: &Path) {
    if output.status != 0 {
        for log in ["dump.log", "restore.log"] {
            let text = std::fs::read_to_string(images.join(log)).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(30).collect();
            eprintln!("{log}: {tail:#?}");
        }
    }
    output.success();
}

fn a_restored_container_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    started(&sandbox, &bundle);
    let images = images(&sandbox, "images");
    let before = counts_beyond(&bundle, 3);
    good(checkpoint(&sandbox, &images, &[]), &images);
    let gone = sandbox.runtime(&["state", "c"]);
    assert_ne!(gone.status, 0, "{gone:?}");
    let at_rest = count(&bundle).unwrap();
    assert!(at_rest >= before);
    good(restore(&sandbox, &images, &bundle, &["--detach"]), &images);
    let after = counts_beyond(&bundle, at_rest);
    assert!(
        after < at_rest + 100,
        "it began anew? {at_rest} then {after}"
    );
    assert_eq!(sandbox.state("c")["status"], "running");
    let pid = sandbox.state("c")["pid"].to_string();
    let members = std::fs::read_to_string(sandbox.cgroup("c").join("cgroup.procs")).unwrap();
    assert!(
        members.lines().any(|line| line == pid),
        "{pid} is not in {members}"
    );
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn it_runs_on_when_it_is_left_running() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    started(&sandbox, &bundle);
    let images = images(&sandbox, "images");
    good(checkpoint(&sandbox, &images, &["--leave-running"]), &images);
    let last = count(&bundle).unwrap();
    counts_beyond(&bundle, last);
    assert_eq!(sandbox.state("c")["status"], "running");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_checkpoint_leans_on_an_earlier_one() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    started(&sandbox, &bundle);
    let (first, second) = (images(&sandbox, "first"), images(&sandbox, "second"));
    good(checkpoint(&sandbox, &first, &["--pre-dump"]), &first);
    let last = count(&bundle).unwrap();
    counts_beyond(&bundle, last);
    good(
        checkpoint(&sandbox, &second, &["--parent-path", "../first"]),
        &second,
    );
    let last = count(&bundle).unwrap();
    good(restore(&sandbox, &second, &bundle, &["--detach"]), &second);
    counts_beyond(&bundle, last);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn what_is_bound_comes_from_the_bundle() {
    let sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let bundle = counting(&sandbox).edit(|spec| {
        let script = COUNT.replace("/count", "/opt/count");
        spec["process"]["args"] = json!(["sh", "-c", script]);
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(
            json!({"destination": "/opt", "type": "bind", "source": data, "options": ["rbind"]}),
        );
    });
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let read = || std::fs::read_to_string(data.join("count")).ok();
    let seen = |last: Option<String>| {
        wait_for("the count", patience(Duration::from_secs(10)), || {
            read().filter(|count| Some(count) != last.as_ref())
        })
    };
    seen(None);
    let images = images(&sandbox, "images");
    good(checkpoint(&sandbox, &images, &[]), &images);
    let last = read();
    good(restore(&sandbox, &images, &bundle, &["--detach"]), &images);
    seen(last);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_restored_container_is_entered_paused_and_deleted() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    started(&sandbox, &bundle);
    let images = images(&sandbox, "images");
    good(checkpoint(&sandbox, &images, &[]), &images);
    let pid_file = sandbox.path().join("pid");
    let flag = format!("--pid-file={}", pid_file.display());
    good(
        restore(&sandbox, &images, &bundle, &["--detach", &flag]),
        &images,
    );
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert_eq!(pid, sandbox.state("c")["pid"].to_string());
    let inside = sandbox.runtime(&["exec", "c", "cat", "/count"]).success();
    assert!(inside.stdout.starts_with("1\n2\n3\n"), "{inside:?}");
    sandbox.runtime(&["pause", "c"]).success();
    assert_eq!(sandbox.state("c")["status"], "paused");
    sandbox.runtime(&["resume", "c"]).success();
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    wait_for("the end", patience(Duration::from_secs(5)), || {
        (sandbox.state("c")["status"] == "stopped").then_some(())
    });
    sandbox.runtime(&["delete", "c"]).success();
}

fn a_restored_container_opens_no_device_of_the_host() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox).edit(|spec| {
        for set in ["bounding", "effective", "permitted"] {
            let set = &mut spec["process"]["capabilities"][set];
            set.as_array_mut().unwrap().push(json!("CAP_MKNOD"));
        }
    });
    started(&sandbox, &bundle);
    let images = images(&sandbox, "images");
    good(checkpoint(&sandbox, &images, &[]), &images);
    good(restore(&sandbox, &images, &bundle, &["--detach"]), &images);
    // The kernel's messages.
    let script = "mknod /dev/log c 1 11; head -c 1 /dev/log; echo $?";
    let output = sandbox
        .runtime(&["exec", "c", "sh", "-c", script])
        .success();
    assert_eq!(output.stdout, "1\n", "{output:?}");
    assert!(
        output.stderr.contains("Operation not permitted"),
        "{output:?}"
    );
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn restore_waits_for_the_end_and_gives_its_status() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox).edit(|spec| {
        let script = COUNT.replace("do i", "do [ -e /end ] && exit 7; i");
        spec["process"]["args"] = json!(["sh", "-c", script]);
    });
    started(&sandbox, &bundle);
    let images = images(&sandbox, "images");
    good(checkpoint(&sandbox, &images, &[]), &images);
    std::fs::write(bundle.rootfs().join("end"), "").unwrap();
    restore(&sandbox, &images, &bundle, &[]).ends_with(7);
    let gone = sandbox.runtime(&["state", "c"]);
    assert_ne!(gone.status, 0, "{gone:?}");
}

fn a_missing_criu_is_named_and_the_container_runs_on() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    started(&sandbox, &bundle);
    let images = images(&sandbox, "images");
    let output = crate::support::run(
        sandbox
            .command()
            .args(["--criu", "/nope/criu", "checkpoint", "--image-path"])
            .arg(&images)
            .arg("c"),
    )
    .ends_with(1);
    let expected = "dhow: /nope/criu: not found; checkpoint and restore are done by CRIU, which has to be installed\n";
    assert_eq!(output.stderr, expected);
    let last = count(&bundle).unwrap();
    counts_beyond(&bundle, last);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_created_container_is_not_checkpointed() {
    let sandbox = Sandbox::new();
    let bundle = counting(&sandbox);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let output = checkpoint(&sandbox, &images(&sandbox, "images"), &[]).ends_with(1);
    assert!(
        output.stderr.contains("cannot be checkpointed"),
        "{output:?}"
    );
    sandbox.runtime(&["delete", "--force", "c"]).success();
}
