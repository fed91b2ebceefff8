//! The path of a layer entry: relative to the root, without `.`, `..`, empty names or NUL.
//! Not its job: what lies there (`tree.rs`).

use std::fmt;

use super::header::Rule;

/// The kernel's limits, checked before it is asked.
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;

/// What is said of a path that is longer.
pub(crate) const TOO_LONG: &str = "the path is longer than 4095 bytes";

/// Characters of a path that are shown: enough to find it, and a message stays one.
const MAX_SHOWN: usize = 300;

/// A clean path below the layer's root; the root itself is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// The root.
    pub(crate) const ROOT: Self = Self(Vec::new());

    /// Cleans what a tar says: a leading slash, `.` and doubled slashes mean nothing; `..` is refused,
    /// since no honest writer needs it and readers differ on it.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, Rule> {
        if raw.contains(&0) {
            return Err("a path can't hold a NUL".to_owned());
        }
        let mut clean = Vec::with_capacity(raw.len());
        for name in raw.split(|b| *b == b'/') {
            match name {
                b"" | b"." => continue,
                b".." if !sys::fault::broken("no-dot-dot-check") => {
                    return Err("a path can't hold '..'".to_owned());
                }
                name if name.len() > MAX_NAME => {
                    return Err(format!("a name is longer than {MAX_NAME} bytes"));
                }
                name => {
                    if !clean.is_empty() {
                        clean.push(b'/');
                    }
                    clean.extend_from_slice(name);
                }
            }
        }
        let path = Self(clean);
        match path.is_too_long() {
            true => Err(TOO_LONG.to_owned()),
            false => Ok(path),
        }
    }

    /// The path's bytes, names joined by `/`.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, the first first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|name| !name.is_empty())
    }

    /// The directory and the last name; `None` for the root.
    pub(crate) fn split(&self) -> Option<(LayerPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self::ROOT, &self.0),
        })
    }

    /// This path with one more name, which must be clean.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        let mut path = self.0.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// Whether no call of the kernel's could take it: links of an archive can lead deeper than a name can say.
    pub(crate) fn is_too_long(&self) -> bool {
        self.0.len() > MAX_PATH && !sys::fault::broken("no-path-limit")
    }

    /// Whether this path is `other` or below it.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        match self.0.strip_prefix(other.0.as_slice()) {
            Some(rest) => rest.is_empty() || rest[0] == b'/' || other.is_root(),
            None => false,
        }
    }
}

/// Escaped and not endless: a name from an archive may hold a terminal's control sequences.
impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_root() {
            true => f.write_str("\"/\""),
            false => {
                let text = String::from_utf8_lossy(&self.0);
                let shown: String = text.chars().take(MAX_SHOWN).collect();
                fmt::Debug::fmt(&shown, f)
            }
        }
    }
}

impl fmt::Debug for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (raw, clean) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/a/./b", "a/b"),
            ("...", "..."),
            ("a..b/..c", "a..b/..c"),
        ] {
            assert_eq!(
                LayerPath::parse(raw.as_bytes()).unwrap().bytes(),
                clean.as_bytes()
            );
        }
        for root in ["", ".", "./", "/", "/.", "//", "./."] {
            assert!(
                LayerPath::parse(root.as_bytes()).unwrap().is_root(),
                "{root:?}"
            );
        }
    }

    #[test]
    fn paths_that_lead_out_or_are_too_long_are_refused() {
        for raw in ["..", "../a", "a/..", "a/../b", "/../a", "./..", "a\0b"] {
            assert!(
                LayerPath::parse(raw.as_bytes()).is_err(),
                "{raw:?} was taken"
            );
        }
        assert!(LayerPath::parse(&[b'a'; 255]).is_ok());
        assert!(LayerPath::parse(&[b'a'; 256]).is_err());
        assert!(LayerPath::parse("a/".repeat(2048).as_bytes()).is_ok());
        assert!(LayerPath::parse("a/".repeat(2049).as_bytes()).is_err());
    }

    #[test]
    fn below_is_by_name_and_not_by_letters() {
        let path = |text: &str| LayerPath::parse(text.as_bytes()).unwrap();
        assert!(path("a/b").is_below(&path("a")));
        assert!(path("a").is_below(&path("a")));
        assert!(path("a").is_below(&LayerPath::ROOT));
        assert!(!path("ab").is_below(&path("a")));
    }
}
