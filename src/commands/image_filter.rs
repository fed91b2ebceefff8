//! Which images are listed: docker's filters, those that ask the image alone. Pure.
//! Not its job: listing.

use std::cmp::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use image::{Image, Reference};

use super::cache::until;
use super::images::repository;
use crate::report::Failure;

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// It has no name.
    Dangling(bool),
    /// A label, and its value if one is asked for.
    Label(String, Option<String>),
    /// A name, with or without tag; `*` and `?` stand for anything but a slash.
    Reference(String),
    /// It was made before (less) or after this other image.
    Beside(Ordering, String),
    /// It was made before or after this time, in nanoseconds since 1970: what stands for `Beside` when the image was found.
    Made(Ordering, i128),
}

impl Filter {
    /// Asks `find` for the image that is spoken of, if one is.
    pub(super) fn resolve(
        self,
        find: impl Fn(&str) -> Result<Image, Failure>,
    ) -> Result<Self, Failure> {
        let Self::Beside(side, name) = self else {
            return Ok(self);
        };
        match find(&name)?.made_at() {
            Some(made) => Ok(Self::Made(side, made)),
            None => Err(Failure::new(format!(
                "image {name:?} does not say when it was made"
            ))),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err("a filter is NAME=VALUE".to_owned());
        };
        match (name, value) {
            ("dangling", "true" | "1") => Ok(Self::Dangling(true)),
            ("dangling", "false" | "0") => Ok(Self::Dangling(false)),
            ("dangling", other) => Err(format!("dangling is true or false, not {other:?}")),
            ("label", label) => Ok(match label.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(label.to_owned(), None),
            }),
            ("reference", pattern) if pattern.contains(['[', '\\']) => {
                Err("in a reference only * and ? stand for other letters".to_owned())
            }
            ("reference", pattern) => Ok(Self::Reference(pattern.to_owned())),
            ("before", image) => Ok(Self::Beside(Ordering::Less, image.to_owned())),
            ("until", _) => {
                let past = SystemTime::now().checked_sub(until(text)?);
                let since = past.and_then(|past| past.duration_since(UNIX_EPOCH).ok());
                let nanos = since.map_or(0, |since| since.as_nanos());
                let nanos = i128::try_from(nanos).unwrap_or(i128::MAX);
                Ok(Self::Made(Ordering::Less, nanos))
            }
            ("since", image) => Ok(Self::Beside(Ordering::Greater, image.to_owned())),
            (other, _) => Err(format!(
                "filter {other:?}: not supported; before, dangling, label, reference, since and until are"
            )),
        }
    }

    /// Whether `image`, called `name`, is asked for.
    pub(super) fn fits(&self, image: &Image, name: Option<&Reference>) -> bool {
        match self {
            Self::Dangling(wanted) => name.is_none() == *wanted,
            Self::Label(key, value) => {
                let config = image.configuration.config().as_ref();
                let labels = config.and_then(|config| config.labels().as_ref());
                let found = labels.and_then(|labels| labels.get(key));
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Reference(pattern) => name.is_some_and(|name| is_called(name, pattern)),
            Self::Made(side, time) => image.made_at().is_some_and(|made| made.cmp(time) == *side),
            Self::Beside(..) => false,
        }
    }
}

/// A pattern fits the repository, or the repository with the tag; as a person writes them or in full.
fn is_called(name: &Reference, pattern: &str) -> bool {
    let (short, full) = (name.familiar(), name.to_string());
    let bare = format!("{}/{}", name.domain(), name.path());
    [repository(name), short, bare, full]
        .iter()
        .any(|text| fits(pattern.as_bytes(), text.as_bytes()))
}

fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // The last star, and where it began to stand for something: one letter more each time the rest fails.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == text[t] || (*c == b'?' && text[t] != b'/') => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) if text[from] != b'/' => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_a_name_by_any_of_its_spellings() {
        let name: Reference = "example.test/a/debian:12".parse().unwrap();
        for pattern in [
            "example.test/a/debian",
            "example.test/a/debian:12",
            "*/a/deb*",
            "*/?/debian:1?",
        ] {
            assert!(is_called(&name, pattern), "{pattern}");
        }
        for pattern in ["debian", "*", "*/debian", "example.test/a/debian:1", "?"] {
            assert!(!is_called(&name, pattern), "{pattern}");
        }
        let name: Reference = "debian".parse().unwrap();
        for pattern in [
            "debian",
            "debian:latest",
            "docker.io/library/debian",
            "*",
            "d*b?an*",
        ] {
            assert!(is_called(&name, pattern), "{pattern}");
        }
        assert!(!is_called(&name, ""));
    }

    #[test]
    fn an_unknown_filter_is_named() {
        for (text, because) in [
            ("x", "NAME=VALUE"),
            ("created=1h", "filter \"created\": not supported"),
            ("until=1w", "a time like"),
            ("dangling=maybe", "true or false"),
            ("reference=[a]", "only * and ?"),
        ] {
            assert!(Filter::parse(text).unwrap_err().contains(because), "{text}");
        }
    }
}
