//! What the linter finds in a recipe: what is allowed and yet likely wrong. Not its job: what is not allowed
//! (see `parse` and `evaluate`).

pub(crate) mod asked;
mod options;
pub(crate) mod recipe;
mod rule;
pub(crate) mod values;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Fault};
use crate::source::{Source, Span};
pub(crate) use options::Options;
pub use rule::Rule;

/// A rule that is broken somewhere, before it is known whether anybody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lint {
    rule: Rule,
    /// The instruction.
    span: Span,
    /// What of it.
    mark: Span,
    message: String,
    local: Option<Arc<Options>>,
}

/// Where an instruction stands, and what its own comment says of rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The whole instruction.
    pub(crate) span: Span,
    /// `# check=` right before it.
    pub(crate) local: Option<Arc<Options>>,
}

/// A rule that is broken at a place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// Where and how.
    pub shown: Diagnostic,
}

impl Finding {
    /// All of it but the excerpt, in one line.
    pub fn line(&self) -> String {
        let Diagnostic {
            file,
            line,
            message,
            ..
        } = &self.shown;
        format!("{file}:{line}: {message} ({:?})", self.rule)
    }
}

/// Takes up what is found.
#[derive(Debug, Default)]
pub(crate) struct Linter {
    found: RefCell<Vec<Lint>>,
    /// What ARGs come to, by where they stand, if somebody wants to know.
    arguments: Option<RefCell<HashMap<usize, String>>>,
}

/// What is more is an attack: it is not told.
const MOST: usize = 1_000;

impl Linter {
    /// Goes on from what was found before.
    pub(crate) fn with(found: Vec<Lint>) -> Self {
        Self {
            found: RefCell::new(found),
            arguments: None,
        }
    }

    /// One that hears what ARGs come to, too.
    pub(crate) fn listening() -> Self {
        Self {
            arguments: Some(RefCell::default()),
            ..Self::default()
        }
    }

    /// Hears what an ARG comes to.
    pub(crate) fn hear(&self, argument: Span, value: Option<&str>) {
        if let (Some(arguments), Some(value)) = (&self.arguments, value) {
            let mut arguments = arguments.borrow_mut();
            arguments.insert(argument.start, value.to_owned());
        }
    }

    /// What the ARG at a place came to.
    pub(crate) fn heard(&self, argument: Span) -> Option<String> {
        let arguments = self.arguments.as_ref()?.borrow();
        arguments.get(&argument.start).cloned()
    }

    /// Takes up one; `mark` is what of the instruction breaks the rule.
    pub(crate) fn add(&self, rule: Rule, place: &Place, mark: Span, message: String) {
        let mut found = self.found.borrow_mut();
        if found.len() < MOST {
            found.push(Lint {
                rule,
                span: place.span,
                mark,
                message,
                local: place.local.clone(),
            });
        }
    }

    /// Whether so much was found that a search for the right word would take too long.
    pub(crate) fn is_crowded(&self) -> bool {
        self.found.borrow().len() > 20
    }

    /// What was found.
    pub(crate) fn found(self) -> Vec<Lint> {
        self.found.into_inner()
    }
}

/// What is found and asked for, in the order of the file.
pub(crate) fn findings(source: &Source, options: &Options, found: &[Lint]) -> Vec<Finding> {
    let asked = found
        .iter()
        .filter(|lint| options.ask(lint.rule, lint.local.as_deref()));
    let mut findings: Vec<Finding> = asked
        .map(|lint| {
            let mark = if source.line_number(lint.mark.start) == source.line_number(lint.span.start)
            {
                lint.mark
            } else {
                lint.span
            };
            Finding {
                rule: lint.rule,
                shown: Fault::new(mark, lint.message.clone()).of(source),
            }
        })
        .collect();
    findings.sort_by_key(|finding| (finding.shown.line, finding.rule.name()));
    findings
}
