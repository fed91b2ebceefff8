//! C1, C2, C4, A2: names in the root that change while dhow works: at every single system call of it (deterministic, by
//! the driver that stops there), and by a racer that swaps them without a pause.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::{Canary, hostile};
use crate::killpoint::{chosen, driver};
use crate::support::sandbox::runtime;
use crate::support::{Bundle, Output, Sandbox, claims, run};

claims![
    c01_cve_2021_30465_a_mount_point_that_is_a_link_stays_inside: [Root, Cgroup2],
    c01_cve_2021_30465_a_mount_point_swapped_at_any_call_stays_inside: [Root, Cgroup2, FullSpeed],
    c02_cve_2024_45310_a_racer_makes_nothing_on_the_host: [Root, Cgroup2, FullSpeed, Tool("gcc")],
    c04_cve_2026_55686_a_working_directory_is_made_inside: [Root, Cgroup2],
    c16_cve_2021_25741_a_source_by_descriptor_is_the_one_that_was_opened: [Root, Cgroup2],
    a02_cve_2024_21626_a_working_directory_swapped_at_any_call_stays_inside: [Root, Cgroup2, FullSpeed, Tool("bash")],
];

/// A volume that two containers share: `a` is a folder, `evil` a link to the canary.
struct Volume {
    folder: PathBuf,
}

impl Volume {
    fn new(sandbox: &Sandbox, target: &Path) -> Self {
        let folder = sandbox.path().join("volume");
        std::fs::create_dir_all(folder.join("a")).unwrap();
        symlink(target, folder.join("evil")).unwrap();
        Self { folder }
    }

    fn names(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("a"), self.folder.join("evil"))
    }

    /// As before, whether it was swapped or not.
    fn reset(&self, target: &Path) {
        std::fs::remove_dir_all(&self.folder).unwrap();
        std::fs::create_dir_all(self.folder.join("a")).unwrap();
        symlink(target, self.folder.join("evil")).unwrap();
    }
}

/// A bundle that mounts the volume, and at two places below `a` in it: a folder and a file that have to be made there.
fn over_the_volume(sandbox: &Sandbox, volume: &Volume) -> Bundle {
    let file = sandbox.path().join("file");
    std::fs::write(&file, "").unwrap();
    sandbox.bundle("c").script("cat /vol/a/secret /vol/a/*/secret 2>/dev/null; true").edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/vol", "type": "bind", "source": volume.folder, "options": ["rbind", "rw"]}));
        mounts.push(json!({"destination": "/vol/a/made", "type": "tmpfs", "source": "tmpfs"}));
        mounts.push(json!({"destination": "/vol/a/deep/made", "type": "tmpfs", "source": "tmpfs"}));
        mounts.push(json!({"destination": "/vol/a/file", "type": "bind", "source": file, "options": ["bind"]}));
    })
}

/// Debian's runc 1.1.5 holds too.
fn c01_cve_2021_30465_a_mount_point_that_is_a_link_stays_inside() {
    for way in ["absolute", "relative"] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let target = match way {
            "absolute" => canary.path().to_owned(),
            _ => PathBuf::from(format!("../../../../../../..{}", canary.text())),
        };
        let volume = Volume::new(&sandbox, &target);
        let (a, evil) = volume.names();
        std::fs::remove_dir(&a).unwrap();
        std::fs::rename(evil, a).unwrap();
        let bundle = over_the_volume(&sandbox, &volume);
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        canary.assert_unseen(&output.stdout);
    }
}

fn swapping(sandbox: &Sandbox, at: u64, names: (&Path, &Path), bundle: &Bundle) -> Output {
    let mut command = Command::new("/proc/self/exe");
    command
        .args([driver::SWAP, &at.to_string()])
        .args([names.0, names.1]);
    command
        .arg(runtime())
        .arg("--root")
        .arg(sandbox.state_root());
    run(command.args(["run", "--bundle", bundle.argument(), "c"]))
}

/// How many stops a run has that nothing disturbs.
pub(super) fn stops(output: &Output) -> u64 {
    let last = output.stdout.lines().last().unwrap_or_default();
    let number = last
        .strip_prefix("stops ")
        .and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("the driver said {last:?}: {output:?}"))
}

/// Whatever dhow looks at between two calls of its own, it finds the other thing at the second.
fn c01_cve_2021_30465_a_mount_point_swapped_at_any_call_stays_inside() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let volume = Volume::new(&sandbox, canary.path());
    let bundle = over_the_volume(&sandbox, &volume);
    let (a, evil) = volume.names();
    let total = stops(&swapping(&sandbox, 0, (&a, &evil), &bundle).success());
    for at in chosen(total, "swapped mount point") {
        volume.reset(canary.path());
        let output = swapping(&sandbox, at, (&a, &evil), &bundle);
        canary.assert_unseen(&output.stdout);
        sandbox.runtime(&["delete", "--force", "c"]);
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{output:?}");
    }
}

/// Debian's runc 1.1.5 makes `canary/made` on the host here, within sixty rounds.
fn c02_cve_2024_45310_a_racer_makes_nothing_on_the_host() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let volume = Volume::new(&sandbox, canary.path());
    let bundle = over_the_volume(&sandbox, &volume);
    let (a, evil) = volume.names();
    let mut racer = Command::new(hostile::program())
        .arg("exchange")
        .args([&a, &evil])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let rounds = if std::env::var_os("DHOW_TEST_SWEEP").is_some() {
        5_000
    } else {
        60
    };
    let mut faults = Vec::new();
    for _ in 0..rounds {
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        if output.status != 0 {
            sandbox.runtime(&["delete", "--force", "c"]);
        }
        faults.extend(canary.changes());
        faults.extend(
            output
                .stdout
                .contains(super::canary::SECRET)
                .then(|| "it was read".to_owned()),
        );
        if !faults.is_empty() {
            break;
        }
    }
    racer.kill().unwrap();
    racer.wait().unwrap();
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

fn c04_cve_2026_55686_a_working_directory_is_made_inside() {
    for way in ["absolute", "relative"] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let target = match way {
            "absolute" => canary.path().to_owned(),
            _ => PathBuf::from(format!("../../../../../../../..{}", canary.text())),
        };
        let bundle = sandbox
            .bundle("c")
            .script("cat ../secret ../../secret; pwd")
            .edit(|spec| {
                spec["root"]["readonly"] = json!(false);
                spec["process"]["cwd"] = json!("/link/new/deep");
            });
        symlink(target, bundle.rootfs().join("link")).unwrap();
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        canary.assert_unseen(&output.stdout);
    }
}

/// As kubelet binds a folder of a volume: it opens it, looks at it, and names the descriptor, whatever has the name since.
fn c16_cve_2021_25741_a_source_by_descriptor_is_the_one_that_was_opened() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let volume = Volume::new(&sandbox, canary.path());
    let (a, evil) = volume.names();
    std::fs::write(a.join("file"), "of the volume\n").unwrap();
    let opened = std::fs::File::open(&a).unwrap();
    std::fs::rename(&a, volume.folder.join("away")).unwrap();
    std::fs::rename(&evil, &a).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&opened);
    let source = format!("/proc/{}/fd/{number}", std::process::id());
    let script = "cat /vol/file /vol/secret 2>/dev/null; touch /vol/new";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        let mount = json!({"destination": "/vol", "type": "bind", "source": source, "options": ["rbind", "rw"]});
        spec["mounts"].as_array_mut().unwrap().push(mount);
    });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.stdout, "of the volume\n", "{output:?}");
    canary.assert_untouched();
    assert!(volume.folder.join("away/new").exists());
}

/// The last look at the working directory is behind the step into it: a folder that becomes a link to a descriptor of
/// the caller's, which leads to the host, is noticed there.
fn a02_cve_2024_21626_a_working_directory_swapped_at_any_call_stays_inside() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let bundle = sandbox.bundle("c").script("cat secret").edit(|spec| {
        spec["process"]["cwd"] = json!("/work");
    });
    let (work, evil) = (bundle.rootfs().join("work"), bundle.rootfs().join("evil"));
    let script = "folder=$1; shift; exec 10<\"$folder\"; exec \"$@\"";
    let swapping = |at: u64| {
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash"]).arg(canary.path());
        command.arg(std::env::current_exe().unwrap());
        command
            .args([driver::SWAP, &at.to_string()])
            .args([&work, &evil]);
        command
            .arg(runtime())
            .arg("--root")
            .arg(sandbox.state_root());
        run(command.args(["run", "--bundle", bundle.argument(), "c"]))
    };
    let reset = || {
        let _ = std::fs::remove_dir(&work).or_else(|_| std::fs::remove_file(&work));
        let _ = std::fs::remove_dir(&evil).or_else(|_| std::fs::remove_file(&evil));
        std::fs::create_dir(&work).unwrap();
        symlink("/proc/self/fd/10", &evil).unwrap();
    };
    reset();
    let total = stops(&swapping(0));
    // All of them: the one between the look and the step is what counts, and there is only one.
    let rare = std::env::var_os("DHOW_TEST_SWEEP").is_none();
    for at in (1..=total)
        .rev()
        .filter(|at| !rare || *at > total / 2 && at % 2 == 1)
    {
        reset();
        let output = swapping(at);
        canary.assert_unseen(&output.stdout);
        sandbox.runtime(&["delete", "--force", "c"]);
    }
}
