//! Claims about real mounts, hostile images included. Each runs below a "host" of its own, see `world`.
//! Not its job: whole containers (that is the workspace's `integration`).
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make and look at trees by path, as an image's author or an onlooker does"
)]

/// The crate under the name that the other crates know it by.
extern crate dhow_rootfs as rootfs;

mod attach;
mod console;
mod devices;
mod overlay;
mod pivot;
mod protect;
mod world;

use libtest_mimic::{Arguments, Trial};

/// A claim: its name and the code that checks it.
type Claim = (&'static str, fn(&world::World));

/// Names each function of a list.
#[macro_export]
macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CLAIMS: &[$crate::Claim] = &[$((stringify!($name), $name)),*];
    };
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let root = sys::privileges::is_root();
    let groups = [
        ("attach", attach::CLAIMS),
        ("console", console::CLAIMS),
        ("devices", devices::CLAIMS),
        ("overlay", overlay::CLAIMS),
        ("pivot", pivot::CLAIMS),
        ("protect", protect::CLAIMS),
    ];
    let trials = groups.iter().flat_map(|(group, claims)| {
        claims.iter().map(move |&(name, claim)| {
            let name = format!("{group}::{name}");
            let trial = Trial::test(name, move || {
                world::run(claim);
                Ok(())
            });
            let kind = if root { "" } else { "needs root" };
            trial.with_kind(kind).with_ignored_flag(!root)
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
