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
    /// The pattern, clean, without a leading slash.
    pattern: String,
}

/// The folders of a pattern before the first one with a wildcard, and whether there is one.
fn fixed_part(pattern: &str) -> (&str, bool) {
    let Some(wild) = pattern.find(['*', '?', '[']) else {
        return (pattern, false);
    };
    (
        pattern[..wild]
            .rsplit_once('/')
            .map_or("", |(fixed, _)| fixed),
        true,
    )
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

    /// Whether the COPY source `source` is left out for sure: an exception at or below it makes that unknown, and
    /// the context itself is left out only by a pattern for everything.
    pub(crate) fn leaves_out_source(&self, source: &str) -> bool {
        let clean = crate::steps::metadata::clean(source);
        let path = &clean[1..];
        if path.is_empty() {
            let all = ["*", "**", "**/*"].map(|text| Glob::parse(text, Dialect::Ignore));
            let matches_all = |rule: &&Rule| all.iter().any(|glob| glob.as_ref() == Ok(&rule.glob));
            if !self
                .rules
                .iter()
                .filter(|rule| !rule.exception)
                .any(|rule| matches_all(&rule))
            {
                return false;
            }
        }
        let below = |path: &str, folder: &str| {
            folder.is_empty()
                || path == folder
                || path
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        let exceptions = self.rules.iter().filter(|rule| rule.exception);
        for rule in exceptions {
            let (fixed, wild) = fixed_part(&rule.pattern);
            if below(fixed, path) || wild && below(path, fixed) {
                return false;
            }
        }
        path.is_empty() || self.leaves_out(path)
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
    let pattern = clean(pattern);
    let glob = Glob::parse(&pattern, Dialect::Ignore)?;
    Ok(Rule {
        glob,
        exception,
        pattern,
    })
}

/// A pattern without `.`, `..` and slashes that say nothing. One that leads out of the context keeps its `..`, and so
/// fits no name there; one that begins with a slash can't lead out.
fn clean(pattern: &str) -> String {
    let rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", None | Some(&"..")) if !rooted => parts.push(".."),
            ("..", _) => {
                parts.pop();
            }
            (part, _) => parts.push(part),
        }
    }
    parts.join("/")
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
        assert!(left_out("/../b", "b"));
        assert!(!left_out("../b", "b"));
        assert!(!left_out("a/../../../b", "b"));
        assert!(!left_out("..", "b"));
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
    fn a_source_is_left_out_for_sure_only_where_no_exception_may_bring_it_back() {
        let left_out =
            |patterns: &str, source| Ignore::parse(patterns).unwrap().leaves_out_source(source);
        assert!(left_out("a", "./a/b"));
        assert!(left_out("a\n!c", "a"));
        assert!(!left_out("a\n!a/b", "a"));
        assert!(!left_out("a\n!*/b", "a"));
        assert!(!left_out("a", "."));
        assert!(left_out("*", "."));
        assert!(!left_out("*\n!a", "/"));
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
