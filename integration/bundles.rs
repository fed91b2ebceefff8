//! The sample bundles: each runs and does what its README says, and its plan is the one that `plan.txt` holds.
//! `DHOW_TEST_WRITE=1` writes the plans anew, for the eye to judge.

use std::path::{Path, PathBuf};

use crate::support::{Output, Sandbox, claims};

claims![
    each_bundle_has_its_plan: [Root, Cgroup2, Dhow],
    hello_greets: [Root, Cgroup2],
    limits_are_the_ones_it_says: [Root, Controller("memory"), Controller("pids"), Controller("cpu")],
    hooks_speak_on_standard_error: [Root, Cgroup2],
    rootless_is_root_inside_only: [Root, Cgroup2, UserNamespaces],
    seccomp_refuses_mkdir: [Root, Cgroup2],
    readonly_takes_files_in_tmp_only: [Root, Cgroup2],
    shared_namespaces_keep_the_hosts_network: [Root, Cgroup2],
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles")
}

/// Gives a bundle of the sandbox the sample's spec, in a cgroup of the sandbox's.
fn sample(sandbox: &Sandbox, name: &str) -> crate::support::Bundle {
    let text = std::fs::read_to_string(folder().join(name).join("config.json")).unwrap();
    let cgroup = sandbox.cgroups_path("c");
    sandbox.bundle("c").edit(|spec| {
        *spec = serde_json::from_str(&text).unwrap();
        spec["linux"]["cgroupsPath"] = cgroup.into();
    })
}

fn ran(name: &str) -> Output {
    let sandbox = Sandbox::new();
    let bundle = sample(&sandbox, name);
    sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"])
}

fn each_bundle_has_its_plan() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("config.json").exists() {
            continue;
        }
        count += 1;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let sandbox = Sandbox::new();
        let bundle = sample(&sandbox, &name);
        let plan = sandbox
            .runtime(&["create", "--plan", "--bundle", bundle.argument(), "c"])
            .success()
            .stdout
            .replace(bundle.argument(), "BUNDLE")
            .replace(&sandbox.cgroups_path("c"), "CGROUP");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new());
        let file = path.join("plan.txt");
        if std::env::var_os("DHOW_TEST_WRITE").is_some() {
            std::fs::write(&file, &plan).unwrap();
        }
        let held = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(plan, held, "{}", file.display());
    }
    assert_eq!(count, 8);
}

fn hello_greets() {
    assert_eq!(
        ran("hello").success().stdout,
        "hello from dhow, process 1\n"
    );
}

fn limits_are_the_ones_it_says() {
    assert_eq!(
        ran("limits").success().stdout,
        "67108864\n32\n50000 100000\n"
    );
}

fn hooks_speak_on_standard_error() {
    let output = ran("hooks").success();
    assert_eq!(output.stdout, "the program\n");
}

fn rootless_is_root_inside_only() {
    let seen = ran("rootless").success().stdout;
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536"]);
}

fn seccomp_refuses_mkdir() {
    let output = ran("seccomp").ends_with(1);
    assert!(
        output.stderr.contains("No space left on device"),
        "{output:?}"
    );
}

fn readonly_takes_files_in_tmp_only() {
    let output = ran("readonly").success();
    assert_eq!(output.stdout, "only /tmp takes files\n");
    assert!(
        output.stderr.contains("Read-only file system"),
        "{output:?}"
    );
}

fn shared_namespaces_keep_the_hosts_network() {
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    let seen = ran("shared-namespaces").success().stdout;
    assert_eq!(seen.trim(), host.to_str().unwrap());
}
