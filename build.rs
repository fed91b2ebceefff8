//! Lays the functions that a start of a container runs through side by side in the program: fewer of its pages are
//! touched, so that it starts faster and needs less memory. The list was made by integration/bench/order from a run; a
//! function that it names and the program has not, or the other way round, costs nothing but its place.

fn main() {
    println!("cargo::rerun-if-changed=integration/bench/order.txt");
    println!("cargo::rerun-if-changed=build.rs");
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/bench/order.txt");
    // The linker of Rust's own toolchain takes such a list, on this target; others don't know the option.
    let is_known = std::env::var("TARGET").as_deref() == Ok("x86_64-unknown-linux-gnu")
        && std::env::var_os("RUSTC_LINKER").is_none();
    let is_release = std::env::var("PROFILE").as_deref() == Ok("release");
    #[expect(clippy::disallowed_methods, reason = "the crate sys is not built yet")]
    let is_there = std::path::Path::new(list).exists();
    if is_known && is_release && is_there {
        println!("cargo::rustc-link-arg-bin=dhow=-Wl,--symbol-ordering-file={list}");
        println!("cargo::rustc-link-arg-bin=dhow=-Wl,--no-warn-symbol-ordering");
    }
}
