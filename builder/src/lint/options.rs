//! What `# check=` and the build arg BUILDKIT_DOCKERFILE_CHECK say: which rules are asked. Not its job:
//! asking them.

use std::collections::BTreeSet;

use super::rule::Rule;

/// Which rules are asked, and whether what they find ends the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    skip: Names,
    experimental: Names,
    /// `error=true`
    pub(crate) error: bool,
}

/// `all`, or names of rules. Names of rules that we do not know are no fault: there may be newer ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    all: bool,
    some: BTreeSet<String>,
}

impl Names {
    fn parse(value: &str) -> Self {
        match value.trim() {
            "all" => Self {
                all: true,
                ..Self::default()
            },
            list => Self {
                all: false,
                some: list.split(',').map(|name| name.trim().to_owned()).collect(),
            },
        }
    }

    fn hold(&self, rule: Rule) -> bool {
        self.all || self.some.contains(&rule.name())
    }
}

impl Options {
    /// Reads `skip=A,B;error=true;experimental=all`.
    ///
    /// # Errors
    /// Says which option is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for part in text.trim().splitn(3, ';') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("invalid check option {part:?}: it has no value"));
            };
            match key.trim() {
                "skip" => options.skip = Names::parse(value),
                "experimental" => options.experimental = Names::parse(value),
                "error" => {
                    options.error = match value.trim() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(format!("invalid check option {part:?}: true or false")),
                    }
                }
                key => {
                    let near =
                        crate::diagnostic::did_you_mean(key, ["skip", "error", "experimental"]);
                    return Err(format!("invalid check option {key:?}{near}"));
                }
            }
        }
        Ok(options)
    }

    /// What a comment before an instruction says for that instruction alone: its first `check=`. One that
    /// can't be read says nothing, as in BuildKit.
    pub(crate) fn of_comments(comments: &[String]) -> Option<Self> {
        let value = comments.iter().find_map(|comment| {
            let (key, value) = comment.split_once('=')?;
            key.trim().eq_ignore_ascii_case("check").then_some(value)
        })?;
        Self::parse(first_word(value)).ok()
    }

    /// Whether a rule is asked, where `local` is what the instruction's own comment says.
    pub(crate) fn ask(&self, rule: Rule, local: Option<&Self>) -> bool {
        let any = |says: &dyn Fn(&Self) -> bool| says(self) || local.is_some_and(says);
        if rule.is_experimental() {
            return any(&|options| options.experimental.hold(rule));
        }
        !any(&|options| options.skip.hold(rule))
    }
}

/// A directive's value ends at the first blank.
pub(crate) fn first_word(value: &str) -> &str {
    value.trim().split(' ').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_skipped_by_name_and_experimental_ones_asked_by_name() {
        let options = Options::parse("skip=UndefinedVar, StageNameCasing;error=true").unwrap();
        assert!(options.error);
        assert!(!options.ask(Rule::UndefinedVar, None));
        assert!(!options.ask(Rule::StageNameCasing, None));
        assert!(options.ask(Rule::FromAsCasing, None));
        assert!(!options.ask(Rule::CopyIgnoredFile, None));
        let options = Options::parse("experimental=all;skip=all").unwrap();
        assert!(options.ask(Rule::CopyIgnoredFile, None));
        assert!(!options.ask(Rule::FromAsCasing, None));
    }

    #[test]
    fn a_comment_speaks_for_its_instruction() {
        let comments = ["text".to_owned(), "check=skip=UndefinedVar why".to_owned()];
        let local = Options::of_comments(&comments).unwrap();
        let options = Options::default();
        assert!(!options.ask(Rule::UndefinedVar, Some(&local)));
        assert!(options.ask(Rule::FromAsCasing, Some(&local)));
        assert_eq!(Options::of_comments(&["check=bad".to_owned()]), None);
    }

    #[test]
    fn what_is_no_option_is_named() {
        assert!(Options::parse("").unwrap() == Options::default());
        for (text, said) in [
            ("skip", "invalid check option \"skip\": it has no value"),
            (
                "error=maybe",
                "invalid check option \"error=maybe\": true or false",
            ),
            (
                "skp=all",
                "invalid check option \"skp\" (did you mean skip?)",
            ),
        ] {
            assert_eq!(Options::parse(text).unwrap_err(), said);
        }
    }
}
