//! The graph of stages: what each stands on, what `--from` means, which stages a target needs. Pure.
//! Not its job: what is inside a stage's image.

use crate::contexts::Named;
use crate::diagnostic::{Checked, Fault, did_you_mean};
use crate::expand::{Expander, Quotes};
use crate::instruction::{Files, Instruction, Kind, Recipe, Stage};
use crate::lint::{Linter, values};
use crate::source::Span;
use crate::variables::Variables;
use crate::words::Word;

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image, by name or place.
    Image(String),
    /// Files that the person names so: all that there is.
    Named(String),
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The build's context.
    Context,
    /// An empty tree.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image, by name or place.
    Image(String),
    /// Files that the person names so.
    Named(String),
}

/// What every stage of the recipe stands on, the global ARGs and platforms filled in.
///
/// # Errors
/// A base that is blank or can't be expanded.
pub(crate) fn bases(recipe: &Recipe, globals: &Variables, linter: &Linter) -> Checked<Vec<Base>> {
    let expander = Expander {
        variables: globals,
        escape: recipe.escape,
        quotes: Quotes::Remove,
    };
    let mut bases = Vec::new();
    for (index, stage) in recipe.stages.iter().enumerate() {
        let (name, names) = expander.captured(&stage.base.text);
        values::undeclared(linter, stage, stage.base.span, &names, recipe, globals);
        let name = name.map_err(|misuse| misuse.within(&stage.base))?;
        if name.is_empty() {
            return Err(Fault::new(
                stage.base.span,
                format!(
                    "base name ({}) should not be blank: an ARG before the first FROM may give its value",
                    stage.base.text
                ),
            ));
        }
        let own = stage.name.as_deref();
        let whole = own.and_then(|own| recipe.contexts.find(own));
        let earlier = by_name(&recipe.stages[..index], &name);
        let other = match name == "scratch" || earlier.is_some() {
            true => None,
            false => recipe.contexts.find(&name),
        };
        if let Some(named) = whole.or(other) {
            bases.push(in_place_of(recipe, index, named, stage.base.span)?);
            continue;
        }
        bases.push(match earlier {
            Some(_) if name != name.to_lowercase() => {
                return Err(Fault::new(
                    stage.base.span,
                    format!(
                        "base name {name:?}: an image's name must be lowercase (did you mean stage {}?)",
                        name.to_lowercase()
                    ),
                ));
            }
            Some(earlier) => Base::Stage(earlier),
            None if name == "scratch" => Base::Scratch,
            None => Base::Image(name),
        });
    }
    Ok(bases)
}

/// What a stage stands on where the person puts something else in the place of a name.
fn in_place_of(
    recipe: &Recipe,
    index: usize,
    (name, named): (&str, &Named),
    span: Span,
) -> Checked<Base> {
    Ok(match named {
        Named::Files(_) => Base::Named(name.to_owned()),
        Named::Image(image) => Base::Image(image.clone()),
        Named::Stage(stage) => match by_name(&recipe.stages[..index], stage) {
            Some(earlier) => Base::Stage(earlier),
            None => {
                let why = format!(
                    "--build-context {name}=target:{stage}: no earlier stage has this name"
                );
                return Err(Fault::new(span, why));
            }
        },
    })
}

/// The last stage with this name.
fn by_name(stages: &[Stage], name: &str) -> Option<usize> {
    let lower = name.to_lowercase();
    stages
        .iter()
        .rposition(|stage| stage.name.as_deref() == Some(lower.as_str()))
}

/// The stage that `--target` names, the last one without. As BuildKit has it, a number is no name.
///
/// # Errors
/// Says which stage might be meant; there is no place in the recipe for it.
pub(crate) fn target(recipe: &Recipe, wanted: Option<&str>) -> Result<usize, String> {
    let Some(wanted) = wanted else {
        return Ok(recipe.stages.len() - 1);
    };
    if let Some(found) = by_name(&recipe.stages, wanted) {
        return Ok(found);
    }
    let names = recipe
        .stages
        .iter()
        .filter_map(|stage| stage.name.as_deref());
    Err(format!(
        "target stage {wanted:?} could not be found{}",
        did_you_mean(wanted, names)
    ))
}

/// What `--from` of COPY or a mount in stage `current` means.
///
/// # Errors
/// A number that is no stage's, a name of this or a later stage.
pub(crate) fn origin(recipe: &Recipe, current: usize, from: Option<&Word>) -> Checked<Origin> {
    let found = named(recipe, current, from)?;
    match (&found, from) {
        (Origin::Stage(index), Some(from)) if *index >= current => {
            let this = match &recipe.stages[current].name {
                Some(name) => name.clone(),
                None => current.to_string(),
            };
            Err(Fault::new(
                from.span,
                format!(
                    "cannot copy from stage {:?}, it needs to be defined before current stage {this:?}",
                    from.text
                ),
            ))
        }
        _ => Ok(found),
    }
}

/// What `--from` in stage `current` names, wherever that stands: of stages with one name the last.
fn named(recipe: &Recipe, current: usize, from: Option<&Word>) -> Checked<Origin> {
    let Some(from) = from.filter(|from| !from.text.is_empty()) else {
        return Ok(Origin::Context);
    };
    let without = Expander {
        variables: &Variables::default(),
        escape: recipe.escape,
        quotes: Quotes::Remove,
    };
    if without.word(from)? != from.text {
        return Err(Fault::new(
            from.span,
            "variable expansion is not supported for --from, define a new stage with FROM using ARG \
             from global scope as a workaround",
        ));
    }
    if let Ok(number) = from.text.parse::<i64>() {
        return match usize::try_from(number) {
            Ok(number) if number < current => Ok(Origin::Stage(number)),
            _ => Err(Fault::new(
                from.span,
                format!("invalid stage index {number}: only earlier stages can be copied from"),
            )),
        };
    }
    if let Some(index) = by_name(&recipe.stages, &from.text) {
        return Ok(Origin::Stage(index));
    }
    Ok(match recipe.contexts.find(&from.text) {
        _ if from.text == "scratch" => Origin::Scratch,
        None => Origin::Image(from.text.clone()),
        Some((name, Named::Files(_))) => Origin::Named(name.to_owned()),
        Some((_, Named::Image(image))) => Origin::Image(image.clone()),
        Some((name, Named::Stage(stage))) => match by_name(&recipe.stages, stage) {
            Some(index) => Origin::Stage(index),
            None => {
                let why = format!("--build-context {name}=target:{stage}: no stage has this name");
                return Err(Fault::new(from.span, why));
            }
        },
    })
}

/// Checks what every instruction takes files from, also in stages that nobody needs: it must be named
/// rightly, and no stage may need itself. That a needed stage takes only from earlier ones is asked when it
/// is followed.
pub(crate) fn check_origins(recipe: &Recipe, bases: &[Base]) -> Checked<()> {
    // Stages of which all are known that they need, directly or not.
    let mut needs: Vec<Vec<(usize, Span)>> = Vec::new();
    for (current, (stage, base)) in recipe.stages.iter().zip(bases).enumerate() {
        let mut of_stage = Vec::new();
        if let Base::Stage(earlier) = base {
            of_stage.push((*earlier, stage.base.span));
        }
        for instruction in &stage.instructions {
            for from in froms(instruction) {
                if let Origin::Stage(index) = named(recipe, current, Some(from))? {
                    of_stage.push((index, from.span));
                }
            }
        }
        needs.push(of_stage);
    }
    for start in 0..needs.len() {
        check_circle(recipe, &needs, start)?;
    }
    Ok(())
}

/// Whether a later stage that `start` takes files from needs `start` itself.
fn check_circle(recipe: &Recipe, needs: &[Vec<(usize, Span)>], start: usize) -> Checked<()> {
    for (first, span) in needs[start].iter().filter(|(index, _)| *index >= start) {
        let mut seen = vec![false; needs.len()];
        let mut open = vec![*first];
        while let Some(index) = open.pop() {
            if index == start {
                let name = |index: usize| match &recipe.stages[index].name {
                    Some(name) => name.clone(),
                    None => index.to_string(),
                };
                return Err(Fault::new(
                    *span,
                    format!(
                        "cannot copy from stage {:?}, it needs to be defined before current stage {:?}",
                        name(*first),
                        name(start)
                    ),
                ));
            }
            if !std::mem::replace(&mut seen[index], true) {
                open.extend(needs[index].iter().map(|(next, _)| *next));
            }
        }
    }
    Ok(())
}

/// Each `--from` of an instruction.
fn froms(instruction: &Instruction) -> Vec<&Word> {
    match &instruction.kind {
        Kind::Copy(files) => files.from.iter().collect(),
        Kind::Run(run) => run.mounts.iter().filter_map(|m| m.from.as_ref()).collect(),
        _ => Vec::new(),
    }
}

/// What `from` of a mount in stage `current` means: a stage has no number there.
///
/// # Errors
/// As [`origin`].
pub(crate) fn origin_of_mount(recipe: &Recipe, current: usize, from: &Word) -> Checked<Origin> {
    if from.text.parse::<u64>().is_ok() {
        return Err(Fault::new(
            from.span,
            format!(
                "from={}: a mount takes files from a stage by its name, not by its number",
                from.text
            ),
        ));
    }
    origin(recipe, current, Some(from))
}

/// Everything that an instruction takes files from.
pub(crate) fn origins(
    recipe: &Recipe,
    current: usize,
    instruction: &Instruction,
) -> Checked<Vec<Origin>> {
    let of_files = |files: &Files| origin(recipe, current, files.from.as_ref()).map(|o| vec![o]);
    match &instruction.kind {
        Kind::Copy(files) => of_files(files),
        Kind::Add(add) => of_files(&add.files),
        Kind::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| mount.from.as_ref())
            .map(|from| origin_of_mount(recipe, current, from))
            .collect(),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Source, parse};

    fn recipe(text: &str) -> Recipe {
        parse(&Source::new("f", text.as_bytes()), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_stage_beats_an_image_and_the_last_of_a_name_counts() {
        let recipe = recipe("FROM x AS a\nFROM a AS A\nFROM a\nFROM b");
        let bases = bases(&recipe, &Variables::default(), &Linter::default()).unwrap();
        assert_eq!(
            bases,
            [
                Base::Image("x".into()),
                Base::Stage(0),
                Base::Stage(1),
                Base::Image("b".into())
            ]
        );
    }

    #[test]
    fn a_blank_base_is_a_fault() {
        let recipe = recipe("ARG scratch=1\nFROM ${NOPE}");
        let fault = bases(&recipe, &Variables::default(), &Linter::default()).unwrap_err();
        assert!(
            fault
                .message
                .starts_with("base name (${NOPE}) should not be blank: ")
        );
    }

    #[test]
    fn from_takes_only_what_stands_above() {
        let recipe = recipe(
            "FROM scratch AS t\nCOPY --from=u /a /b\nFROM t AS u\nCOPY --from=1 a b\nCOPY --from=T a b\nCOPY --from=0 a b\nCOPY --from=scratch a b\nCOPY --from=img a b",
        );
        let first = &recipe.stages[0].instructions[0];
        assert_eq!(
            origins(&recipe, 0, first).unwrap_err().message,
            "cannot copy from stage \"u\", it needs to be defined before current stage \"t\""
        );
        let second = &recipe.stages[1].instructions;
        assert!(
            origins(&recipe, 1, &second[0])
                .unwrap_err()
                .message
                .starts_with("invalid stage index 1")
        );
        assert_eq!(origins(&recipe, 1, &second[1]).unwrap(), [Origin::Stage(0)]);
        assert_eq!(origins(&recipe, 1, &second[2]).unwrap(), [Origin::Stage(0)]);
        assert_eq!(origins(&recipe, 1, &second[3]).unwrap(), [Origin::Scratch]);
        assert_eq!(
            origins(&recipe, 1, &second[4]).unwrap(),
            [Origin::Image("img".into())]
        );
    }

    #[test]
    fn a_mistyped_target_is_told_the_right_one() {
        let recipe = recipe("FROM a AS build\nFROM b AS final");
        assert_eq!(target(&recipe, None), Ok(1));
        assert_eq!(target(&recipe, Some("Build")), Ok(0));
        assert!(target(&recipe, Some("0")).is_err());
        assert_eq!(
            target(&recipe, Some("biuld")).unwrap_err(),
            "target stage \"biuld\" could not be found (did you mean build?)"
        );
    }
}
