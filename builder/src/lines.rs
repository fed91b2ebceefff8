//! The recipe's lines as the language sees them: directives read, comments dropped, continued lines
//! joined, heredoc bodies attached. Not its job: what an instruction means.

use std::ops::Range;

use crate::diagnostic::{Checked, Fault};
use crate::heredoc::Heredoc;
use crate::source::{Source, Span};
use crate::words;

/// No longer line is read, as in BuildKit: bytes without the line's end.
const LONGEST_LINE: usize = 65_535;

/// `# key=value` lines at the top of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directives {
    /// `# syntax=`: which front end should read the recipe, and where that stands.
    pub syntax: Option<(String, Span)>,
    /// `# escape=`: the character that continues lines and escapes.
    pub escape: char,
    /// `# check=`: settings of the linter.
    pub check: Option<(String, Span)>,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            syntax: None,
            escape: '\\',
            check: None,
        }
    }
}

/// One instruction's text, with continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text, without leading blanks.
    pub text: String,
    /// From which byte of `text` on the text comes from which byte of the source.
    pieces: Vec<(usize, usize)>,
    /// The heredocs that it announces, with their bodies.
    pub heredocs: Vec<Heredoc>,
    /// The comments right before it, without `#` and blanks.
    pub comments: Vec<String>,
    /// Its last line, if one inside it is empty.
    pub gap: Option<Span>,
}

impl Line {
    /// A line that stands in one piece at byte `at` of the source.
    pub(crate) fn whole(text: &str, at: usize) -> Self {
        Self {
            text: text.to_owned(),
            pieces: vec![(0, at)],
            heredocs: Vec::new(),
            comments: Vec::new(),
            gap: None,
        }
    }

    /// Where bytes `range` of the text stand in the source.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        let last = range.end.max(range.start + 1) - 1;
        Span {
            start: self.place(range.start),
            end: self.place(last) + 1,
        }
    }

    /// Where the whole line stands.
    pub(crate) fn whole_span(&self) -> Span {
        self.span(0..self.text.len())
    }

    fn place(&self, at: usize) -> usize {
        let piece = self.pieces.partition_point(|(start, _)| *start <= at);
        let (start, source) = self.pieces[piece.saturating_sub(1)];
        source + at.saturating_sub(start)
    }
}

/// Reads a recipe's lines.
///
/// # Errors
/// A directive given twice or with a bad value, a heredoc without an end, a line that is too long.
pub(crate) fn read(source: &Source) -> Checked<(Directives, Vec<Line>)> {
    let mut reader = Reader {
        text: &source.text,
        at: 0,
    };
    let directives = directives(&mut reader)?;
    let mut lines = Vec::new();
    while let Some(line) = logical_line(&mut reader, directives.escape)? {
        lines.push(line);
    }
    Ok((directives, lines))
}

/// A physical line: its text without the end, and where that begins.
#[derive(Clone, Copy)]
struct Physical<'a> {
    text: &'a str,
    start: usize,
    /// With the line's end, for heredoc bodies.
    raw: &'a str,
}

impl<'a> Physical<'a> {
    fn is_comment(self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    /// Without leading blanks.
    fn trimmed(self) -> Self {
        let text = self.text.trim_start();
        Self {
            text,
            start: self.start + self.text.len() - text.len(),
            ..self
        }
    }

    fn span(self) -> Span {
        Span {
            start: self.start,
            end: self.start + self.text.len(),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Checked<Option<Physical<'a>>> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let end = rest.find('\n').map_or(rest.len(), |i| i + 1);
        let start = self.at;
        self.at += end;
        let raw = &rest[..end];
        let text = raw.trim_end_matches(['\r', '\n']);
        let line = Physical { text, start, raw };
        if text.len() > LONGEST_LINE {
            let span = Span {
                start,
                end: start + 1,
            };
            return Err(Fault::new(
                span,
                format!("dockerfile line greater than max allowed size of {LONGEST_LINE}"),
            ));
        }
        Ok(Some(line))
    }
}

/// Reads the directives; the first line that is none ends them and is left to be read again.
fn directives(reader: &mut Reader<'_>) -> Checked<Directives> {
    let mut found = Directives::default();
    let mut escape_seen = false;
    loop {
        let before = reader.at;
        let Some(line) = reader.next()? else {
            return Ok(found);
        };
        let Some((key, value)) = directive(line.text) else {
            reader.at = before;
            return Ok(found);
        };
        let span = line.span();
        let again = match key.as_str() {
            "syntax" => found.syntax.replace((value.to_owned(), span)).is_some(),
            "check" => found.check.replace((value.to_owned(), span)).is_some(),
            "escape" => {
                found.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        return Err(Fault::new(
                            span,
                            format!("invalid escape token '{value}' does not match ` or \\"),
                        ));
                    }
                };
                std::mem::replace(&mut escape_seen, true)
            }
            _ => {
                reader.at = before;
                return Ok(found);
            }
        };
        if again {
            return Err(Fault::new(
                span,
                format!("only one {key} parser directive can be used"),
            ));
        }
    }
}

/// `# key = value`, the key in lower case.
fn directive(line: &str) -> Option<(String, &str)> {
    let rest = line.trim_start().strip_prefix('#')?;
    let (key, value) = rest.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric());
    (plain && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

fn logical_line(reader: &mut Reader<'_>, escape: char) -> Checked<Option<Line>> {
    let mut line = Line {
        text: String::new(),
        pieces: Vec::new(),
        heredocs: Vec::new(),
        comments: Vec::new(),
        gap: None,
    };
    let mut open = false;
    let mut gap = false;
    while let Some(physical) = reader.next()? {
        if physical.is_comment() {
            if !open {
                comment(&mut line.comments, physical.text);
            }
            continue;
        }
        let piece = if open { physical } else { physical.trimmed() };
        // An empty line neither begins nor ends an instruction.
        if physical.text.trim().is_empty() {
            gap |= open;
            continue;
        }
        line.gap = gap.then_some(physical.span());
        let (text, goes_on) = continued(piece.text, escape);
        line.pieces.push((line.text.len(), piece.start));
        line.text.push_str(text);
        open = goes_on;
        if !goes_on {
            break;
        }
    }
    if line.text.trim().is_empty() {
        // Nothing, or a lone continuation character before the end of the file.
        return Ok(None);
    }
    attach_heredocs(&mut line, reader)?;
    Ok(Some(line))
}

/// Keeps a comment; an empty one parts those before it from what follows.
fn comment(comments: &mut Vec<String>, text: &str) {
    match text.trim().trim_start_matches('#').trim() {
        "" => comments.clear(),
        text => comments.push(text.to_owned()),
    }
}

/// The line without its continuation character, and whether it had one: a single one at the end, blanks
/// after it allowed.
fn continued(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}

fn attach_heredocs(line: &mut Line, reader: &mut Reader<'_>) -> Checked<()> {
    if !words::may_hold_heredocs(&line.text) {
        return Ok(());
    }
    let span = line.whole_span();
    for mut heredoc in Heredoc::of_line(&line.text) {
        loop {
            let Some(physical) = reader.next()? else {
                return Err(Fault::new(
                    span,
                    format!(
                        "unterminated heredoc: no line holds just {:?}",
                        heredoc.name
                    ),
                ));
            };
            if heredoc.ends_at(physical.text) {
                break;
            }
            heredoc.body.push_str(physical.raw);
        }
        line.heredocs.push(heredoc);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
