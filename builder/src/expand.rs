//! `$NAME`, `${NAME:-x}` and their kin, with quotes and escapes taken away, as the recipe language has
//! them. Not its job: knowing which variables are set, and cutting a line into words.

use crate::diagnostic::{Checked, Fault};
use crate::pattern::{Length, Pattern, Which};
use crate::source::Span;
use crate::variables::Variables;
use crate::words::Word;

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
        let mut scan = Scan {
            expander: self,
            text,
            at: 0,
            depth: 0,
        };
        scan.until(None, false).map_err(|misuse| Misuse {
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

struct Scan<'a> {
    expander: &'a Expander<'a>,
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn misuse<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Misuse> {
        Err(Misuse {
            at,
            message: message.into(),
        })
    }

    /// Up to the character `stop` (taken, not given) or the end of the text.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Out, Misuse> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.misuse(self.at, "substitutions are nested too deeply");
        }
        let mut out = Out::default();
        let begin = self.at;
        while let Some(c) = self.peek() {
            if out.text.len() > LONGEST {
                return self.misuse(begin, format!("the result is longer than {LONGEST} bytes"));
            }
            let quotes = self.expander.quotes == Quotes::Remove;
            match c {
                c if stop == Some(c) => {
                    self.next();
                    self.depth -= 1;
                    return Ok(out);
                }
                '$' => {
                    let value = self.dollar()?;
                    out.plain(&value);
                }
                '\'' if quotes => out.held(&self.single_quoted()?),
                '"' if quotes => out.held(&self.double_quoted()?),
                c if c == self.expander.escape => {
                    self.next();
                    if raw_escapes {
                        out.held(c.encode_utf8(&mut [0; 4]));
                    }
                    if let Some(c) = self.next() {
                        out.held(c.encode_utf8(&mut [0; 4]));
                    }
                }
                c => {
                    self.next();
                    out.plain(c.encode_utf8(&mut [0; 4]));
                }
            }
        }
        self.depth -= 1;
        match stop {
            None => Ok(out),
            Some('/') => self.misuse(begin, "syntax error: missing '/' in ${}"),
            Some(_) => self.misuse(begin, "syntax error: missing '}'"),
        }
    }

    fn single_quoted(&mut self) -> Result<String, Misuse> {
        let begin = self.at;
        self.next();
        let Some(length) = self.text[self.at..].find('\'') else {
            return self.misuse(
                begin,
                "unexpected end of statement while looking for matching single-quote",
            );
        };
        let inner = self.text[self.at..self.at + length].to_owned();
        self.at += length + 1;
        Ok(inner)
    }

    fn double_quoted(&mut self) -> Result<String, Misuse> {
        let begin = self.at;
        self.next();
        let escape = self.expander.escape;
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if out.len() > LONGEST {
                return self.misuse(begin, format!("the result is longer than {LONGEST} bytes"));
            }
            if c == '$' {
                out.push_str(&self.dollar()?);
                continue;
            }
            self.next();
            match c {
                '"' => return Ok(out),
                c if c == escape => match self.peek() {
                    Some(next) if next == '"' || next == '$' || next == escape => {
                        out.extend(self.next());
                    }
                    Some(_) => out.push(c),
                    None => {}
                },
                c => out.push(c),
            }
        }
        self.misuse(
            begin,
            "unexpected end of statement while looking for matching double-quote",
        )
    }

    /// `$…`: what it stands for.
    fn dollar(&mut self) -> Result<String, Misuse> {
        let begin = self.at;
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.expander.variables.get(name).unwrap_or("").to_owned());
        }
        self.next();
        match self.peek() {
            None => return self.misuse(begin, "syntax error: missing '}'"),
            Some('{' | '}' | ':') => return self.misuse(begin, "syntax error: bad substitution"),
            Some(_) => {}
        }
        let name = self.name().to_owned();
        match self.next() {
            None => self.misuse(begin, "syntax error: missing '}'"),
            Some('}') => Ok(self.expander.variables.get(&name).unwrap_or("").to_owned()),
            Some('/') => self.replaced(begin, &name),
            Some(':') => match self.next() {
                None => self.misuse(begin, "syntax error: missing '}'"),
                Some(c) => self.modified(begin, &name, c, true),
            },
            Some(c) => self.modified(begin, &name, c, false),
        }
    }

    /// A name, a number or one of the shell's special parameters; empty if none stands here.
    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = match rest.chars().next() {
            Some(c) if c.is_ascii_digit() => rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
        };
        self.at += length;
        &rest[..length]
    }

    /// `${name-word}` and its kin, from the word on. With `colon` an empty value counts as unset.
    fn modified(
        &mut self,
        begin: usize,
        name: &str,
        modifier: char,
        colon: bool,
    ) -> Result<String, Misuse> {
        if !matches!(modifier, '-' | '+' | '?' | '#' | '%') {
            let colon = if colon { ":" } else { "" };
            let shown = modifier.escape_debug();
            return self.misuse(
                begin,
                format!("unsupported modifier ({colon}{shown}) in substitution"),
            );
        }
        let word = self.until(Some('}'), matches!(modifier, '#' | '%'))?.text;
        let set = self.expander.variables.get(name);
        let used = set.filter(|value| !(colon && value.is_empty()));
        match modifier {
            '-' => Ok(used.map_or(word, str::to_owned)),
            '+' => Ok(used.map_or(String::new(), |_| word)),
            '?' => match used {
                Some(value) => Ok(value.to_owned()),
                None if !word.is_empty() => self.misuse(begin, format!("{name}: {word}")),
                None if set.is_some() => {
                    self.misuse(begin, format!("{name}: is not allowed to be empty"))
                }
                None => self.misuse(begin, format!("{name}: is not allowed to be unset")),
            },
            _ => self.trimmed(begin, set.unwrap_or(""), modifier, &word),
        }
    }

    fn trimmed(
        &self,
        begin: usize,
        value: &str,
        modifier: char,
        word: &str,
    ) -> Result<String, Misuse> {
        let (text, length) = match word.strip_prefix(modifier) {
            Some(rest) => (rest, Length::Longest),
            None => (word, Length::Shortest),
        };
        Pattern::parse(text)
            .and_then(|pattern| match modifier {
                '#' => pattern.without_prefix(value, length),
                _ => pattern.without_suffix(value, length),
            })
            .or_else(|why| {
                self.misuse(
                    begin,
                    format!("invalid pattern ({text}) in substitution: {why}"),
                )
            })
    }

    /// `${name/pattern/replacement}`, from the pattern on.
    fn replaced(&mut self, begin: usize, name: &str) -> Result<String, Misuse> {
        let which = if self.peek() == Some('/') {
            self.next();
            Which::All
        } else {
            Which::First
        };
        let text = self.until(Some('/'), true)?.text;
        let replacement = self.until(Some('}'), true)?.text;
        let value = self.expander.variables.get(name).unwrap_or("");
        Pattern::parse(&text)
            .and_then(|pattern| pattern.replace(value, &replacement, which))
            .or_else(|why| {
                self.misuse(
                    begin,
                    format!("invalid pattern ({text}) in substitution: {why}"),
                )
            })
    }
}

#[cfg(test)]
mod tests;
