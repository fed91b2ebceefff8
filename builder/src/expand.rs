//! `$NAME`, `${NAME:-x}` and their kin, with quotes and escapes taken away, as the recipe language has
//! them. Not its job: knowing which variables are set, and cutting a line into words.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::diagnostic::{Checked, Fault};
use crate::source::Span;
use crate::variables::Variables;
use crate::words::Word;
use scan::Scan;

mod scan;

/// No expanded text may be longer, in bytes. The kernel takes no argument or variable above 128 KiB;
/// labels and copied heredocs may be longer.
pub(crate) const LONGEST: usize = 1 << 20;

/// `${a:-${b:-…}}` is followed this deep.
const DEEPEST: usize = 64;

/// What is done with quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// They group and are taken away: words of instructions.
    Remove,
    /// They are characters like any other: heredoc bodies.
    Keep,
}

/// Expands text with a set of variables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expander<'a> {
    /// The variables.
    pub variables: &'a Variables,
    /// The recipe's escape character.
    pub escape: char,
    /// What is done with quotes.
    pub quotes: Quotes,
}

/// The names that a text asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Those that are set.
    pub set: BTreeSet<String>,
    /// Those that are not.
    pub unset: BTreeSet<String>,
}

/// What is wrong in a text, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misuse {
    /// The byte.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl Expander<'_> {
    /// The text with its variables replaced.
    ///
    /// # Errors
    /// A substitution that is no valid one, `${x:?}` on an unset name, a quote that does not close.
    pub(crate) fn text(&self, text: &str) -> Result<String, Misuse> {
        Ok(self.scan(text)?.text)
    }

    /// [`Expander::text`], and which names the text asks for; those also where it can't be expanded.
    pub(crate) fn captured(&self, text: &str) -> (Result<String, Misuse>, Names) {
        let names = RefCell::default();
        let out = self.scan_naming(text, Some(&names));
        (out.map(|out| out.text), names.into_inner())
    }

    /// The text with its variables replaced, cut at blanks that no quote holds, also where they come out
    /// of a variable.
    ///
    /// # Errors
    /// As [`Expander::text`].
    pub(crate) fn words(&self, text: &str) -> Result<Vec<String>, Misuse> {
        Ok(self.scan(text)?.words())
    }

    /// [`Expander::text`] of a word of a recipe.
    pub(crate) fn word(&self, word: &Word) -> Checked<String> {
        self.text(&word.text).map_err(|m| m.within(word))
    }

    fn scan(&self, text: &str) -> Result<Out, Misuse> {
        self.scan_naming(text, None)
    }

    fn scan_naming(&self, text: &str, names: Option<&RefCell<Names>>) -> Result<Out, Misuse> {
        Scan::new(self, names, text)
            .until(None, false)
            .map_err(|misuse| Misuse {
                message: format!(
                    "failed to process {:?}: {}",
                    shortened(text),
                    misuse.message
                ),
                ..misuse
            })
    }
}

/// As much of a text as a message can bear.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Misuse {
    /// The fault in the recipe: exact where the word stands in one piece.
    pub(crate) fn within(self, word: &Word) -> Fault {
        let exact = word.span.end - word.span.start == word.text.len();
        let span = if exact {
            Span {
                start: word.span.start + self.at.min(word.text.len()),
                end: word.span.end,
            }
        } else {
            word.span
        };
        Fault::new(span, self.message)
    }
}

/// The result so far, whole and in words.
#[derive(Default)]
struct Out {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Out {
    /// Adds text in which blanks end words.
    fn plain(&mut self, text: &str) {
        self.text.push_str(text);
        for c in text.chars() {
            if c.is_whitespace() {
                self.end_word();
            } else {
                self.word.push(c);
            }
        }
    }

    /// Adds text that belongs to one word as it is.
    fn held(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn words(mut self) -> Vec<String> {
        self.end_word();
        self.words
    }
}

#[cfg(test)]
mod tests;
