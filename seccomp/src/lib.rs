//! Seccomp: a profile of the runtime spec becomes a program of the kernel's classic BPF. Pure, and the same for
//! the same profile everywhere. Not its job: loading the program (sys), the default profile (image).
//!
//! ```text
//!  LinuxSeccomp ── reading ── for each ABI: judgement by number ── ranges ── search tree ── instructions
//!                  (profile)               (judgement)             (compile, assemble, condition)
//! ```
//! What a profile means is docs/seccomp.md. libseccomp is the judge in tests and no part of the program.

pub mod abi;
mod assemble;
mod calls;
mod compile;
mod condition;
mod error;
mod hash;
mod judgement;
pub mod machine;
#[cfg(test)]
mod oracle;
mod profile;
mod program;

pub use calls::{known, number};
pub use compile::compile;
pub use error::{Error, Result};
pub use profile::{Condition, Operator, Rule, Rules, Verdict, listens};
pub use program::{Instruction, LONGEST, Program};

/// The release of libseccomp whose reading of a profile is ours too; the tests compare with it.
pub const EQUAL_TO: &str = "2.5.4";
