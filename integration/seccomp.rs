//! The default seccomp profile, from inside a container (a static probe makes the calls), and its compiled filter
//! against a plain reading of its rules.

mod machine;
pub(crate) mod moment;
pub(crate) mod notify;

use std::process::Command;

use crate::support::sandbox::dhow;
use crate::support::{Output, Sandbox, claims, run};

claims![
    dangerous_calls_are_refused: [Root, Cgroup2, Overlay, Tool("gcc"), Dhow],
    i03_unknown_calls_are_answered_as_by_an_older_kernel: [Root, Cgroup2, Overlay, Tool("gcc"), Dhow],
    i01_foreign_abis_end_the_process: [Root, Cgroup2, Overlay, Tool("gcc"), Dhow],
    ordinary_programs_notice_nothing: [Root, Cgroup2, Overlay, Tool("gcc"), Dhow],
    a_builds_run_is_under_the_same_profile: [Root, Cgroup2, Overlay, Tool("gcc"), Dhow],
    unconfined_and_ones_own_profile_replace_it: [Root, Cgroup2, Overlay, Tool("gcc"), Dhow],
    the_filter_says_what_the_rules_say: [],
    every_name_of_the_profile_is_a_system_call: [],
    every_system_call_is_judged: [],
];

const RECIPE: &str = "FROM scratch
COPY busybox probe /bin/
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]
RUN mkdir -p /tmp /root && mkfifo /fifo && chown 5:5 /fifo && chmod 4755 /fifo && probe ordinary
CMD [\"sh\"]
";

/// A store with the image `probe`: busybox, and the probe in /bin.
pub(crate) struct Site {
    sandbox: Sandbox,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            sandbox: Sandbox::new(),
        };
        let folder = site.sandbox.path().join("image");
        std::fs::create_dir(&folder).unwrap();
        let busybox = crate::support::needs::program("busybox").expect("busybox-static is set up");
        std::fs::copy(busybox, folder.join("busybox")).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/seccomp/probe.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-O1", source, "-o"])
            .arg(folder.join("probe"));
        run(&mut gcc).success();
        site.build(RECIPE).success();
        site
    }

    fn dhow(&self) -> Command {
        let mut command = Command::new(dhow());
        command
            .current_dir(self.sandbox.path())
            .arg("--root")
            .arg(self.sandbox.state_root())
            .arg("--store")
            .arg(self.sandbox.path().join("store"));
        command
    }

    fn build(&self, recipe: &str) -> Output {
        std::fs::write(self.sandbox.path().join("image/Dockerfile"), recipe).unwrap();
        run(self.dhow().args(["build", "-t", "probe", "image"]))
    }

    pub(crate) fn ran(&self, options: &[&str], script: &str) -> Output {
        let mut command = self.dhow();
        command.args(["run", "--rm"]).args(options);
        run(command.args(["probe", "sh", "-c", script]))
    }

    /// What the calls end with, by the profile that `options` choose.
    pub(crate) fn errnos(&self, options: &[&str], calls: &[(&str, &str)]) -> Vec<String> {
        let script: Vec<String> = calls
            .iter()
            .map(|(name, arguments)| {
                let number = machine::native(name).unwrap();
                format!("probe call {number} {arguments}")
            })
            .collect();
        let output = self.ran(options, &script.join("\n")).success().stdout;
        output.lines().map(str::to_owned).collect()
    }

    fn answers(&self, expected: &[(&str, &str, &str)]) {
        let calls: Vec<(&str, &str)> = expected.iter().map(|(n, a, _)| (*n, *a)).collect();
        let errnos = self.errnos(&[], &calls);
        for ((name, arguments, errno), got) in expected.iter().zip(&errnos) {
            assert_eq!(got, errno, "{name} {arguments}");
        }
        assert_eq!(errnos.len(), expected.len());
    }
}

fn dangerous_calls_are_refused() {
    Site::new().answers(&[
        ("mount", "0 0 0 0 0", "1"),
        ("umount2", "0 0", "1"),
        ("pivot_root", "0 0", "1"),
        ("fsopen", "0 0", "1"),
        ("fsmount", "0 0", "1"),
        ("move_mount", "0 0 0 0 0", "1"),
        ("open_tree", "0 0 0", "1"),
        ("open_tree_attr", "0 0 0", "1"),
        ("mount_setattr", "0 0 0 0 0", "1"),
        ("setns", "0 0", "1"),
        ("unshare", "0x10000000", "1"), // NEWUSER
        ("unshare", "0x20000", "1"),    // NEWNS
        ("unshare", "0x80", "1"),       // NEWTIME
        ("unshare", "0x10000400", "1"), // NEWUSER|FILES
        ("unshare", "0x400", "0"),      // FILES
        ("clone", "0x10000011", "1"),   // NEWUSER
        ("clone3", "0 0", "38"),
        ("keyctl", "0 0 0", "1"),
        ("add_key", "0 0 0 0 0", "1"),
        ("request_key", "0 0 0 0", "1"),
        ("bpf", "0 0 0", "1"),
        ("perf_event_open", "0 0 0 0 0", "1"),
        ("userfaultfd", "1", "1"),
        ("io_uring_setup", "1 0", "1"),
        ("open_by_handle_at", "0 0 0", "1"),
        ("name_to_handle_at", "0 0 0 0 0", "1"),
        ("process_vm_readv", "1 0 0 0 0 0", "1"),
        ("kcmp", "1 1 0 0 0", "1"),
        ("pidfd_getfd", "0 0 0", "1"),
        ("kexec_load", "0 0 0 0", "1"),
        ("init_module", "0 0 0", "1"),
        ("reboot", "0 0 0 0", "1"),
        ("syslog", "3 0 0", "1"),
        ("settimeofday", "0 0", "1"),
        ("clock_settime", "0 0", "1"),
        ("socket", "38 5 0", "97"),          // AF_ALG
        ("socket", "0x100000026 5 0", "97"), // the same: the kernel reads an int
        ("socket", "40 1 0", "97"),          // AF_VSOCK
        ("socket", "17 3 0", "97"),          // AF_PACKET
        ("socket", "16 3 9", "93"),          // netlink: audit
        ("socket", "16 3 12", "93"),         // netlink: netfilter
        ("socketpair", "30 1 0 0", "97"),    // AF_TIPC
        ("personality", "0x40000", "1"),     // ADDR_NO_RANDOMIZE
        ("personality", "0x400000", "1"),    // READ_IMPLIES_EXEC
        ("personality", "0xffffffff", "0"),
        ("personality", "0", "0"),
    ]);
}

fn i03_unknown_calls_are_answered_as_by_an_older_kernel() {
    let output = Site::new().ran(
        &[],
        "for n in 470 500 1000 4000 100000; do probe call $n; done",
    );
    assert_eq!(output.success().stdout, "38\n".repeat(5));
}

fn i01_foreign_abis_end_the_process() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let site = Site::new();
    for abi in ["int80", "x32"] {
        let script = format!("probe {abi}; echo $?");
        let output = site.ran(&[], &script).success();
        assert_eq!(output.stdout, format!("{}\n", 128 + 31), "{abi}: SIGSYS");
    }
}

fn ordinary_programs_notice_nothing() {
    let script = "probe ordinary && mkfifo /tmp/f && mknod /tmp/g p && chown 1:1 /tmp/f && chmod 4711 /tmp/f \
        && ip addr show lo >/dev/null && sync && setsid true && timeout 5 true \
        && dd if=/dev/zero of=/tmp/z bs=64k count=4 2>/dev/null && ps >/dev/null && df / >/dev/null \
        && ls -l / >/dev/null && (sleep 0 & wait) && mv /tmp/z /tmp/y && echo all";
    let output = Site::new().ran(&[], script).success();
    assert_eq!(output.stdout, "well\nall\n");
}

fn a_builds_run_is_under_the_same_profile() {
    let site = Site::new();
    let number = |name| machine::native(name).unwrap();
    let output = site.build(&format!(
        "FROM probe\nRUN test $(probe call {} 0 0 0 0 0) = 1 && test $(probe call {} 0x10000000) = 1 \
         && test $(probe call {} 38 5 0) = 97 && test $(probe call 1000) = 38 && grep -q '^Seccomp:.2' /proc/self/status\n",
        number("mount"),
        number("unshare"),
        number("socket"),
    ));
    output.success();
}

fn unconfined_and_ones_own_profile_replace_it() {
    let site = Site::new();
    let calls = [("bpf", "99 0 0"), ("sethostname", "0 0"), ("mkdir", "0 0")];
    let errnos = |option: &str| site.errnos(&["--security-opt", option], &calls);
    // EINVAL or EPERM of the kernel itself; mkdir of a null path is EFAULT.
    assert_eq!(errnos("seccomp=unconfined")[2], "14");
    let status = "grep ^Seccomp: /proc/self/status";
    let output = site.ran(&["--security-opt", "seccomp=unconfined"], status);
    assert_eq!(output.success().stdout, "Seccomp:\t0\n");
    let own = site.sandbox.path().join("own.json");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":
        [{"names":["sethostname"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#;
    std::fs::write(&own, profile).unwrap();
    assert_eq!(errnos("seccomp=own.json")[1..], ["28", "14"]);
    let docker = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":
        [{"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]}"#;
    std::fs::write(&own, docker).unwrap();
    let output = site
        .ran(&["--security-opt", "seccomp=own.json"], "true")
        .ends_with(125);
    assert_eq!(
        output.stderr,
        "dhow: seccomp profile own.json: syscalls[0].includes is no field of the runtime spec's profile\n"
    );
}

fn the_filter_says_what_the_rules_say() {
    machine::compare(&machine::filter(), &machine::rules());
}

fn every_name_of_the_profile_is_a_system_call() {
    for rule in machine::rules() {
        for name in &rule.names {
            assert!(seccomp::known(name), "{name}");
        }
    }
}

/// Up to the newest call that we know each has its place: none was forgotten.
fn every_system_call_is_judged() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let judged: Vec<u32> = machine::rules()
        .iter()
        .flat_map(|rule| &rule.names)
        .filter_map(|name| machine::native(name))
        .collect();
    // 336 to 423 are not calls of this architecture.
    for number in (0..=335).chain(424..=469) {
        assert!(
            judged.contains(&number),
            "system call {number} has no place"
        );
    }
}
