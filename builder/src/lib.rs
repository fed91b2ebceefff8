//! Builder: follows a recipe and leaves an image. Not its job: flags and printing.

mod config;
mod diagnostic;
mod error;
mod evaluate;
mod expand;
mod heredoc;
mod instruction;
mod lines;
mod mode;
mod parse;
mod pattern;
mod plan;
mod ports;
mod signal;
mod source;
mod stages;
mod steps;
mod variables;
mod words;

pub use config::{Config, Health};
pub use diagnostic::{Diagnostic, Fault};
pub use error::{Error, Result};
pub use parse::parse;
pub use plan::{Action, CopyStep, NetworkDefault, Plan, RunStep, Settings, StagePlan, Step, plan};
pub use source::{Source, Span};
