//! Several processes at one store, killed at any moment: what is referred to stays.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::killed::stock;
use super::{Shelf, layer};
use crate::support::claims;

claims![
    two_loads_and_a_prune_killed_at_random_lose_nothing: [Root, Dhow],
    loads_of_one_image_at_once_all_succeed: [Dhow],
];

fn quiet(mut command: Command) -> std::process::Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
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
        for (n, process) in running.iter_mut().enumerate() {
            let status = process.wait().unwrap();
            assert!(
                status.success() || victims & (1 << n) != 0,
                "round {round}: {:?}",
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

fn loads_of_one_image_at_once_all_succeed() {
    let shelf = Shelf::new();
    let archive = shelf.archive("a", &[layer("x"), layer("y"), layer("z")]);
    let running: Vec<_> = (0..6)
        .map(|_| quiet(shelf.command(&["load", &archive])))
        .collect();
    for mut process in running {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(shelf.names(), ["a:latest"]);
    let said = shelf.check();
    assert_eq!(said["Whole"], true, "{said:#}");
    assert_eq!(said["Unused"].as_array().unwrap().len(), 0, "{said:#}");
}
