//! A container's name. Not its job: where its state lies (store).

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The longest id taken; Kubernetes' are 64 long.
const MAX_LENGTH: usize = 128;

/// A container's id: letters, digits, `_ + - .`, not beginning with a dot. It becomes a file name, so
/// nothing else is let in (a `..` or `/` here would be a path; crun 1.28 fixed that).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        let reason = if id.is_empty() {
            Some("it is empty".to_owned())
        } else if id.len() > MAX_LENGTH {
            Some(format!("it is longer than {MAX_LENGTH} characters"))
        } else if id.starts_with('.') {
            Some("it begins with a dot".to_owned())
        } else {
            id.chars()
                .find(|c| !plain(*c))
                .map(|c| format!("{c:?} is not one of letters, digits and _ + - ."))
        };
        match reason.filter(|_| !sys::fault::broken("no-id-check")) {
            None => Ok(Self(id.to_owned())),
            Some(reason) => Err(Error::Id {
                id: id.chars().take(MAX_LENGTH).collect(),
                reason,
            }),
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_plain_file_name() {
        for good in ["a", "a.b", "_x+y-1", "-dash", "0"] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "a/b",
            "a b",
            "ä",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }
}
