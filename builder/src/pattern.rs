//! The patterns of `${name#pattern}` and its kin: `*` and `?`, no brackets. Not its job: file name
//! patterns (see `wildcard` and `ignore`).

/// What a pattern is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
}

/// Which of several matches is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// The shortest: `#`, `%`.
    Shortest,
    /// The longest: `##`, `%%`, `/`.
    Longest,
}

/// Which matches are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// `/`
    First,
    /// `//`
    All,
}

/// States looked at before a pattern counts as too dear. A recipe is not trusted to be kind.
const MOST_WORK: usize = 5_000_000;

impl Pattern {
    /// Parses a pattern. `\` takes the special meaning from `*`, `?` and `\`, and lets `}` and `/` stand in
    /// it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    other => {
                        return Err(format!(
                            "invalid escape '\\{}'",
                            other.map(String::from).unwrap_or_default()
                        ));
                    }
                },
                c => Token::Char(c),
            });
        }
        Ok(Self { tokens })
    }

    /// The value without the prefix that matches.
    pub(crate) fn without_prefix(&self, value: &str, length: Length) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let end = end_of_match(&self.tokens, &chars, length, &mut 0)?;
        Ok(chars[end.unwrap_or(0)..].iter().collect())
    }

    /// The value without the suffix that matches.
    pub(crate) fn without_suffix(&self, value: &str, length: Length) -> Result<String, String> {
        let tokens: Vec<Token> = self.tokens.iter().rev().copied().collect();
        let chars: Vec<char> = value.chars().rev().collect();
        let end = end_of_match(&tokens, &chars, length, &mut 0)?;
        Ok(chars[end.unwrap_or(0)..].iter().rev().collect())
    }

    /// The value with its matches, each the leftmost and longest, replaced.
    pub(crate) fn replace(
        &self,
        value: &str,
        replacement: &str,
        which: Which,
    ) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut work = 0;
        let mut at = 0;
        let mut last_end = None;
        while at <= chars.len() {
            let found = end_of_match(&self.tokens, &chars[at..], Length::Longest, &mut work)?;
            match found {
                // An empty match right after a match is none.
                Some(length) if length > 0 || last_end != Some(at) => {
                    out.push_str(replacement);
                    if out.len() > crate::expand::LONGEST {
                        return Err("the result is too long".to_owned());
                    }
                    last_end = Some(at + length);
                    if length == 0 {
                        out.extend(chars.get(at));
                        at += 1;
                    } else {
                        at += length;
                    }
                    if which == Which::First {
                        break;
                    }
                }
                _ => {
                    out.extend(chars.get(at));
                    at += 1;
                }
            }
        }
        out.extend(chars.get(at..).unwrap_or_default());
        Ok(out)
    }
}

/// How many characters from the start of `value` the pattern takes. All ends are followed at once, so
/// that no pattern takes more than its length times the value's.
fn end_of_match(
    tokens: &[Token],
    value: &[char],
    length: Length,
    work: &mut usize,
) -> Result<Option<usize>, String> {
    let mut states = vec![0];
    let mut found = None;
    for at in 0..=value.len() {
        // A star may take nothing.
        let mut i = 0;
        while i < states.len() {
            let state: usize = states[i];
            if tokens.get(state) == Some(&Token::Many) && states.get(i + 1) != Some(&(state + 1)) {
                states.insert(i + 1, state + 1);
            }
            i += 1;
        }
        *work += states.len() + 1;
        if *work > MOST_WORK {
            return Err("the pattern takes too long".to_owned());
        }
        if states.last() == Some(&tokens.len()) {
            found = Some(at);
            if length == Length::Shortest {
                return Ok(found);
            }
        }
        let Some(c) = value.get(at) else { break };
        let mut next: Vec<usize> = Vec::with_capacity(states.len());
        for state in states {
            let to = match tokens.get(state) {
                Some(Token::Many) if *c != '\n' => state,
                Some(Token::One) if *c != '\n' => state + 1,
                Some(Token::Char(wanted)) if wanted == c => state + 1,
                _ => continue,
            };
            if next.last() != Some(&to) {
                next.push(to);
            }
        }
        if next.is_empty() {
            break;
        }
        states = next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn the_shortest_and_the_longest_end_is_cut() {
        use Length::{Longest, Shortest};
        let v = "foobarbaz";
        for (p, length, left) in [
            ("f*b", Shortest, "arbaz"),
            ("f*b", Longest, "az"),
            ("x", Longest, "foobarbaz"),
            ("", Longest, "foobarbaz"),
            ("?o?", Shortest, "barbaz"),
            ("*", Longest, ""),
        ] {
            assert_eq!(pattern(p).without_prefix(v, length).unwrap(), left, "{p}");
        }
        assert_eq!(pattern("b*").without_suffix(v, Shortest).unwrap(), "foobar");
        assert_eq!(pattern("b*").without_suffix(v, Longest).unwrap(), "foo");
        assert_eq!(
            pattern(".t?r*")
                .without_suffix("a.tar.gz", Longest)
                .unwrap(),
            "a"
        );
    }

    #[test]
    fn the_leftmost_longest_match_is_replaced() {
        let v = "foobarbaz";
        let replace = |p: &str, r, which| pattern(p).replace(v, r, which).unwrap();
        assert_eq!(replace("ba", "fo", Which::First), "fooforbaz");
        assert_eq!(replace("ba", "fo", Which::All), "fooforfoz");
        assert_eq!(replace("a*b", "X", Which::First), "foobXaz");
        assert_eq!(replace("*", "X", Which::All), "X");
        assert_eq!(replace("", "-", Which::First), "-foobarbaz");
        assert_eq!(pattern("").replace("ab", "-", Which::All).unwrap(), "-a-b-");
        assert_eq!(
            pattern("\\*").replace("a*b*", "+", Which::All).unwrap(),
            "a+b+"
        );
        assert_eq!(pattern("z").replace("ab", "+", Which::All).unwrap(), "ab");
    }

    #[test]
    fn a_bad_escape_is_named() {
        assert_eq!(Pattern::parse("a\\b").unwrap_err(), "invalid escape '\\b'");
    }

    #[test]
    fn a_cruel_pattern_ends_soon() {
        let value = "a".repeat(100_000);
        let cruel = pattern(&"*a".repeat(2_000));
        assert!(cruel.replace(&value, "", Which::All).is_err());
    }
}
