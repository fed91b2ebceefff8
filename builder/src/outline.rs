//! `dhow build --call=outline|targets`: what can be given to a recipe, and which stages it has, in the form of
//! BuildKit's requests of these names, without the recipe itself. Not its job: the check (see `check`).

use std::collections::BTreeSet;

use image::Store;
use serde_json::{Map, Value, json};

use crate::bases::Bases;
use crate::build;
use crate::check::lines;

use crate::error::{Error, Result};
use crate::expand::{Expander, Quotes};
use crate::globals;
use crate::instruction::{Argument, Kind, Recipe, Stage};
use crate::lines::{self, Line};
use crate::lint::Linter;
use crate::mounts::Mounted;

use crate::plan::{self, Action, Asks, BaseImage, Plan};
use crate::request::{Options, Settings};
use crate::source::{Source, Span};
use crate::variables::Variables;

/// What can be given to the build of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The stage, if it has a name.
    pub name: Option<String>,
    /// What the comment before it says.
    pub description: Option<String>,
    /// Build args, in the recipe's order.
    pub args: Vec<Arg>,
    /// Secrets.
    pub secrets: Vec<Wanted>,
    /// Agents' sockets.
    pub ssh: Vec<Wanted>,
}

/// A build arg that the stage or one that it needs takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// What the comment before it says.
    pub description: Option<String>,
    /// What it is as things are.
    pub value: Option<String>,
    /// The line of its ARG.
    pub line: usize,
}

/// Something that a RUN asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Whether a RUN fails without it.
    pub required: bool,
    /// The line of the first RUN that asks.
    pub line: usize,
}

/// A stage of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: Option<String>,
    /// Whether it is built if nobody says which.
    pub default: bool,
    /// What the comment before it says.
    pub description: Option<String>,
    /// What it stands on, as it is written.
    pub base: String,
    /// Its platform, as it is written.
    pub platform: Option<String>,
    /// The line of its FROM.
    pub line: usize,
}

/// Says what can be given to the target. `open` is asked for the store only if the recipe stands on an image; of one that
/// is not there nothing is known.
///
/// # Errors
/// The first fault of the recipe.
pub fn outline(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<Outline> {
    let (source, recipe) = build::recipe(options, open)?;
    let settings = &options.settings;
    let linter = Linter::listening();
    let mut base = |wish: &plan::Wish<'_>| {
        let found = open().ok().and_then(|store| {
            let mut bases = Bases::new(&store, options);
            bases.config_alone(wish.name, wish.platform).ok()
        });
        Ok(found.map_or(BaseImage::Missing, |found| {
            BaseImage::Known(Box::new(found))
        }))
    };
    let asks = Asks::default();
    let plan = plan::plan_linted(&source, &recipe, settings, &asks, &linter, &mut base)?;
    let said = |fault: crate::diagnostic::Fault| Error::Recipe(fault.of(&source));
    let globals = globals::globals(&recipe, settings).map_err(said)?;
    let comments = Comments::of(&source)?;
    let about = About {
        source: &source,
        recipe: &recipe,
        settings,
        globals: &globals,
        linter: &linter,
        comments: &comments,
    };
    let target = plan.stages.last();
    let [secrets, ssh] = wanted(&source, &plan);
    Ok(Outline {
        name: target.and_then(|stage| stage.name.clone()),
        description: target.and_then(|stage| {
            let name = stage.name.as_deref()?;
            comments.describing(name, stage.span)
        }),
        args: about.arguments(&plan),
        secrets,
        ssh,
    })
}

/// Says which stages the recipe has.
///
/// # Errors
/// The first fault of how it is written.
pub fn targets(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<Vec<Target>> {
    let (source, recipe) = build::recipe(options, open)?;
    let comments = Comments::of(&source)?;
    let last = recipe.stages.len() - 1;
    let stages = recipe.stages.iter().enumerate();
    let target = |(index, stage): (usize, &Stage)| Target {
        name: stage.name.clone(),
        default: index == last,
        description: stage
            .name
            .as_deref()
            .and_then(|name| comments.describing(name, stage.span)),
        base: stage.base.text.clone(),
        platform: stage.platform.as_ref().map(|word| word.text.clone()),
        line: source.line_number(stage.span.start),
    };
    Ok(stages.map(target).collect())
}

/// The comments of a recipe.
struct Comments(Vec<Line>);

impl Comments {
    fn of(source: &Source) -> Result<Self> {
        let read = lines::read(source).map_err(|fault| Error::Recipe(fault.of(source)))?;
        Ok(Self(read.1))
    }

    /// What the comments before the instruction at a place say of a name: `# NAME text`.
    fn describing(&self, name: &str, at: Span) -> Option<String> {
        let next = self
            .0
            .partition_point(|line| line.whole_span().start <= at.start);
        let mut comments = self.0.get(next.checked_sub(1)?)?.comments.iter();
        comments.find_map(|comment| {
            let text = comment.strip_prefix(name)?.strip_prefix(' ')?;
            Some(text.trim().to_owned())
        })
    }
}

/// What is asked about arguments.
struct About<'a> {
    source: &'a Source,
    recipe: &'a Recipe,
    settings: &'a Settings,
    globals: &'a Variables,
    linter: &'a Linter,
    comments: &'a Comments,
}

impl About<'_> {
    /// The ARGs of the stages of a plan, and those before the first FROM that they use.
    fn arguments(&self, plan: &Plan) -> Vec<Arg> {
        let mut args: Vec<Arg> = Vec::new();
        let mut global = BTreeSet::new();
        // What is said last counts, and the target before what it needs.
        for stage in plan.stages.iter().rev() {
            let stage = &self.recipe.stages[stage.index];
            global.extend(self.names(&stage.base.text));
            if let Some(platform) = &stage.platform {
                global.extend(self.names(&platform.text));
            }
            for instruction in stage.instructions.iter().rev() {
                let Kind::Arg(arguments) = &instruction.kind else {
                    continue;
                };
                for argument in arguments {
                    if self.is_inherited(argument) {
                        global.insert(argument.name.clone());
                    } else if args.iter().all(|arg| arg.name != argument.name) {
                        let value = self.linter.heard(argument.span);
                        args.push(self.arg(argument, value));
                    }
                }
            }
        }
        // An ARG only sees those before it.
        for argument in self.recipe.globals.iter().rev() {
            if !global.contains(&argument.name) {
                continue;
            }
            if let Some(default) = &argument.default {
                global.extend(self.names(&default.text));
            }
            if args.iter().all(|arg| arg.name != argument.name) {
                let value = self.globals.get(&argument.name).map(str::to_owned);
                args.push(self.arg(argument, value));
            }
        }
        args.sort_by_key(|arg| arg.line);
        args
    }

    /// Whether it only makes one of before the first FROM seen in a stage.
    fn is_inherited(&self, argument: &Argument) -> bool {
        let mut globals = self.recipe.globals.iter();
        argument.default.is_none()
            && !self.settings.build_args.contains_key(&argument.name)
            && globals.any(|global| global.name == argument.name)
    }

    fn arg(&self, argument: &Argument, value: Option<String>) -> Arg {
        Arg {
            name: argument.name.clone(),
            description: self.comments.describing(&argument.name, argument.span),
            value,
            line: self.source.line_number(argument.span.start),
        }
    }

    /// The variables that a text names.
    fn names(&self, text: &str) -> Vec<String> {
        let expander = Expander {
            variables: self.globals,
            escape: self.recipe.escape,
            quotes: Quotes::Remove,
        };
        let names = expander.captured(text).1;
        names.set.into_iter().chain(names.unset).collect()
    }
}

/// The secrets and the sockets that RUNs ask for.
fn wanted(source: &Source, plan: &Plan) -> [Vec<Wanted>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
        let Action::Run(run) = &step.action else {
            continue;
        };
        for mount in &run.mounts {
            let (which, id, required) = match &mount.kind {
                Mounted::Secret { id, required, .. } => (0, id, *required),
                Mounted::Ssh { id, required, .. } => (1, id, *required),
                _ => continue,
            };
            let known: &mut Vec<Wanted> = &mut all[which];
            match known.iter_mut().find(|one| one.name == *id) {
                Some(one) => one.required |= required,
                None => known.push(Wanted {
                    name: id.clone(),
                    required,
                    line: source.line_number(step.span.start),
                }),
            }
        }
    }
    for known in &mut all {
        known.sort_by_key(|one| one.line);
    }
    all
}

impl Outline {
    /// In the form of BuildKit's request.
    pub fn to_json(&self) -> Value {
        let args = self.args.iter().map(|arg| {
            fields([
                ("name", json!(arg.name)),
                ("description", json!(arg.description)),
                ("value", json!(arg.value)),
                ("location", lines(arg.line)),
            ])
        });
        let wanted = |all: &[Wanted]| -> Vec<Value> {
            let one = |one: &Wanted| {
                fields([
                    ("name", json!(one.name)),
                    ("required", json!(one.required.then_some(true))),
                    ("location", lines(one.line)),
                ])
            };
            all.iter().map(one).collect()
        };
        fields([
            ("name", json!(self.name)),
            ("description", json!(self.description)),
            ("args", args.collect()),
            ("secrets", json!(wanted(&self.secrets))),
            ("ssh", json!(wanted(&self.ssh))),
        ])
    }
}

impl Target {
    /// In the form of BuildKit's request, which has a list `targets` of them.
    pub fn to_json(&self) -> Value {
        fields([
            ("name", json!(self.name)),
            ("default", json!(self.default.then_some(true))),
            ("description", json!(self.description)),
            ("base", json!(self.base)),
            ("platform", json!(self.platform)),
            ("location", lines(self.line)),
        ])
    }
}

/// An object of these fields, without those that say nothing.
fn fields<const N: usize>(all: [(&str, Value); N]) -> Value {
    let said = |value: &Value| !value.is_null() && value.as_array().is_none_or(|a| !a.is_empty());
    let said = all.into_iter().filter(|(_, value)| said(value));
    let fields: Map<String, Value> = said.map(|(name, value)| (name.to_owned(), value)).collect();
    Value::Object(fields)
}
