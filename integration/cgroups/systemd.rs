//! The same cgroups by way of systemd: a scope for each container, with systemd's word for its limits.
//! What runc does under `--systemd-cgroup` holds for both.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::command::wait_for;
use crate::support::{Bundle, Output, Sandbox, claims, run};

claims![
    a_container_lives_in_a_scope_of_its_own: [Root, Systemd],
    a_slice_lies_in_the_slices_of_its_name: [Root, Systemd],
    limits_stand_in_the_unit_and_in_the_files: [Root, Systemd],
    an_update_changes_the_unit_and_the_files: [Root, Systemd],
    annotations_set_properties_of_the_unit: [Root, Systemd],
    d04_a_property_that_reaches_further_is_refused: [Root, Systemd, Dhow],
    one_process_is_enough_of_a_limit: [Root, Systemd, Dhow],
    a_unit_that_ran_out_of_memory_goes_as_well: [Root, Systemd],
    a_subgroup_holds_the_processes_below_the_limits: [Root, Systemd, Dhow],
    a_reload_of_systemd_changes_no_limit: [Root, Systemd],
    another_form_of_place_is_refused: [Root, Systemd],
    a_user_has_scopes_of_their_own: [Root, Systemd, RootlessUser, Tool("setpriv"), Dhow],
    without_systemd_that_is_said: [Root, Cgroup2, FaultBuild],
    the_form_of_systemd_is_none_without_it: [Root, Cgroup2, Dhow],
];

/// A scope that no other test has, in `slice`.
struct Unit {
    sandbox: Sandbox,
    slice: &'static str,
    name: String,
}

impl Unit {
    fn new(slice: &'static str) -> Self {
        let sandbox = Sandbox::new();
        let name = sandbox
            .cgroups_path("c")
            .trim_matches('/')
            .replace('/', "-");
        Self {
            sandbox,
            slice,
            name,
        }
    }

    fn scope(&self) -> String {
        format!("test-{}.scope", self.name)
    }

    fn bundle(&self, resources: Value) -> Bundle {
        let path = format!("{}:test:{}", self.slice, self.name);
        super::limits::limited(&self.sandbox, resources)
            .args(&["sleep", "1000"])
            .edit(|spec| spec["linux"]["cgroupsPath"] = json!(path))
    }

    fn runtime(&self, arguments: &[&str]) -> Output {
        self.sandbox
            .runtime(&[&["--systemd-cgroup"], arguments].concat())
    }

    fn start(&self, bundle: &Bundle) {
        self.runtime(&["create", "--bundle", bundle.argument(), "c"])
            .success();
        self.runtime(&["start", "c"]).success();
    }

    /// Where the first process lives.
    fn cgroup(&self) -> PathBuf {
        let pid = self.sandbox.state("c")["pid"].to_string();
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        Path::new("/sys/fs/cgroup").join(text.trim().strip_prefix("0::/").unwrap())
    }

    fn file(&self, name: &str) -> String {
        super::read(&self.cgroup().join(name))
    }

    fn property(&self, name: &str) -> String {
        property(&self.scope(), name)
    }

    /// Deletes the container; nothing of it is left then.
    fn delete(&self) {
        let cgroup = self.cgroup();
        self.runtime(&["delete", "--force", "c"]).success();
        assert!(!cgroup.exists(), "{cgroup:?}");
        wait_for("the unit's end", Duration::from_secs(5), || {
            (self.property("LoadState") == "not-found").then_some(())
        });
    }
}

fn property(unit: &str, name: &str) -> String {
    let mut command = Command::new("systemctl");
    command.args(["show", "--value", "--property", name, unit]);
    run(&mut command).success().stdout.trim().to_owned()
}

fn a_container_lives_in_a_scope_of_its_own() {
    let unit = Unit::new("system.slice");
    unit.start(&unit.bundle(json!({})));
    let place = Path::new("/sys/fs/cgroup/system.slice").join(unit.scope());
    assert_eq!(unit.cgroup(), place);
    assert_eq!(unit.property("ActiveState"), "active");
    assert_eq!(unit.property("Delegate"), "yes");
    assert_eq!(unit.property("Slice"), "system.slice");
    let pid = unit.sandbox.state("c")["pid"].to_string();
    assert_eq!(unit.file("cgroup.procs"), pid, "nobody else is there");
    unit.delete();
}

fn a_slice_lies_in_the_slices_of_its_name() {
    let unit = Unit::new("dhowtest-inner.slice");
    unit.start(&unit.bundle(json!({})));
    let place = Path::new("/sys/fs/cgroup/dhowtest.slice/dhowtest-inner.slice");
    assert_eq!(unit.cgroup(), place.join(unit.scope()));
    unit.delete();
}

fn limits() -> Value {
    json!({
        "memory": {"limit": 67_108_864, "swap": 67_108_864, "reservation": 33_554_432},
        "pids": {"limit": 20},
        "cpu": {"shares": 2, "quota": 12_345, "period": 100_000, "cpus": "0", "mems": "0"},
        "unified": {"memory.high": "50331648"},
    })
}

fn limits_stand_in_the_unit_and_in_the_files() {
    let unit = Unit::new("system.slice");
    unit.start(&unit.bundle(limits()));
    for (property, value) in [
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemoryHigh", "50331648"),
        ("TasksMax", "20"),
        ("CPUWeight", "1"),
        ("CPUQuotaPerSecUSec", "130ms"),
        ("AllowedCPUs", "0"),
    ] {
        assert_eq!(unit.property(property), value, "{property}");
    }
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("pids.max", "20"),
        ("cpu.weight", "1"),
        ("cpu.max", "12345 100000"),
        ("cpuset.cpus", "0"),
    ] {
        assert_eq!(unit.file(file), value, "{file}");
    }
    unit.delete();
}

fn an_update_changes_the_unit_and_the_files() {
    let unit = Unit::new("system.slice");
    unit.start(&unit.bundle(limits()));
    let flags = ["update", "--pids-limit", "30", "--cpu-quota", "50000", "c"];
    unit.runtime(&flags).success();
    assert_eq!(unit.property("TasksMax"), "30");
    assert_eq!(unit.file("pids.max"), "30");
    assert_eq!(unit.property("CPUQuotaPerSecUSec"), "500ms");
    assert_eq!(unit.file("cpu.max"), "50000 100000");
    assert_eq!(unit.property("MemoryMax"), "67108864");
    unit.delete();
}

fn annotations_set_properties_of_the_unit() {
    let unit = Unit::new("system.slice");
    let bundle = unit.bundle(json!({})).edit(|spec| {
        spec["annotations"] = json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.Description": "'mine'",
        });
    });
    unit.start(&bundle);
    assert_eq!(unit.property("TimeoutStopUSec"), "2min 3.456789s");
    assert_eq!(unit.property("CollectMode"), "inactive-or-failed");
    assert_eq!(unit.property("Description"), "mine");
    unit.delete();
}

fn d04_a_property_that_reaches_further_is_refused() {
    let unit = Unit::new("system.slice");
    for (name, value) in [
        ("PIDs", "[1]"),
        ("Slice", "'-.slice'"),
        ("Wants", "['ssh.service']"),
        ("Description", "'a\n[Service]'"),
        ("TimeoutStopUSec", "'long'"),
    ] {
        let key = format!("org.systemd.property.{name}");
        let bundle = unit
            .bundle(json!({}))
            .edit(|spec| spec["annotations"] = json!({ &key: value }));
        let output = unit
            .runtime(&["create", "--bundle", bundle.argument(), "c"])
            .ends_with(1);
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        assert!(output.stderr.contains(&key), "{output:?}");
        assert_eq!(unit.sandbox.left_behind(), Vec::<String>::new());
        std::fs::remove_dir_all(bundle.path()).unwrap();
    }
}

fn one_process_is_enough_of_a_limit() {
    let unit = Unit::new("system.slice");
    unit.start(&unit.bundle(json!({"pids": {"limit": 1}})));
    assert_eq!(unit.file("pids.max"), "1");
    assert_eq!(unit.property("TasksMax"), "1");
    unit.delete();
}

fn a_unit_that_ran_out_of_memory_goes_as_well() {
    let unit = Unit::new("system.slice");
    let limit = 32 << 20;
    let bundle = unit
        .bundle(json!({"memory": {"limit": limit, "swap": limit}}))
        .args(&["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
    unit.runtime(&["run", "--bundle", bundle.argument(), "c"])
        .ends_with(137);
    wait_for("the unit's end", Duration::from_secs(5), || {
        (unit.property("LoadState") == "not-found").then_some(())
    });
    // The name is free again.
    unit.runtime(&["run", "--bundle", bundle.argument(), "c"])
        .ends_with(137);
}

fn a_subgroup_holds_the_processes_below_the_limits() {
    let unit = Unit::new("system.slice");
    let bundle = unit.bundle(json!({"pids": {"limit": 20}})).edit(|spec| {
        spec["annotations"] = json!({
            "run.oci.systemd.subgroup": "container",
            "run.oci.delegate-cgroup": "inner",
        });
    });
    unit.start(&bundle);
    let scope = Path::new("/sys/fs/cgroup/system.slice").join(unit.scope());
    assert_eq!(unit.cgroup(), scope.join("container/inner"));
    assert_eq!(super::read(&scope.join("pids.max")), "20");
    let has = super::read(&unit.cgroup().join("cgroup.controllers"));
    assert!(has.contains("memory"), "{has}");
    unit.runtime(&["pause", "c"]).success();
    assert_eq!(unit.sandbox.state("c")["status"], "paused");
    unit.runtime(&["resume", "c"]).success();
    unit.delete();
    assert!(!scope.exists());
}

fn a_reload_of_systemd_changes_no_limit() {
    let unit = Unit::new("system.slice");
    unit.start(&unit.bundle(limits()));
    let files = ["memory.max", "pids.max", "cpu.weight", "cpuset.cpus"];
    let before = files.map(|name| unit.file(name));
    run(Command::new("systemctl").arg("daemon-reload")).success();
    assert_eq!(files.map(|name| unit.file(name)), before);
    unit.delete();
}

fn another_form_of_place_is_refused() {
    let unit = Unit::new("system.slice");
    for path in ["/a/b", "a:b", "a.slice:b:c:d", "a/../b.slice:p:x"] {
        let bundle = unit
            .bundle(json!({}))
            .edit(|spec| spec["linux"]["cgroupsPath"] = json!(path));
        let output = unit.runtime(&["create", "--bundle", bundle.argument(), "c"]);
        assert_ne!(output.status, 0, "{path}");
        std::fs::remove_dir_all(bundle.path()).unwrap();
    }
}

/// Runs `arguments` as user 1000 in their own part of the tree.
fn as_user(arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=1000", "--regid=1000", "--clear-groups"])
        .args(["systemd-run", "--user", "--scope", "--quiet"])
        .args(["--property", "Delegate=yes"])
        .args(arguments)
        .env("XDG_RUNTIME_DIR", "/run/user/1000")
        .env_remove("DBUS_SESSION_BUS_ADDRESS");
    run(&mut command)
}

fn a_user_has_scopes_of_their_own() {
    let unit = Unit::new("user.slice");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(unit.sandbox.path(), open).unwrap();
    let bundle = unit.bundle(json!({"pids": {"limit": 20}})).edit(|spec| {
        spec["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "user"}));
        for (map, id) in [("uidMappings", 1000), ("gidMappings", 1000)] {
            spec["linux"][map] = json!([{"containerID": 0, "hostID": id, "size": 1}]);
        }
        // The network's file system belongs to who made the namespace; the rest of sysfs stays the host's.
        spec["linux"]["resources"]
            .as_object_mut()
            .unwrap()
            .remove("devices");
        let mounts = spec["mounts"].as_array_mut().unwrap();
        for mount in mounts.iter_mut() {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|o| !o.as_str().unwrap_or_default().starts_with("gid="));
            }
        }
    });
    let state = unit.sandbox.path().join("own");
    std::fs::create_dir(&state).unwrap();
    std::os::unix::fs::chown(&state, Some(1000), Some(1000)).unwrap();
    // Where the user may not go, they have a program of their own.
    let dhow = unit.sandbox.path().join("dhow");
    crate::support::copy_program(crate::support::sandbox::dhow(), &dhow);
    let before = [
        dhow.to_str().unwrap(),
        "--root",
        state.to_str().unwrap(),
        "--systemd-cgroup",
    ];
    let call = |arguments: &[&str]| as_user(&[&before, arguments].concat());
    call(&["create", "--bundle", bundle.argument(), "c"]).success();
    let shown: Value = serde_json::from_str(&call(&["state", "c"]).success().stdout).unwrap();
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", shown["pid"])).unwrap();
    let expected = format!(
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/{}",
        unit.scope()
    );
    assert_eq!(text.trim(), expected);
    let cgroup = Path::new("/sys/fs/cgroup").join(&expected["0::/".len()..]);
    assert_eq!(super::read(&cgroup.join("pids.max")), "20");
    call(&["start", "c"]).success();
    call(&["update", "--pids-limit", "30", "c"]).success();
    assert_eq!(super::read(&cgroup.join("pids.max")), "30");
    call(&["delete", "--force", "c"]).success();
    assert!(!cgroup.exists());
}

fn without_systemd_that_is_said() {
    let unit = Unit::new("system.slice");
    let bundle = unit.bundle(json!({}));
    let mut command = unit.sandbox.command();
    command.args([
        "--systemd-cgroup",
        "create",
        "--bundle",
        bundle.argument(),
        "c",
    ]);
    let output = run(command.env("DHOW_FAULT", "no-systemd")).ends_with(1);
    assert_eq!(
        output.stderr.trim(),
        "dhow: reach systemd: this host was not booted with it (/run/systemd/system is missing)"
    );
    assert_eq!(unit.sandbox.left_behind(), Vec::<String>::new());
}

fn the_form_of_systemd_is_none_without_it() {
    let unit = Unit::new("system.slice");
    let bundle = unit.bundle(json!({}));
    let arguments = ["create", "--bundle", bundle.argument(), "c"];
    let output = unit.sandbox.runtime(&arguments).ends_with(1);
    assert!(output.stderr.contains("--systemd-cgroup"), "{output:?}");
}
