//! `dhow build --check`: what is wrong in a recipe, and what is likely wrong, said without building it. Not
//! its job: the rules (see `lint`).

use image::Store;
use serde_json::json;

use crate::bases::{self, Bases};
use crate::build::no_base;
use crate::context;
use crate::error::{Doing, Error, Result};
use crate::ignore::Ignore;
use crate::lint::{self, Finding, Linter};
use crate::parse;
use crate::plan::{self, Asks, BaseImage};
use crate::request::Options;

/// What is wrong in a recipe.
#[derive(Debug)]
pub struct Check {
    /// Rules that are broken, in the order of the recipe.
    pub findings: Vec<Finding>,
    /// What would end a build.
    pub fault: Option<Error>,
    /// `check=error=true`: what was found would end a build, too.
    pub strict: bool,
    /// Base images that are not here: which variables they set is unknown, so undefined ones were not asked for.
    pub missing: Vec<String>,
}

/// Reads the recipe and asks all rules, of every stage or of those that `--target` needs. `open` is asked for
/// the store only if the recipe stands on an image; one that is not there is no fault.
///
/// # Errors
/// If recipe or ignore file can't be read.
pub fn check(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<Check> {
    let mut opened = None;
    let files = context::files(&options.context, options, || {
        let store = open().doing(|| "open the store".to_owned())?;
        Ok(&*opened.insert(store))
    })?;
    let source = files.recipe(options.file.as_deref())?;
    let tree = files.tree(options.file.as_deref())?;
    let linter = Linter::default();
    let settings = &options.settings;
    let mut missing = Vec::new();
    let mut rules = lint::Options::default();
    let fault = match parse::parse_linted(&source, &settings.build_args, &linter) {
        Err(fault) => Some(Error::Recipe(fault.of(&source))),
        Ok(recipe) => match lint::asked::options(&recipe, settings) {
            Err(fault) => Some(Error::Recipe(fault.of(&source))),
            Ok(asked) => {
                rules = asked;
                let asks = Asks {
                    all: true,
                    ignore: Some(&tree.ignore).filter(|ignore| !Ignore::is_empty(ignore)),
                };
                let mut base = |wish: &plan::Wish<'_>| {
                    let found = open().ok().and_then(|store| {
                        let mut bases = Bases::new(&store, options);
                        bases.config_alone(wish.name, wish.platform).ok()
                    });
                    if let (None, Some(source_error)) = (&found, bases::no_name(wish.name)) {
                        let error = Error::Image {
                            what: format!("base image {}", wish.name),
                            source: source_error,
                        };
                        return Err(no_base((&source, &recipe), wish, error));
                    }
                    Ok(found.map_or_else(
                        || {
                            missing.push(wish.name.to_owned());
                            BaseImage::Missing
                        },
                        |found| BaseImage::Known(Box::new(found)),
                    ))
                };
                plan::plan_linted(&source, &recipe, settings, &asks, &linter, &mut base).err()
            }
        },
    };
    Ok(Check {
        findings: lint::findings(&source, &rules, &linter.found()),
        fault,
        strict: rules.error,
        missing,
    })
}

impl Check {
    /// Whether nothing at all is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.fault.is_none()
    }

    /// In the form of BuildKit's lint request, without links.
    pub fn to_json(&self) -> serde_json::Value {
        let warnings: Vec<_> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "ruleName": finding.rule.name(),
                    "description": finding.rule.about(),
                    "detail": finding.shown.message,
                    "location": lines(finding.shown.line),
                })
            })
            .collect();
        let mut whole = json!({ "warnings": warnings });
        match &self.fault {
            Some(Error::Recipe(shown)) => {
                whole["buildError"] =
                    json!({ "message": shown.message, "location": lines(shown.line) });
            }
            Some(other) => whole["buildError"] = json!({ "message": other.to_string() }),
            None if self.strict && !self.findings.is_empty() => {
                let rules = lint::asked::rules(&self.findings);
                let message = format!("lint violation found for rules: {rules}");
                whole["buildError"] = json!({ "message": message, "location": {} });
            }
            None => {}
        }
        whole
    }
}

/// A place of the recipe, as BuildKit's requests say it.
pub(crate) fn lines(line: usize) -> serde_json::Value {
    let at = json!({ "line": line, "character": 0 });
    json!({ "sourceIndex": 0, "ranges": [{ "start": at, "end": at }] })
}
