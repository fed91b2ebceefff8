//! What of a store is pruned, by docker's filters. Pure. Not its job: pruning.

use std::time::Duration;

use image::Image;

use super::cache::until;
use super::image_filter::Filter;

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Only {
    /// It was of no use for so long.
    Unused(Duration),
    /// Images with a label, or its value.
    With(Filter),
    /// Images without.
    Without(Filter),
}

impl Only {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let label = |label: &str| Filter::parse(&format!("label={label}"));
        match text.split_once('=') {
            Some(("until", _)) => until(text).map(Self::Unused),
            Some(("label", rest)) => label(rest).map(Self::With),
            Some(("label!", rest)) => label(rest).map(Self::Without),
            Some((name, _)) => Err(format!(
                "filter {name:?}: not supported; until, label and label! are"
            )),
            None => Err("a filter is NAME=VALUE".to_owned()),
        }
    }

    /// Whether it asks the image.
    pub(super) fn is_of_images(&self) -> bool {
        !matches!(self, Self::Unused(_))
    }

    /// Whether it takes this image.
    pub(super) fn fits(&self, image: &Image) -> bool {
        match self {
            Self::Unused(_) => true,
            Self::With(label) => label.fits(image, None),
            Self::Without(label) => !label.fits(image, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_dockers() {
        let label = |text: &str| Filter::parse(text).unwrap();
        for (text, filter) in [
            ("until=36h", Only::Unused(Duration::from_secs(36 * 3600))),
            ("label=a", Only::With(label("label=a"))),
            ("label=a=b=c", Only::With(label("label=a=b=c"))),
            ("label!=a=b", Only::Without(label("label=a=b"))),
        ] {
            assert_eq!(Only::parse(text), Ok(filter), "{text}");
        }
        for text in ["label", "until=1w", "dangling=true", ""] {
            assert!(Only::parse(text).is_err(), "{text}");
        }
    }
}
