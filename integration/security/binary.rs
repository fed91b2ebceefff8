//! A1: the runtime's own program, which a container must not be able to write to (CVE-2019-5736).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::hostile;
use crate::support::sandbox::runtime;
use crate::support::{Sandbox, claims, run};

claims![
    a01_cve_2019_5736_the_runtimes_binary_takes_no_write: [Root, Cgroup2, Tool("gcc")],
    a01_cve_2019_5736_a_program_that_is_the_runtime_changes_nothing: [Root, Cgroup2],
];

/// A copy of the runtime for one test to attack.
pub(super) struct Prey {
    path: PathBuf,
    before: (Vec<u8>, u64, i64),
}

impl Prey {
    /// Copies it into the sandbox.
    pub(super) fn new(sandbox: &Sandbox) -> Self {
        let path = sandbox.path().join("runtime");
        crate::support::copy_program(runtime(), &path);
        let before = Self::look(&path);
        Self { path, before }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn look(path: &PathBuf) -> (Vec<u8>, u64, i64) {
        let data = std::fs::metadata(path).unwrap();
        (std::fs::read(path).unwrap(), data.ino(), data.mtime_nsec())
    }

    fn command(&self, sandbox: &Sandbox) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(sandbox.state_root());
        command
    }

    /// The test fails if it was written to.
    #[track_caller]
    pub(super) fn assert_untouched(&self) {
        assert!(
            Self::look(&self.path) == self.before,
            "the runtime was written to"
        );
    }
}

/// The attacker holds the waiting process' program by a descriptor until no runtime runs any more (before that the
/// kernel itself says ETXTBSY), and writes then. Debian's runc 1.1.5 holds too.
fn a01_cve_2019_5736_the_runtimes_binary_takes_no_write() {
    let sandbox = Sandbox::new();
    let prey = Prey::new(&sandbox);
    let bundle = sandbox.bundle("c");
    run(prey
        .command(&sandbox)
        .args(["create", "--bundle", bundle.argument(), "c"]))
    .success();
    let program = format!("/proc/{}/exe", sandbox.state("c")["pid"]);
    let mut holder = Command::new(hostile::program())
        .args(["hold", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "held");
    run(prey.command(&sandbox).args(["delete", "--force", "c"])).success();
    holder.stdin.take().unwrap().write_all(b"now\n").unwrap();
    let reached = said.next().unwrap().unwrap();
    holder.wait().unwrap();
    assert_ne!(reached, "written");
    prey.assert_untouched();
}

/// An image's entrypoint that is the runtime itself: by its link in /proc, and as a script's interpreter.
fn a01_cve_2019_5736_a_program_that_is_the_runtime_changes_nothing() {
    let sandbox = Sandbox::new();
    let prey = Prey::new(&sandbox);
    let bundle = sandbox.bundle("c");
    std::fs::write(bundle.rootfs().join("bin/script"), "#!/proc/self/exe\n").unwrap();
    Command::new("chmod")
        .arg("755")
        .arg(bundle.rootfs().join("bin/script"))
        .status()
        .unwrap();
    let mut bundle = bundle;
    for program in ["/proc/self/exe", "/bin/script"] {
        bundle = bundle.args(&[program, "run", "x"]);
        let run_it = ["run", "--bundle", bundle.argument(), "c"];
        let output = run(prey.command(&sandbox).args(run_it));
        assert_ne!(output.status, 0, "{output:?}");
        prey.assert_untouched();
        run(prey.command(&sandbox).args(["delete", "--force", "c"]));
    }
}
