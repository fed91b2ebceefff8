//! Lays the functions that a container's life runs through side by side in the program: fewer of its pages are
//! touched, so that it starts faster and needs less memory. The list was made by integration/bench/order from runs; a
//! function that it names and the program has not, or the other way round, costs nothing but its place.
//!
//! Rust's functions stand in it as patterns: the compiler puts a hash into a crate's name, which changes with what the
//! crate depends on. That needs names which say all else (`-C symbol-mangling-version=v0`, as `make build` asks for).

#![expect(
    clippy::disallowed_methods,
    reason = "a build script has no crate of the project's"
)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/bench/order.txt");

fn main() {
    println!("cargo::rerun-if-changed={LIST}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if env::var("PROFILE").as_deref() == Ok("release") && takes_lists() {
        let list = fs::read_to_string(LIST).expect("the list is part of the project");
        let (patterns, names): (Vec<&str>, Vec<&str>) =
            list.lines().partition(|line| line.starts_with("_R"));
        let script = write("order.ld", &script(&patterns));
        let names = write("order.txt", &names.join("\n"));
        for argument in [
            format!("-T,{script}"),
            format!("--symbol-ordering-file={names}"),
            "--no-warn-symbol-ordering".to_owned(),
        ] {
            println!("cargo::rustc-link-arg-bin=dhow=-Wl,{argument}");
        }
    }
}

/// A section before all other code: each function is in a section of its own, which bears its name.
fn script(patterns: &[&str]) -> String {
    let line = |pattern: &&str| format!("*(.text.{pattern} .text.unlikely.{pattern})\n");
    let lines: String = patterns.iter().map(line).collect();
    format!("SECTIONS {{ .text.first : {{\n{lines}}} }} INSERT BEFORE .text;\n")
}

fn write(name: &str, text: &str) -> String {
    let folder = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let path = format!("{folder}/{name}");
    fs::write(&path, text).expect("OUT_DIR is writable");
    path
}

/// Only lld knows the options: Rust's own copy is the linker since 1.90, on this target, where no other is asked for.
fn takes_lists() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let other = set("RUSTC_LINKER") || flags.contains("linker") || flags.contains("fuse-ld");
    let named = flags.contains("symbol-mangling-version=v0");
    let target = env::var("TARGET").unwrap_or_default();
    target == "x86_64-unknown-linux-gnu" && named && !other && has_lld(&target)
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
    minor.is_some_and(|minor: u32| minor >= 90) && fs::metadata(folder).is_ok()
}
