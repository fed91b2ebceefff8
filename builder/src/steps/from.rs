//! FROM: what it asks for. Pure. Not its job: finding the base (see `stages` and `bases`).

use crate::diagnostic::{Checked, Fault};
use crate::evaluate::State;
use crate::expand::{Expander, Quotes};
use crate::instruction::{Recipe, Stage};
use crate::lint::values;
use crate::plan::{Action, CopyStep, Step};
use crate::platform::Platform;
use crate::request::Settings;
use crate::stages::{Base, Origin};
use crate::variables::Variables;

/// FROM itself: nothing to do but for files, which are copied, all of them; what it is for must be Linux.
pub(crate) fn from(state: &State<'_>, stage: &Stage, base: &Base) -> Checked<Step> {
    let mut refusal = None;
    if let Some(word) = &stage.platform {
        let globals = state.scope.globals;
        let expander = Expander {
            variables: globals,
            escape: state.scope.recipe.escape,
            quotes: Quotes::Remove,
        };
        let (wanted, names) = expander.captured(&word.text);
        let linter = state.scope.linter;
        values::undeclared(
            linter,
            stage,
            word.span,
            &names,
            state.scope.recipe,
            globals,
        );
        let wanted = wanted.map_err(|misuse| misuse.within(word))?;
        if wanted.is_empty() {
            return Err(Fault::new(
                word.span,
                format!("empty platform value from expression {}", word.text),
            ));
        }
        values::platform(linter, stage, word, &wanted, &names, globals);
        let platform = Platform::parse(&wanted)
            .map_err(|why| Fault::new(word.span, format!("failed to parse platform: {why}")))?;
        if platform.os != "linux" {
            refusal = Some(format!("FROM --platform={wanted}: only linux is supported"));
        }
    }
    Ok(Step {
        action: match base {
            Base::Named(name) => everything(name),
            _ => Action::Metadata,
        },
        span: stage.span,
        text: format!("FROM {}", stage.base.text),
        refusal,
    })
}

/// All files of a named context.
fn everything(name: &str) -> Action {
    Action::Copy(CopyStep {
        origin: Origin::Named(name.to_owned()),
        sources: vec!["/".to_owned()],
        heredocs: Vec::new(),
        target: "/".to_owned(),
        chown: None,
        chmod: None,
        exclude: Vec::new(),
        link: false,
        parents: false,
        adding: None,
    })
}

/// What a stage is for that stands on no other stage: what its FROM says, else what the build is for. A fault in it is
/// told where FROM is followed.
pub(crate) fn platform(
    stage: &Stage,
    recipe: &Recipe,
    globals: &Variables,
    settings: &Settings,
) -> Option<Platform> {
    let said = stage.platform.as_ref().and_then(|word| {
        let expander = Expander {
            variables: globals,
            escape: recipe.escape,
            quotes: Quotes::Remove,
        };
        Platform::parse(&expander.word(word).ok()?).ok()
    });
    said.or_else(|| settings.platform.clone())
}
