//! A text read from left to right, its variables, quotes and escapes replaced. Not its job: what becomes of
//! the result.

use std::cell::RefCell;

use super::{DEEPEST, Expander, LONGEST, Misuse, Names, Out, Quotes};
use crate::pattern::{Length, Pattern, Which};

/// A text while it is expanded.
pub(super) struct Scan<'a> {
    expander: &'a Expander<'a>,
    names: Option<&'a RefCell<Names>>,
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scan<'a> {
    /// At the text's beginning.
    pub(super) fn new(
        expander: &'a Expander<'a>,
        names: Option<&'a RefCell<Names>>,
        text: &'a str,
    ) -> Self {
        Self {
            expander,
            names,
            text,
            at: 0,
            depth: 0,
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// A variable's value, its name noted.
    fn value(&self, name: &str) -> Option<&'a str> {
        let value = self.expander.variables.get(name);
        if let Some(names) = self.names {
            let mut names = names.borrow_mut();
            let of = match value {
                Some(_) => &mut names.set,
                None => &mut names.unset,
            };
            if !of.contains(name) {
                of.insert(name.to_owned());
            }
        }
        value
    }

    fn misuse<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Misuse> {
        Err(Misuse {
            at,
            message: message.into(),
        })
    }

    /// Up to the character `stop` (taken, not given) or the end of the text.
    pub(super) fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Out, Misuse> {
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
            return Ok(self.value(name).unwrap_or("").to_owned());
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
            Some('}') => Ok(self.value(&name).unwrap_or("").to_owned()),
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
        let unsupported = |scan: &Self| {
            let colon = if colon { ":" } else { "" };
            let shown = modifier.escape_debug();
            scan.misuse(
                begin,
                format!(
                    "unsupported modifier ({colon}{shown}) in substitution (there are - :- + :+ ? :? # % /)"
                ),
            )
        };
        let trims = matches!(modifier, '#' | '%');
        let known = trims || matches!(modifier, '-' | '+' | '?');
        if !colon && !known || colon && trims {
            return unsupported(self);
        }
        let word = self.until(Some('}'), trims)?.text;
        let set = self.value(name);
        if !known {
            return unsupported(self);
        }
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
        let value = self.value(name).unwrap_or("");
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
