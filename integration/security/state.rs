//! G1, G6, G8, G9, B7: state, sockets and messages: nothing of them can be steered from outside or by a crash.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Sandbox, claims, run};

claims![
    g01_cve_2020_15257_no_socket_can_be_reached_by_a_name_in_the_network: [Root, Cgroup2, Dhow],
    g04_a_log_that_is_a_strangers_link_is_refused: [Root, Dhow],
    g06_cve_2021_43784_lengths_do_not_wrap: [Root, Cgroup2, FullSpeed, UserNamespaces],
    g08_a_record_cut_off_anywhere_is_an_error: [Root, Cgroup2, FullSpeed, Dhow],
    g09_what_is_printed_of_a_configuration_cannot_steer_a_terminal: [Root, Cgroup2, FullSpeed, Dhow],
    b07_a_recycled_process_id_is_nobody_of_ours: [Root, Cgroup2, Tool("unshare")],
];

/// The socket for `start` lies in a folder that root alone may enter, and has no abstract name.
fn g01_cve_2020_15257_no_socket_can_be_reached_by_a_name_in_the_network() {
    let sandbox = Sandbox::new();
    let root = sandbox.path().join("made-by-dhow");
    let bundle = sandbox.bundle("c");
    // The mask of a careless caller.
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(crate::support::sandbox::runtime())
        .arg("--root")
        .arg(&root)
        .args(["create", "--bundle", bundle.argument(), "c"]);
    run(&mut command).success();
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let abstract_ones: Vec<&str> = sockets
        .lines()
        .filter_map(|line| line.split(' ').next_back())
        .filter(|name| name.starts_with('@') && name.contains("dhow"))
        .collect();
    assert_eq!(abstract_ones, Vec::<&str>::new());
    for folder in [&root, &root.join("c")] {
        let mode = std::fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{}", folder.display());
    }
    let root = root.to_str().unwrap();
    run(Command::new(crate::support::sandbox::runtime())
        .args(["--root", root, "delete", "--force", "c"]))
    .success();
}

/// In a folder that others may write to, somebody's link would choose the file that root writes to.
fn g04_a_log_that_is_a_strangers_link_is_refused() {
    let sandbox = Sandbox::new();
    let canary = super::Canary::new(&sandbox);
    let link = sandbox.path().join("log");
    std::os::unix::fs::symlink(canary.path().join("secret"), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(1000), Some(1000)).unwrap();
    let mut command = sandbox.command();
    command.arg("--log").arg(&link).args(["state", "nobody"]);
    assert_eq!(run(&mut command).status, 1);
    canary.assert_untouched();
}

/// More than 64 KiB of everything: it arrives whole, or is refused.
fn g06_cve_2021_43784_lengths_do_not_wrap() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(100_000);
    let bundle = sandbox.bundle("env").script("echo ${#LONG}").edit(|spec| {
        spec["process"]["env"] = json!(["PATH=/bin", format!("LONG={long}")]);
    });
    let arguments = ["run", "--bundle", bundle.argument(), "c"];
    assert_eq!(sandbox.runtime(&arguments).success().stdout, "100000\n");

    // The kernel takes 340 extents, in one page of text: three hundred short ones fit.
    let maps = |count: u32| -> Value {
        (0..count)
            .map(|n| json!({"containerID": n, "hostID": 1000 + n, "size": 1}))
            .collect()
    };
    for (count, fits) in [(10, true), (300, true), (400, false), (7000, false)] {
        let bundle = sandbox
            .bundle(&format!("maps{count}"))
            .script("wc -l < /proc/self/gid_map")
            .edit(|spec| {
                spec["linux"]["uidMappings"] = maps(count);
                spec["linux"]["gidMappings"] = maps(count);
                spec["linux"]["namespaces"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"type": "user"}));
            });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        match fits {
            true => assert_eq!(output.success().stdout.trim(), count.to_string()),
            false => assert!(
                output.status == 1 && output.stderr.len() < 400,
                "{output:?}"
            ),
        }
    }
    for (field, value) in [
        ("hostname", json!("h".repeat(65_536 + 4))),
        ("root.path", json!(format!("/{}", "r/".repeat(33_000)))),
        ("process.cwd", json!(format!("/{}", "c/".repeat(33_000)))),
        (
            "linux.cgroupsPath",
            json!(format!("/{}", "g/".repeat(33_000))),
        ),
    ] {
        let mut bundle = sandbox.bundle(&field.replace('.', "-"));
        bundle.set(field, value);
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert_eq!(output.status, 1, "{field}: {}", output.stderr.len());
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{field}");
    }
}

/// A full disk or a power cut can leave any beginning of what is known of a container. No command panics over it
/// (134); without a whole record there is an error, and without the first process' line nothing runs.
fn g08_a_record_cut_off_anywhere_is_an_error() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let file = sandbox.state_root().join("c/state.json");
    let whole = std::fs::read(&file).unwrap();
    let step = if std::env::var_os("DHOW_TEST_SWEEP").is_some() {
        1
    } else {
        17
    };
    let record = whole.iter().position(|&byte| byte == b'\n').unwrap();
    for length in (0..whole.len()).step_by(step) {
        std::fs::write(&file, &whole[..length]).unwrap();
        let known = length > record;
        for command in [
            &["kill", "c", "TERM"][..],
            &["start", "c"],
            &["list"],
            &["state", "c"],
            &["delete", "c"],
        ] {
            if known && command == ["delete", "c"] {
                continue;
            }
            let output = sandbox.runtime(command);
            assert!(output.status < 128, "{length} bytes: {output:?}");
            let told = output.stderr.lines().count();
            // One broken record keeps no other container from the list: it is a warning there.
            let as_expected = match command {
                ["list"] => output.status == 0 && told <= 1,
                ["state", _] if known => told == usize::from(output.status != 0),
                _ => output.status != 0 && told == 1,
            };
            assert!(as_expected, "{length} bytes: {output:?}");
            let created = output.stdout.contains("\"status\": \"created\"");
            assert!(!created, "{output:?}");
        }
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(sandbox.state("c")["status"], "created");
    // Without the first process' line it is found all the same, by its cgroup.
    std::fs::write(&file, &whole[..=record]).unwrap();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

/// Words of a configuration that would clear the screen, forge a line, or be read from right to left.
fn g09_what_is_printed_of_a_configuration_cannot_steer_a_terminal() {
    let sandbox = Sandbox::new();
    let evil = "x\u{1b}[2J\u{1b}]0;t\u{7}\r\u{9b}31m\ndhow: all is well";
    for (field, value) in [
        ("process.args", json!([evil])),
        ("process.cwd", json!(format!("/{evil}\u{0}"))),
        ("process.env", json!([evil])),
        ("hostname", json!(evil.repeat(9))),
        ("linux.sysctl", json!({evil: "1"})),
        ("linux.maskedPaths", json!([evil])),
        ("linux.cgroupsPath", json!(format!("/../{evil}"))),
        ("linux.seccomp", json!({"defaultAction": evil})),
        (
            "mounts",
            json!([{"destination": "/tmp", "type": evil, "source": evil, "options": [evil]}]),
        ),
        (
            "hooks",
            json!({"createRuntime": [{"path": format!("/{evil}")}]}),
        ),
    ] {
        let mut bundle = sandbox.bundle(&field.replace('.', "-"));
        bundle.set(field, value);
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert_ne!(output.status, 0, "{field}");
        let words = output.stderr.strip_suffix('\n').unwrap_or(&output.stderr);
        assert!(!words.contains(char::is_control), "{field}: {words:?}");
        sandbox.runtime(&["delete", "--force", "c"]);
    }
}

/// In a PID namespace of its own, where the next id can be chosen: after the container's process has ended, a bystander
/// gets its id.
fn b07_a_recycled_process_id_is_nobody_of_ours() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let script = r#"
        dhow() { "$RUNTIME" --root "$STATE" "$@"; }
        dhow create --bundle "$BUNDLE" c && dhow start c || exit 10
        pid=$(dhow state c | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
        kill -9 "$pid"
        while [ -e /proc/$pid ]; do sleep 0.01; done
        sleep 0.1
        echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
        sleep 1000 &
        [ $! = "$pid" ] || { echo "the id is $! and not $pid"; exit 11; }
        dhow state c | grep -q '"stopped"' || echo "it is taken for the container"
        dhow kill c KILL 2> /dev/null && echo "kill succeeded"
        dhow kill --all c KILL 2> /dev/null
        dhow delete --force c || echo "delete failed"
        kill -0 $! || echo "the bystander was killed"
        kill -9 $!
    "#;
    let mut command = Command::new("unshare");
    command
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "bash",
            "-c",
            script,
        ])
        .env("RUNTIME", crate::support::sandbox::runtime())
        .env("STATE", sandbox.state_root())
        .env("BUNDLE", bundle.path());
    assert_eq!(run(&mut command).stdout, "");
}
