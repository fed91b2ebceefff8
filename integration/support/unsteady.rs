//! A claim that fails in the suite is asked once more, alone. Not its job: what becomes of those that hold only then
//! (`integration/suite` names them, and lets few of them pass).
//!
//! The claims run beside other people's engines and beside each other, on machines with other work. One that fails
//! once in a hundred runs says something about itself, and has to be looked at; it should not hide what the other
//! nine hundred say.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{PoisonError, RwLock};

/// Held by every claim that runs; whole, by one that is asked again.
static MACHINE: RwLock<()> = RwLock::new(());

/// Runs a claim. Where `DHOW_TEST_LIST` keeps a list, a claim that fails is run again with nothing beside it, and
/// listed as `unsteady NAME` if it holds then; elsewhere the first word counts.
///
/// # Panics
/// As the claim does.
pub(super) fn ask(name: &str, body: &(dyn Fn() + Send)) {
    let first = {
        let _beside_others = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        // A claim owns nothing that its second run could find half changed.
        catch_unwind(AssertUnwindSafe(body))
    };
    let Err(fault) = first else { return };
    let Some(list) = std::env::var_os("DHOW_TEST_LIST") else {
        resume_unwind(fault)
    };
    eprintln!("{name} failed: it is asked once more, alone");
    let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    body();
    let kept = std::fs::OpenOptions::new().append(true).open(&list);
    kept.and_then(|mut list| writeln!(list, "unsteady {name}"))
        .unwrap_or_else(|error| panic!("append to {}: {error}", list.display()));
}
