//! ONBUILD: instructions that wait in a base for whoever stands on it. Not its job: following them.

use crate::diagnostic::{Checked, Fault};
use crate::instruction::{Instruction, Kind, Recipe};
use crate::parse;
use crate::source::{Source, Span};

/// What a stage leaves to those that stand on it.
pub(crate) fn of_stage(recipe: &Recipe, index: usize) -> Vec<String> {
    recipe.stages[index]
        .instructions
        .iter()
        .filter_map(|instruction| match &instruction.kind {
            Kind::OnBuild(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

/// An instruction that waited in the base. Its places are those of its own text.
pub(crate) fn read(text: &str) -> Checked<Instruction> {
    parse::trigger(&Source::new("ONBUILD", text.as_bytes()))
}

/// A fault in a trigger is shown at the FROM that woke it.
pub(crate) fn shown_at(fault: Fault, text: &str, from: Span) -> Fault {
    let first = text.lines().next().unwrap_or("");
    Fault::new(
        from,
        format!("in ONBUILD {first:?} of the base: {}", fault.message),
    )
}
