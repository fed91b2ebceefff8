//! A fault in a recipe, shown as a compiler would: file, line, reason, and the line with the fault
//! marked. Not its job: finding faults.

use std::fmt::{self, Write as _};

use crate::source::{Source, Span};

/// What is wrong at which place: as the language half finds it, before it is tied to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub span: Span,
    /// What, in one line.
    pub message: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }

    /// The fault tied to its file.
    pub fn of(self, source: &Source) -> Diagnostic {
        Diagnostic {
            file: source.name.clone(),
            line: source.line_number(self.span.start),
            excerpt: excerpt(source, self.span),
            message: match self.message.char_indices().nth(LONGEST) {
                Some((end, _)) => format!("{}…", &self.message[..end]),
                None => self.message,
            },
        }
    }
}

/// What parsing and planning give.
pub(crate) type Checked<T> = Result<T, Fault>;

/// A fault with its file, line and excerpt. Its first line alone says everything; the lines after it
/// show the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The recipe, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in one line.
    pub message: String,
    /// The line of the recipe with the fault marked below it.
    pub excerpt: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        if self.excerpt.is_empty() {
            return Ok(());
        }
        write!(f, "\n{}", self.excerpt)
    }
}

impl std::error::Error for Diagnostic {}

/// Longer messages are cut: they quote what a hostile recipe says.
const LONGEST: usize = 500;

/// Longer lines are cut: an excerpt is for the eye.
const WIDEST: usize = 160;

fn excerpt(source: &Source, span: Span) -> String {
    let line = source.line_range(span.start);
    let text: String = source.text[line.clone()]
        .chars()
        .take(WIDEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.trim().is_empty() {
        return String::new();
    }
    // A place may lie inside a letter of several bytes.
    let column = |at: usize| {
        let at = source.text.floor_char_boundary(at);
        source.text[line.start..at].chars().count()
    };
    let start = span.start.clamp(line.start, line.end);
    let first = column(start).min(WIDEST);
    let last = column(span.end.clamp(start, line.end)).min(WIDEST);
    let number = source.line_number(span.start).to_string();
    let margin = " ".repeat(number.len());
    let mut out = String::new();
    let marks = "^".repeat(last.saturating_sub(first).max(1));
    // Writing to a String can't fail.
    let _infallible = write!(
        out,
        "{margin} |\n{number} | {text}\n{margin} | {}{marks}",
        " ".repeat(first)
    );
    out
}

/// ` (did you mean RUN?)` if one of the words is near enough to what was written, else nothing.
pub(crate) fn did_you_mean<'a>(written: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(written, words) {
        Some(word) => format!(" (did you mean {word}?)"),
        None => String::new(),
    }
}

/// The same; if no word is near enough, all that there are: ` (sandbox or insecure)`.
pub(crate) fn one_of<const COUNT: usize>(written: &str, words: [&str; COUNT]) -> String {
    if let Some(word) = nearest(written, words) {
        return format!(" (did you mean {word}?)");
    }
    match words.split_last() {
        Some((last, [])) => format!(" ({last})"),
        Some((last, others)) => format!(" ({} or {last})", others.join(", ")),
        None => String::new(),
    }
}

/// The word that needs the fewest edits: at most two of its letters and not more than half, or a third.
pub(crate) fn nearest<'a>(
    written: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if written.len() > 64 {
        return None;
    }
    words
        .into_iter()
        .map(|word| {
            (
                distance(&written.to_lowercase(), &word.to_lowercase()),
                word,
            )
        })
        .filter(|(edits, word)| {
            let letters = word.chars().count();
            let most = (letters / 2).clamp(1, 2).max(letters / 3);
            *edits <= most && *word != written
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_all_and_the_rest_shows_the_place() {
        let source = Source::new("Dockerfile", b"FROM scratch\nRNU x y\n");
        let fault = Fault::new(Span { start: 13, end: 16 }, "unknown instruction: RNU");
        assert_eq!(
            fault.of(&source).to_string(),
            "Dockerfile:2: unknown instruction: RNU\n  |\n2 | RNU x y\n  | ^^^"
        );
    }

    #[test]
    fn a_span_over_several_lines_marks_the_first() {
        let source = Source::new("f", b"ab cd \\\n ef");
        let shown = Fault::new(Span { start: 3, end: 11 }, "m").of(&source);
        assert_eq!(shown.excerpt, "  |\n1 | ab cd \\\n  |    ^^^^");
    }

    #[test]
    fn a_place_inside_a_letter_is_shown() {
        let source = Source::new("f", "x\u{e9}\u{e9}".as_bytes());
        let shown = Fault::new(Span { start: 2, end: 4 }, "m").of(&source);
        assert!(shown.excerpt.ends_with("|  ^"), "{}", shown.excerpt);
    }

    #[test]
    fn only_a_near_word_is_proposed() {
        assert_eq!(did_you_mean("RNU", ["FROM", "RUN"]), " (did you mean RUN?)");
        assert_eq!(
            did_you_mean("bnd", ["bind", "tmpfs"]),
            " (did you mean bind?)"
        );
        assert_eq!(did_you_mean("zebra", ["FROM", "RUN"]), "");
        assert_eq!(
            one_of("zebra", ["FROM", "RUN", "ADD"]),
            " (FROM, RUN or ADD)"
        );
        assert_eq!(one_of("RNU", ["FROM", "RUN"]), " (did you mean RUN?)");
    }
}
