//! What holds for all stages: platforms, the ARGs before the first FROM, and the build's own args. Not its
//! job: what a stage makes of them (see `evaluate`).

use image::Reference;

use crate::diagnostic::Checked;
use crate::evaluate::{self, Scope};
use crate::expand::{Expander, Quotes};
use crate::instruction::{Instruction, Kind, Recipe, Stage};
use crate::limits;
use crate::lint::{Linter, Rule};
use crate::plan::BaseConfig;
use crate::platform::Platform;
use crate::request::Settings;
use crate::steps::from;
use crate::variables::Variables;

/// Platforms, then the ARGs before the first FROM, each seeing those before it.
pub(crate) fn globals(recipe: &Recipe, settings: &Settings) -> Checked<Variables> {
    with_arguments(recipe, settings, automatic(recipe, settings))
}

/// What is there without any ARG. A build arg of the same name beats each.
fn automatic(recipe: &Recipe, settings: &Settings) -> Variables {
    let here = Platform::here();
    let target = settings.platform.as_ref().unwrap_or(&here);
    let mut globals = Variables::default();
    let mut set = |name: &str, value: &str| {
        let given = settings.build_args.get(name);
        globals.set(name, given.map_or(value, String::as_str));
    };
    for (side, platform) in [("BUILD", &here), ("TARGET", target)] {
        set(&format!("{side}PLATFORM"), &platform.to_string());
        set(&format!("{side}OS"), &platform.os);
        set(&format!("{side}OSVERSION"), "");
        set(&format!("{side}ARCH"), &platform.architecture);
        set(&format!("{side}VARIANT"), &platform.variant);
    }
    let last = recipe.stages.last().and_then(|stage| stage.name.as_deref());
    let target = settings.target.as_deref().or(last);
    set("TARGETSTAGE", target.unwrap_or("default"));
    globals
}

fn with_arguments(
    recipe: &Recipe,
    settings: &Settings,
    mut globals: Variables,
) -> Checked<Variables> {
    for argument in &recipe.globals {
        let value = match (settings.build_args.get(&argument.name), &argument.default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => expander(recipe, &globals).word(default)?,
            (None, None) => continue,
        };
        limits::set(&mut globals, &argument.name, &value, argument.span)?;
    }
    Ok(globals)
}

fn expander<'a>(recipe: &Recipe, variables: &'a Variables) -> Expander<'a> {
    Expander {
        variables,
        escape: recipe.escape,
        quotes: Quotes::Remove,
    }
}

/// Tells of bases that come to nothing without the person's build args.
pub(crate) fn lint_bases(linter: &Linter, recipe: &Recipe, settings: &Settings) {
    let without = Settings::default();
    let Ok(globals) = with_arguments(recipe, &without, automatic(recipe, settings)) else {
        return;
    };
    for stage in &recipe.stages {
        let Ok(name) = expander(recipe, &globals).word(&stage.base) else {
            return;
        };
        if !is_place(&name) && name.parse::<Reference>().is_err() {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                stage.base.text
            );
            let rule = Rule::InvalidDefaultArgInFrom;
            linter.add(rule, &stage.place(), stage.base.span, message);
        }
    }
}

/// Whether a base is named by where it lies, which only dhow knows.
fn is_place(name: &str) -> bool {
    let places = ["/", "./", "../", "oci:", "oci-archive:", "docker-archive:"];
    places.iter().any(|place| name.starts_with(place))
}

/// Tells of a base image that was made for another platform.
pub(crate) fn lint_platform(scope: &Scope<'_>, stage: &Stage, name: &str, image: &BaseConfig) {
    let Some(actual) = image
        .platform
        .as_deref()
        .and_then(|text| Platform::parse(text).ok())
    else {
        return;
    };
    let wanted = from::platform(stage, scope.recipe, scope.globals, scope.settings);
    let expected = wanted.unwrap_or_else(Platform::here);
    if (&actual.os, &actual.architecture) != (&expected.os, &expected.architecture) {
        let message = format!(
            "Base image {name} was pulled with platform \"{actual}\", expected \"{expected}\" for \
             current build"
        );
        scope.linter.add(
            Rule::InvalidBaseImagePlatform,
            &stage.place(),
            stage.base.span,
            message,
        );
    }
}

/// Build args that no ARG takes, of the recipe or of the triggers that it wakes.
pub(crate) fn unused<'a>(
    recipe: &'a Recipe,
    triggers: impl Iterator<Item = &'a Instruction>,
    settings: &Settings,
) -> Vec<String> {
    let in_stages = recipe.stages.iter().flat_map(|stage| &stage.instructions);
    let arguments = in_stages
        .chain(triggers)
        .filter_map(|instruction| match &instruction.kind {
            Kind::Arg(arguments) => Some(arguments),
            _ => None,
        });
    let declared: Vec<&str> = arguments
        .flatten()
        .chain(&recipe.globals)
        .map(|argument| argument.name.as_str())
        .collect();
    let automatic = automatic(recipe, &Settings::default());
    settings
        .build_args
        .keys()
        .filter(|name| !evaluate::is_proxy(name) && *name != "SOURCE_DATE_EPOCH")
        .filter(|name| !name.starts_with("BUILDKIT_") && automatic.get(name).is_none())
        .filter(|name| !declared.contains(&name.as_str()))
        .map(|name| format!("build arg {name} is not used: no ARG names it"))
        .collect()
}
