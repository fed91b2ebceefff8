//! Faults chosen by name at run time, in a build that exists for tests alone.
//!
//! With the cargo feature `fault`, the variable `DHOW_FAULT` holds a comma-separated list: guards to
//! leave out (`no-close-fds`), so that a test can be seen to fail without them, and kernel features to
//! treat as absent (`no-openat2`), so that the paths for old kernels run on a new one.
//! A release is built without the feature: there this is `false`, and the compiler removes the branch.

/// Whether the guard or feature `name` is to be treated as broken or absent.
#[cfg(feature = "fault")]
pub fn broken(name: &str) -> bool {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    NAMES
        .get_or_init(|| {
            std::env::var("DHOW_FAULT")
                .map(|list| list.split(',').map(str::to_owned).collect())
                .unwrap_or_default()
        })
        .iter()
        .any(|fault| fault == name)
}

/// Whether the guard or feature `name` is to be treated as broken or absent: never, in this build.
#[cfg(not(feature = "fault"))]
#[inline(always)]
pub fn broken(_name: &str) -> bool {
    false
}
