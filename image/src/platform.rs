//! What an image runs on, in Go's words: `linux/arm64/v8`. Not its job: choosing among images.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// An operating system, an architecture, and which kind of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
}

/// This host's platform.
pub(crate) fn host() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    Platform::new("linux", architecture, None)
}

impl Platform {
    /// With the variant that is meant where none is said.
    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let usual = match architecture {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            _ => None,
        };
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.or(usual).map(str::to_owned),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// `linux/arm64`, `linux/arm/v7`, or an architecture alone.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::refused(
                format!("platform {text:?}"),
                "it is not os/architecture[/variant]",
            )
        };
        let word = |word: &&str| {
            let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
            !word.is_empty() && word.len() <= 64 && word.bytes().all(legal)
        };
        let words: Vec<&str> = text.split('/').collect();
        if !words.iter().all(word) {
            return Err(refuse());
        }
        // What uname says is understood too.
        let known = |architecture| match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        match words[..] {
            [architecture] => Ok(Self::new("linux", known(architecture), None)),
            [os, architecture] => Ok(Self::new(os, known(architecture), None)),
            [os, architecture, variant] => Ok(Self::new(os, known(architecture), Some(variant))),
            _ => Err(refuse()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_read_as_people_write_it() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("amd64", "linux/amd64"),
            ("x86_64", "linux/amd64"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("arm", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        for text in ["", "/", "linux/", "a/b/c/d", "Linux/amd64", "linux/amd 64"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?} was taken");
        }
    }
}
