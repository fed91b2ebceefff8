//! A build from the recipe to the image: what is planned, what its steps leave, what the image is of that. Not its
//! job: the steps' course.

use image::Store;

use crate::bases::{self, Bases};
use crate::before::Before;
use crate::cache::Cache;
use crate::context::Files;
use crate::course::Run;
use crate::diagnostic::Fault;
use crate::error::{Doing, Error, Result};
use crate::finished::Finished;
use crate::instruction::Recipe;
use crate::lent::Lent;
use crate::parse::parse;
use crate::places::Places;
use crate::plan::{self, Plan, Wish};
use crate::provenance::Sides;
use crate::request::{Event, Options};
use crate::source::Source;
use crate::steps::{container, network};
use crate::{carry, context, course, emulation, epoch, provenance, turn};

/// Reads the recipe alone; `open` is asked for the store only if the context must be fetched.
///
/// # Errors
/// The recipe's first fault.
pub(crate) fn recipe(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<(Source, Recipe)> {
    read(options, open).map(|(_, source, recipe)| (source, recipe))
}

/// The same, with the files beside it.
fn read(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<(Files, Source, Recipe)> {
    let mut opened = None;
    let files = context::files(&options.context, options, || {
        let store = open().doing(|| "open the store".to_owned())?;
        Ok(&*opened.insert(store))
    })?;
    let source = files.recipe(options.file.as_deref())?;
    let recipe = parse(&source, &options.settings.build_args)
        .map_err(|fault| Error::Recipe(fault.of(&source)))?;
    Ok((files, source, recipe))
}

/// Reads the recipe and says what a build would do. `open` is asked for the store only if the recipe stands
/// on an image.
///
/// # Errors
/// The recipe's first fault; a base image that is not there.
pub fn plan_only(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<Plan> {
    let (files, source, mut recipe) = read(options, open)?;
    let options = &epoch::settle(&mut recipe, options, &files)
        .map_err(|fault| Error::Recipe(fault.of(&source)))?;
    plan::plan(&source, &recipe, &options.settings, &mut |wish| {
        let store = open().doing(|| "open the store".to_owned())?;
        Bases::new(&store, options)
            .config_alone(wish.name, wish.platform)
            .map_err(|error| no_base((&source, &recipe), wish, error))
    })
}

/// Builds what the target stage comes to. Must run in a process of one thread: it makes a process for each step.
///
/// # Errors
/// A fault of the recipe before any step is done; the step that failed, with its place.
pub fn build<'a>(
    store: &'a Store,
    options: &Options,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Finished<'a>> {
    if !sys::privileges::is_root() {
        return Err(Error::Refused(
            "a build must be root, if only of a user namespace".to_owned(),
        ));
    }
    let files = context::files(&options.context, options, || Ok(store))?;
    let source = files.recipe(options.file.as_deref())?;
    let mut recipe = parse(&source, &options.settings.build_args)
        .map_err(|fault| Error::Recipe(fault.of(&source)))?;
    let options = &epoch::settle(&mut recipe, options, &files)
        .map_err(|fault| Error::Recipe(fault.of(&source)))?;
    let mut bases = Bases::new(store, options);
    let plan = plan::plan(&source, &recipe, &options.settings, &mut |wish| {
        bases
            .config(wish.name, wish.platform, tell)
            .map_err(|error| no_base((&source, &recipe), wish, error))
    })?;
    if let Some(fault) = plan.refusal().or_else(|| emulation::refusal(&plan)) {
        return Err(Error::Recipe(fault.of(&source)));
    }
    bases.find_all((&source, &recipe, &plan), tell)?;
    let files = Places::of(files, options, &plan, store)?;
    container::end_orphans(&options.state)?;
    network::clear()?;
    turn::clear(store.path())?;
    // Nobody may remove what the steps stand on, or make.
    let _lease = Cache::hold(store)?;
    let _images = store
        .hold(&bases.layers())
        .doing(|| "hold the images' layers".to_owned())?;
    for warning in &plan.warnings {
        tell(Event::Warning(warning));
    }
    let mut before = Before::read(store, options, &recipe, &plan, &bases)?;
    let lent = Lent::ask(store, options, tell);
    sys::process::outlive_threads().doing(|| "wait for our threads".to_owned())?;
    let sides = (&bases, &mut before, &lent);
    let done = course::run(store, options, (&source, &files, &plan), sides, tell);
    // Without the note, the next build has less to say.
    let _unnoted = before.keep();
    let done = done?;
    let sides = Sides {
        bases: &bases,
        files: &files,
        materials: &done.materials,
    };
    let facts = provenance::facts(&source, options, &plan, &sides);
    finished(store, options, &plan, (done, facts))
}

/// Why there is no base image, with its place, and which stage above it may be meant.
pub(crate) fn no_base(
    (source, recipe): (&Source, &Recipe),
    wish: &Wish<'_>,
    error: Error,
) -> Error {
    let stages = recipe.stages.iter();
    let earlier = stages.take_while(|stage| stage.base.span.start < wish.span.start);
    let error = bases::meant(error, "base image", wish.name, earlier);
    in_recipe(source, wish.span, &error)
}

/// What ended a build before its first step, shown at its place: the whole chain, with the line.
pub(crate) fn in_recipe(source: &Source, span: crate::Span, error: &Error) -> Error {
    if let Error::Recipe(shown) = error {
        return Error::Recipe(shown.clone());
    }
    Error::Recipe(Fault::new(span, runtime::chain(error)).of(source))
}

/// An error at a place of the recipe.
pub(crate) fn at(source: &Source, span: crate::Span, step: &str, error: Error) -> Error {
    match error {
        Error::Recipe(_) => error,
        error => Error::Step {
            place: format!("{}:{}", source.name, source.line_number(span.start)),
            step: step.to_owned(),
            source: Box::new(error),
        },
    }
}

/// What the last stage has come to.
fn finished<'a>(
    store: &'a Store,
    options: &Options,
    plan: &Plan,
    (run, facts): (Run, provenance::Facts),
) -> Result<Finished<'a>> {
    let Some((stage, built)) = plan
        .stages
        .last()
        .and_then(|stage| Some((stage, run.stages.get(&stage.index)?)))
    else {
        return Err(Error::Refused("the recipe has no stage".to_owned()));
    };
    let mut config = built.document.bytes(
        &stage.config,
        stage.author.as_deref(),
        &built.layers,
        options.epoch(),
    );
    let steps = carry::steps(plan, &run.records);
    if options.cache_inline {
        carry::inline(&mut config, &steps, &built.layers);
    }
    Finished::new(store, config, built.layers.clone(), (steps, facts))
}

/// A step's text in one line.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").to_owned()
}
