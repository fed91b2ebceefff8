//! `dhow build`: a recipe becomes an image. The flags stand in a file for each topic. Not its job: the
//! recipe's language, and steps (builder).

mod agent;
mod asking;
mod attest;
mod cache;
mod cache_out;
mod cache_places;
mod call;
mod check;
mod compression;
mod context;
mod deliver;
mod destination;
mod output;
mod recipe;
mod several;
mod show;
mod steps;

use std::ffi::OsString;

use builder::{Options, Settings};

pub(super) use self::recipe::epoch;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, say};

/// Build an image from a recipe
#[derive(Debug, clap::Parser)]
#[command(name = "build")]
struct Args {
    #[command(flatten)]
    output: output::Output,
    #[command(flatten)]
    attest: attest::Asked,
    #[command(flatten)]
    recipe: recipe::Recipe,
    #[command(flatten)]
    steps: steps::Steps,
    #[command(flatten)]
    cache: cache::Cache,
    #[command(flatten)]
    progress: show::Progress,
    #[command(flatten)]
    context: context::Context,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let options = options(global, &args)?;
    let json = args.recipe.is_json()?;
    if args.recipe.platforms().len() > 1 && args.recipe.is_instead() {
        let why = "--platform: what is said instead of a build is said for one platform";
        return Err(Failure::new(why));
    }
    match args.recipe.what() {
        call::What::Build => {}
        call::What::Check => return check::check(global, &options, json),
        call::What::Outline => return call::outline(global, &options, json),
        call::What::Targets => return call::targets(global, &options, json),
    }
    if args.recipe.plan {
        let plan = asking::ask(global, |open| builder::plan_only(&options, open))?;
        say(format_args!("{:#}\n", plan.to_json()));
        return Ok(0);
    }
    let attest = args.attest.wanted()?;
    let wanted = args.output.wanted(&attest)?;
    let targets = args.cache.targets()?;
    several::check(&args.recipe.platforms(), &options, &wanted, &targets)?;
    deliver::prepare(&args.output)?;
    let store = crate::rootless::store(global)?;
    let mut begin = || args.progress.show(args.output.quiet);
    let (made, aside) = several::build(&store, &options, &args.recipe.platforms(), &mut begin)?;
    let delivery = deliver::Delivery {
        store: &store,
        made: &made,
        output: &args.output,
        wanted: &wanted,
        attest: &attest,
        aside,
        access: &options.access,
    };
    delivery.all()?;
    cache_out::deliver(&delivery, &targets)?;
    Ok(0)
}

fn options(global: &Global, args: &Args) -> Result<Options, Failure> {
    let build_args = args.recipe.build_args();
    let inline = |target: &cache_places::Target| target.place == cache_places::Place::Inline;
    let wants_inline = build_args
        .get("BUILDKIT_INLINE_CACHE")
        .is_some_and(|value| ["1", "t", "T", "true", "TRUE", "True"].contains(&value.as_str()));
    Ok(Options {
        context: args.context.place()?,
        file: args.recipe.file.clone(),
        epoch: epoch(&build_args)?,
        settings: Settings {
            build_args,
            target: args.recipe.target.clone(),
            platform: args.recipe.platforms().first().cloned(),
            labels: args.output.labels(),
            network: args.steps.network(),
            allowed: args.steps.allowed(),
            contexts: args.context.named()?,
        },
        jobs: args.steps.jobs(),
        secrets: args.steps.secrets()?,
        agents: args.steps.agents()?,
        limits: args.steps.limits()?,
        no_cache: args.cache.no_cache,
        no_cache_filter: args.cache.no_cache_filter.clone(),
        explain: args.cache.explain,
        cache_from: args.cache.lenders()?,
        cache_inline: wants_inline || args.cache.targets()?.iter().any(inline),
        access: args.cache.registry.access(),
        pull: args.cache.pull,
        state: global.state_root()?,
    })
}
