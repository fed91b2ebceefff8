//! Rules about how a recipe is written: names, cases, comments. Not its job: what depends on variables (see
//! `values`).

use std::collections::HashSet;

use super::{Linter, Place, Rule};
use crate::instruction::{Recipe, Stage};
use crate::parse::Request;
use crate::words;

/// One line, as it is parsed.
pub(crate) fn line(linter: &Linter, request: &Request<'_>, place: &Place) {
    let name = request.line.span(request.parts.name.clone());
    if let Some(gap) = request.line.gap {
        // Told at the instruction's last line, as BuildKit does.
        let place = Place {
            span: gap,
            ..place.clone()
        };
        let message = "Empty continuation line".to_owned();
        linter.add(Rule::NoEmptyContinuation, &place, gap, message);
    }
    match request.name.as_str() {
        "MAINTAINER" => linter.add(
            Rule::MaintainerDeprecated,
            place,
            name,
            "Maintainer instruction is deprecated in favor of using label".to_owned(),
        ),
        "FROM" => from(linter, request, place),
        _ => {}
    }
}

fn from(linter: &Linter, request: &Request<'_>, place: &Place) {
    let words = words::by_blanks(request.line, request.parts.rest.clone());
    let [_, between, name] = words.as_slice() else {
        return;
    };
    if name.text != name.text.to_lowercase() {
        let message = format!("Stage name '{}' should be lowercase", name.text);
        linter.add(Rule::StageNameCasing, place, name.span, message);
    }
    let written = &request.line.text[request.parts.name.clone()];
    let fits = if written == written.to_lowercase() {
        between.text == between.text.to_lowercase()
    } else if written == written.to_uppercase() {
        between.text == between.text.to_uppercase()
    } else {
        // Another rule tells of it.
        true
    };
    if !fits {
        let message = format!(
            "'{}' and '{written}' keywords' casing do not match",
            between.text
        );
        linter.add(Rule::FromAsCasing, place, between.span, message);
    }
}

/// The comment right before ARG or FROM, which describes one of `names`.
pub(crate) fn description(linter: &Linter, request: &Request<'_>, place: &Place, names: &[&str]) {
    let Some(comment) = request.line.comments.last().filter(|_| !names.is_empty()) else {
        return;
    };
    let first = comment.split(' ').next().unwrap_or("");
    if names.contains(&first) {
        return;
    }
    let example = match names {
        [one] => one,
        _ => "<arg_key>",
    };
    let message = format!(
        "Comment for {} should follow the format: `# {example} <description>`",
        request.name
    );
    linter.add(
        Rule::InvalidDefinitionDescription,
        place,
        place.span,
        message,
    );
}

/// The whole recipe, once it is parsed.
pub(crate) fn whole(linter: &Linter, recipe: &Recipe) {
    stage_names(linter, &recipe.stages);
    cases(linter, &recipe.stages);
}

fn stage_names(linter: &Linter, stages: &[Stage]) {
    let mut seen: HashSet<&str> = HashSet::new();
    for stage in stages {
        let Some(name) = &stage.name else { continue };
        if matches!(name.as_str(), "context" | "scratch") {
            let message =
                format!("Stage name should not use the same name as reserved stage {name:?}");
            linter.add(Rule::ReservedStageName, &stage.place(), stage.span, message);
        }
        if !seen.insert(name) {
            let message = format!("Duplicate stage name {name:?}, stage names should be unique");
            linter.add(
                Rule::DuplicateStageName,
                &stage.place(),
                stage.span,
                message,
            );
        }
    }
}

/// The name of an instruction as it is written: its first word.
pub(crate) fn written(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or("")
}

fn cases(linter: &Linter, stages: &[Stage]) {
    let names = || {
        stages.iter().flat_map(|stage| {
            let own = std::iter::once((stage.text.as_str(), stage.place()));
            let rest = stage.instructions.iter();
            own.chain(rest.map(|i| (i.text.as_str(), i.place())))
        })
    };
    let (mut lower, mut upper) = (0_usize, 0_usize);
    for (text, _) in names() {
        let name = written(text);
        if name == name.to_lowercase() {
            lower += 1;
        } else if name == name.to_uppercase() {
            upper += 1;
        }
    }
    for (text, place) in names() {
        let name = written(text);
        let wanted = match lower > upper {
            true if name != name.to_lowercase() => "lowercase",
            false if name != name.to_uppercase() => "uppercase",
            _ => continue,
        };
        let message =
            format!("Command '{name}' should match the case of the command majority ({wanted})");
        let mark = crate::Span {
            start: place.span.start,
            end: place.span.start + name.len(),
        };
        linter.add(Rule::ConsistentInstructionCasing, &place, mark, message);
    }
}
