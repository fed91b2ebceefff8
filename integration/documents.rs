//! What dhow writes for callers to read and to run: spec, features, validate, list.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::needs::program;
use crate::support::{Sandbox, claims, run};

claims![
    the_default_configuration_runs: [Root, Cgroup2],
    the_default_configuration_runs_in_runc: [Root, Cgroup2, Dhow, Tool("runc")],
    the_rootless_configuration_is_runcs: [Dhow, Tool("runc")],
    a_configuration_that_is_there_is_kept: [],
    features_are_true_of_mount_options: [Root, Cgroup2, Dhow],
    features_hold_all_that_runcs_hold_but_what_cgroup_v2_lacks: [Dhow, Tool("runc")],
    features_of_an_older_kernel_promise_less: [FaultBuild],
    validate_names_everything_at_once: [Dhow],
    validate_says_what_is_ignored: [Dhow],
    list_has_the_columns_and_keys_of_runc: [Root, Cgroup2],
    a_root_that_is_named_and_missing_is_an_error_of_list: [],
];

#[track_caller]
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn written(sandbox: &Sandbox, flags: &[&str]) -> Value {
    let path = sandbox.path().join("config.json");
    let _gone = std::fs::remove_file(&path);
    let folder = sandbox.path().to_str().unwrap();
    let words: Vec<&str> = ["spec", "--bundle", folder]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    sandbox.runtime(&words).success();
    json_of(&std::fs::read_to_string(path).unwrap())
}

/// The default configuration in a bundle, without a terminal.
fn default_bundle(sandbox: &Sandbox) -> crate::support::Bundle {
    let spec = written(sandbox, &[]);
    let cgroup = sandbox.cgroups_path("c");
    sandbox.bundle("c").edit(|ours| {
        *ours = spec;
        ours["process"]["terminal"] = json!(false);
        ours["process"]["args"] = json!(["sh", "-c", "echo here; id -u"]);
        ours["linux"]["cgroupsPath"] = json!(cgroup);
    })
}

fn the_default_configuration_runs() {
    let sandbox = Sandbox::new();
    let bundle = default_bundle(&sandbox);
    let output = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(output.stdout, "here\n0\n");
}

fn the_default_configuration_runs_in_runc() {
    let sandbox = Sandbox::new();
    let bundle = default_bundle(&sandbox);
    let output = run(Command::new(program("runc").unwrap())
        .arg("--root")
        .arg(sandbox.state_root())
        .args(["run", "--bundle", bundle.argument(), "c"]))
    .success();
    assert_eq!(output.stdout, "here\n0\n");
}

fn the_rootless_configuration_is_runcs() {
    let sandbox = Sandbox::new();
    let ours = written(&sandbox, &["--rootless"]);
    std::fs::remove_file(sandbox.path().join("config.json")).unwrap();
    run(Command::new(program("runc").unwrap())
        .args(["spec", "--rootless", "--bundle"])
        .arg(sandbox.path()))
    .success();
    let theirs = std::fs::read_to_string(sandbox.path().join("config.json")).unwrap();
    let theirs = json_of(&theirs);
    for field in [
        "/linux/uidMappings",
        "/linux/gidMappings",
        "/linux/resources",
    ] {
        assert_eq!(ours.pointer(field), theirs.pointer(field), "{field}");
    }
    let mount = |spec: &Value, place: &str| {
        let mounts = spec["mounts"].as_array().unwrap();
        let mount = mounts.iter().find(|m| m["destination"] == place).unwrap();
        (mount["source"].clone(), mount["options"].clone())
    };
    for place in ["/sys", "/dev/pts"] {
        assert_eq!(mount(&ours, place), mount(&theirs, place), "{place}");
    }
}

fn a_configuration_that_is_there_is_kept() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("config.json");
    std::fs::write(&path, "mine").unwrap();
    let folder = sandbox.path().to_str().unwrap();
    sandbox.runtime(&["spec", "--bundle", folder]).ends_with(1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

fn features() -> Value {
    let dhow = crate::support::sandbox::dhow();
    json_of(&run(Command::new(dhow).arg("features")).success().stdout)
}

fn list(document: &Value, path: &str) -> Vec<String> {
    let list = document.pointer(path).and_then(Value::as_array);
    let list = list.unwrap_or_else(|| panic!("no {path} in {document}"));
    list.iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

/// Every option that is listed is understood: a bind mount with it starts (or is refused for what it needs, but
/// not as an unknown parameter of a file system).
fn features_are_true_of_mount_options() {
    let sandbox = Sandbox::new();
    for (number, option) in list(&features(), "/mountOptions").iter().enumerate() {
        let id = format!("c{number}");
        let bundle = sandbox.bundle(&id).edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            mounts.push(json!({"destination": "/opt", "type": "tmpfs", "source": "tmpfs", "options": [option]}));
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), &id]);
        // Of fsopen(2)'s parameters this one is ext4's own.
        let refused = output.stderr.contains("Unknown parameter") && option != "iversion";
        assert!(!refused, "{option}: {}", output.stderr);
        sandbox.runtime(&["delete", "--force", &id]).success();
    }
}

fn features_hold_all_that_runcs_hold_but_what_cgroup_v2_lacks() {
    let theirs = run(Command::new(program("runc").unwrap()).arg("features")).success();
    let (ours, theirs) = (features(), json_of(&theirs.stdout));
    for path in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/operators",
    ] {
        let ours = list(&ours, path);
        // The kernel has not looked at these two since Linux 2.6.
        let missing: Vec<String> = list(&theirs, path)
            .into_iter()
            .filter(|word| !ours.contains(word) && word != "acl" && word != "noacl")
            .collect();
        assert_eq!(missing, [""; 0], "{path}");
    }
    assert_eq!(ours.pointer("/linux/cgroup/v1"), Some(&json!(false)));
    assert_eq!(ours.pointer("/linux/cgroup/v2"), Some(&json!(true)));
}

fn features_of_an_older_kernel_promise_less() {
    let dhow = crate::support::sandbox::dhow();
    let output = run(Command::new(dhow)
        .env("DHOW_FAULT", "no-mount-api")
        .arg("features"))
    .success();
    let document = json_of(&output.stdout);
    let options = list(&document, "/mountOptions");
    assert!(options.contains(&"ro".to_owned()));
    assert!(!options.contains(&"rro".to_owned()));
    let idmap = document.pointer("/linux/mountExtensions/idmap/enabled");
    assert_eq!(idmap, Some(&json!(false)));
}

fn validate(folder: &Path, config: &Value) -> crate::support::Output {
    std::fs::create_dir_all(folder.join("rootfs")).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    run(Command::new(crate::support::sandbox::dhow())
        .arg("validate")
        .arg(folder))
}

fn minimal() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}]},
    })
}

fn validate_names_everything_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = minimal();
    assert_eq!(validate(folder.path(), &config).success().stdout, "valid\n");
    config["process"]["cwd"] = json!("tmp");
    config["process"]["user"]["uid"] = json!(1_u64 << 40);
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]);
    config["mounts"] = json!([{"destination": "/a", "options": ["bind"]}]);
    config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "mount"}, {"type": "x"}]);
    config["linux"]["sysctl"] = json!({"kernel.core_pattern": "|x"});
    config["linux"]["resources"] = json!({"memory": {"limit": -7}});
    config["hooks"] = json!({"poststop": [{"path": "x"}]});
    let output = validate(folder.path(), &config).ends_with(1);
    let fields: Vec<&str> = output
        .stdout
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    let expected = [
        "process.user.uid",
        "process.rlimits[0].type",
        "linux.namespaces[2].type",
        "process.cwd",
        "linux.namespaces[1].type",
        "hooks.poststop[0].path",
        "linux.sysctl.kernel.core_pattern",
        "mounts[0].source",
        "linux.resources.memory.limit",
    ];
    for field in expected {
        assert!(
            fields.contains(&field),
            "{field} is not in:\n{}",
            output.stdout
        );
    }
    assert_eq!(fields.len(), expected.len(), "{}", output.stdout);
}

fn validate_says_what_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = minimal();
    config["process"]["argv"] = json!(["x"]);
    let output = validate(folder.path(), &config).success();
    assert_eq!(
        output.stdout,
        "process.argv: runtime-spec 1.3 has no such field; it is ignored\nvalid\n"
    );
}

fn list_has_the_columns_and_keys_of_runc() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .edit(|spec| spec["process"]["args"] = json!(["sleep", "1000"]));
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let table = sandbox.runtime(&["list"]).success().stdout;
    let words: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    let state = sandbox.state("c");
    let pid = state["pid"].to_string();
    assert_eq!(row[..4], ["c", &pid, "created", bundle.argument()]);
    let listed = json_of(
        &sandbox
            .runtime(&["list", "--format", "json"])
            .success()
            .stdout,
    );
    for key in [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "owner",
    ] {
        assert!(!listed[0][key].is_null(), "{key}: {listed}");
    }
    assert_eq!(listed[0]["pid"], state["pid"]);
    assert_eq!(sandbox.runtime(&["list", "-q"]).success().stdout, "c\n");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_root_that_is_named_and_missing_is_an_error_of_list() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(crate::support::sandbox::runtime());
    command.arg("--root").arg(folder.path().join("nope"));
    let output = run(command.arg("list"));
    assert_ne!(output.status, 0, "{output:?}");
}
