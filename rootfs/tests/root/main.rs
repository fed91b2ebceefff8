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
mod user;
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
    let groups = [
        ("attach", attach::CLAIMS),
        ("console", console::CLAIMS),
        ("devices", devices::CLAIMS),
        ("overlay", overlay::CLAIMS),
        ("pivot", pivot::CLAIMS),
        ("protect", protect::CLAIMS),
        ("user", user::CLAIMS),
    ];
    let trials = groups.iter().flat_map(|(group, claims)| {
        let trial = |&(name, claim)| trial(group, name, claim);
        claims.iter().map(trial).collect::<Vec<_>>()
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trial(group: &str, name: &str, claim: fn(&world::World)) -> Trial {
    let name = format!("{group}::{name}");
    let elsewhere = group == "user" && std::env::var_os(user::INSIDE).is_none();
    let inner = name.clone();
    let trial = Trial::test(name, move || {
        if elsewhere {
            user::run_inside(inner);
        } else {
            world::run(claim);
        }
        Ok(())
    });
    let root = sys::privileges::is_root();
    let kind = if root { "" } else { "needs root" };
    trial.with_kind(kind).with_ignored_flag(!root)
}
