//! Claims about real cgroups, below a folder of their own in this host's cgroup v2 tree. What needs
//! controllers that a host may lack is claimed by the workspace's `integration`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the tree by path, as an onlooker does"
)]

/// The crate under the name that the other crates know it by.
extern crate dhow_cgroups as cgroups;

mod devices;
mod limits;
mod place;

use std::time::{Duration, Instant};

use cgroups::{Cgroup, Error, Location, Write};
use libtest_mimic::{Arguments, Trial};
use sys::process::{CloneRequest, Cloned};

use self::devices::{the_device_filter_denies_an_open, the_kernel_takes_every_program};
use self::limits::{LIMITS, REFUSED, limits_stand, refused};
use self::place::{Busy, Place, soon};

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
    a_parent_that_takes_no_more_is_explained,
    a_parent_with_processes_hands_nothing_down,
    the_device_filter_denies_an_open,
    the_kernel_takes_every_program,
    use_is_read,
];

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // A clone wants one thread.
    arguments.test_threads = Some(1);
    let tree = Location::find(None, "x").map(|location| location.root);
    let missing = match &tree {
        _ if !sys::privileges::is_root() => Some("needs root"),
        Err(_) => Some("needs cgroup2"),
        Ok(_) => None,
    };
    let words = |file| match &tree {
        Ok(root) => std::fs::read_to_string(root.join(file)).unwrap(),
        Err(_) => String::new(),
    };
    let has = words("cgroup.controllers");
    let enabled = words("cgroup.subtree_control");
    let mut trials = Vec::new();
    for &(name, claim) in CLAIMS {
        let claim = move || claim(&Place::new(name));
        trials.push(trial(name.to_owned(), missing.map(str::to_owned), claim));
    }
    let without = |name: &str| match has.split_whitespace().any(|word| word == name) {
        true => missing.map(str::to_owned),
        false => Some(format!("needs controller {name}")),
    };
    for (i, &(controller, json, files)) in LIMITS.iter().enumerate() {
        let name = format!("limits_of_{controller}_stand_in_the_files_{i}");
        let claim = move || limits_stand(&Place::new(controller), json, files);
        trials.push(trial(name, without(controller), claim));
    }
    for &(controller, json, end) in REFUSED {
        let name = format!("a_refused_limit_of_{controller}_is_explained");
        let claim = move || refused(&Place::new(controller), json, end);
        trials.push(trial(name, without(controller), claim));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // What was handed down for the claims is taken back, if nobody else uses it.
    for name in words("cgroup.subtree_control").split_whitespace() {
        if let (Ok(root), false) = (&tree, enabled.split_whitespace().any(|word| word == name)) {
            let _ = std::fs::write(root.join("cgroup.subtree_control"), format!("-{name}"));
        }
    }
    conclusion.exit_code()
}

fn trial(name: String, missing: Option<String>, claim: impl FnOnce() + Send + 'static) -> Trial {
    let ignored = missing.is_some();
    Trial::test(name, move || {
        claim();
        Ok(())
    })
    .with_kind(missing.unwrap_or_default())
    .with_ignored_flag(ignored)
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
    let used = || cgroup.stats().unwrap().cpu.unwrap().usage;
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
    let writes: Vec<Write> = cgroups::limits::writes(&resources).unwrap();
    let error = Cgroup::create(&place.location(), &writes).unwrap_err();
    assert!(matches!(error, Error::NoController { .. }));
    let words =
        "linux.resources.unified.sails.max: needs the sails controller, but the cgroup v2 tree at ";
    assert!(error.to_string().starts_with(words), "{error}");
    assert!(!place.top.exists());
}

fn use_is_read(place: &Place) {
    let cgroup = place.cgroup();
    assert!(cgroup.stats().unwrap().cpu.is_some());
    let has = std::fs::read_to_string(cgroup.path().join("cgroup.controllers")).unwrap();
    let kills = cgroup.oom_kills().unwrap();
    assert_eq!(kills, has.contains("memory").then_some(0));
}

fn a_parent_that_takes_no_more_is_explained(place: &Place) {
    let parent = place.cgroup();
    std::fs::write(parent.path().join("cgroup.max.descendants"), "0").unwrap();
    let location = Location::find(Some(&format!("{}/below", place.name)), "").unwrap();
    let error = Cgroup::create(&location, &[]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("cgroup.max.descendants is reached"),
        "{error}: {source}"
    );
}

/// With any controller at all: it is not handed down past processes, and the reason is told.
fn a_parent_with_processes_hands_nothing_down(place: &Place) {
    let parent = place.cgroup();
    let has = std::fs::read_to_string(place.location().root.join("cgroup.controllers")).unwrap();
    let Some(file) = ["hugetlb.2MB.max", "memory.max"]
        .into_iter()
        .find(|file| has.contains(file.split('.').next().unwrap()))
    else {
        return;
    };
    let busy = Busy::new(&parent);
    let json = format!(r#"{{"unified":{{"{file}":"max"}}}}"#);
    let writes = cgroups::limits::writes(&serde_json::from_str(&json).unwrap()).unwrap();
    let location = Location::find(Some(&format!("{}/below", place.name)), "").unwrap();
    let error = Cgroup::create(&location, &writes).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("processes live in it"), "{error}: {source}");
    assert!(!location.directory.exists());
    drop(busy);
}
