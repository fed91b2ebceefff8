//! `--cache-from` and `--cache-to`: caches elsewhere, in docker's words. Not its job: reaching them.

use std::path::PathBuf;

use builder::Extent;
use image::{Lender, Reference};

use super::destination::{fields, truth};

/// Where the cache of a build goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) extent: Extent,
    /// Whether the build is as good without it.
    pub(super) ignore_error: bool,
}

/// A place for a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Registry(Reference),
    /// The folder of an OCI layout.
    Folder(PathBuf),
    /// The image itself.
    Inline,
}

/// Reads one `--cache-from`.
pub(super) fn from(text: &str) -> Result<Lender, String> {
    let given = Given::read(text)?;
    let (mut name, mut path, mut tag) = (None, None, None);
    for (key, value) in &given.fields {
        match (given.kind.as_str(), key.as_str()) {
            ("registry", "ref") => name = Some(reference(value)?),
            ("local", "src") => path = Some(PathBuf::from(value)),
            ("local", "tag") => tag = Some(value.clone()),
            _ => return Err(given.unknown(key)),
        }
    }
    match given.kind.as_str() {
        "registry" => Ok(Lender::Registry(name.ok_or("it has no ref=")?)),
        "local" => Ok(Lender::Path(path.ok_or("it has no src=")?, tag)),
        other => Err(format!(
            "type={other} is not supported; it can be registry or local"
        )),
    }
}

/// Reads one `--cache-to`.
pub(super) fn to(text: &str) -> Result<Target, String> {
    let given = Given::read(text)?;
    let (mut name, mut path) = (None, None);
    let (mut extent, mut ignore_error) = (Extent::Image, false);
    for (key, value) in &given.fields {
        match (given.kind.as_str(), key.as_str()) {
            ("registry", "ref") => name = Some(reference(value)?),
            ("local", "dest") => path = Some(PathBuf::from(value)),
            ("registry" | "local", "mode") => extent = mode(value)?,
            ("registry" | "local", "ignore-error") => ignore_error = truth(key, value)?,
            // What dhow does anyway.
            ("registry" | "local", "oci-mediatypes" | "image-manifest") if truth(key, value)? => {}
            ("registry" | "local", "compression") if value == "uncompressed" => {}
            _ => return Err(given.unknown(key)),
        }
    }
    let place = match given.kind.as_str() {
        "registry" => Place::Registry(name.ok_or("it has no ref=")?),
        "local" => Place::Folder(path.ok_or("it has no dest=")?),
        "inline" => Place::Inline,
        other => {
            return Err(format!(
                "type={other} is not supported; it can be registry, local or inline"
            ));
        }
    };
    if let Place::Registry(name) = &place
        && (name.tag().is_none() || name.digest().is_some())
    {
        return Err("ref needs a tag and no digest".to_owned());
    }
    Ok(Target {
        place,
        extent,
        ignore_error,
    })
}

fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|e| format!("{e}"))
}

fn mode(text: &str) -> Result<Extent, String> {
    match text {
        "min" => Ok(Extent::Image),
        "max" => Ok(Extent::All),
        _ => Err(format!("mode={text}: it is min or max")),
    }
}

/// The fields of a flag; a name alone is that of an image in a registry.
struct Given {
    kind: String,
    fields: Vec<(String, String)>,
}

impl Given {
    fn read(text: &str) -> Result<Self, String> {
        let mut kind = None;
        let mut given = Vec::new();
        for field in fields(text)? {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value.to_owned()),
                Some((key, value)) => given.push((key.to_owned(), value.to_owned())),
                None if field == text && !text.is_empty() => {
                    kind = Some("registry".to_owned());
                    given.push(("ref".to_owned(), field));
                }
                None => return Err(format!("{field:?} is not KEY=VALUE")),
            }
        }
        Ok(Self {
            kind: kind.ok_or("it has no type=")?,
            fields: given,
        })
    }

    fn unknown(&self, key: &str) -> String {
        format!("{key} is not supported for type={}", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_named_as_docker_names_it() {
        let registry = |name: &str| Lender::Registry(name.parse().unwrap());
        for (text, expected) in [
            ("r.example/a:cache", registry("r.example/a:cache")),
            ("type=registry,ref=a", registry("a")),
            (
                "type=local,src=some dir,tag=v1",
                Lender::Path("some dir".into(), Some("v1".to_owned())),
            ),
        ] {
            assert_eq!(from(text), Ok(expected), "{text}");
        }
        let target = to("type=local,dest=d,mode=max,ignore-error=true").unwrap();
        assert_eq!(target.place, Place::Folder("d".into()));
        assert_eq!((target.extent, target.ignore_error), (Extent::All, true));
        let target = to("r.example/a").unwrap();
        assert_eq!(target.extent, Extent::Image);
        assert_eq!(to("type=inline").unwrap().place, Place::Inline);
    }

    #[test]
    fn what_a_cache_cannot_mean_is_refused_by_name() {
        for (text, why) in [
            ("", "\"\" is not KEY=VALUE"),
            ("ref=a", "it has no type="),
            ("type=registry", "it has no ref="),
            (
                "type=registry,ref=a,mode=most",
                "mode=most: it is min or max",
            ),
            ("type=local,src=a", "src is not supported for type=local"),
            (
                "type=inline,mode=max",
                "mode is not supported for type=inline",
            ),
            ("type=gha,scope=x", "scope is not supported for type=gha"),
            (
                "type=gha",
                "type=gha is not supported; it can be registry, local or inline",
            ),
        ] {
            assert_eq!(to(text), Err(why.to_owned()), "{text}");
        }
        assert!(from("type=inline").is_err());
        assert!(to(&format!("a@sha256:{}", "0".repeat(64))).is_err());
    }
}
