//! Several processes at one store, killed at any moment: what is referred to stays.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::killed::{sample, stock, stops};
use super::{Shelf, layer};
use crate::killpoint::driver;
use crate::support::{claims, run};

claims![
    two_loads_and_a_prune_killed_at_random_lose_nothing: [Root, Dhow],
    a_prune_at_any_call_of_a_load_takes_nothing_from_it: [Root, Dhow],
    loads_of_one_image_at_once_all_succeed: [Dhow],
];

/// What it says of errors is kept.
fn quiet(mut command: Command) -> std::process::Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A hundred rounds under `make sweep`.
fn two_loads_and_a_prune_killed_at_random_lose_nothing() {
    let shelf = Shelf::new();
    let archive = stock(&shelf);
    let sweep = std::env::var_os("DHOW_TEST_SWEEP").is_some();
    let rounds = if sweep { 100 } else { 15 };
    let mut state = 0x5eed_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..rounds {
        // It has no name then, and what is alone its own is in the way of the prune.
        if shelf.names().contains(&"new:latest".to_owned()) {
            shelf.dhow(&["rmi", "new"]).success();
        }
        let words: [&[&str]; 3] = [&["load", &archive], &["load", &archive], &["prune"]];
        let mut running = words.map(|words| quiet(shelf.command(words)));
        // Which of them, and when: any moment will do.
        let victims = random(7) + 1;
        std::thread::sleep(Duration::from_micros(random(20_000)));
        for (n, process) in running.iter_mut().enumerate() {
            if victims & (1 << n) != 0 {
                process.kill().unwrap();
            }
        }
        for (n, process) in running.into_iter().enumerate() {
            let said = process.wait_with_output().unwrap();
            assert!(
                said.status.success() || victims & (1 << n) != 0,
                "round {round}: {:?} {said:?}",
                words[n]
            );
        }
        let said = shelf.check();
        assert_eq!(said["Whole"], true, "round {round}: {said:#}");
        let names = shelf.names();
        assert!(
            names.starts_with(&["kept:latest".to_owned()]),
            "round {round}: {names:?}"
        );
        assert!(
            names.contains(&"old:latest".to_owned()),
            "round {round}: {names:?}"
        );
        assert_eq!(shelf.room("work"), Vec::<PathBuf>::new(), "round {round}");
    }
    shelf.load(&archive).success();
    shelf.dhow(&["prune"]).success();
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "{said:#}");
    assert_eq!(said["Unused"].as_array().unwrap().len(), 0, "{said:#}");
}

/// Layers of a load that was killed before the index spoke of them: the next load finds them, and a prune takes them.
fn a_prune_at_any_call_of_a_load_takes_nothing_from_it() {
    let shelf = Shelf::new();
    let archive = stock(&shelf);
    let index = shelf.store.join("index.json");
    let before = (std::fs::read(&index).unwrap(), shelf.room("layers"));
    shelf.load(&archive).success();
    std::fs::write(&index, before.0).unwrap();
    // Layer `leaning` must be read again: it asks for those below, which are found.
    let leans = |path: &PathBuf| path.extension().is_some() && !before.1.contains(path);
    let own = shelf.archive(
        "own",
        &[
            layer("shared"),
            layer("new"),
            super::leaning("new"),
            layer("own"),
        ],
    );
    let pristine = shelf.path("pristine");
    std::fs::rename(&shelf.store, &pristine).unwrap();
    let words = shelf
        .words()
        .into_iter()
        .map(|word| word.to_str().unwrap().to_owned());
    let words = words.collect::<Vec<_>>().join(" ");
    // Not while the load has the lock: it stands still, and the prune would wait for it.
    let lock = shelf.store.join("lock");
    let script = format!("! flock -n {} true || {words} prune", lock.display());
    let pruning = |stop: u64| {
        let _none_yet = std::fs::remove_dir_all(&shelf.store);
        run(Command::new("cp")
            .arg("-a")
            .arg(&pristine)
            .arg(&shelf.store))
        .success();
        for path in shelf.room("layers").iter().filter(|path| leans(path)) {
            std::fs::remove_dir_all(path).unwrap();
        }
        let mut command = Command::new("/proc/self/exe");
        command.args([driver::DO, &stop.to_string(), &script]);
        run(command.args(shelf.words()).args(["load", &own]))
    };
    let total = stops(&pruning(0).success());
    for stop in sample(total, "load", 5) {
        let output = pruning(stop).success();
        assert_eq!(
            shelf.names(),
            ["kept:latest", "old:latest", "own:latest"],
            "{output:?}"
        );
        shelf.is_whole();
    }
}

fn loads_of_one_image_at_once_all_succeed() {
    let shelf = Shelf::new();
    let archive = shelf.archive("a", &[layer("x"), layer("y"), layer("z")]);
    let running: Vec<_> = (0..6)
        .map(|_| quiet(shelf.command(&["load", &archive])))
        .collect();
    for process in running {
        let said = process.wait_with_output().unwrap();
        assert!(said.status.success(), "{said:?}");
    }
    assert_eq!(shelf.names(), ["a:latest"]);
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "{said:#}");
    assert_eq!(said["Unused"].as_array().unwrap().len(), 0, "{said:#}");
}
