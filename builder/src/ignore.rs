//! `.dockerignore`, by the rules of Docker's patternmatcher, which are not git's: patterns stand at the
//! context's root, the last one that matches counts. Not its job: walking the context.

use crate::glob::{Dialect, Glob};

/// An ignore file's or `--exclude`'s patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    glob: Glob,
    /// `!`: what matches is in after all.
    exception: bool,
}

/// More patterns than this are an attack: every file is asked of every pattern.
const MOST_RULES: usize = 10_000;

impl Ignore {
    /// Reads an ignore file.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            // Only a `#` in the first column begins a comment.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if rules.len() == MOST_RULES {
                return Err(format!("more than {MOST_RULES} patterns"));
            }
            rules.push(rule(line).map_err(|why| format!("line {}: {why}", number + 1))?);
        }
        Ok(Self { rules })
    }

    /// Takes the patterns of `--exclude`.
    ///
    /// # Errors
    /// Says which pattern is none.
    pub(crate) fn patterns(patterns: &[String]) -> Result<Self, String> {
        let rules = patterns.iter().map(|pattern| rule(pattern));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// Whether there are no patterns at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path` (relative, without `.` and `..`) is left out. A pattern that matches a folder matches
    /// all that is in it.
    pub(crate) fn leaves_out(&self, path: &str) -> bool {
        let mut out = false;
        for rule in &self.rules {
            // What changes nothing need not be asked.
            if rule.exception == out && rule.matches(path) {
                out = !rule.exception;
            }
        }
        out
    }

    /// Whether something below a folder that is left out may be in after all.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.glob.matches(path) || folders.into_iter().any(|folder| self.glob.matches(folder))
    }
}

fn rule(line: &str) -> Result<Rule, String> {
    let pattern = line.trim();
    let (exception, pattern) = match pattern.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, pattern),
    };
    if exception && pattern.is_empty() {
        return Err("illegal exclusion pattern: \"!\"".to_owned());
    }
    let clean = crate::steps::metadata::clean(pattern);
    let glob = Glob::parse(&clean[1..], Dialect::Ignore)?;
    Ok(Rule { glob, exception })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(patterns: &str, path: &str) -> bool {
        Ignore::parse(patterns).unwrap().leaves_out(path)
    }

    #[test]
    fn patterns_stand_at_the_root_and_take_folders_whole() {
        assert!(left_out("a", "a"));
        assert!(left_out("a", "a/b/c"));
        assert!(!left_out("a", "b/a"));
        assert!(left_out("**/a", "b/a"));
        assert!(left_out("/a/", "a/x"));
        assert!(left_out("./a/../b", "b"));
        assert!(left_out("*/*.o", "x/y.o"));
        assert!(!left_out("*/*.o", "x/y/z.o"));
        assert!(left_out("  a  ", "a"));
        assert!(left_out("*", ".git"));
    }

    #[test]
    fn the_last_match_counts() {
        let patterns = "*\n!src\nsrc/*.o\n!src/keep.o";
        assert!(left_out(patterns, "readme"));
        assert!(!left_out(patterns, "src/a.c"));
        assert!(left_out(patterns, "src/a.o"));
        assert!(!left_out(patterns, "src/keep.o"));
    }

    #[test]
    fn only_the_first_column_begins_a_comment() {
        assert!(!left_out("#a", "#a"));
        assert!(left_out(" #a", "#a"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named_with_its_line() {
        assert_eq!(
            Ignore::parse("a\n!\n").unwrap_err(),
            "line 2: illegal exclusion pattern: \"!\""
        );
        assert!(
            Ignore::parse("[a")
                .unwrap_err()
                .starts_with("line 1: syntax error")
        );
    }
}
