//! Names of images, by docker's rules: `[domain/]path[:tag][@digest]`, with `docker.io/library/` and
//! `:latest` understood where a person leaves them out. Not its job: finding the image.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error, Result};

const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";

/// A full image name. Two texts that docker takes for one image give equal references:
///
/// ```
/// # use dhow_image as image;
/// let short: image::Reference = "debian".parse()?;
/// assert_eq!(short.to_string(), "docker.io/library/debian:latest");
/// assert_eq!(short.familiar(), "debian:latest");
/// # Ok::<(), image::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry, `docker.io` if none was named.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, `library/debian` for `debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; none only where a digest stands instead.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest after `@`.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same name without its digest: what an index of names is keyed by. `None` if it has no tag.
    pub fn tagged(&self) -> Option<Self> {
        self.tag.as_ref()?;
        Some(Self {
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository at this digest, whatever its tags mean.
    pub(crate) fn at(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Whether a person may call it so: by its tag, or by its whole name.
    pub(crate) fn is_called(&self, text: &str) -> bool {
        self.tag() == Some(text) || text.parse().is_ok_and(|name: Self| name == *self)
    }

    /// The name as a person writes it: without `docker.io/library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        match full.strip_prefix("docker.io/") {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_owned(),
            None => full,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|rule| Error::BadReference {
            value: text.chars().take(300).collect(),
            rule,
        })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    // A bare digest is an id, not a name (docker's ParseNormalizedNamed refuses it too).
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("64 hex digits are an id, not a name");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let digest = digest
                .parse()
                .map_err(|_| "after @ there must be sha256: and 64 hex digits")?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    // A colon before the last slash belongs to a port.
    let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_end..].split_once(':') {
        Some((last, tag)) => (&rest[..name_end + last.len()], Some(tag)),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (domain, path) = split_domain(name);
    check_domain(domain)?;
    check_path(path)?;
    let path = match domain == DEFAULT_DOMAIN && !path.contains('/') {
        true => format!("{DEFAULT_NAMESPACE}/{path}"),
        false => path.to_owned(),
    };
    if domain.len() + 1 + path.len() > 255 {
        return Err("the name is longer than 255 characters");
    }
    let tag = match (tag, digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Reference {
        domain: domain.to_owned(),
        path,
        tag,
        digest,
    })
}

/// The first part is a registry only if it looks like a host: a dot, a port, an upper-case letter, or
/// `localhost` (distribution/reference, splitDockerDomain).
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DEFAULT_DOMAIN, path),
        Some((first, path))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, path)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if let Some(port) = port
        && (port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err("the registry's port must be a number");
    }
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("the registry's IPv6 address is malformed"),
        };
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match host.split('.').all(label) {
        true => Ok(()),
        false => Err("the registry must be a host name of letters, digits, '-' and '.'"),
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the name is empty");
    }
    match path.split('/').all(component) {
        true => Ok(()),
        false => Err(
            "each part of the name must be lower-case letters and digits, joined by '.', '_', '__' or '-'",
        ),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn component(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let run = bytes[at..].iter().take_while(|b| alphanumeric(b)).count();
        if run == 0 {
            return false;
        }
        at += run;
        if at == bytes.len() {
            return true;
        }
        let separator = bytes[at..].iter().take_while(|b| !alphanumeric(b)).count();
        let joined = &text[at..at + separator];
        if !matches!(joined, "." | "_" | "__") && !joined.bytes().all(|b| b == b'-') {
            return false;
        }
        at += separator;
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = tag.bytes().next().is_some_and(word);
    match first && tag.len() <= 128 && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        true => Ok(()),
        false => Err("a tag is up to 128 letters, digits, '_', '.' and '-', not led by '.' or '-'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            (
                "docker.io/debian",
                "docker.io/library/debian:latest",
                "debian:latest",
            ),
            ("index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            (
                "localhost:5000/x:y",
                "localhost:5000/x:y",
                "localhost:5000/x:y",
            ),
            (
                "quay.io/a/b/c",
                "quay.io/a/b/c:latest",
                "quay.io/a/b/c:latest",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            (
                "a__b/c---d.e_f",
                "docker.io/a__b/c---d.e_f:latest",
                "a__b/c---d.e_f:latest",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(full.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_digest_takes_the_place_of_the_tag() {
        let digest = Digest::of(b"");
        let reference: Reference = format!("debian@{digest}").parse().unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.digest(), Some(digest));
        assert_eq!(reference.tagged(), None);
    }

    #[test]
    fn what_the_grammar_lacks_is_refused() {
        let long = "a".repeat(256);
        let long_tag = format!("a:{}", "b".repeat(129));
        let hex = "0".repeat(64);
        for text in [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "a//b",
            "../x",
            "a/../b",
            "--x",
            "-x",
            "A",
            "a:b:c",
            "a:",
            "a:.b",
            "a:-b",
            "a b",
            "a\n",
            "a\u{1b}[31m",
            "a@",
            "a@sha256:00",
            "a._b",
            "a-",
            "a___b",
            "host:port/a",
            "host:/a",
            ".com/a",
            "-h.com/a",
            "ä",
            "a:ä",
            "[::g]:1/a",
            &long,
            &long_tag,
            &hex,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was taken");
        }
    }
}
