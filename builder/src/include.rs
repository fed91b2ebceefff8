//! What `--parents` takes of a tree: what fits a pattern, `**` and all, with the folders above it. Not its
//! job: walking the tree.

use crate::glob::{Dialect, Glob, is_pattern};
use crate::steps::metadata::clean;

/// A source of `COPY --parents`, below the folder from which on parents are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Include {
    /// The whole path; none takes everything.
    whole: Option<Glob>,
    /// The pattern name by name, up to the first `**`.
    names: Vec<Glob>,
    /// Whether `**` follows these names.
    deep: bool,
    /// Whether it is no pattern, but a name that must be there.
    pub(crate) literal: bool,
}

impl Include {
    /// Cuts a source at its pivot `/./`: the folder before it, and what is taken below.
    ///
    /// # Errors
    /// Says what is wrong with the pattern.
    pub(crate) fn parse(source: &str) -> Result<(String, Self), String> {
        let (base, rest) = source.split_once("/./").unwrap_or(("", source));
        let rest = clean(rest)[1..].to_owned();
        let mut include = Self {
            whole: None,
            names: Vec::new(),
            deep: rest.is_empty(),
            literal: !rest.is_empty() && !is_pattern(&rest),
        };
        if rest.is_empty() {
            return Ok((base.to_owned(), include));
        }
        include.whole = Some(Glob::parse(&rest, Dialect::Ignore)?);
        for name in rest.split('/') {
            if name.contains("**") {
                include.deep = true;
                break;
            }
            include.names.push(Glob::parse(name, Dialect::Name)?);
        }
        Ok((base.to_owned(), include))
    }

    /// Whether the path, or a folder above it, fits.
    pub(crate) fn takes(&self, path: &str) -> bool {
        let Some(whole) = &self.whole else {
            return true;
        };
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        whole.matches(path) || folders.any(|folder| whole.matches(folder))
    }

    /// Whether something in a folder that does not fit itself may fit.
    pub(crate) fn may_hold(&self, folder: &str) -> bool {
        let mut names = self.names.iter();
        for name in folder.split('/') {
            match names.next() {
                Some(glob) if !glob.matches(name) => return false,
                Some(_) => {}
                None => return self.deep,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn include(source: &str) -> (String, Include) {
        Include::parse(source).unwrap()
    }

    #[test]
    fn parents_are_kept_from_the_pivot_on() {
        let (base, rest) = include("./x/./y/*.txt");
        assert_eq!(base, "./x");
        assert!(rest.takes("y/a.txt") && !rest.takes("a.txt") && !rest.literal);
        let (base, rest) = include("/a/../b/c");
        assert_eq!(base, "");
        assert!(rest.takes("b/c") && rest.takes("b/c/d") && rest.literal);
        let (base, rest) = include("x/./");
        assert_eq!(base, "x");
        assert!(rest.takes("anything"));
    }

    #[test]
    fn no_source_climbs() {
        assert!(include("../../etc/passwd").1.takes("etc/passwd"));
        assert!(include("a/./../../etc").1.takes("etc"));
    }

    #[test]
    fn only_folders_that_may_hold_something_are_looked_into() {
        let (_, deep) = include("a/**/z");
        assert!(deep.may_hold("a") && deep.may_hold("a/b/c") && !deep.may_hold("b"));
        assert!(deep.takes("a/b/c/z") && deep.takes("a/z") && !deep.takes("z"));
        let (_, flat) = include("a/*/z");
        assert!(flat.may_hold("a/b") && !flat.may_hold("a/b/c"));
        assert!(include("**/z").1.may_hold("any/where"));
    }
}
