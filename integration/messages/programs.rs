//! Faults of the program that a container is to run: missing, not runnable, its loader or interpreter missing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::{Case, RUN};
use crate::support::Bundle;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "program_is_missing",
        broken: |_, bundle| bundle.set("process.args", json!(["/bin/nope"])),
        command: RUN,
        names: &["/bin/nope"],
    },
    Case {
        name: "program_is_not_in_path",
        broken: |_, bundle| bundle.set("process.args", json!(["nope"])),
        command: RUN,
        names: &["nope", "PATH"],
    },
    Case {
        name: "program_is_not_executable",
        broken: |_, bundle| bundle.set("process.args", json!(["/etc/passwd"])),
        command: RUN,
        names: &["/etc/passwd"],
    },
    Case {
        name: "program_is_a_folder",
        broken: |_, bundle| bundle.set("process.args", json!(["/etc"])),
        command: RUN,
        names: &["/etc", "directory"],
    },
    Case {
        name: "interpreter_of_the_script_is_missing",
        broken: |_, bundle| program(bundle, b"#!/nope/sh\necho x\n"),
        command: RUN,
        names: &["/bin/program", "/nope/sh"],
    },
    Case {
        name: "script_has_windows_line_ends",
        broken: |_, bundle| program(bundle, b"#!/bin/sh\r\necho x\r\n"),
        command: RUN,
        names: &["/bin/program", "carriage return"],
    },
    Case {
        name: "script_has_no_interpreter_line",
        broken: |_, bundle| program(bundle, b"echo x\n"),
        command: RUN,
        names: &["/bin/program"],
    },
    Case {
        name: "loader_of_the_program_is_missing",
        broken: |_, bundle| program(bundle, &std::fs::read("/bin/ls").unwrap()),
        command: RUN,
        names: &["/bin/program", "ld-linux"],
    },
    Case {
        name: "program_is_of_another_architecture",
        broken: |_, bundle| program(bundle, &foreign_elf()),
        command: RUN,
        names: &["/bin/program", "aarch64"],
    },
    Case {
        name: "cwd_is_a_file",
        broken: |_, bundle| bundle.set("process.cwd", json!("/etc/passwd")),
        command: RUN,
        names: &["/etc/passwd", "working directory"],
    },
];

/// Puts `bytes` at /bin/program of the root and makes it the program.
fn program(bundle: &mut Bundle, bytes: &[u8]) {
    let path = bundle.rootfs().join("bin/program");
    std::fs::write(&path, bytes).unwrap();
    runnable(&path);
    bundle.set("process.args", json!(["/bin/program"]));
}

fn runnable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The head of a 64-bit ARM program: enough for the kernel to refuse it.
fn foreign_elf() -> Vec<u8> {
    let mut head = vec![0_u8; 64];
    head[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    head[16] = 2; // ET_EXEC
    head[18] = 183; // EM_AARCH64
    head[20] = 1;
    head[52] = 64; // e_ehsize
    head[54] = 56; // e_phentsize
    head
}
