//! Lays the functions that a container's life runs through side by side in the program: fewer of its pages are
//! touched, so that it starts faster and needs less memory. The list was made by integration/bench/order from runs; a
//! function that it names and the program has not, or the other way round, costs nothing but its place.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script has no crate of the project's"
)]

use std::env;
use std::path::Path;
use std::process::Command;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/bench/order.txt");

fn main() {
    println!("cargo::rerun-if-changed={LIST}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if env::var("PROFILE").as_deref() == Ok("release") && takes_lists() {
        println!("cargo::rustc-link-arg-bin=dhow=-Wl,--symbol-ordering-file={LIST}");
        println!("cargo::rustc-link-arg-bin=dhow=-Wl,--no-warn-symbol-ordering");
    }
}

/// Only lld knows the option: Rust's own copy is the linker since 1.90, on this target, where no other is asked for.
fn takes_lists() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let other = set("RUSTC_LINKER") || flags.contains("linker") || flags.contains("fuse-ld");
    let target = env::var("TARGET").unwrap_or_default();
    target == "x86_64-unknown-linux-gnu" && !other && has_lld(&target)
}

fn has_lld(target: &str) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let ask = |question: &[&str]| {
        let answer = Command::new(&rustc).args(question).output().ok()?;
        String::from_utf8(answer.stdout).ok()
    };
    let version = ask(&["--version"]).unwrap_or_default();
    let minor = version.split('.').nth(1).and_then(|word| word.parse().ok());
    let Some(sysroot) = ask(&["--print", "sysroot"]) else {
        return false;
    };
    let folder = Path::new(sysroot.trim()).join(format!("lib/rustlib/{target}/bin/rust-lld"));
    minor.is_some_and(|minor: u32| minor >= 90) && std::fs::metadata(folder).is_ok()
}
