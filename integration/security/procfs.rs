//! A7: a /proc that is not one, in the image or on the host: what dhow writes to the kernel it writes there, or not at all.
//! Not its job: the container's own /proc as a link (mounts), /proc of a container that is entered (exec).

use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::Canary;
use crate::support::sandbox::runtime;
use crate::support::{Output, Sandbox, claims, run};

claims![
    a07_cve_2025_52881_a_false_proc_takes_no_setting: [Root, Cgroup2],
    a07_cve_2019_16884_a_label_goes_to_no_false_proc: [Root, Cgroup2, Dhow],
    a07_cve_2025_52881_descriptors_of_a_covered_proc_are_not_followed: [Root, Cgroup2, Dhow, Tool("unshare"), Tool("mkfifo")],
];

/// What a runtime writes to, as links to the canary's file.
fn false_proc(folder: &Path, canary: &Canary) {
    for name in [
        "self/attr/exec",
        "self/attr/apparmor/exec",
        "self/attr/current",
        "self/oom_score_adj",
        "self/setgroups",
        "sys/net/ipv4/ip_forward",
        "thread-self/attr/exec",
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(canary.path().join("exec"), path).unwrap();
    }
    symlink("../oom_score_adj", folder.join("self/attr/oom")).unwrap();
}

/// The ways in which an image, or a volume, puts something else at /proc.
fn started(sandbox: &Sandbox, way: &str, canary: &Canary, edit: impl FnOnce(&mut Value)) -> Output {
    let fake = sandbox.path().join(format!("fake-{way}"));
    std::fs::create_dir(&fake).unwrap();
    false_proc(&fake, canary);
    let bundle = sandbox.bundle(way).script("cat /proc/self/attr/exec").edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["maskedPaths"] = json!([]);
        spec["linux"]["readonlyPaths"] = json!([]);
        spec["process"]["oomScoreAdj"] = json!(123);
        let mounts = spec["mounts"].as_array_mut().unwrap();
        match way {
            "volume" => {
                let volume = json!({"destination": "/proc", "type": "bind", "source": fake, "options": ["bind"]});
                mounts.retain(|mount| mount["destination"] != "/proc");
                mounts.push(volume);
            }
            "over" => mounts.push(
                json!({"destination": "/proc", "type": "bind", "source": fake, "options": ["rbind"]}),
            ),
            "part" => mounts.push(
                json!({"destination": "/proc/self/attr", "type": "bind", "source": fake.join("self/attr"), "options": ["bind"]}),
            ),
            _ => mounts.retain(|mount| mount["destination"] != "/proc"),
        }
        edit(spec);
    });
    if way == "image" {
        std::fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
        run(Command::new("cp")
            .arg("-a")
            .arg(&fake)
            .arg(bundle.rootfs().join("proc")))
        .success();
    }
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    sandbox.runtime(&["delete", "--force", "c"]);
    output
}

const WAYS: [&str; 4] = ["image", "volume", "over", "part"];

/// The canary's file lies in the root too, by the same path: who writes after the pivot would find it there.
fn a07_cve_2025_52881_a_false_proc_takes_no_setting() {
    for way in WAYS {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let output = started(&sandbox, way, &canary, |spec| {
            let inside = json!({"destination": canary.path(), "type": "bind", "source": canary.path(), "options": ["bind"]});
            spec["mounts"].as_array_mut().unwrap().push(inside);
            spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        });
        canary.assert_unseen(&output.stdout);
    }
}

/// The label is applied, or the start fails: on a host without the module it fails in every case.
fn a07_cve_2019_16884_a_label_goes_to_no_false_proc() {
    for way in WAYS {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let output = started(&sandbox, way, &canary, |spec| {
            spec["process"]["apparmorProfile"] = json!("dhow-no-such-profile");
        });
        assert_ne!(output.status, 0, "{way}: {output:?}");
        assert_eq!(output.stdout, "", "{way}");
        canary.assert_untouched();
    }
}

/// On the host's /proc itself something covers the folder of dhow's descriptors: each of them is a FIFO that tells of
/// whoever opens it.
fn a07_cve_2025_52881_descriptors_of_a_covered_proc_are_not_followed() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let fifo = sandbox.path().join("fifo");
    run(Command::new("mkfifo").arg(&fifo)).success();
    let opened = Arc::new(AtomicBool::new(false));
    let (path, flag) = (fifo.clone(), opened.clone());
    let watcher = std::thread::spawn(move || {
        let _held = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        flag.store(true, Ordering::SeqCst);
    });
    let script = "fifo=$1; shift; mount -t tmpfs x /proc/$$/fd || exit 99; \
        for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do ln -s \"$fifo\" /proc/$$/fd/$n; done; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]);
    command
        .arg(&fifo)
        .arg(runtime())
        .arg("--root")
        .arg(sandbox.state_root());
    let output = run(command.args(["exec", "c", "echo", "inside"]));
    let followed = opened.load(Ordering::SeqCst);
    // The watcher waits for a reader: here is one.
    let _reader = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(0o4000)
        .open(&fifo)
        .unwrap();
    watcher.join().unwrap();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert!(!followed, "{output:?}");
    assert!(
        output.status != 0 || output.stdout == "inside\n",
        "{output:?}"
    );
    assert_ne!(output.status, 99, "{output:?}");
}
