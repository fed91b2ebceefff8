//! An instruction's text cut into words: the instruction's name, its flags, and what follows in one of
//! the language's several ways. Not its job: what the words mean, and expanding variables.

use std::ops::Range;

use crate::diagnostic::{Checked, Fault};
use crate::lines::Line;
use crate::source::Span;

/// A word of a recipe as it is written (quotes and variables untouched), and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Its place.
    pub span: Span,
}

impl Word {
    pub(crate) fn new(line: &Line, range: Range<usize>) -> Self {
        Self {
            text: line.text[range.clone()].to_owned(),
            span: line.span(range),
        }
    }
}

/// The parts of an instruction.
pub(crate) struct Parts {
    /// Its name as written.
    pub(crate) name: Range<usize>,
    /// The leading `--x` words, unquoted, with their places.
    pub(crate) flags: Vec<Word>,
    /// What follows, without blanks at its ends.
    pub(crate) rest: Range<usize>,
}

/// Splits a line into its parts.
pub(crate) fn split(line: &Line) -> Parts {
    let text = &line.text;
    let start = text.len() - text.trim_start().len();
    let end = text[start..]
        .find(char::is_whitespace)
        .map_or(text.len(), |i| start + i);
    let (flags, rest) = flags(line, end);
    let rest = trimmed(text, rest..text.len());
    Parts {
        name: start..end,
        flags,
        rest,
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    let end = start + part.trim().len();
    start..end
}

/// The flags from byte `at` on, and where the rest begins. `--` ends them and is dropped.
fn flags(line: &Line, mut at: usize) -> (Vec<Word>, usize) {
    let mut flags = Vec::new();
    loop {
        let rest = &line.text[at..];
        let start = at + rest.len() - rest.trim_start().len();
        if !line.text[start..].starts_with("--") {
            return (flags, start);
        }
        let (text, end) = unquote(&line.text, start);
        if text == "--" {
            return (flags, end);
        }
        flags.push(Word {
            text,
            span: line.span(start..end),
        });
        at = end;
    }
}

/// One word from byte `start` on without its quotes and escapes, and where it ends. The escape is
/// always the backslash here, whatever the directive says: BuildKit's flags work so.
fn unquote(text: &str, start: usize) -> (String, usize) {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text[start..].char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', _) => out.extend(chars.next().map(|(_, c)| c)),
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => return (out, start + at),
            (c, _) => out.push(c),
        }
    }
    (out, text.len())
}

/// Words between blanks; quotes mean nothing.
pub(crate) fn by_blanks(line: &Line, range: Range<usize>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = range.start;
    for part in line.text[range].split(['\t', '\x0b', '\x0c', '\r', ' ']) {
        if !part.is_empty() {
            words.push(Word::new(line, at..at + part.len()));
        }
        at += part.len() + 1;
    }
    words
}

/// Words between blanks, where quotes hold blanks together. Quotes and escapes stay in the words.
pub(crate) fn by_quotes(line: &Line, range: Range<usize>, escape: char) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote: Option<char> = None;
    let base = range.start;
    let mut chars = line.text[range.clone()].char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(start) = start.take() {
                words.push(Word::new(line, start..base + at));
            }
            continue;
        }
        start.get_or_insert(base + at);
        if c == escape && quote != Some('\'') {
            chars.next();
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == '\'' || c == '"') {
            quote = Some(c);
        }
    }
    if let Some(start) = start {
        let mut word = Word::new(line, start..range.end);
        // A lone escape at the end escapes nothing and is dropped.
        let trailing = word.text.len() - word.text.trim_end_matches(escape).len();
        if trailing % 2 == 1 {
            word.text.pop();
        }
        words.push(word);
    }
    words
}

/// The strings of a JSON array. `None` if the text is not valid JSON in brackets: it is then a plain
/// text, as in every builder so far.
///
/// # Errors
/// A valid array that holds something else than strings.
pub(crate) fn json(line: &Line, range: Range<usize>) -> Checked<Option<Vec<String>>> {
    let text = &line.text[range.clone()];
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Ok(text),
        other => Err(Fault::new(
            line.span(range.clone()),
            format!(
                "when using JSON array syntax, arrays must be comprised of strings only: {other} is none"
            ),
        )),
    });
    strings.collect::<Checked<_>>().map(Some)
}

/// Whether a line is a RUN, COPY or ADD (or ONBUILD of one) in its plain form: only these hold heredocs.
pub(crate) fn may_hold_heredocs(text: &str) -> bool {
    let line = Line::whole(text, 0);
    let parts = split(&line);
    let rest = &text[parts.rest.clone()];
    match text[parts.name].to_ascii_lowercase().as_str() {
        "run" | "copy" | "add" => !matches!(json(&line, parts.rest), Ok(Some(_))),
        "onbuild" => !rest.to_ascii_lowercase().starts_with("onbuild") && may_hold_heredocs(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: Vec<Word>) -> Vec<String> {
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn flags_end_at_the_first_plain_word() {
        let line = Line::whole("COPY  --from=a --chown=\"x y\" -- --b  c ", 0);
        let parts = split(&line);
        assert_eq!(&line.text[parts.name], "COPY");
        assert_eq!(texts(parts.flags), ["--from=a", "--chown=x y"]);
        assert_eq!(&line.text[parts.rest], "--b  c");
    }

    #[test]
    fn a_line_of_one_word_has_an_empty_rest() {
        let line = Line::whole("RUN", 0);
        let parts = split(&line);
        assert!(parts.flags.is_empty());
        assert!(parts.rest.is_empty());
    }

    #[test]
    fn quotes_hold_words_together_and_stay() {
        let line = Line::whole(r#"a=1 b="x y" c=\ z d='\' e="\" f" g\"#, 0);
        assert_eq!(
            texts(by_quotes(&line, 0..line.text.len(), '\\')),
            ["a=1", "b=\"x y\"", "c=\\ z", "d='\\'", "e=\"\\\" f\"", "g"]
        );
    }

    #[test]
    fn only_a_valid_array_of_strings_is_json() {
        let ask = |text: &str| {
            let line = Line::whole(text, 0);
            json(&line, 0..text.len())
        };
        assert_eq!(ask(r#"["a", "b"]"#).unwrap().unwrap(), ["a", "b"]);
        assert_eq!(ask("['a']").unwrap(), None);
        assert_eq!(ask(r#"[ "a" ] && b"#).unwrap(), None);
        assert!(ask(r#"["a",1]"#).is_err());
    }
}
