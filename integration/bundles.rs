//! The sample bundles: each runs and does what its README says, and its plan is the one that `plan.txt` holds.
//! `DHOW_TEST_WRITE=1` writes the plans anew, for the eye to judge.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Bundle, Output, Sandbox, claims, run, sandbox::dhow};

claims![
    each_bundle_has_its_plan: [Root, Cgroup2, Dhow],
    each_bundle_says_in_a_few_lines_what_it_shows: [],
    the_walk_through_runs_a_bundle: [Root, Cgroup2, Dhow],
    hello_greets_from_namespaces_of_its_own: [Root, Cgroup2],
    sleep_waits_until_it_is_killed: [Root, Cgroup2],
    limits_are_the_ones_it_says: [Root, Controller("memory"), Controller("pids"), Controller("cpu")],
    hooks_run_in_their_order: [Root, Cgroup2],
    rootless_is_root_inside_only: [Root, Cgroup2, UserNamespaces],
    seccomp_refuses_mkdir: [Root, Cgroup2],
    readonly_takes_files_in_tmp_only: [Root, Cgroup2],
    shared_namespaces_are_the_hosts: [Root, Cgroup2],
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles")
}

/// The folders with a config.json, by name.
fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("config.json").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 8, "{names:?}");
    names
}

/// Gives a bundle of the sandbox the sample's spec, in a cgroup of the sandbox's.
fn sample(sandbox: &Sandbox, name: &str) -> Bundle {
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

/// Makes the container, shows its first process (which waits for `start`) to `look`, and deletes it.
fn created(name: &str, look: impl FnOnce(&Sandbox, &Path)) {
    let sandbox = Sandbox::new();
    let bundle = sample(&sandbox, name);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    look(&sandbox, &process(&sandbox));
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// The /proc folder of the first process.
fn process(sandbox: &Sandbox) -> PathBuf {
    Path::new("/proc").join(sandbox.state("c")["pid"].to_string())
}

/// The namespaces in which `process` and this test are both, of those that dhow makes.
fn shared_with(process: &Path) -> Vec<&'static str> {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let link =
        |process: &Path, kind: &str| std::fs::read_link(process.join("ns").join(kind)).unwrap();
    kinds
        .into_iter()
        .filter(|kind| link(process, kind) == link(Path::new("/proc/self"), kind))
        .collect()
}

fn words(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.split_whitespace().map(str::to_owned).collect()
}

/// As the READMEs say it: nothing is made for a plan, so no root file system is needed.
fn each_bundle_has_its_plan() {
    for name in names() {
        let sandbox = Sandbox::new();
        let bundle = folder().join(&name);
        let bundle = bundle.to_str().unwrap();
        let plan = sandbox
            .runtime(&["create", "--plan", "--bundle", bundle, &name])
            .success()
            .stdout
            .replace(bundle, "BUNDLE");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new());
        let file = folder().join(&name).join("plan.txt");
        if std::env::var_os("DHOW_TEST_WRITE").is_some() {
            std::fs::write(&file, &plan).unwrap();
        }
        let held = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(plan, held, "{}", file.display());
    }
}

fn each_bundle_says_in_a_few_lines_what_it_shows() {
    let walk_through = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for name in names() {
        let text = std::fs::read_to_string(folder().join(&name).join("README.md")).unwrap();
        assert!(text.starts_with(&format!("# {name}\n\n")), "{name}");
        assert!(text.lines().count() <= 5, "{name}");
        assert!(text.contains(&format!("`name={name}`")), "{name}");
        let link = format!("[{name}]({name})");
        assert!(walk_through.contains(&link), "README.md lacks {link}");
    }
}

/// The README's own lines, in a folder and with a state root of the test's.
fn the_walk_through_runs_a_bundle() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let blocks: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let state = sandbox.state_root();
    let dhow = format!("{} --root {}", dhow().display(), state.display());
    let script = blocks
        .concat()
        .replace("/tmp/dhow", sandbox.path().to_str().unwrap())
        .replace("dhow run", &format!("{dhow} run"))
        .replace("dhow create", &format!("{dhow} create"));
    let output = run(Command::new("bash")
        .args(["-ec", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR")))
    .success();
    let mut lines = output.stdout.lines();
    assert_eq!(lines.next(), Some("hello from dhow, process 1"));
    assert_eq!(lines.next(), Some("dhow:  make the cgroup /hello"));
}

fn hello_greets_from_namespaces_of_its_own() {
    let output = ran("hello").success();
    assert_eq!(output.stdout, "hello from dhow, process 1\n");
    created("hello", |_, process| {
        assert_eq!(shared_with(process), ["time", "user"]);
    });
}

fn sleep_waits_until_it_is_killed() {
    let sandbox = Sandbox::new();
    let bundle = sample(&sandbox, "sleep");
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    assert_eq!(words(&process(&sandbox).join("comm")), ["sleep"]);
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    crate::support::command::wait_for("its end", std::time::Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == "stopped").then_some(())
    });
    sandbox.runtime(&["delete", "c"]).success();
}

fn limits_are_the_ones_it_says() {
    assert_eq!(
        ran("limits").success().stdout,
        "67108864\n0\n32\n50000 100000\n"
    );
    created("limits", |sandbox, process| {
        let file = |name: &str| words(&sandbox.cgroup("c").join(name)).join(" ");
        assert_eq!(file("memory.max"), "67108864");
        assert_eq!(file("memory.swap.max"), "0");
        assert_eq!(file("pids.max"), "32");
        assert_eq!(file("cpu.max"), "50000 100000");
        assert_eq!(
            file("cgroup.procs"),
            process.file_name().unwrap().to_str().unwrap()
        );
    });
}

fn hooks_run_in_their_order() {
    let sandbox = Sandbox::new();
    let bundle = sample(&sandbox, "hooks");
    let output = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(output.stdout, "startContainer\n");
    assert_eq!(
        words(&bundle.path().join("hooks.log")),
        ["createRuntime", "createContainer", "poststart", "poststop"]
    );
}

fn rootless_is_root_inside_only() {
    let seen = ran("rootless").success().stdout;
    let seen: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(seen, ["0", "0", "100000", "65536"]);
    created("rootless", |_, process| {
        assert_eq!(shared_with(process), ["time"]);
        for map in ["uid_map", "gid_map"] {
            assert_eq!(words(&process.join(map)), ["0", "100000", "65536"]);
        }
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        for ids in ["Uid:", "Gid:"] {
            let line = format!("{ids}\t100000\t100000\t100000\t100000");
            assert!(status.contains(&line), "{status}");
        }
    });
}

fn seccomp_refuses_mkdir() {
    let output = ran("seccomp").ends_with(1);
    let expected = "mkdir: can't create directory '/dev/shm/new': No space left on device\n";
    assert_eq!(output.stderr, expected);
}

fn readonly_takes_files_in_tmp_only() {
    let sandbox = Sandbox::new();
    let bundle = sample(&sandbox, "readonly");
    let output = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(output.stdout, "only /tmp takes files\n");
    assert_eq!(output.stderr, "touch: /file: Read-only file system\n");
    assert!(!bundle.rootfs().join("file").exists());
    assert!(!bundle.rootfs().join("tmp/file").exists());
}

fn shared_namespaces_are_the_hosts() {
    let host = |kind| std::fs::read_link(Path::new("/proc/self/ns").join(kind)).unwrap();
    let seen = ran("shared-namespaces").success().stdout;
    let expected = [host("net"), host("ipc")].map(|link| link.to_str().unwrap().to_owned());
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
    created("shared-namespaces", |_, process| {
        assert_eq!(shared_with(process), ["ipc", "net", "time", "user"]);
    });
}
