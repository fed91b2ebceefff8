//! Claims about claims: each guard that can be broken by name has one that fails without it, and no name is in the
//! sources and not in the list. Not its job: the list (breakable), the claims themselves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::breakable::GUARDS;
use super::lacking::FEATURES;
use crate::support::claim::Claim;
use crate::support::{Need, claims, run};

claims![
    every_name_that_can_be_broken_is_listed: [],
];

/// For each guard and claim: the claim fails without the guard. For each feature: it holds without.
pub(crate) fn broken_on_purpose(all: &[Claim]) -> Vec<Claim> {
    let guards = GUARDS.iter().map(|guard| (guard, 101));
    let features = FEATURES.iter().map(|feature| (feature, 0));
    guards
        .chain(features)
        .flat_map(|(breakable, status)| {
            breakable
                .claims
                .iter()
                .map(move |end| (breakable.name, *end, status))
        })
        .map(|(name, end, status)| match find(all, end) {
            Some(claim) => broken(name, claim, status),
            None => lost(name, end),
        })
        .collect()
}

/// Whether the claim may have to wait for the emulated machine; the others need not be told twice there.
fn only_in_the_rig(need: &Need) -> bool {
    matches!(
        need,
        Need::Controller(_)
            | Need::SysResource
            | Need::RootlessUser
            | Need::AppArmor
            | Need::Systemd
            | Need::Criu
    )
}

fn find<'a>(all: &'a [Claim], end: &str) -> Option<&'a Claim> {
    let end = format!("::{end}");
    all.iter().find(|claim| claim.name.ends_with(&end))
}

/// A claim that is not there (it was renamed, say) is a failure of its own, with its name.
fn lost(name: &'static str, end: &'static str) -> Claim {
    Claim {
        name: format!("integration::security::guards::{name}::lost::{end}"),
        needs: &[],
        body: Box::new(move || panic!("breakable.rs names a claim that is not there: {end}")),
    }
}

fn broken(name: &'static str, claim: &Claim, status: i32) -> Claim {
    let inner = claim.name.trim_start_matches("integration::").to_owned();
    let verdict = if status == 0 { "holds" } else { "fails" };
    // Told once and kept: claims live as long as the program.
    let mut needs = [claim.needs, &[Need::FaultBuild]].concat();
    if !claim.needs.iter().any(only_in_the_rig) {
        needs.push(Need::FullSpeed);
    }
    let needs: &'static [Need] = Box::leak(needs.into_boxed_slice());
    Claim {
        name: format!("integration::security::guards::{name}::{verdict}::{inner}"),
        needs,
        body: Box::new(move || {
            let mut command = Command::new("/proc/self/exe");
            command
                .args(["--exact", &inner, "--test-threads", "1"])
                .env("DHOW_FAULT", name)
                // What hangs without its guard has failed: it need not take a minute.
                .env("DHOW_TEST_DEADLINE", "10")
                .env_remove("DHOW_TEST_LIST");
            let output = run(&mut command);
            assert!(output.stdout.contains("\nrunning 1 test\n"), "{output:?}");
            assert_eq!(
                output.status, status,
                "with {name}: {}\n{}",
                output.stdout, output.stderr
            );
        }),
    }
}

/// The names in the sources: `broken("…")`.
fn names_in_the_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut pending = vec![Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                if !["target", "integration", "docs"].contains(&name.as_str())
                    && !name.starts_with('.')
                {
                    pending.push(entry.path());
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let calls = text.split("broken(").skip(1);
                let quoted = calls.filter_map(|rest| rest.trim_start().strip_prefix('"'));
                found.extend(quoted.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }
    found
}

fn every_name_that_can_be_broken_is_listed() {
    let listed: BTreeSet<String> = GUARDS
        .iter()
        .chain(FEATURES)
        .inspect(|breakable| assert!(!breakable.claims.is_empty(), "{}", breakable.name))
        .flat_map(|breakable| breakable.name.split(','))
        .map(str::to_owned)
        .collect();
    let found = names_in_the_sources();
    let unlisted: Vec<&String> = found.difference(&listed).collect();
    assert!(
        unlisted.is_empty(),
        "breakable.rs names no claim that fails without {unlisted:?}"
    );
    let gone: Vec<&String> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "no source asks for {gone:?}");
}
