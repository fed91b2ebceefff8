//! Lines to typed instructions. Not its job: what depends on variables, other stages or images.

mod command;
mod files;
mod flags;
mod healthcheck;
mod metadata;
mod onbuild;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contexts::Contexts;
use crate::diagnostic::{Checked, Fault, did_you_mean};
use crate::instruction::{Argument, Instruction, Kind, Recipe, Stage};
use crate::lines::{self, Line};
use crate::lint::{self, Linter, Place};
use crate::source::{Source, Span};
use crate::syntax;
use crate::words::{self, Parts, Word};
use flags::Flags;
pub(crate) use onbuild::trigger;

/// All instructions, for "did you mean".
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// More instructions than this are an attack, not a recipe.
const MOST_INSTRUCTIONS: usize = 10_000;

/// What the parser of one instruction works with.
pub(crate) struct Request<'a> {
    /// The instruction's text.
    pub(crate) line: &'a Line,
    /// Its parts.
    pub(crate) parts: Parts,
    /// Its name in capitals.
    pub(crate) name: String,
    /// The recipe's escape character.
    pub(crate) escape: char,
}

impl Request<'_> {
    /// What follows name and flags.
    pub(crate) fn rest(&self) -> &str {
        &self.line.text[self.parts.rest.clone()]
    }

    /// Where that stands; for nothing, the instruction's name.
    pub(crate) fn rest_span(&self) -> Span {
        if self.parts.rest.is_empty() {
            self.line.span(self.parts.name.clone())
        } else {
            self.line.span(self.parts.rest.clone())
        }
    }

    /// A fault of what follows name and flags.
    pub(crate) fn fault<T>(&self, message: impl Into<String>) -> Checked<T> {
        Err(Fault::new(self.rest_span(), message))
    }

    /// What follows, as one word.
    pub(crate) fn one_word(&self) -> Checked<Word> {
        if self.rest().is_empty() {
            return self.fault(format!("{} requires exactly one argument", self.name));
        }
        Ok(Word::new(self.line, self.parts.rest.clone()))
    }

    /// What follows, as words between blanks or as a JSON array.
    pub(crate) fn list(&self) -> Checked<Vec<Word>> {
        let span = self.rest_span();
        Ok(match words::json(self.line, self.parts.rest.clone())? {
            Some(texts) => texts.into_iter().map(|text| Word { text, span }).collect(),
            None => words::by_blanks(self.line, self.parts.rest.clone()),
        })
    }

    /// Refuses every flag: for instructions that have none.
    pub(crate) fn no_flags(&self) -> Checked<()> {
        Flags::read(&self.parts.flags, &[]).map(|_| ())
    }
}

/// Parses a recipe. Of the build args, `BUILDKIT_SYNTAX` may name another front end than the recipe does.
///
/// # Errors
/// The first fault, with its place.
pub fn parse(source: &Source, build_args: &BTreeMap<String, String>) -> Checked<Recipe> {
    let linter = Linter::default();
    let mut recipe = parse_linted(source, build_args, &linter)?;
    recipe.lints = linter.found();
    Ok(recipe)
}

/// [`parse`], where `linter` also hears what was found before a fault.
pub(crate) fn parse_linted(
    source: &Source,
    build_args: &BTreeMap<String, String>,
    linter: &Linter,
) -> Checked<Recipe> {
    syntax::check(&source.text, build_args)?;
    let (directives, lines) = lines::read(source)?;
    let start = Span { start: 0, end: 0 };
    if lines.is_empty() {
        return Err(Fault::new(
            start,
            "file with no instructions: a recipe begins with FROM",
        ));
    }
    if let Some(line) = lines.get(MOST_INSTRUCTIONS) {
        return Err(Fault::new(
            line.whole_span(),
            format!("more than {MOST_INSTRUCTIONS} instructions"),
        ));
    }
    let mut recipe = Recipe {
        escape: directives.escape,
        globals: Vec::new(),
        stages: Vec::new(),
        check: directives
            .check
            .or_else(|| syntax::check_after_shebang(&source.text)),
        lints: Vec::new(),
        contexts: Contexts::default(),
    };
    for line in &lines {
        readable(source, line)?;
        place(&mut recipe, line, linter)?;
    }
    if recipe.stages.is_empty() {
        return Err(Fault::new(
            start,
            "no build stage in current context: a recipe needs a FROM",
        ));
    }
    lint::recipe::whole(linter, &recipe);
    Ok(recipe)
}

/// Refuses what no kernel, name or config takes as it stands. BuildKit's parser takes any bytes, and its solver
/// refuses what is not UTF-8 once it is part of a step: in comments and in texts for people it may stay.
fn readable(source: &Source, line: &Line) -> Checked<()> {
    let name = line.text.split_whitespace().next().unwrap_or("");
    let for_people = ["LABEL", "MAINTAINER"].map(|known| name.eq_ignore_ascii_case(known));
    let replaced = source.replaced && !for_people.contains(&true);
    let bad = |c: char| c == '\0' || (replaced && c == char::REPLACEMENT_CHARACTER);
    let (span, found) = match line.text.char_indices().find(|(_, c)| bad(*c)) {
        Some((at, c)) => (line.span(at..at + c.len_utf8()), c),
        None => {
            let mut bodies = line
                .heredocs
                .iter()
                .flat_map(|heredoc| heredoc.body.chars());
            match bodies.find(|c| bad(*c)) {
                Some(c) => (line.whole_span(), c),
                None => return Ok(()),
            }
        }
    };
    let what = match found {
        '\0' => "a NUL byte",
        _ => "a byte that is not UTF-8",
    };
    Err(Fault::new(
        span,
        format!("{what}, which can stand only in a comment"),
    ))
}

/// Parses one line and puts it where it belongs.
fn place(recipe: &mut Recipe, line: &Line, linter: &Linter) -> Checked<()> {
    let request = request(line, recipe.escape);
    let local = lint::Options::of_comments(&line.comments).map(Arc::new);
    let place = Place {
        span: line.whole_span(),
        local,
    };
    lint::recipe::line(linter, &request, &place);
    if request.name == "FROM" {
        let stage = stage(&request, &place)?;
        if let Some(name) = &stage.name {
            lint::recipe::description(linter, &request, &place, &[name]);
        }
        recipe.stages.push(stage);
        return Ok(());
    }
    let mut parsed = instruction(&request)?;
    if let Kind::Arg(arguments) = &parsed.kind {
        let names: Vec<&str> = arguments.iter().map(|a| a.name.as_str()).collect();
        lint::recipe::description(linter, &request, &place, &names);
    }
    parsed.local = place.local;
    match (recipe.stages.last_mut(), parsed.kind) {
        (Some(stage), kind) => stage.instructions.push(Instruction { kind, ..parsed }),
        (None, Kind::Arg(arguments)) => recipe.globals.extend(arguments),
        (None, _) => {
            return Err(Fault::new(
                request.line.span(request.parts.name.clone()),
                format!(
                    "no build stage in current context: {} before FROM",
                    request.name
                ),
            ));
        }
    }
    Ok(())
}

fn request(line: &Line, escape: char) -> Request<'_> {
    let parts = words::split(line);
    Request {
        name: line.text[parts.name.clone()].to_uppercase(),
        line,
        parts,
        escape,
    }
}

fn instruction(request: &Request<'_>) -> Checked<Instruction> {
    let kind = match request.name.as_str() {
        "ARG" => Kind::Arg(metadata::arguments(request)?),
        "ENV" => Kind::Env(metadata::pairs(request)?),
        "LABEL" => Kind::Label(metadata::pairs(request)?),
        "RUN" => Kind::Run(run::run(request)?),
        "COPY" => Kind::Copy(files::copy(request)?),
        "ADD" => Kind::Add(files::add(request)?),
        "WORKDIR" => Kind::Workdir(metadata::word(request)?),
        "USER" => Kind::User(metadata::word(request)?),
        "STOPSIGNAL" => Kind::StopSignal(metadata::word(request)?),
        "MAINTAINER" => Kind::Maintainer(metadata::word(request)?.text),
        "CMD" => Kind::Cmd(command::command(request)?),
        "ENTRYPOINT" => Kind::Entrypoint(command::command(request)?),
        "SHELL" => Kind::Shell(command::shell(request)?),
        "EXPOSE" => Kind::Expose(metadata::words(request)?),
        "VOLUME" => Kind::Volume(metadata::volumes(request)?),
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck::healthcheck(request)?),
        "ONBUILD" => Kind::OnBuild(onbuild::on_build(request)?),
        _ => {
            let name = &request.line.text[request.parts.name.clone()];
            return Err(Fault::new(
                request.line.span(request.parts.name.clone()),
                format!("unknown instruction: {name}{}", did_you_mean(name, NAMES)),
            ));
        }
    };
    Ok(Instruction {
        kind,
        span: request.line.whole_span(),
        text: request.line.text.trim_end().to_owned(),
        local: None,
    })
}

fn stage(request: &Request<'_>, place: &Place) -> Checked<Stage> {
    let flags = Flags::read(&request.parts.flags, &["platform"])?;
    let words = words::by_blanks(request.line, request.parts.rest.clone());
    let name = match words.as_slice() {
        [_] => None,
        [_, between, name] if between.text.eq_ignore_ascii_case("as") => Some(name),
        _ => {
            return request
                .fault("FROM requires either one or three arguments: FROM IMAGE [AS NAME]");
        }
    };
    if let Some(name) = name {
        stage_name(name)?;
    }
    Ok(Stage {
        base: words[0].clone(),
        name: name.map(|word| word.text.to_lowercase()),
        platform: flags
            .value("platform")?
            .filter(|word| !word.text.is_empty()),
        instructions: Vec::new(),
        span: place.span,
        text: request.line.text.trim_end().to_owned(),
        local: place.local.clone(),
    })
}

fn stage_name(name: &Word) -> Checked<()> {
    let lower = name.text.to_lowercase();
    let plain = lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    if plain {
        return Ok(());
    }
    Err(Fault::new(
        name.span,
        format!(
            "invalid name for build stage: {:?}, name can't start with a number or contain symbols other than \
             - _ .",
            name.text
        ),
    ))
}

/// A name and maybe a value of an ARG.
pub(crate) fn argument(word: &Word) -> Argument {
    match word.text.split_once('=') {
        Some((name, value)) => {
            let start = word
                .span
                .end
                .saturating_sub(value.len())
                .max(word.span.start);
            Argument {
                name: name.to_owned(),
                default: Some(Word {
                    text: value.to_owned(),
                    span: Span {
                        start,
                        end: word.span.end,
                    },
                }),
                span: word.span,
            }
        }
        None => Argument {
            name: word.text.clone(),
            default: None,
            span: word.span,
        },
    }
}

#[cfg(test)]
mod tests;
