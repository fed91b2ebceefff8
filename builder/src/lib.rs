//! Builder: follows a recipe and leaves an image. Not its job: flags and printing.

mod diagnostic;
mod expand;
mod heredoc;
mod instruction;
mod lines;
mod parse;
mod pattern;
mod source;
mod variables;
mod words;

pub use diagnostic::{Diagnostic, Fault};
pub use instruction::*;
pub use parse::parse;
pub use source::{Source, Span};
