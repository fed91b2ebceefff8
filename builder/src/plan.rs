//! What a build will do, said before it does anything: the needed stages with their steps and configs.
//! Pure but for the question what config a base image has. Not its job: doing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::diagnostic::Fault;
use crate::error::{Error, Result};
use crate::evaluate::{self, Inherited, Scope};
use crate::globals;
use crate::ignore::Ignore;
use crate::instruction::{Device, Instruction, Recipe, Security, Stage};
use crate::limits::Budget;
use crate::lint::{self, Finding, Linter, asked};
use crate::mode::ModeChange;
use crate::mounts::Mount;
use crate::platform::Platform;
use crate::request::{NetworkDefault, Settings};
use crate::source::{Source, Span};
use crate::stages::{self, Base, Origin};
use crate::steps::from;
use crate::triggers;

/// The needed stages, each after those that it needs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stages; the last one is the target.
    pub stages: Vec<StagePlan>,
    /// What a person should hear: build args that nobody asked for.
    pub warnings: Vec<String>,
}

/// One stage.
#[derive(Debug, Clone)]
pub struct StagePlan {
    /// Its number in the recipe.
    pub index: usize,
    /// Its name.
    pub name: Option<String>,
    /// What it stands on.
    pub base: Base,
    /// What it is for, if anybody says so; else this machine's.
    pub platform: Option<Platform>,
    /// Where its FROM stands.
    pub span: Span,
    /// The steps, one for each instruction.
    pub steps: Vec<Step>,
    /// The config after the last one.
    pub config: Config,
    /// MAINTAINER.
    pub author: Option<String>,
    /// What its image is made for, as its base says it: `os/architecture`.
    pub made_for: Option<String>,
}

/// One instruction, its variables filled in.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it does to the tree.
    pub action: Action,
    /// Where it stands.
    pub span: Span,
    /// Its text, for people and for the image's history.
    pub text: String,
    /// What it asks for that dhow does not do yet.
    pub refusal: Option<String>,
}

/// What a step does to the tree.
#[derive(Debug, Clone)]
pub enum Action {
    /// Nothing: only the config changes.
    Metadata,
    /// WORKDIR: the directory is made if it is missing.
    Directory {
        /// Its path.
        path: String,
        /// Who will own it: the USER of that moment.
        user: String,
    },
    /// RUN
    Run(RunStep),
    /// COPY, ADD
    Copy(CopyStep),
}

/// A command to run.
#[derive(Debug, Clone, Serialize)]
pub struct RunStep {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, in order.
    #[serde(serialize_with = "shared")]
    pub env: Arc<Vec<String>>,
    /// Where it starts.
    pub cwd: String,
    /// `user[:group]`, or empty for root.
    pub user: String,
    /// Its network.
    #[serde(skip)]
    pub network: NetworkDefault,
    /// How tightly it is held.
    #[serde(skip)]
    pub security: Security,
    /// What it sees beside its tree, in the recipe's order.
    #[serde(skip)]
    pub mounts: Vec<Mount>,
    /// Devices that it wants.
    #[serde(skip)]
    pub devices: Vec<Device>,
    /// What its machine is called, if the build says it.
    #[serde(skip)]
    pub hostname: Option<String>,
    /// A script that is there while it runs: name below /dev/pipes, and content.
    #[serde(skip)]
    pub script: Option<(String, String)>,
    /// Proxy variables of the build: given to the command, but no part of its identity.
    #[serde(skip)]
    pub proxies: Vec<String>,
}

fn shared<S: serde::Serializer>(env: &Arc<Vec<String>>, to: S) -> Result<S::Ok, S::Error> {
    env.as_ref().serialize(to)
}

/// Files to copy.
#[derive(Debug, Clone)]
pub struct CopyStep {
    /// Where from.
    pub origin: Origin,
    /// The paths there, wildcards and all.
    pub sources: Vec<String>,
    /// Files from the recipe itself: name and content.
    pub heredocs: Vec<(String, String)>,
    /// Where to: absolute, with `/` at its end if it is meant to be a directory.
    pub target: String,
    /// `user[:group]` by name or number.
    pub chown: Option<String>,
    /// The mode.
    pub chmod: Option<ModeChange>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// `--link`: copied into an empty tree that is laid on top of what is there.
    pub link: bool,
    /// `--parents`: the sources' folders are made below the target too.
    pub parents: bool,
    /// What ADD does beyond COPY; `None` for COPY.
    pub adding: Option<Adding>,
}

/// What ADD does beyond COPY.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adding {
    /// `--checksum`: of the one remote source.
    pub checksum: Option<String>,
    /// `--keep-git-dir`, if it is said: whether `.git` of a repository is copied.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, if it is said; else archives of the context are unpacked, and those from elsewhere are not.
    pub unpack: Option<bool>,
}

/// Says what a build of `recipe` would do. `base_config` is asked for the config of each base image that
/// is needed.
///
/// # Errors
/// The first fault, with its place; what `base_config` fails with.
pub fn plan(
    source: &Source,
    recipe: &Recipe,
    settings: &Settings,
    base_config: &mut dyn FnMut(&Wish<'_>) -> Result<BaseConfig>,
) -> Result<Plan> {
    let said = |fault: Fault| Error::Recipe(fault.of(source));
    let options = asked::options(recipe, settings).map_err(said)?;
    let linter = Linter::with(recipe.lints.clone());
    let asks = Asks::default();
    let mut known = |wish: &Wish<'_>| Ok(BaseImage::Known(Box::new(base_config(wish)?)));
    let mut plan = plan_linted(source, recipe, settings, &asks, &linter, &mut known)?;
    let findings = lint::findings(source, &options, &linter.found());
    if let Some(first) = findings.first().filter(|_| options.error) {
        return Err(asked::error(first, &findings));
    }
    let lines = findings.iter().map(Finding::line);
    plan.warnings.splice(0..0, lines);
    Ok(plan)
}

/// What is asked beside a plan.
#[derive(Default)]
pub(crate) struct Asks<'a> {
    /// Every stage, not just what the target needs.
    pub(crate) all: bool,
    /// What the context leaves out.
    pub(crate) ignore: Option<&'a Ignore>,
}

/// A base image that a plan asks about.
#[derive(Debug)]
pub struct Wish<'a> {
    /// What the recipe calls it.
    pub name: &'a str,
    /// What it must be for, if anybody says so.
    pub platform: Option<&'a Platform>,
    /// Where its FROM stands.
    pub span: Span,
}

/// What is known of a base image.
pub(crate) enum BaseImage {
    /// Its config.
    Known(Box<BaseConfig>),
    /// It is not here.
    Missing,
}

/// What a plan needs of a base image.
#[derive(Debug, Clone, Default)]
pub struct BaseConfig {
    /// Its config.
    pub config: Config,
    /// `os/architecture`, if it says so.
    pub platform: Option<String>,
}

/// [`plan`], where `linter` hears what is likely wrong, also before a fault.
pub(crate) fn plan_linted(
    source: &Source,
    recipe: &Recipe,
    settings: &Settings,
    asks: &Asks<'_>,
    linter: &Linter,
    base_config: &mut dyn FnMut(&Wish<'_>) -> Result<BaseImage>,
) -> Result<Plan> {
    let said = |fault: Fault| Error::Recipe(fault.of(source));
    let recipe = &*settings.contexts.applied(recipe);
    globals::lint_bases(linter, recipe, settings);
    let globals = globals::globals(recipe, settings).map_err(said)?;
    let bases = stages::bases(recipe, &globals, linter).map_err(said)?;
    let target =
        stages::target(recipe, settings.target.as_deref()).map_err(|why| Error::Target { why })?;
    stages::check_origins(recipe, &bases).map_err(said)?;
    let all = asks.all && settings.target.is_none();
    let mut ask = |stage: &Stage, name: &str| {
        base_config(&Wish {
            name,
            platform: from::platform(stage, recipe, &globals, settings).as_ref(),
            span: stage.base.span,
        })
    };
    let mut wanted = wanted(source, recipe, &bases, target, all, &mut ask)?;
    let scope = Scope {
        recipe,
        globals: &globals,
        settings,
        linter,
        budget: &Budget::default(),
        ignore: asks.ignore,
    };
    let mut done: BTreeMap<usize, (StagePlan, Inherited)> = BTreeMap::new();
    for (index, entry) in &mut wanted {
        let inherited = match (&bases[*index], entry.image.take()) {
            (Base::Stage(earlier), _) => done[earlier].1.clone(),
            (Base::Image(name), Some(BaseImage::Known(image))) => {
                globals::lint_platform(&scope, &recipe.stages[*index], name, &image);
                Inherited::image(image.config).on(image.platform)
            }
            (_, Some(_)) => Inherited::unknown(),
            (_, None) => Inherited::scratch(),
        };
        let evaluated = evaluate::stage(&scope, *index, &bases[*index], inherited, &entry.triggers);
        done.insert(*index, evaluated.map_err(said)?);
    }
    let mut stages: Vec<StagePlan> = done.into_values().map(|(stage, _)| stage).collect();
    if let Some(last) = stages.last_mut() {
        last.config.labels.extend(settings.labels.clone());
    }
    Ok(Plan {
        stages,
        warnings: globals::unused(
            recipe,
            wanted.values().flat_map(|entry| &entry.triggers),
            settings,
        ),
    })
}

/// A stage that the target needs.
#[derive(Default)]
struct Wanted {
    /// Its base image, if it stands on one.
    image: Option<BaseImage>,
    /// The ONBUILD triggers of its base.
    triggers: Vec<Instruction>,
}

/// The stages that the target needs. A stage only ever needs earlier ones, so one walk from the target
/// downwards meets them all, also those that only a trigger of a base image asks for.
fn wanted(
    source: &Source,
    recipe: &Recipe,
    bases: &[Base],
    target: usize,
    all: bool,
    ask: &mut dyn FnMut(&Stage, &str) -> Result<BaseImage>,
) -> Result<BTreeMap<usize, Wanted>> {
    let mut wanted = BTreeMap::from([(target, Wanted::default())]);
    if all {
        wanted.extend((0..target).map(|index| (index, Wanted::default())));
    }
    for index in (0..=target).rev() {
        if !wanted.contains_key(&index) {
            continue;
        }
        let stage = &recipe.stages[index];
        let mut entry = Wanted::default();
        let texts = match &bases[index] {
            Base::Scratch | Base::Named(_) => Vec::new(),
            Base::Stage(earlier) => triggers::of_stage(recipe, *earlier),
            Base::Image(name) => {
                let mut image = ask(stage, name)?;
                let texts = match &mut image {
                    BaseImage::Known(image) => std::mem::take(&mut image.config.on_build),
                    BaseImage::Missing => Vec::new(),
                };
                entry.image = Some(image);
                texts
            }
        };
        for text in texts {
            let parsed =
                triggers::read(&text).map_err(|fault| triggers::shown_at(fault, &text, stage.span));
            entry
                .triggers
                .push(parsed.map_err(|f| Error::Recipe(f.of(source)))?);
        }
        let mut needs = Vec::new();
        if let Base::Stage(earlier) = bases[index] {
            needs.push(earlier);
        }
        for instruction in stage.instructions.iter().chain(&entry.triggers) {
            let origins = stages::origins(recipe, index, instruction)
                .map_err(|fault| Error::Recipe(fault.of(source)))?;
            needs.extend(origins.iter().filter_map(|origin| match origin {
                Origin::Stage(earlier) => Some(*earlier),
                _ => None,
            }));
        }
        wanted.insert(index, entry);
        for earlier in needs {
            wanted.entry(earlier).or_default();
        }
    }
    Ok(wanted)
}

impl Plan {
    /// The plan as `dhow build --plan --format json` prints it: the config of the target, and what RUN
    /// would run.
    pub fn to_json(&self) -> serde_json::Value {
        let runs: Vec<&RunStep> = self
            .stages
            .iter()
            .flat_map(|stage| &stage.steps)
            .filter_map(|step| match &step.action {
                Action::Run(run) => Some(run),
                _ => None,
            })
            .collect();
        let config = self.stages.last().map(|stage| &stage.config);
        serde_json::json!({ "config": config, "run": runs })
    }

    /// The first thing in the plan that dhow does not do yet.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        self.stages
            .iter()
            .flat_map(|stage| &stage.steps)
            .find_map(|step| {
                let refusal = step.refusal.as_ref()?;
                Some(Fault::new(step.span, refusal.clone()))
            })
    }
}

#[cfg(test)]
mod tests;
