//! ONBUILD: what may wait for a child, and the child's reading of it. Not its job: when triggers fire (see
//! `triggers`).

use super::{Request, instruction, metadata, request};
use crate::diagnostic::{Checked, Fault};
use crate::instruction::Instruction;
use crate::lines::{self, Line};
use crate::source::{Source, Span};
use crate::words;

/// The instruction of an ONBUILD trigger: one line and its heredocs, in the default escape.
pub(crate) fn trigger(source: &Source) -> Checked<Instruction> {
    let (_, lines) = lines::read(source)?;
    match lines.as_slice() {
        [line] => {
            let request = request(line, '\\');
            allowed(&request)?;
            instruction(&request)
        }
        _ => Err(Fault::new(Span::default(), "a trigger is one instruction")),
    }
}

/// The text of a trigger: what follows ONBUILD, with the bodies of its heredocs. Whether it is an instruction at
/// all is asked in the child, as by BuildKit: it may be one that a newer builder knows.
pub(super) fn on_build(outer: &Request<'_>) -> Checked<String> {
    let rest = outer.parts.name.end..outer.line.text.len();
    let text = outer.line.text[rest.clone()].trim();
    if text.is_empty() {
        return outer.fault("ONBUILD requires at least one argument");
    }
    let start = rest.start + outer.line.text[rest].find(text).unwrap_or(0);
    let span = outer.line.span(start..start + text.len());
    let mut line = Line::whole(text, span.start);
    line.heredocs.clone_from(&outer.line.heredocs);
    let inner = request(&line, outer.escape);
    allowed(&inner)?;
    words_of(&inner).map_err(|fault| Fault { span, ..fault })?;
    let mut text = text.to_owned();
    for heredoc in &outer.line.heredocs {
        text.push('\n');
        text.push_str(&heredoc.body);
        text.push_str(&heredoc.name);
    }
    Ok(text)
}

/// What can't even be cut into words.
fn words_of(inner: &Request<'_>) -> Checked<()> {
    match inner.name.as_str() {
        "ENV" | "LABEL" => metadata::pairs(inner).map(drop),
        "ADD" | "CMD" | "COPY" | "ENTRYPOINT" | "RUN" | "SHELL" | "VOLUME" => {
            words::json(inner.line, inner.parts.rest.clone()).map(drop)
        }
        _ => Ok(()),
    }
}

fn allowed(request: &Request<'_>) -> Checked<()> {
    let span = request.line.span(request.parts.name.clone());
    match request.name.as_str() {
        "ONBUILD" => Err(Fault::new(
            span,
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        )),
        "FROM" | "MAINTAINER" => Err(Fault::new(
            span,
            format!("{} isn't allowed as an ONBUILD trigger", request.name),
        )),
        _ => Ok(()),
    }
}
