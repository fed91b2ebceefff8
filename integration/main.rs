//! End-to-end tests: run the binary, look at the world.

fn main() {}
