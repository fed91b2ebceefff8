//! Instructions that only change the image's config: their words. Not its job: commands (see `command`).

use super::{Request, argument};
use crate::diagnostic::{Checked, Fault};
use crate::instruction::{Argument, Pair};
use crate::source::Span;
use crate::words::{self, Word};

/// WORKDIR, USER, STOPSIGNAL, MAINTAINER: the whole rest is one word.
pub(super) fn word(request: &Request<'_>) -> Checked<Word> {
    request.no_flags()?;
    request.one_word()
}

/// EXPOSE: words between blanks.
pub(super) fn words(request: &Request<'_>) -> Checked<Vec<Word>> {
    request.no_flags()?;
    let words = words::by_blanks(request.line, request.parts.rest.clone());
    if words.is_empty() {
        return request.fault(format!("{} requires at least one argument", request.name));
    }
    Ok(words)
}

/// VOLUME: words or a JSON array.
pub(super) fn volumes(request: &Request<'_>) -> Checked<Vec<Word>> {
    request.no_flags()?;
    let volumes = request.list()?;
    if volumes.is_empty() {
        return request.fault("VOLUME requires at least one argument");
    }
    if volumes.iter().any(|volume| volume.text.trim().is_empty()) {
        return request.fault("VOLUME specified can not be an empty string");
    }
    Ok(volumes)
}

/// ARG: `name[=default] …`
pub(super) fn arguments(request: &Request<'_>) -> Checked<Vec<Argument>> {
    request.no_flags()?;
    let words = words::by_quotes(request.line, request.parts.rest.clone(), request.escape);
    if words.is_empty() {
        return request.fault("ARG requires at least one argument");
    }
    words
        .iter()
        .map(|word| {
            let argument = argument(word);
            if argument.name.is_empty() {
                return Err(Fault::new(word.span, "ARG names can not be blank"));
            }
            Ok(argument)
        })
        .collect()
}

/// ENV and LABEL: `name=value …`, or the old form `name value`.
pub(super) fn pairs(request: &Request<'_>) -> Checked<Vec<Pair>> {
    request.no_flags()?;
    let words = words::by_quotes(request.line, request.parts.rest.clone(), request.escape);
    let Some(first) = words.first() else {
        return request.fault(format!("{} requires at least one argument", request.name));
    };
    if !first.text.contains('=') {
        return old_pair(request).map(|pair| vec![pair]);
    }
    words
        .iter()
        .map(|word| {
            let Some((name, value)) = word.text.split_once('=') else {
                return Err(Fault::new(
                    word.span,
                    format!(
                        "Syntax error - can't find = in {:?}. Must be of the form: name=value (a value with \
                         blanks needs quotes)",
                        word.text
                    ),
                ));
            };
            if name.is_empty() {
                return Err(Fault::new(
                    word.span,
                    format!("{} names can not be blank", request.name),
                ));
            }
            Ok(pair(word, name, value))
        })
        .collect()
}

fn pair(word: &Word, name: &str, value: &str) -> Pair {
    let exact = word.span.end - word.span.start == word.text.len();
    let part = |start: usize, length: usize| {
        if exact {
            let start = word.span.start + start;
            Span {
                start,
                end: start + length,
            }
        } else {
            word.span
        }
    };
    Pair {
        name: Word {
            text: name.to_owned(),
            span: part(0, name.len()),
        },
        value: Word {
            text: value.to_owned(),
            span: part(name.len() + 1, value.len()),
        },
        old: false,
    }
}

/// `name the whole rest`: blanks inside the value stay.
fn old_pair(request: &Request<'_>) -> Checked<Pair> {
    let range = request.parts.rest.clone();
    let rest = request.rest();
    let blank = ['\t', '\x0b', '\x0c', '\r', ' '];
    let Some(end) = rest.find(blank) else {
        return request.fault(format!(
            "{} must have two arguments: {0} NAME=VALUE",
            request.name
        ));
    };
    let value = end + rest[end..].len() - rest[end..].trim_start_matches(blank).len();
    Ok(Pair {
        name: Word::new(request.line, range.start..range.start + end),
        value: Word::new(request.line, range.start + value..range.end),
        old: true,
    })
}
