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

fn a_build_killed_at_any_call_loses_nothing() {
    let (site, pristine) = site();
    let kill = |stop: u64| {
        let store = site.folder().join("store");
        // Steps whose build was killed end by themselves, and clear away what is theirs.
        wait_for("the store to be free", Duration::from_secs(20), || {
            (!store.exists() || std::fs::remove_dir_all(&store).is_ok()).then_some(())
        });
        std::fs::create_dir(&store).unwrap();
        fill(&pristine, &store);
        let dhow = site.dhow();
        let mut command = Command::new("/proc/self/exe");
        command.current_dir(site.folder());
        command.arg(driver::KILL).arg(stop.to_string());
        command.arg(dhow.get_program()).args(dhow.get_args());
        command.args(["build", "--network=none", "-t", "c", "c"]);
        run(&mut command)
    };
    let whole = kill(0).success();
    let last = whole.stdout.lines().last().unwrap_or_default().to_owned();
    let total = last.strip_prefix("stops ").and_then(|n| n.parse().ok());
    let total: u64 = total.unwrap_or_else(|| panic!("the driver said {last:?}"));
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
