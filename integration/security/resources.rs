//! C11, D2, D5, D6: devices, cgroups and memory: what a container can take of the host's beyond its share. Not its job:
//! that limits are the spec's (cgroups).

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::build::Site;
use crate::support::sandbox::dhow;
use crate::support::{Bundle, Sandbox, claims, run};

claims![
    c11_a_device_that_is_made_cannot_be_opened: [Root, Cgroup2],
    d02_cve_2023_25809_a_users_container_writes_to_no_cgroup: [Root, Cgroup2, UserNamespaces, Tool("setpriv"), Dhow],
    d05_an_images_container_has_limits_unasked: [Root, Cgroup2, Overlay, Controller("pids"), Controller("memory"), Dhow],
    d06_a_start_without_memory_ends_soon_and_leaves_nothing: [Root, Cgroup2, Controller("memory")],
];

/// With CAP_MKNOD, as Docker's default has it, a file of any number can be made. Those of the host's disks, of its
/// kernel's and of its drivers must not open.
fn c11_a_device_that_is_made_cannot_be_opened() {
    let sandbox = Sandbox::new();
    let script = "n=0; for d in 'b 8 0' 'b 7 0' 'b 252 0' 'b 259 0' 'c 1 1' 'c 1 2' 'c 1 4' 'c 1 11' 'c 10 229' 'c 10 232' \
        'c 10 235' 'c 10 237' 'c 7 0' 'c 4 0'; do n=$((n+1)); mknod /tmp/$n $d || continue; \
        (: < /tmp/$n) 2>&1 | grep -v 'not permitted' | sed \"s/^/$d: /\"; \
        (: < /tmp/$n) 2>/dev/null && echo $d opened; done; true";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
        }
    });
    // Some of them the bundle has.
    for applet in ["mknod", "sed"] {
        let _ = std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin").join(applet));
    }
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "");
}

/// Without a cgroup namespace and a /sys of its own, a user's container would get the host's cgroups, which some of are
/// the user's.
fn d02_cve_2023_25809_a_users_container_writes_to_no_cgroup() {
    let sandbox = Sandbox::new();
    let own = sandbox.path().join("own");
    let script = "find /sys/fs/cgroup -type d 2>/dev/null | while read d; do mkdir $d/dhow-canary 2>/dev/null && echo made in $d; \
        echo $$ 2>/dev/null > $d/cgroup.procs && echo moved to $d; done; true";
    let bundle = Bundle::create(&own.join("c"), "").script(script).edit(|spec| {
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        spec["linux"]["uidMappings"] = map.clone();
        spec["linux"]["gidMappings"] = map;
        spec["linux"]["cgroupsPath"] = json!("");
        let kinds = spec["linux"]["namespaces"].as_array_mut().unwrap();
        kinds.retain(|n| n["type"] != "cgroup" && n["type"] != "network");
        kinds.push(json!({"type": "user"}));
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| m["type"] != "cgroup" && m["type"] != "sysfs" && m["type"] != "mqueue");
        for mount in mounts.iter_mut() {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|o| !o.as_str().unwrap().starts_with("gid="));
            }
        }
        mounts.push(json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]}));
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev"]}));
        spec["process"].as_object_mut().unwrap().remove("rlimits");
    });
    for applet in ["find", "mkdir"] {
        let _ = std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin").join(applet));
    }
    crate::support::copy_program(dhow(), own.join("program"));
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(sandbox.path(), open).unwrap();
    run(Command::new("chown").args(["-R", "1000:1000"]).arg(&own)).success();
    // The caller's cgroup is the user's own.
    let callers = sandbox.cgroup("callers");
    std::fs::create_dir(&callers).unwrap();
    run(Command::new("chown")
        .arg("-R")
        .arg("1000:1000")
        .arg(&callers))
    .success();
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo 0 > \"$0\"/cgroup.procs && exec \"$@\""])
        .arg(&callers)
        .args(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"])
        .arg(own.join("program"))
        .args([
            "--cgroup-manager",
            "disabled",
            "run",
            "--bundle",
            bundle.argument(),
            "c",
        ])
        .env("XDG_RUNTIME_DIR", &own);
    let output = run(&mut command);
    std::fs::remove_dir(&callers).expect("nothing was made in it");
    assert_eq!(output.stdout, "", "{output:?}");
    assert_eq!(output.status, 0, "{output:?}");
}

/// Nobody said how many processes; and who says how much memory has said how much swap.
fn d05_an_images_container_has_limits_unasked() {
    let site = Site::new();
    let look = "cd /sys/fs/cgroup; cat pids.max memory.max; test ! -e memory.swap.max || cat memory.swap.max";
    let words = ["run", "--rm", "--memory", "64m", "base", "sh", "-c", look];
    let output = run(site.dhow().args(words)).success();
    let seen: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(seen[..2], ["2048", "67108864"]);
    assert!(seen[2..].iter().all(|swap| *swap == "0"), "{seen:?}");
    // A bomb stops there, and whoever is beside it still makes processes.
    let bomb = "i=0; while test $i -lt 40 && sleep 100 & do i=$((i+1)); done 2>/dev/null; echo $(cat /sys/fs/cgroup/pids.current)";
    let words = ["run", "--rm", "--pids", "20", "base", "sh", "-c", bomb];
    let output = run(site.dhow().args(words));
    assert!(run(&mut Command::new("true")).status == 0, "{output:?}");
}

/// From less than the kernel can begin with to enough: an error in time that speaks of memory, or a program that ran.
fn d06_a_start_without_memory_ends_soon_and_leaves_nothing() {
    for limit in [
        4 << 10,
        64 << 10,
        256 << 10,
        512 << 10,
        1 << 20,
        2 << 20,
        16 << 20,
    ] {
        let sandbox = Sandbox::new();
        let bundle = sandbox.bundle("c").args(&["true"]).edit(|spec| {
            spec["linux"]["resources"]["memory"] = json!({"limit": limit});
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        if output.status != 0 {
            assert!(output.stderr.contains("memory"), "{limit}: {output:?}");
            assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        }
        sandbox.runtime(&["delete", "--force", "c"]);
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{limit}");
    }
}
