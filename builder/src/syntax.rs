//! `# syntax=`: which front end a recipe asks for. dhow is docker/dockerfile itself, and never runs
//! another one: that would be a program from elsewhere which says what runs here. Not its job: the other
//! directives (see `lines`).

use std::collections::BTreeMap;

use crate::diagnostic::{Checked, Fault};
use crate::source::Span;

/// Refuses a front end other than Docker's own: that of the build arg `BUILDKIT_SYNTAX`, else the
/// recipe's.
pub(crate) fn check(text: &str, build_args: &BTreeMap<String, String>) -> Checked<()> {
    let (value, span) = match build_args.get("BUILDKIT_SYNTAX") {
        Some(value) => (value.clone(), Span::default()),
        None => match asked(text) {
            Some(found) => found,
            None => return Ok(()),
        },
    };
    let image = value.split_whitespace().next().unwrap_or("");
    let name = image.split('@').next().unwrap_or("");
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    if matches!(
        name,
        "docker/dockerfile" | "docker/dockerfile-upstream" | "dockerfile.v0"
    ) {
        return Ok(());
    }
    Err(Fault::new(
        span,
        format!("syntax {image:?}: foreign front ends are not supported (only docker/dockerfile)"),
    ))
}

/// `# check=` of a recipe that begins with `#!`, which the language's own directives can't follow.
pub(crate) fn check_after_shebang(text: &str) -> Option<(String, Span)> {
    let start = after_shebang(text);
    (start > 0).then(|| directive(text, start, "#", "check"))?
}

/// The front end that a text asks for: as `# syntax=`, after a `#!` line too, as `// syntax=`, or as JSON.
fn asked(text: &str) -> Option<(String, Span)> {
    let start = after_shebang(text);
    directive(text, start, "#", "syntax")
        .or_else(|| directive(text, start, "//", "syntax"))
        .or_else(|| of_json(text, start))
}

/// Where the text begins but for a `#!` line.
fn after_shebang(text: &str) -> usize {
    match text.find('\n') {
        Some(end) if text.starts_with("#!") => end + 1,
        None if text.starts_with("#!") => text.len(),
        _ => 0,
    }
}

/// The value of `wanted` among the directives at `start`, and its line.
fn directive(text: &str, start: usize, comment: &str, wanted: &str) -> Option<(String, Span)> {
    let mut at = start;
    for line in text[start..].split_inclusive('\n') {
        let span = Span {
            start: at,
            end: at + line.trim_end().len(),
        };
        at += line.len();
        let (key, value) = line.strip_prefix(comment)?.split_once('=')?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if value.is_empty() || !matches!(key.as_str(), "syntax" | "escape" | "check") {
            return None;
        }
        if key == wanted {
            return Some((value.to_owned(), span));
        }
    }
    None
}

fn of_json(text: &str, start: usize) -> Option<(String, Span)> {
    let rest = &text[start..];
    if !rest.trim_start().starts_with('{') {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(rest).ok()?;
    let syntax = value.get("syntax")?.as_str()?.to_owned();
    Some((
        syntax,
        Span {
            start,
            end: start + 1,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        check(text, &BTreeMap::new()).is_err()
    }

    #[test]
    fn dockers_own_front_end_is_ourselves() {
        for own in [
            "docker/dockerfile",
            "docker/dockerfile:1.7-labs",
            "docker.io/docker/dockerfile@sha256:00",
            "docker/dockerfile-upstream:master",
            "dockerfile.v0",
        ] {
            assert!(!refused(&format!("# syntax={own}\nFROM x")), "{own}");
        }
        assert!(!refused("FROM x\n# syntax=evil/x"));
        assert!(!refused("# comment\n# syntax=evil/x"));
    }

    #[test]
    fn a_foreign_one_is_refused_however_it_is_asked_for() {
        for text in [
            "# syntax=evil/x\n",
            "#Syntax = evil/x -v\nFROM x",
            "#!/usr/bin/x\n# syntax=evil/x",
            "# escape=`\n# syntax=evil/x",
            "// syntax=evil/x\n{}",
            "{\"syntax\": \"evil/x\", \"a\": 1}",
            "# syntax=localhost:5000/docker/dockerfile",
        ] {
            assert!(refused(text), "{text}");
        }
        let fault = check(
            "\n",
            &BTreeMap::from([("BUILDKIT_SYNTAX".into(), "evil/x".into())]),
        );
        assert!(fault.unwrap_err().message.contains("\"evil/x\""));
        let own = BTreeMap::from([("BUILDKIT_SYNTAX".into(), "dockerfile.v0".into())]);
        assert!(check("# syntax=evil/x", &own).is_ok());
    }
}
