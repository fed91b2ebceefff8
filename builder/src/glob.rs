//! File name patterns: Go's filepath.Match (of COPY) and the patternmatcher's (of .dockerignore), which
//! adds `**`. Not its job: which files are asked.

/// Which pattern language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `*`, `?`, `[…]`, `\`.
    Name,
    /// These and `**`.
    Ignore,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// One character but `/`.
    One,
    /// Any number of characters but `/`.
    Many,
    /// `**` at the end: anything.
    All,
    /// `**/`: nothing, or anything that ends in `/`.
    Folders,
    /// `[a-z]`, `[^a-z]`.
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

/// Whether a text is a pattern at all, not a plain name.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Self, String> {
        let bad = || format!("syntax error in pattern {text:?}");
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if dialect == Dialect::Ignore && chars.peek() == Some(&'*') => {
                    chars.next();
                    chars.next_if_eq(&'/');
                    match chars.peek() {
                        None => Token::All,
                        Some(_) => Token::Folders,
                    }
                }
                '*' => Token::Many,
                '?' => Token::One,
                '[' => class(&mut chars).ok_or_else(bad)?,
                '\\' => Token::Char(chars.next().ok_or_else(bad)?),
                c => Token::Char(c),
            });
        }
        Ok(Self { tokens })
    }

    /// Whether the whole text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        // All states at once: no pattern takes more than its length times the text's.
        let mut states = vec![State::Out; self.tokens.len() + 1];
        states[0] = State::New;
        self.skip_empty(&mut states, false);
        for c in text.chars() {
            let mut next = vec![State::Out; states.len()];
            for (at, token) in self.tokens.iter().enumerate() {
                if states[at] == State::Out {
                    continue;
                }
                let (stays, goes_on) = match token {
                    Token::Many => (c != '/', false),
                    Token::All | Token::Folders => (true, false),
                    Token::One => (false, c != '/'),
                    Token::Char(wanted) => (false, *wanted == c),
                    Token::Class { ranges, negated } => {
                        let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        (false, inside != *negated && c != '/')
                    }
                };
                if stays && next[at] == State::Out {
                    next[at] = State::Inside;
                }
                if goes_on {
                    next[at + 1] = State::New;
                }
            }
            states = next;
            self.skip_empty(&mut states, c == '/');
        }
        states[self.tokens.len()] != State::Out
    }

    /// Steps over tokens that may match nothing. Once `**/` has taken something, it ends only where a
    /// folder's name does.
    fn skip_empty(&self, states: &mut [State], after_slash: bool) {
        for (at, token) in self.tokens.iter().enumerate() {
            let empty = match token {
                Token::Many | Token::All => states[at] != State::Out,
                Token::Folders => {
                    states[at] == State::New || (states[at] == State::Inside && after_slash)
                }
                _ => false,
            };
            if empty {
                states[at + 1] = State::New;
            }
        }
    }
}

/// Whether a match may stand before a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No.
    Out,
    /// Yes, and the token has taken nothing yet.
    New,
    /// Yes, the token has taken something and may take more.
    Inside,
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if chars.peek() == Some(&']') && !ranges.is_empty() {
            chars.next();
            return Some(Token::Class { ranges, negated });
        }
        let low = member(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => member(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(dialect: Dialect, pattern: &str, text: &str) -> bool {
        Glob::parse(pattern, dialect).unwrap().matches(text)
    }

    #[test]
    fn names_match_as_gos_filepath_match() {
        for (pattern, text, wanted) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*.txt", ".txt", true),
            ("", "", true),
            ("", "a", false),
            ("a[\\]]b", "a]b", true),
            ("**", "ab", true),
            ("**", "a/b", false),
        ] {
            assert_eq!(
                ask(Dialect::Name, pattern, text),
                wanted,
                "{pattern} {text}"
            );
        }
        for bad in ["[", "[]a]", "[a", "a\\", "[-]"] {
            assert!(Glob::parse(bad, Dialect::Name).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_stars_cross_folders() {
        for (pattern, text, wanted) in [
            ("**", "a/b/c", true),
            ("**/b", "b", true),
            ("**/b", "a/c/b", true),
            ("**/b", "a/cb", false),
            ("a/**", "a/b/c", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("**/*.go", "x/y.go", true),
            ("*.go", "x/y.go", false),
            ("a**/b", "a/b", true),
            ("a**/b", "ab", true),
            ("a**/b", "axb", false),
        ] {
            assert_eq!(
                ask(Dialect::Ignore, pattern, text),
                wanted,
                "{pattern} {text}"
            );
        }
    }
}
