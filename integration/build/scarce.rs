//! A build that finds no room on the disk, or is killed, anywhere in the middle: nothing is lost, nothing half visible,
//! and the next build goes on from the last finished step. Not its job: builds beside each other (course).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Site, cached};
use crate::killpoint::{chosen, driver};
use crate::support::command::wait_for;
use crate::support::{Output, claims, run};

claims![
    a_full_disk_ends_a_build_anywhere_and_the_next_goes_on: [Root, Cgroup2, Overlay, Dhow],
    an_output_that_finds_no_room_leaves_no_half_of_it: [Root, Cgroup2, Overlay, Dhow],
    an_output_of_a_killed_build_is_whole_or_none: [Root, Overlay, Dhow],
    what_is_no_file_is_written_to: [Root, Overlay, Dhow],
    a_build_killed_at_any_call_loses_nothing: [Root, Cgroup2, Overlay, Dhow],
];

/// A COPY and a RUN that write 300 KiB each; whatever is done again leaves something else.
const RECIPE: &str = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /number\nCOPY big /big\n\
     RUN dd if=/dev/zero of=/more bs=1k count=300\nRUN cat /proc/sys/kernel/random/uuid > /last\n";

const NO_ROOM: &str = "no space left on device";

/// A file system of a size that changes, gone with this value.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(at))
        .success();
        Self(at.to_owned())
    }

    fn resize(&self, bytes: u64) {
        let size = format!("remount,size={bytes}");
        run(Command::new("mount").args(["-o", &size]).arg(&self.0)).success();
    }

    /// How much it holds.
    fn used(&self) -> u64 {
        let said = run(Command::new("stat")
            .args(["-f", "-c", "%b %f %S"])
            .arg(&self.0));
        let said = said.success().stdout;
        let numbers: Vec<u64> = said
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        (numbers[0] - numbers[1]) * numbers[2]
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _told_by_the_sandbox = Command::new("umount").arg(&self.0).status();
    }
}

/// A site with the recipe `c`, and its store put aside: what each try begins with.
fn site() -> (Site, PathBuf) {
    let site = Site::new();
    let context = site.context("c", RECIPE);
    std::fs::write(context.join("big"), vec![7; 300 << 10]).unwrap();
    let pristine = site.folder().join("pristine");
    std::fs::rename(site.folder().join("store"), &pristine).unwrap();
    (site, pristine)
}

fn fill(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to)).success();
}

/// Steps that came to their end, but for FROM.
fn done(output: &Output) -> usize {
    let ends = output.stderr.lines().filter(|line| line.contains(" DONE "));
    ends.count().saturating_sub(1)
}

/// The store is whole, has no new image, and a build goes on from what was done.
#[track_caller]
fn goes_on(site: &Site, failed: &Output, place: &str) {
    let checked = run(site.dhow().args(["store", "check"]));
    assert_eq!(checked.status, 0, "{place}: {checked:?}");
    let images = run(site.dhow().arg("images")).success();
    assert_eq!(images.stdout.lines().count(), 2, "{place}: {images:?}");
    let next = site.build(&["-t", "c", "c"]).success();
    assert!(
        cached(&next) >= done(failed),
        "{place}: {failed:?} {next:?}"
    );
    let again = site.build(&["-t", "c", "c"]).success();
    assert_eq!(cached(&again), 4, "{place}: {again:?}");
    assert_eq!(next.stdout, again.stdout, "{place}");
    let work = std::fs::read_dir(site.folder().join("store/work")).unwrap();
    assert_eq!(work.count(), 0, "{place}");
}

fn a_full_disk_ends_a_build_anywhere_and_the_next_goes_on() {
    let (site, pristine) = site();
    let sweep = std::env::var_os("DHOW_TEST_SWEEP").is_some();
    let step: u64 = if sweep { 8 << 10 } else { 224 << 10 };
    let mut met = 0;
    for room in (0..).map(|n| n * step) {
        let disk = Disk::mount(&site.folder().join("store"));
        fill(&pristine, &disk.0);
        disk.resize(disk.used() + room);
        let failed = site.build(&["-t", "c", "c"]);
        disk.resize(64 << 20);
        if failed.status == 0 {
            break;
        }
        met += 1;
        let place = format!("with {room} bytes");
        assert_eq!(failed.status, 1, "{place}: {failed:?}");
        let told = failed.stderr.to_lowercase().contains(NO_ROOM);
        assert!(told, "{place}: {failed:?}");
        goes_on(&site, &failed, &place);
    }
    assert!(met > 3, "only {met} sizes were too small");
}

fn an_output_that_finds_no_room_leaves_no_half_of_it() {
    let site = Site::new();
    let context = site.context("c", "FROM base\nCOPY big /big\n");
    std::fs::write(context.join("big"), vec![7; 300 << 10]).unwrap();
    let disk = Disk::mount(&site.folder().join("small"));
    disk.resize(200 << 10);
    for kind in ["tar", "oci", "docker"] {
        let output = site.build(&["-q", "-o", &format!("type={kind},dest=small/out"), "c"]);
        let told = output.ends_with(1).stderr;
        assert!(told.contains(NO_ROOM), "{kind}: {told}");
        let left = std::fs::read_dir(&disk.0).unwrap().count();
        assert_eq!(left, 0, "{kind}");
    }
}

/// Kills what writes them at some of its last calls, most of which are those that write.
fn an_output_of_a_killed_build_is_whole_or_none() {
    let site = Site::new();
    let context = site.context("c", "FROM base\nCOPY big /big\n");
    std::fs::write(context.join("big"), vec![7; 300 << 10]).unwrap();
    let (out, folder) = (site.folder().join("o"), "type=local,dest=o/cache,mode=max");
    let outputs: [&[&str]; 4] = [
        &["-o", "type=oci,dest=o/oci.tar"],
        &["-o", "type=oci,tar=false,dest=o/layout"],
        &[
            "-o",
            "type=tar,dest=o/tar",
            "--iidfile=o/id",
            "--metadata-file=o/said",
        ],
        &["-o", "type=cacheonly", "--cache-to", folder],
    ];
    std::fs::create_dir(&out).unwrap();
    for output in outputs {
        let build = [&["-q"], output, &["c"]].concat();
        site.build(&build).success();
        let files = || names(&out);
        let wanted = files();
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::create_dir(&out).unwrap();
        let total = stops(&kill(&site, 0, &build));
        std::fs::remove_dir_all(&out).unwrap();
        for back in [1, 7, 16, 30, 55] {
            std::fs::create_dir(&out).unwrap();
            let killed = kill(&site, total.saturating_sub(back).max(1), &build).success();
            let place = format!("{output:?} of {total}: {}", killed.stdout);
            for name in ["o/layout", "o/cache"].map(|name| site.folder().join(name)) {
                let shown = name.join("index.json").exists();
                let count = std::fs::read_dir(name.join("blobs/sha256")).map_or(0, Iterator::count);
                assert!(!shown || count > 2, "{place}");
            }
            // One that is whole stays as it is.
            let layout = out.join("layout");
            if layout.join("index.json").exists() && !layout.join(".unfinished").exists() {
                std::fs::remove_dir_all(&layout).unwrap();
            }
            site.build(&build).success();
            assert_eq!(files(), wanted, "{place}");
            std::fs::remove_dir_all(&out).unwrap();
        }
        std::fs::create_dir(&out).unwrap();
    }
}

/// The names below a folder.
fn names(folder: &Path) -> Vec<String> {
    let found = run(Command::new("find").arg(".").current_dir(folder)).success();
    let mut names: Vec<String> = found.stdout.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// As it is asked for by `-o type=tar,dest=/dev/stdout`: on a device and a pipe of our own.
fn what_is_no_file_is_written_to() {
    let site = Site::bare();
    site.context("c", "FROM scratch\nCOPY Dockerfile /f\n");
    let null = site.folder().join("null");
    run(Command::new("mknod").arg(&null).args(["c", "1", "3"])).success();
    std::os::unix::fs::symlink("null", site.folder().join("link")).unwrap();
    let words = [
        "-q",
        "-o",
        "type=tar,dest=null",
        "--iidfile=link",
        "--metadata-file=null",
        "c",
    ];
    site.build(&words).success();
    let kept = run(Command::new("stat")
        .args(["-c", "%F"])
        .arg(&null)
        .arg(site.folder().join("link")));
    assert_eq!(
        kept.success().stdout,
        "character special file\nsymbolic link\n"
    );
    let piped = site.dhow();
    let words = "\"$@\" build -q -o type=tar,dest=/dev/stdout c | tar -t";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", words, "sh"])
        .arg(piped.get_program())
        .args(piped.get_args());
    let listed = run(shell.current_dir(site.folder())).success();
    assert_eq!(listed.stdout, "f\n", "{listed:?}");
}

fn a_build_killed_at_any_call_loses_nothing() {
    let (site, pristine) = site();
    let build = ["-t", "c", "c"];
    let kill = |stop: u64| {
        let store = site.folder().join("store");
        // Steps whose build was killed end by themselves, and clear away what is theirs.
        wait_for("the store to be free", Duration::from_secs(20), || {
            (!store.exists() || std::fs::remove_dir_all(&store).is_ok()).then_some(())
        });
        std::fs::create_dir(&store).unwrap();
        fill(&pristine, &store);
        kill(&site, stop, &build)
    };
    let total = stops(&kill(0).success());
    let sweep = std::env::var_os("DHOW_TEST_SWEEP").is_some();
    let stops = chosen(total, "build").into_iter();
    let few = if sweep { total.div_ceil(200) } else { 8 };
    let mut met = 0;
    for stop in stops.step_by(usize::try_from(few).unwrap()) {
        let killed = kill(stop).success();
        // A build may have fewer calls this time, and end before.
        if killed.stdout.contains("acted at ") {
            met += 1;
            killed_goes_on(&site, &killed, &format!("of {total}"));
        }
    }
    assert!(met > 3, "only {met} builds were killed");
}

/// A build under the driver, killed at this stop.
#[track_caller]
fn kill(site: &Site, stop: u64, arguments: &[&str]) -> Output {
    let dhow = site.dhow();
    let mut command = Command::new("/proc/self/exe");
    command.current_dir(site.folder());
    command.arg(driver::KILL).arg(stop.to_string());
    command.arg(dhow.get_program()).args(dhow.get_args());
    command.args(["build", "--network=none"]).args(arguments);
    run(&mut command)
}

/// What the driver says of a build that it let be.
#[track_caller]
fn stops(whole: &Output) -> u64 {
    let last = whole.stdout.lines().last().unwrap_or_default();
    let total = last.strip_prefix("stops ").and_then(|n| n.parse().ok());
    total.unwrap_or_else(|| panic!("the driver said {last:?}"))
}

/// The same of a build that was killed, which may have shown its image just before.
#[track_caller]
fn killed_goes_on(site: &Site, killed: &Output, of: &str) {
    let place = killed.stdout.lines().last().unwrap_or_default().to_owned() + " " + of;
    let checked = run(site.dhow().args(["store", "check"]));
    assert_eq!(checked.status, 0, "{place}: {checked:?}");
    let next = site.build(&["-t", "c", "c"]).success();
    assert!(
        cached(&next) >= done(killed),
        "{place}: {killed:?} {next:?}"
    );
    let again = site.build(&["-t", "c", "c"]).success();
    assert_eq!(next.stdout, again.stdout, "{place}");
    let left = site.sandbox.left_behind();
    assert_eq!(left, Vec::<String>::new(), "{place}");
    let work = std::fs::read_dir(site.folder().join("store/work")).unwrap();
    assert_eq!(work.count(), 0, "{place}");
}
