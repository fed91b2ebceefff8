//! A build from the recipe to the image: the loop over stages and steps. Not its job: how one step is
//! done.

use std::collections::BTreeMap;
use std::time::Instant;

use image::{Image, Store};

use crate::bases::Bases;
use crate::cache::{Cache, Outcome};
use crate::commit::{Document, Past};
use crate::error::{Doing, Error, Result};
use crate::plan::{self, Action, Plan, StagePlan, Step};
use crate::request::{Event, Options};
use crate::source::Source;
use crate::stages::Base;
use crate::steps::{container, files, run, workdir};
use crate::work::{Built, Work};
use crate::{context, parse};

/// Reads the recipe and says what a build would do. `open` is asked for the store only if the recipe stands
/// on an image.
///
/// # Errors
/// The recipe's first fault; a base image that is not there.
pub fn plan_only(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<Plan> {
    let source = context::recipe(&options.context, options.file.as_deref())?;
    let recipe = parse(&source).map_err(|fault| Error::Recipe(fault.of(&source)))?;
    plan::plan(&source, &recipe, &options.settings, &mut |name, span| {
        let store = open().doing(|| "open the store".to_owned())?;
        Bases::new(&store, options)
            .config_alone(name)
            .map_err(|error| at(&source, span, "FROM", error))
    })
}

/// Builds the image. Must run in a process of one thread: RUN's containers are made by it.
///
/// # Errors
/// A fault of the recipe before any step is done; the step that failed, with its place.
pub fn build(store: &Store, options: &Options, tell: &mut dyn FnMut(Event<'_>)) -> Result<Image> {
    if !sys::privileges::is_root() {
        return Err(Error::Refused(
            "building as another user than root is not supported yet".to_owned(),
        ));
    }
    let source = context::recipe(&options.context, options.file.as_deref())?;
    let recipe = parse(&source).map_err(|fault| Error::Recipe(fault.of(&source)))?;
    let mut bases = Bases::new(store, options);
    let plan = plan::plan(&source, &recipe, &options.settings, &mut |name, span| {
        bases
            .config(name, tell)
            .map_err(|error| at(&source, span, "FROM", error))
    })?;
    if let Some(fault) = plan.refusal() {
        return Err(Error::Recipe(fault.of(&source)));
    }
    bases.find_all(&plan, tell)?;
    container::end_orphans(&options.state)?;
    let _lease = Cache::hold(store)?;
    for warning in &plan.warnings {
        tell(Event::Warning(warning));
    }
    let total = plan.stages.iter().map(|stage| stage.steps.len()).sum();
    let work = Work {
        store,
        options,
        bases,
        cache: Cache::new(store, options.no_cache),
        context: None,
        done: BTreeMap::new(),
        signals: sys::signal::signals_as_fd().doing(|| "take our signals".to_owned())?,
        number: 0,
        tell,
    };
    let mut builder = Builder { work, total };
    for stage in &plan.stages {
        builder.stage(&source, stage)?;
    }
    builder.image(&plan)
}

/// An error at a place of the recipe.
fn at(source: &Source, span: crate::Span, step: &str, error: Error) -> Error {
    match error {
        Error::Recipe(_) => error,
        error => Error::Step {
            place: format!("{}:{}", source.name, source.line_number(span.start)),
            step: step.to_owned(),
            source: Box::new(error),
        },
    }
}

struct Builder<'a> {
    work: Work<'a>,
    total: usize,
}

impl Builder<'_> {
    fn stage(&mut self, source: &Source, stage: &StagePlan) -> Result<()> {
        let mut built = match &stage.base {
            Base::Scratch => Built::default(),
            Base::Stage(earlier) => self.work.done.get(earlier).cloned().unwrap_or_default(),
            Base::Image(name) => {
                let image = self.work.bases.image(name, self.work.tell)?;
                Built {
                    layers: image.layers.clone(),
                    document: Document::of_base(&image.config),
                }
            }
        };
        for step in &stage.steps {
            // Nobody may remove what we stand on.
            let _lease = self
                .work
                .store
                .hold(&built.layers)
                .doing(|| "hold the layers".to_owned())?;
            self.step(&mut built, stage, step)
                .map_err(|error| at(source, step.span, &first_line(&step.text), error))?;
        }
        self.work.done.insert(stage.index, built);
        Ok(())
    }

    fn step(&mut self, built: &mut Built, stage: &StagePlan, step: &Step) -> Result<()> {
        container::interrupted(&self.work.signals)?;
        self.work.number += 1;
        let number = self.work.number;
        (self.work.tell)(Event::Step {
            number,
            total: self.total,
            stage: stage.name.as_deref(),
            text: &first_line(&step.text),
        });
        let began = Instant::now();
        let outcome = self.act(built, step);
        let took = began.elapsed();
        (self.work.tell)(match outcome {
            Ok(_) => Event::Done { number, took },
            Err(_) => Event::Failed { number, took },
        });
        let layer = match outcome? {
            Outcome::Layer(layer) => {
                built.layers.push(layer);
                true
            }
            Outcome::Nothing => false,
        };
        if !step.text.starts_with("FROM ") {
            built.document.past.push(Past {
                text: step.text.clone(),
                layer,
            });
        }
        Ok(())
    }

    fn act(&mut self, built: &Built, step: &Step) -> Result<Outcome> {
        match &step.action {
            Action::Metadata => Ok(Outcome::Nothing),
            Action::Directory { path, user } => {
                workdir::workdir(&mut self.work, &built.layers, path, user)
            }
            Action::Run(run) => run::run(&mut self.work, &built.layers, run),
            Action::Copy(copy) => files::files(&mut self.work, &built.layers, copy),
        }
    }

    fn image(&self, plan: &Plan) -> Result<Image> {
        let doing = || "make the image".to_owned();
        let Some((stage, built)) = plan
            .stages
            .last()
            .and_then(|stage| Some((stage, self.work.done.get(&stage.index)?)))
        else {
            return Err(Error::Refused("the recipe has no stage".to_owned()));
        };
        let config = built.document.bytes(
            &stage.config,
            stage.author.as_deref(),
            &built.layers,
            self.work.options.epoch,
        );
        // The same image with its names again: nothing to write, nothing to wait for.
        let id = image::Digest::of(&config);
        if let Ok(image) = self.work.store.find(&id.to_string())
            && self
                .work
                .options
                .names
                .iter()
                .all(|name| image.names.contains(name))
        {
            return Ok(image);
        }
        self.work
            .store
            .commit_image(&config, &built.layers, &self.work.options.names)
            .doing(doing)
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").to_owned()
}
