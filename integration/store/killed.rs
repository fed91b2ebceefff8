//! dhow killed at any system call of what changes a store: what is referred to is whole, and what is left over goes with
//! the next command.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Shelf, layer, leaning};
use crate::killpoint::{chosen, driver};
use crate::support::{Output, claims, run};

claims![
    a_killed_load_loses_nothing: [Root, Dhow],
    a_killed_prune_loses_nothing: [Root, Dhow],
    a_killed_rmi_loses_nothing: [Root, Dhow],
    a_killed_tag_loses_nothing: [Root, Dhow],
    a_killed_load_of_images_loses_nothing: [Root, ImageLayers, Dhow],
    a_killed_rmi_of_images_loses_nothing: [Root, ImageLayers, Dhow],
];

/// How many stops of a command are tried, but for `make sweep`.
const SAMPLE: usize = 7;

/// What is done, and which names there may be afterwards.
pub(super) struct Verb {
    pub(super) words: &'static [&'static str],
    /// The archive `new`, loaded by the verb.
    pub(super) loads: bool,
    pub(super) before: &'static [&'static str],
    pub(super) after: &'static [&'static str],
}

pub(super) const LOAD: Verb = Verb {
    words: &["load"],
    loads: true,
    before: &["kept:latest", "old:latest"],
    after: &["kept:latest", "new:latest", "old:latest"],
};

/// The image `nameless`, which the stock has without a name.
pub(super) const PRUNE: Verb = Verb {
    words: &["prune"],
    loads: false,
    before: &["kept:latest", "old:latest"],
    after: &["kept:latest", "old:latest"],
};

pub(super) const REMOVE: Verb = Verb {
    words: &["rmi", "old"],
    loads: false,
    before: &["kept:latest", "old:latest"],
    after: &["kept:latest"],
};

const TAG: Verb = Verb {
    words: &["tag", "old", "other"],
    loads: false,
    before: &["kept:latest", "old:latest"],
    after: &["kept:latest", "old:latest", "other:latest"],
};

fn a_killed_load_loses_nothing() {
    sweep(&LOAD, Shelf::new());
}

fn a_killed_prune_loses_nothing() {
    sweep(&PRUNE, Shelf::new());
}

fn a_killed_rmi_loses_nothing() {
    sweep(&REMOVE, Shelf::new());
}

fn a_killed_tag_loses_nothing() {
    sweep(&TAG, Shelf::new());
}

fn a_killed_load_of_images_loses_nothing() {
    sweep(&LOAD, Shelf::new().of_images());
}

fn a_killed_rmi_of_images_loses_nothing() {
    sweep(&REMOVE, Shelf::new().of_images());
}

/// The first of the stops that are tried anyway, and the last.
pub(super) fn sample(total: u64, seed: &str, most: usize) -> Vec<u64> {
    let all: Vec<u64> = chosen(total, seed).into_iter().collect();
    if std::env::var_os("DHOW_TEST_SWEEP").is_some() {
        return all;
    }
    let step = all.len().div_ceil(most).max(1);
    let mut some: Vec<u64> = all.iter().copied().step_by(step).collect();
    some.extend(all.last());
    some.dedup();
    some
}

/// Images `kept`, `old` and one without a name, which share a layer; and the archive `new`, which shares it too.
pub(super) fn stock(shelf: &Shelf) -> String {
    let images = [("nameless", "n"), ("kept", "k"), ("old", "o")];
    for (name, own) in images {
        let archive = shelf.archive(name, &[layer("shared"), leaning("shared"), layer(own)]);
        shelf.load(&archive).success();
        if name == "nameless" {
            let path = shelf.path("nameless.tar");
            std::fs::write(&path, super::archive_of("nameless", &[layer("x")])).unwrap();
            shelf
                .dhow(&["load", "--force", path.to_str().unwrap()])
                .success();
            shelf.dhow(&["rmi", "nameless"]).success();
        }
    }
    shelf.archive("new", &[layer("shared"), layer("new"), leaning("new")])
}

/// The verb under the driver.
pub(super) fn driven(shelf: &Shelf, act: &[&Path], verb: &Verb, archive: &str) -> Output {
    let mut command = Command::new("/proc/self/exe");
    command.args(act).args(shelf.words()).args(verb.words);
    if verb.loads {
        command.args(["--layers", shelf.form, archive]);
    }
    run(&mut command)
}

/// What the driver says at the end of what it did not disturb.
pub(super) fn stops(output: &Output) -> u64 {
    let line = output.stdout.lines().last().unwrap_or_default().to_owned();
    line.strip_prefix("stops ")
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("the driver said {line:?}: {output:?}"))
}

/// A store may be anything between before and after; it is whole, nothing is left over, and the verb can be done again.
#[track_caller]
pub(super) fn goes_on(shelf: &Shelf, verb: &Verb, archive: &str, place: &str) {
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "{place}: {said:#}");
    let names = shelf.names();
    assert!(
        names == verb.before || names == verb.after,
        "{place}: {names:?}"
    );
    assert_eq!(shelf.room("work"), Vec::<PathBuf>::new(), "{place}");
    let mut words = verb.words.to_vec();
    if verb.loads {
        words.extend(["--layers", shelf.form, archive]);
    }
    let again = shelf.dhow(&words);
    let was_done = verb.words[0] == "rmi" && names == verb.after;
    assert_eq!(again.status, i32::from(was_done), "{place}: {again:?}");
    assert_eq!(shelf.names(), verb.after, "{place}");
    shelf.dhow(&["prune"]).success();
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "{place}: {said:#}");
    assert_eq!(
        said["Unused"].as_array().unwrap().len(),
        0,
        "{place}: {said:#}"
    );
    assert_eq!(shelf.names(), verb.after, "{place}");
}

fn sweep(verb: &Verb, shelf: Shelf) {
    let archive = stock(&shelf);
    let pristine = shelf.path("pristine");
    std::fs::rename(&shelf.store, &pristine).unwrap();
    let kill = |stop: u64| {
        let _none_yet = std::fs::remove_dir_all(&shelf.store);
        run(Command::new("cp")
            .arg("-a")
            .arg(&pristine)
            .arg(&shelf.store))
        .success();
        let stop = stop.to_string();
        let act = [Path::new(driver::KILL), Path::new(&stop)];
        driven(&shelf, &act, verb, &archive)
    };
    let total = stops(&kill(0).success());
    assert!(total > 50, "{:?} has only {total} stops", verb.words);
    goes_on(&shelf, verb, &archive, "undisturbed");
    for stop in sample(total, verb.words[0], SAMPLE) {
        let output = kill(stop);
        let place = output.stdout.lines().last().unwrap_or_default().to_owned();
        goes_on(&shelf, verb, &archive, &place);
    }
}
