//! Claims about real cgroups, below a folder of their own in this host's cgroup v2 tree. What needs
//! controllers that a host may lack is claimed by the workspace's `integration`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the tree by path, as an onlooker does"
)]

/// The crate under the name that the other crates know it by.
extern crate dhow_cgroups as cgroups;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cgroups::devices::Filter;
use cgroups::{Cgroup, Error, Location, Write, limits};
use libtest_mimic::{Arguments, Trial};
use sys::process::{CloneRequest, Cloned, Pid};

macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        const CLAIMS: &[(&str, fn(&Place))] = &[$((stringify!($name), $name)),*];
    };
}

claims![
    a_process_is_born_in_the_cgroup,
    a_frozen_cgroup_stands_still_until_it_is_thawed,
    killing_ends_all_even_the_frozen_and_those_below,
    killing_works_without_cgroup_kill,
    deleting_takes_what_is_below_and_the_parents_made_for_it,
    waiting_for_what_lives_ends_at_the_deadline,
    a_cgroup_with_processes_is_refused_in_runcs_words,
    a_frozen_cgroup_is_refused_in_runcs_words,
    an_empty_cgroup_that_is_there_is_taken_and_its_parents_stay,
    a_missing_controller_is_named_and_nothing_is_left,
    the_device_filter_denies_an_open,
    use_is_read,
];

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // A clone wants one thread.
    arguments.test_threads = Some(1);
    let missing = if !sys::privileges::is_root() {
        Some("needs root")
    } else if Location::find(None, "x").is_err() {
        Some("needs cgroup2")
    } else {
        None
    };
    let trials = CLAIMS.iter().map(|&(name, claim)| {
        Trial::test(name, move || {
            claim(&Place::new(name));
            Ok(())
        })
        .with_kind(missing.unwrap_or_default())
        .with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// One claim's folder in the tree; it goes, with all that is in it, whatever the claim did.
struct Place {
    name: String,
    top: PathBuf,
}

impl Place {
    fn new(claim: &str) -> Self {
        let name = format!("dhow-test-{}/{claim}", std::process::id());
        let location = Location::find(Some(&name), "").unwrap();
        let top = location.directory.parent().unwrap().to_owned();
        Self { name, top }
    }

    fn location(&self) -> Location {
        Location::find(Some(&self.name), "").unwrap()
    }

    fn cgroup(&self) -> Cgroup {
        Cgroup::create(&self.location(), &[]).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(cgroup) = Cgroup::open(&self.top).unwrap() {
            cgroup.thaw().unwrap();
            cgroup.kill().unwrap();
            cgroups::delete(&self.top, None).unwrap();
        }
        assert!(!self.top.exists());
    }
}

/// A process in the cgroup that is busy without end; it is reaped on drop.
struct Busy(Child);

impl Busy {
    fn new(cgroup: &Cgroup) -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        cgroup
            .add(Pid::from_raw(child.id() as i32).unwrap())
            .unwrap();
        Self(child)
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn a_process_is_born_in_the_cgroup(place: &Place) {
    let cgroup = place.cgroup();
    assert!(!cgroup.populated().unwrap());
    let request = CloneRequest {
        cgroup: Some(cgroup.dir()),
        ..CloneRequest::default()
    };
    let process = match sys::process::clone(&request).unwrap() {
        Cloned::Child => loop {
            std::thread::park();
        },
        Cloned::Parent(process) => process,
    };
    assert_eq!(
        cgroup.processes().unwrap(),
        [process.pid.as_raw_nonzero().get()]
    );
    assert!(cgroup.populated().unwrap());
    cgroup.kill().unwrap();
    assert!(cgroup.wait_empty(soon()).unwrap());
    sys::process::wait(&process.pidfd).unwrap();
}

fn a_frozen_cgroup_stands_still_until_it_is_thawed(place: &Place) {
    let cgroup = place.cgroup();
    let _busy = Busy::new(&cgroup);
    cgroup.freeze().unwrap();
    assert!(cgroup.frozen().unwrap() && cgroups::is_frozen(cgroup.path()));
    let used = || cgroup.stats().unwrap().cpu_microseconds.unwrap();
    let before = used();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(used(), before, "it ran while it was frozen");
    cgroup.thaw().unwrap();
    assert!(!cgroup.frozen().unwrap() && !cgroups::is_frozen(cgroup.path()));
    let deadline = soon();
    while used() == before {
        assert!(Instant::now() < deadline, "it did not go on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn killing_ends_all_even_the_frozen_and_those_below(place: &Place) {
    ends_all(place, Cgroup::kill);
}

fn killing_works_without_cgroup_kill(place: &Place) {
    ends_all(place, Cgroup::kill_one_by_one);
}

fn ends_all(place: &Place, kill: fn(&Cgroup) -> cgroups::Result<()>) {
    for freeze in [false, true] {
        let cgroup = place.cgroup();
        std::fs::create_dir_all(cgroup.path().join("below")).unwrap();
        let below = Cgroup::open(&cgroup.path().join("below")).unwrap().unwrap();
        let all = [Busy::new(&cgroup), Busy::new(&cgroup), Busy::new(&below)];
        let mut pids: Vec<_> = all.iter().map(Busy::pid).collect();
        pids.sort_unstable();
        assert_eq!(cgroup.processes().unwrap(), pids);
        if freeze {
            cgroup.freeze().unwrap();
        }
        kill(&cgroup).unwrap();
        assert!(cgroup.wait_empty(soon()).unwrap());
        assert_eq!(cgroup.processes().unwrap(), [0; 0]);
        if freeze {
            cgroup.thaw().unwrap();
        }
    }
}

fn deleting_takes_what_is_below_and_the_parents_made_for_it(place: &Place) {
    let name = format!("{}/a/b", place.name);
    let location = Location::find(Some(&name), "").unwrap();
    let cgroup = Cgroup::create(&location, &[]).unwrap();
    std::fs::create_dir_all(cgroup.path().join("x/y")).unwrap();
    let _busy = Busy::new(&cgroup);
    // Right after the kill its processes may still be on their way out.
    cgroup.kill().unwrap();
    cgroups::delete(&location.directory, location.made_from.as_deref()).unwrap();
    assert!(!place.top.exists(), "a parent that was made for it is left");
    assert!(Cgroup::open(&location.directory).unwrap().is_none());
    cgroups::delete(&location.directory, location.made_from.as_deref()).unwrap();
}

fn waiting_for_what_lives_ends_at_the_deadline(place: &Place) {
    let cgroup = place.cgroup();
    let _busy = Busy::new(&cgroup);
    let deadline = Instant::now() + Duration::from_millis(20);
    assert!(!cgroup.wait_empty(deadline).unwrap());
    assert!(Instant::now() >= deadline);
}

fn a_cgroup_with_processes_is_refused_in_runcs_words(place: &Place) {
    let cgroup = place.cgroup();
    let _busy = Busy::new(&cgroup);
    let error = Cgroup::create(&place.location(), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("container's cgroup is not empty"),
        "{error}"
    );
    assert!(cgroup.populated().unwrap());
}

fn a_frozen_cgroup_is_refused_in_runcs_words(place: &Place) {
    place.cgroup().freeze().unwrap();
    let error = Cgroup::create(&place.location(), &[]).unwrap_err();
    let words = "container's cgroup unexpectedly frozen";
    assert!(error.to_string().ends_with(words), "{error}");
}

fn an_empty_cgroup_that_is_there_is_taken_and_its_parents_stay(place: &Place) {
    place.cgroup();
    let location = place.location();
    assert_eq!(location.made_from, None);
    Cgroup::create(&location, &[]).unwrap();
    cgroups::delete(&location.directory, location.made_from.as_deref()).unwrap();
    assert!(place.top.exists());
}

fn a_missing_controller_is_named_and_nothing_is_left(place: &Place) {
    let resources = serde_json::from_str(r#"{"unified":{"sails.max":"3"}}"#).unwrap();
    let writes: Vec<Write> = limits::writes(&resources).unwrap();
    let error = Cgroup::create(&place.location(), &writes).unwrap_err();
    assert!(matches!(error, Error::NoController { .. }));
    let words =
        "linux.resources.unified.sails.max: needs the sails controller, but the cgroup v2 tree at ";
    assert!(error.to_string().starts_with(words), "{error}");
    assert!(!place.top.exists());
}

fn the_device_filter_denies_an_open(place: &Place) {
    // The kernel's log: no container's business, and there on every host.
    let dir = tempfile::tempdir().unwrap();
    let fd = sys::file::open_dir(dir.path()).unwrap();
    let mode = sys::at::Mode::from_raw_mode(0o600);
    let device = sys::at::makedev(1, 11);
    sys::at::mknodat(
        &fd,
        "kmsg",
        sys::at::FileType::CharacterDevice,
        mode,
        device,
    )
    .unwrap();
    let path = dir.path().join("kmsg");
    let allow = r#"[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]"#;
    for (rules, expected) in [(None, true), (Some(allow), true), (Some("[]"), false)] {
        let cgroup = place.cgroup();
        if let Some(rules) = rules {
            let rules: Vec<_> = serde_json::from_str(rules).unwrap();
            Filter::new(&rules).unwrap().attach(&cgroup).unwrap();
        }
        assert_eq!(opens(&cgroup, &path), expected, "with rules {rules:?}");
        assert!(opens(&cgroup, &PathBuf::from("/dev/null")));
        cgroups::delete(cgroup.path(), None).unwrap();
    }
}

/// Whether a process born in the cgroup can open the file for reading.
fn opens(cgroup: &Cgroup, path: &std::path::Path) -> bool {
    let request = CloneRequest {
        cgroup: Some(cgroup.dir()),
        ..CloneRequest::default()
    };
    match sys::process::clone(&request).unwrap() {
        Cloned::Child => sys::process::exit(i32::from(std::fs::File::open(path).is_err())),
        Cloned::Parent(process) => sys::process::wait(&process.pidfd).unwrap().code() == 0,
    }
}

fn use_is_read(place: &Place) {
    let cgroup = place.cgroup();
    assert!(cgroup.stats().unwrap().cpu_microseconds.is_some());
    let has = std::fs::read_to_string(cgroup.path().join("cgroup.controllers")).unwrap();
    let kills = cgroup.oom_kills().unwrap();
    assert_eq!(kills, has.contains("memory").then_some(0));
}
