//! Claims: named tests with their needs, handed to libtest-mimic. Not its job: knowing what a need means.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use super::needs::Need;
use super::unsteady;

/// A test: what it claims, what the machine must have for it, and the code that panics where it is untrue.
pub(crate) struct Claim {
    /// `module::what_is_claimed`.
    pub(crate) name: String,
    /// What the machine must have.
    pub(crate) needs: &'static [Need],
    /// The test.
    pub(crate) body: Box<dyn Fn() + Send>,
}

/// Makes a module's `claims()` of the names of its test functions and their needs:
/// `claims![a_thing_holds: [Root, Cgroup2], another: []];`
macro_rules! claims {
    ($($name:ident: [$($need:expr),* $(,)?]),* $(,)?) => {
        /// The claims of this module.
        pub(crate) fn claims() -> Vec<$crate::support::claim::Claim> {
            #[allow(unused_imports, reason = "a module of claims may have no needs")]
            use $crate::support::needs::Need::*;
            vec![$($crate::support::claim::Claim {
                name: concat!(module_path!(), "::", stringify!($name)).to_owned(),
                needs: &[$($need),*],
                body: Box::new($name),
            }),*]
        }
    };
}
pub(crate) use claims;

/// Runs the claims as libtest does, and writes what ran and what was ignored to `DHOW_TEST_LIST`, if set.
pub(crate) fn run(claims: Vec<Claim>) -> ExitCode {
    let arguments = Arguments::from_args();
    let mut list = String::new();
    let trials = claims
        .into_iter()
        .map(|claim| {
            let name = claim.name.trim_start_matches("integration::").to_owned();
            let is_skipped = arguments.exact && arguments.skip.contains(&name);
            match claim.needs.iter().find(|need| !need.is_here()) {
                None => {
                    let word = if is_skipped { "skipped" } else { "ran" };
                    list.push_str(&format!("{word} {name}\n"));
                    Trial::test(name.clone(), move || {
                        unsteady::ask(&name, &*claim.body);
                        Ok(())
                    })
                }
                Some(need) => {
                    list.push_str(&format!("ignored {name} | {need}\n"));
                    let shown = format!("{name} (needs {need})");
                    Trial::test(shown, move || {
                        (claim.body)();
                        Ok(())
                    })
                    .with_ignored_flag(true)
                }
            }
        })
        .collect();
    if !arguments.list
        && let Some(path) = std::env::var_os("DHOW_TEST_LIST")
    {
        std::fs::write(&path, list).unwrap_or_else(|error| panic!("write {path:?}: {error}"));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
