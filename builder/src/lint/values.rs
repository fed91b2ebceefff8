//! Rules about what variables and values come to. Not its job: how a recipe is written (see `recipe`).

use std::collections::BTreeSet;

use super::{Linter, Place, Rule};
use crate::expand::Names;
use crate::instruction::{Recipe, Stage};
use crate::platform::Platform;
use crate::source::Span;
use crate::variables::Variables;

/// The nearest of some words, as BuildKit searches: fewer than three letters put in, left out or changed. A
/// word that is there already is no typing error.
fn nearest<'a>(written: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    let mut fewest = 3;
    for word in words {
        if word == written {
            return None;
        }
        if word.len().abs_diff(written.len()) > 8 || word.len() > 64 {
            continue;
        }
        let edits = edits(written, word);
        if edits < fewest {
            best = Some(word);
            fewest = edits;
        }
    }
    best
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn did_you_mean<'a>(
    linter: &Linter,
    written: &str,
    sign: &str,
    words: impl Iterator<Item = &'a str>,
) -> String {
    if linter.is_crowded() || written.len() > 64 {
        return String::new();
    }
    match nearest(written, words) {
        Some(word) => format!(" (did you mean {sign}{word}?)"),
        None => String::new(),
    }
}

/// Variables that an instruction uses and nothing sets. Those that an ARG without a value declares are
/// meant to be empty.
pub(crate) fn undefined(
    linter: &Linter,
    place: &Place,
    mark: Span,
    names: &Names,
    variables: &Variables,
    declared: &BTreeSet<String>,
) {
    for name in &names.unset {
        if declared.contains(name) || SCANS.contains(&name.as_str()) {
            continue;
        }
        let known = variables.iter().map(|(name, _)| name).take(1_000);
        let near = did_you_mean(linter, name, "$", known);
        let message = format!("Usage of undefined variable '${name}'{near}");
        linter.add(Rule::UndefinedVar, place, mark, message);
    }
}

/// Build args that ask for a bill of materials; they are no variables.
pub(crate) const SCANS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// ARGs that FROM uses and nobody declares.
pub(crate) fn undeclared(
    linter: &Linter,
    stage: &Stage,
    mark: Span,
    names: &Names,
    recipe: &Recipe,
    globals: &Variables,
) {
    let declared = || {
        let names = recipe.globals.iter().map(|argument| argument.name.as_str());
        names.chain(globals.iter().map(|(name, _)| name))
    };
    for name in &names.unset {
        if declared().any(|known| known == name) {
            continue;
        }
        let near = did_you_mean(linter, name, "", declared());
        let message = format!("FROM argument '{name}' is not declared{near}");
        linter.add(Rule::UndefinedArgInFrom, &stage.place(), mark, message);
    }
}

/// `FROM --platform=`, which came to `result`.
pub(crate) fn platform(
    linter: &Linter,
    stage: &Stage,
    written: &crate::words::Word,
    result: &str,
    names: &Names,
    globals: &Variables,
) {
    let constant = names.set.is_empty() && names.unset.is_empty();
    let name = stage.name.as_deref().unwrap_or("");
    if constant
        && let Ok(platform) = Platform::parse(result)
        && !name.contains(&platform.os)
        && !name.contains(&platform.architecture)
    {
        let message = format!("FROM --platform flag should not use constant value {result:?}");
        let rule = Rule::FromPlatformFlagConstDisallowed;
        linter.add(rule, &stage.place(), written.span, message);
    }
    let only_target = names.unset.is_empty()
        && names.set.len() == 1
        && names.set.contains("TARGETPLATFORM")
        && globals.get("TARGETPLATFORM") == Some(result);
    if only_target {
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            written.text
        );
        linter.add(
            Rule::RedundantTargetPlatform,
            &stage.place(),
            written.span,
            message,
        );
    }
}

/// Words of names whose values are likely secrets.
const SECRETS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// Words that say that it is none.
const NO_SECRETS: [&str; 3] = ["public", "file", "version"];

/// A name of ARG or ENV that sounds like a secret.
pub(crate) fn secret(linter: &Linter, place: &Place, mark: Span, instruction: &str, name: &str) {
    let lower = name.to_lowercase();
    let holds = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    if holds(&SECRETS) && !holds(&NO_SECRETS) {
        let message = format!(
            "Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})"
        );
        linter.add(Rule::SecretsUsedInArgOrEnv, place, mark, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_two_letters_away_at_most() {
        let near = |written| nearest(written, ["PATH", "HOME"].into_iter());
        assert_eq!(near("PAHT"), Some("PATH"));
        assert_eq!(near("HOME"), None);
        assert_eq!(near("X"), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
