//! `dhow build --call`: what a recipe can be given and which stages it has, as a table or as JSON. Not its job: finding
//! it (builder).

use builder::{Options, Outline, Target};
use serde_json::json;

use super::asking::ask;
use crate::commands::Outcome;
use crate::global::Global;
use crate::report::{say, visible};
use crate::tables::table;

/// What is done instead of, or but, a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Build,
    Check,
    Outline,
    Targets,
}

/// A method, and whether its answer is JSON if that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) what: What,
    pub(super) json: Option<bool>,
}

/// Reads `METHOD[,format=json]`.
pub(super) fn call(text: &str) -> Result<Call, String> {
    let mut parts = text.split(',');
    let what = match parts.next() {
        Some("build") => What::Build,
        Some("check" | "lint") => What::Check,
        Some("outline") => What::Outline,
        Some("targets") => What::Targets,
        _ => return Err("it can be build, check, outline or targets".to_owned()),
    };
    let mut call = Call { what, json: None };
    for part in parts {
        call.json = Some(match part {
            "format=json" => true,
            "format=text" => false,
            _ => return Err(format!("{part:?}: it can be format=json or format=text")),
        });
    }
    Ok(call)
}

/// Prints what can be given to the build.
pub(super) fn outline(global: &Global, options: &Options, json: bool) -> Outcome {
    let outline = ask(global, |open| builder::outline(options, open))?;
    match json {
        true => say(format_args!("{:#}\n", outline.to_json())),
        false => say(format_args!("{}", outlined(&outline))),
    }
    Ok(0)
}

/// Prints which stages there are.
pub(super) fn targets(global: &Global, options: &Options, json: bool) -> Outcome {
    let targets = ask(global, |open| builder::targets(options, open))?;
    if json {
        let all: Vec<_> = targets.iter().map(Target::to_json).collect();
        say(format_args!("{:#}\n", json!({ "targets": all })));
        return Ok(0);
    }
    let rows: Vec<[String; 2]> = targets.iter().map(row).collect();
    say(format_args!("{}", table(["TARGET", "DESCRIPTION"], &rows)));
    Ok(0)
}

fn row(target: &Target) -> [String; 2] {
    let name = match (&target.name, target.default) {
        (Some(name), true) => format!("{name} (default)"),
        (None, true) => "(default)".to_owned(),
        (name, false) => name.clone().unwrap_or_default(),
    };
    [name, shown(target.description.as_deref())]
}

fn outlined(outline: &Outline) -> String {
    let mut parts = Vec::new();
    if outline.name.is_some() {
        let mut head = format!("TARGET:      {}\n", shown(outline.name.as_deref()));
        if let Some(description) = &outline.description {
            head.push_str(&format!("DESCRIPTION: {}\n", visible(description)));
        }
        parts.push(head);
    }
    if !outline.args.is_empty() {
        let rows: Vec<_> = outline
            .args
            .iter()
            .map(|arg| {
                let description = shown(arg.description.as_deref());
                [
                    shown(Some(&arg.name)),
                    shown(arg.value.as_deref()),
                    description,
                ]
            })
            .collect();
        parts.push(table(["BUILD ARG", "VALUE", "DESCRIPTION"], &rows));
    }
    for (head, all) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if all.is_empty() {
            continue;
        }
        let rows: Vec<_> = all
            .iter()
            .map(|one| {
                let required = if one.required { "true" } else { "" };
                [shown(Some(&one.name)), required.to_owned()]
            })
            .collect();
        parts.push(table([head, "REQUIRED"], &rows));
    }
    parts.join("\n")
}

fn shown(text: Option<&str>) -> String {
    visible(text.unwrap_or("")).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_method_and_a_form() {
        let called = |what, json| Ok(Call { what, json });
        assert_eq!(call("outline"), called(What::Outline, None));
        assert_eq!(call("lint,format=text"), called(What::Check, Some(false)));
        assert_eq!(
            call("targets,format=json"),
            called(What::Targets, Some(true))
        );
        for text in [
            "",
            "outlin",
            "outline,",
            "outline,format=yaml",
            "check,ignorestatus=true",
        ] {
            assert!(call(text).is_err(), "{text}");
        }
    }
}
