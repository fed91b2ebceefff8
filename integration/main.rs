//! End-to-end tests: run the binary, look at the world from outside.
//! A test is a claim with a list of needs; what this machine lacks shows as ignored, with its name.
//! `DHOW_TEST_RUNTIME=/usr/sbin/runc` runs the same claims on another runtime.

#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the world by path, as their reader would; nothing here is hostile"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot look at the world has failed"
)]

mod architecture;
mod build;
mod bundles;
mod cgroups;
mod changes;
mod checkpoint;
mod command_line;
mod devices;
mod docs;
mod documents;
mod exec;
mod faults;
mod formats;
mod hooks;
mod killpoint;
mod lifecycle;
mod listing;
mod messages;
mod mounted;
mod mounts;
mod namespaces;
mod peers;
mod process;
mod ps;
mod registry;
mod rootfs;
mod rootless;
mod scarcity;
mod seccomp;
mod security;
mod service;
mod store;
mod storms;
mod support;
mod terminal;
mod treatment;
mod unpack;
mod users;

use std::process::ExitCode;

use support::claim::{self, Claim};

/// Every module of claims. A module that is not named here does not run.
fn claims() -> Vec<Claim> {
    let mut all: Vec<Claim> = [
        architecture::claims(),
        build::claims(),
        bundles::claims(),
        cgroups::claims(),
        changes::claims(),
        checkpoint::claims(),
        checkpoint::hostile::claims(),
        command_line::claims(),
        devices::claims(),
        docs::claims(),
        exec::claims(),
        documents::claims(),
        faults::claims(),
        formats::claims(),
        formats::packed::claims(),
        formats::tools::claims(),
        hooks::claims(),
        killpoint::claims(),
        killpoint::errnos::claims(),
        lifecycle::claims(),
        listing::claims(),
        messages::claims(),
        mounted::claims(),
        mounts::claims(),
        namespaces::claims(),
        peers::claims(),
        process::claims(),
        ps::claims(),
        registry::claims(),
        rootfs::claims(),
        rootless::claims(),
        scarcity::claims(),
        seccomp::claims(),
        seccomp::moment::claims(),
        seccomp::notify::claims(),
        service::claims(),
        treatment::claims(),
        security::claims(),
        store::claims(),
        storms::claims(),
        terminal::claims(),
        users::claims(),
        unpack::claims(),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.extend(security::broken_on_purpose(&all));
    all
}

fn main() -> ExitCode {
    killpoint::driver::act().unwrap_or_else(|| claim::run(claims()))
}
