//! A5, A6, A8, A9, C5-C8, C14, C15: places in a root that lie about what they are, and mounts that would lead out of it.
//! Deterministic: each name is wrong before dhow begins; races has the same for names that change. What the host has is
//! looked at afterwards. Not its job: what mounts are for (mounts, rootfs).

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Canary, hostile};
use crate::support::command::wait_for;
use crate::support::{Bundle, Output, Sandbox, claims, run};

claims![
    a05_cve_2025_31133_a_mask_is_the_null_device_or_nothing: [Root, Cgroup2],
    a06_cve_2025_52565_the_console_is_a_terminal_or_nothing: [Root, Cgroup2],
    a08_cve_2023_27561_proc_and_sys_are_no_links: [Root, Cgroup2],
    a09_cve_2026_41579_devices_are_made_inside: [Root, Cgroup2],
    c05_ghsa_3q8j_what_is_protected_is_so_after_the_start: [Root, Cgroup2],
    c06_the_whole_tree_is_read_only_where_asked: [Root, Cgroup2, Tool("unshare")],
    c07_no_mount_travels_to_a_shared_host: [Root, Cgroup2, Tool("unshare")],
    c08_without_pivot_root_nobody_climbs_out: [Root, Cgroup2, Tool("gcc"), Tool("unshare")],
    c14_paths_with_the_characters_of_option_lists: [Root, Cgroup2],
    c15_destinations_lead_nowhere_else: [Root, Cgroup2],
];

fn start(sandbox: &Sandbox, bundle: &Bundle) -> Output {
    sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"])
}

fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

/// The image's own /dev, on which nothing is mounted.
fn without_dev(spec: &mut Value) {
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    spec["root"]["readonly"] = json!(false);
}

/// Puts something at this path of a root.
type Plant = fn(&Path);

/// With the guard left out, what lies at /dev/null covers /proc/keys: its content shows there.
fn a05_cve_2025_31133_a_mask_is_the_null_device_or_nothing() {
    let plants: [(&str, Plant); 4] = [
        ("a file", |null| std::fs::write(null, "planted\n").unwrap()),
        ("a link to a file", |null| {
            std::fs::write(null.with_file_name("file"), "planted\n").unwrap();
            symlink("file", null).unwrap();
        }),
        ("a link into /proc", |null| {
            symlink("/proc/sys/kernel/core_pattern", null).unwrap();
        }),
        ("another device", |null| {
            let mut mknod = Command::new("mknod");
            run(mknod.arg(null).args(["c", "1", "5"])).success();
        }),
    ];
    for (what, plant) in plants {
        let sandbox = Sandbox::new();
        let script = "head -c 64 /proc/keys | wc -c; echo x 2>&1 > /proc/sys/kernel/core_pattern";
        let bundle = sandbox.bundle("c").script(script).edit(|spec| {
            without_dev(spec);
            // The container brings no devices of its own that would be in the way.
            spec["linux"]["maskedPaths"] = json!(["/proc/keys"]);
        });
        plant(&bundle.rootfs().join("dev/null"));
        let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
        let output = start(&sandbox, &bundle);
        let after = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
        assert_eq!(pattern, after, "{what}");
        assert!(output.status != 0, "{what}: {output:?}");
        assert_eq!(output.stdout, "", "{what}: {output:?}");
    }
    // A /dev/null of the mount that the image's name leads to is as good as any.
    null_is_looked_at_where_it_is();
}

/// /dev is a tmpfs from the host on which null is a file: all that dhow made of its own accord is missing there.
fn null_is_looked_at_where_it_is() {
    let sandbox = Sandbox::new();
    let dev = sandbox.path().join("dev");
    for name in ["pts", "shm", "mqueue"] {
        std::fs::create_dir_all(dev.join(name)).unwrap();
    }
    std::fs::write(dev.join("null"), "planted\n").unwrap();
    let bundle = sandbox.bundle("c").script("cat /proc/keys").edit(|spec| {
        without_dev(spec);
        let bind = json!({"destination": "/dev", "source": dev, "options": ["bind"]});
        mount(spec, bind);
        spec["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    });
    let output = start(&sandbox, &bundle);
    assert_ne!(output.status, 0, "{output:?}");
    assert!(!output.stdout.contains("planted"), "{output:?}");
}

fn a06_cve_2025_52565_the_console_is_a_terminal_or_nothing() {
    for what in ["nothing", "link", "folder", "host"] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let script =
            "stat -L -c %F,%t /dev/console > /tmp/out 2>&1; cat /etc/target >> /tmp/out; sleep 100";
        let mut bundle = sandbox.bundle("c").script(script).edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/dev");
            spec["root"]["readonly"] = json!(false);
        });
        bundle.set("process.terminal", json!(true));
        let root = bundle.rootfs();
        std::fs::write(root.join("etc/target"), "target\n").unwrap();
        let console = root.join("dev/console");
        match what {
            "link" => symlink("/etc/target", &console).unwrap(),
            "folder" => std::fs::create_dir(&console).unwrap(),
            "host" => symlink(canary.path().join("secret"), &console).unwrap(),
            _ => {}
        }
        let socket = sandbox.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let argument = socket.to_str().unwrap();
        let output = sandbox.runtime(&[
            "run",
            "--detach",
            "--console-socket",
            argument,
            "--bundle",
            bundle.argument(),
            "c",
        ]);
        if output.status == 0 {
            let seen = wait_for("the program", Duration::from_secs(5), || {
                let text = std::fs::read_to_string(root.join("tmp/out")).ok()?;
                text.ends_with("target\n").then_some(text)
            });
            assert_eq!(seen, "character special file,88\ntarget\n", "{what}");
        } else {
            assert_ne!(what, "nothing", "{output:?}");
        }
        drop(listener);
        sandbox.runtime(&["delete", "--force", "c"]);
        canary.assert_untouched();
    }
}

fn a08_cve_2023_27561_proc_and_sys_are_no_links() {
    for name in ["proc", "sys"] {
        for target in ["/etc", "etc", "/", "../../.."] {
            let sandbox = Sandbox::new();
            let bundle = sandbox.bundle("c").script("cat /proc/self/mounts");
            let path = bundle.rootfs().join(name);
            std::fs::remove_dir(&path).unwrap();
            symlink(target, &path).unwrap();
            let output = start(&sandbox, &bundle);
            assert_ne!(output.status, 0, "{name} -> {target}: {output:?}");
            assert!(output.stderr.contains(name), "{output:?}");
        }
    }
}

fn a09_cve_2026_41579_devices_are_made_inside() {
    for deep in ["dev", "dev/pts", "dev/shm", "dev/mqueue"] {
        for way in ["absolute", "relative"] {
            let sandbox = Sandbox::new();
            let canary = Canary::new(&sandbox);
            let target = match way {
                "absolute" => canary.text().to_owned(),
                _ => format!("../../../../../../../..{}", canary.text()),
            };
            let bundle = sandbox.bundle("c").script("cat /dev/secret").edit(|spec| {
                let mounts = spec["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| mount["destination"] != "/dev");
                spec["root"]["readonly"] = json!(false);
            });
            let path = bundle.rootfs().join(deep);
            if path.is_dir() {
                std::fs::remove_dir(&path).unwrap();
            }
            symlink(target, &path).unwrap();
            // It may be refused, or /dev may be made inside: the canary decides.
            let output = start(&sandbox, &bundle);
            canary.assert_unseen(&output.stdout);
        }
    }
}

/// Looked at from inside, when all is done: each mask is an empty folder or the null device, each locked path is a
/// read-only mount.
fn c05_ghsa_3q8j_what_is_protected_is_so_after_the_start() {
    let sandbox = Sandbox::new();
    let script = "for p in $MASKED; do test -e $p || continue; \
        if test -d $p; then ls -A $p; touch $p/x 2>&1 | grep -v 'Read-only'; \
        else stat -c %t:%T $p | grep -vx 1:3; fi; done; \
        for p in $LOCKED; do test -e $p || continue; \
        grep -q \" $p ro,\" /proc/self/mountinfo || echo $p is not read-only; done; true";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        for (name, list) in [("MASKED", "maskedPaths"), ("LOCKED", "readonlyPaths")] {
            let paths = spec["linux"][list].as_array().unwrap().iter();
            let paths: Vec<&str> = paths.map(|path| path.as_str().unwrap()).collect();
            let pair = json!(format!("{name}={}", paths.join(" ")));
            spec["process"]["env"].as_array_mut().unwrap().push(pair);
        }
    });
    assert_eq!(start(&sandbox, &bundle).success().stdout, "");
}

fn shell(script: &str, path: &Path, sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script]);
    let ours = sandbox.command();
    command.arg(path).arg(ours.get_program());
    run(command.args(ours.get_args()).args(arguments))
}

fn c06_the_whole_tree_is_read_only_where_asked() {
    let sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    std::fs::create_dir_all(data.join("below")).unwrap();
    let bundle = sandbox
        .bundle("c")
        .script("for f in /tmp/x /tmp/below/x; do touch $f 2>&1; done; true")
        .edit(|spec| {
            let options = ["rbind", "rro"];
            mount(
                spec,
                json!({"destination": "/tmp", "source": data, "options": options}),
            );
        });
    let script = "mount -t tmpfs x \"$0/below\"; exec \"$@\"";
    let output = shell(
        script,
        &data,
        &sandbox,
        &["run", "--bundle", bundle.argument(), "c"],
    );
    let refused = output.stdout.matches("Read-only file system").count();
    assert_eq!(refused, 2, "{output:?}");
}

fn c07_no_mount_travels_to_a_shared_host() {
    for word in [
        "",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "private",
        "rprivate",
        "unbindable",
        "runbindable",
    ] {
        let sandbox = Sandbox::new();
        let mut bundle = sandbox.bundle("c").script("mount -t tmpfs x /tmp; true");
        if !word.is_empty() {
            bundle.set("linux.rootfsPropagation", json!(word));
        }
        bundle.set("process.capabilities.bounding", json!(["CAP_SYS_ADMIN"]));
        bundle.set("process.capabilities.effective", json!(["CAP_SYS_ADMIN"]));
        bundle.set("process.capabilities.permitted", json!(["CAP_SYS_ADMIN"]));
        // As systemd leaves a host: every mount is shared. The bundle is a mount point as containerd's are.
        let script = "mount --make-rshared / && mount --bind \"$0\" \"$0\" || exit 9; \
            cat /proc/self/mountinfo > \"$0/before\"; \"$@\" >&2; status=$?; \
            cat /proc/self/mountinfo > \"$0/after\"; cmp \"$0/before\" \"$0/after\" && exit $status";
        let root = bundle.rootfs();
        let output = shell(
            script,
            &root,
            &sandbox,
            &["run", "--bundle", bundle.argument(), "c"],
        );
        assert_eq!(output.status, 0, "{word}: {output:?}");
    }
}

/// With CAP_SYS_CHROOT, on the old way out: a root below the working directory, and up.
fn c08_without_pivot_root_nobody_climbs_out() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let script = format!("hostile climb {}/secret; ls /", canary.text());
    let bundle = sandbox.bundle("c").script(&script).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = json!(["CAP_SYS_CHROOT"]);
        }
    });
    hostile::put_into(&bundle);
    let arguments = ["run", "--no-pivot", "--bundle", bundle.argument(), "c"];
    let output = sandbox.runtime(&arguments).success();
    canary.assert_unseen(&output.stdout);
    assert!(output.stdout.contains("climbed"), "{output:?}");
}

fn c14_paths_with_the_characters_of_option_lists() {
    for name in ["a:b", "a,upperdir=x", "a\\:b", "a b\n"] {
        let sandbox = Sandbox::new();
        let folder = sandbox.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), "there\n").unwrap();
        let mut bundle = Bundle::create(&folder.join("c"), &sandbox.cgroups_path("c"));
        bundle = bundle.script("cat /tmp/file").edit(|spec| {
            mount(
                spec,
                json!({"destination": "/tmp", "source": folder, "options": ["bind"]}),
            );
        });
        let output = start(&sandbox, &bundle).success();
        assert_eq!(output.stdout, "there\n", "{name:?}");
    }
}

fn c15_destinations_lead_nowhere_else() {
    for destination in [
        "made",
        "../made",
        "/a/../../made",
        "/link",
        "/link/made",
        "/alive/made",
        "/tmp/../link/made",
    ] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        for file in [false, true] {
            let bundle = sandbox.bundle("c").script("cat /made/secret").edit(|spec| {
                spec["root"]["readonly"] = json!(false);
                let source = match file {
                    true => canary.path().join("link"),
                    false => sandbox.path().join("state"),
                };
                mount(
                    spec,
                    json!({"destination": destination, "source": source, "options": ["bind"]}),
                );
            });
            let link = bundle.rootfs().join("link");
            let dangling = canary.path().join("missing");
            let _ = symlink(dangling, &link);
            let _ = symlink(canary.path(), bundle.rootfs().join("alive"));
            let output = start(&sandbox, &bundle);
            canary.assert_unseen(&output.stdout);
            assert!(!sandbox.path().join("made").exists(), "{destination}");
            std::fs::remove_dir_all(sandbox.path().join("c")).unwrap();
        }
    }
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(|spec| {
        mount(spec, json!({"destination": "/tmp\u{0}/x", "type": "tmpfs"}));
    });
    let output = start(&sandbox, &bundle);
    assert_ne!(output.status, 0, "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
}
