//! FROM: what it asks for. Pure. Not its job: finding the base (see `stages` and `bases`).

use crate::diagnostic::{Checked, Fault};
use crate::evaluate::State;
use crate::expand::{Expander, Quotes};
use crate::instruction::Stage;
use crate::lint::values;
use crate::plan::{Action, CopyStep, Step};
use crate::platform::{self, Platform};
use crate::stages::{Base, Origin};

/// FROM itself: nothing to do but for files, which are copied, all of them; its platform must be ours.
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
        Platform::parse(&wanted)
            .map_err(|why| Fault::new(word.span, format!("failed to parse platform {why}")))?;
        let ours = platform::native();
        let aliases = match ours {
            "amd64" => ["amd64", "x86_64", "x86-64"],
            "arm64" => ["arm64", "aarch64", "arm64/v8"],
            other => [other; 3],
        };
        let bare = wanted.strip_prefix("linux/").unwrap_or(&wanted);
        if bare != "linux" && !aliases.contains(&bare) {
            refusal = Some(format!(
                "FROM --platform={wanted}: not supported yet (only linux/{ours}, this machine's)"
            ));
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
