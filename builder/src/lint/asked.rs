//! Which rules a build asks, and what it makes of what they find. Not its job: the rules.

use std::collections::BTreeSet;

use super::Finding;
use super::options::{Options, first_word};
use crate::diagnostic::{Checked, Diagnostic, Fault};
use crate::error::Error;
use crate::instruction::Recipe;
use crate::request::Settings;
use crate::source::Span;

/// Which rules are asked: by the build arg, else by the recipe.
pub(crate) fn options(recipe: &Recipe, settings: &Settings) -> Checked<Options> {
    let (text, span) = match (
        settings.build_args.get("BUILDKIT_DOCKERFILE_CHECK"),
        &recipe.check,
    ) {
        (Some(given), _) => (given.as_str(), Span::default()),
        (None, Some((text, span))) => (first_word(text), *span),
        (None, None) => return Ok(Options::default()),
    };
    Options::parse(text).map_err(|why| Fault::new(span, why))
}

/// The rules that found something, each once.
pub(crate) fn rules(findings: &[Finding]) -> String {
    let rules: BTreeSet<String> = findings.iter().map(|finding| finding.rule.name()).collect();
    rules.into_iter().collect::<Vec<_>>().join(", ")
}

/// `error=true`: what was found is an error, at the first place.
pub(crate) fn error(first: &Finding, findings: &[Finding]) -> Error {
    Error::Recipe(Diagnostic {
        message: format!(
            "{} (check=error=true; rules: {})",
            first.shown.message,
            rules(findings)
        ),
        ..first.shown.clone()
    })
}
