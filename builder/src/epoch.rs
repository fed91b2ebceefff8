//! SOURCE_DATE_EPOCH: the latest time of an image, as the person, a global ARG or the context says it. Not its job:
//! cutting times to it.

use crate::context::Files;
use crate::diagnostic::{Checked, Fault};
use crate::globals::globals;
use crate::instruction::Recipe;
use crate::request::{Epoch, Options};

const NAME: &str = "SOURCE_DATE_EPOCH";

/// Settles the latest time: the options say it from here on. A recipe that asks for the context's gets it in numbers, or
/// nothing where that has none.
///
/// # Errors
/// If a global ARG says neither a number nor `context`.
pub(crate) fn settle(recipe: &mut Recipe, options: &Options, files: &Files) -> Checked<Options> {
    let mut options = options.clone();
    options.epoch = said(recipe, &options)?;
    if options.epoch != Some(Epoch::Context) {
        return Ok(options);
    }
    // Times before 1970 or after the year 9999 are nobody's.
    let time = files.time();
    let time = time.filter(|time| (0..253_402_300_800).contains(time));
    options.epoch = time.map(Epoch::Seconds);
    recipe.globals.retain(|argument| argument.name != NAME);
    let args = &mut options.settings.build_args;
    args.remove(NAME);
    args.extend(time.map(|time| (NAME.to_owned(), time.to_string())));
    Ok(options)
}

fn said(recipe: &Recipe, options: &Options) -> Checked<Option<Epoch>> {
    let mut arguments = recipe.globals.iter().rev();
    let Some(argument) = arguments.find(|argument| argument.name == NAME) else {
        return Ok(options.epoch);
    };
    let globals = globals(recipe, &options.settings)?;
    match (options.epoch, globals.get(NAME)) {
        (None, Some(text)) if !text.is_empty() => {
            let why = |why| Fault::new(argument.span, why);
            Epoch::parse(text).map(Some).map_err(why)
        }
        (epoch, _) => Ok(epoch),
    }
}
