//! Images that recipes stand on or copy from: in the store, or an archive or layout by its path. Not its
//! job: registries.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::{Image, LoadOptions, Names, Source, Store};

use crate::config::Config;
use crate::error::{Doing, Error, Result};

/// The images of one build, each found once: a name that moves meanwhile does not mix two images.
pub(crate) struct Bases<'a> {
    store: &'a Store,
    found: BTreeMap<String, Image>,
}

/// What a name in a recipe says.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// An archive or layout, and which image of it, by its tag or name.
    Path(PathBuf, Option<String>),
    /// An image of the store.
    Store,
}

/// `oci:PATH[:name]`, `oci-archive:PATH[:name]`, `docker-archive:PATH[:name]`, a plain path, or a name.
fn named(name: &str) -> Named {
    let schemes = ["oci:", "oci-archive:", "docker-archive:"];
    if let Some(rest) = schemes.iter().find_map(|scheme| name.strip_prefix(scheme)) {
        return match rest.split_once(':') {
            Some((path, name)) if !name.is_empty() => {
                Named::Path(path.into(), Some(name.to_owned()))
            }
            _ => Named::Path(rest.into(), None),
        };
    }
    if name.starts_with('/') || name.starts_with("./") || name.starts_with("../") {
        return Named::Path(name.into(), None);
    }
    Named::Store
}

impl<'a> Bases<'a> {
    /// No images yet.
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            found: BTreeMap::new(),
        }
    }

    /// The image that a recipe calls `name`.
    ///
    /// # Errors
    /// If there is none, or it can't be loaded.
    pub(crate) fn image(&mut self, name: &str) -> Result<&Image> {
        if !self.found.contains_key(name) {
            let image = self.find(name)?;
            self.found.insert(name.to_owned(), image);
        }
        Ok(&self.found[name])
    }

    /// The config of that image.
    ///
    /// # Errors
    /// As [`Bases::image`]; a config that is none.
    pub(crate) fn config(&mut self, name: &str) -> Result<Config> {
        #[derive(serde::Deserialize)]
        struct Document {
            #[serde(default)]
            config: Option<Config>,
        }
        let image = self.image(name)?;
        let document: Document = serde_json::from_slice(&image.config)
            .map_err(|e| Error::Refused(format!("config of image {name}: {e}")))?;
        Ok(document.config.unwrap_or_default())
    }

    fn find(&self, name: &str) -> Result<Image> {
        let doing = || format!("base image {name}");
        match named(name) {
            Named::Store => {
                let image = self.store.find(name).doing(doing)?;
                self.store.use_image(&image).doing(doing)?;
                Ok(image)
            }
            Named::Path(path, tag) => {
                let options = LoadOptions {
                    names: Names::Leave,
                    only: tag,
                    ..LoadOptions::default()
                };
                let mut loaded = self.store.load(Source::Path(path), &options).doing(doing)?;
                match (loaded.pop(), loaded.is_empty()) {
                    (Some(one), true) => Ok(one.image),
                    _ => Err(Error::Refused(format!(
                        "base image {name}: it holds several images; say which: {name}:TAG"
                    ))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_its_image_is() {
        let path = |path: &str, tag: Option<&str>| Named::Path(path.into(), tag.map(str::to_owned));
        assert_eq!(named("oci:dir"), path("dir", None));
        assert_eq!(named("oci:/a/b:v1"), path("/a/b", Some("v1")));
        assert_eq!(named("oci:a:debian:12"), path("a", Some("debian:12")));
        assert_eq!(named("oci-archive:./a.tar"), path("./a.tar", None));
        assert_eq!(
            named("docker-archive:a.tar:latest"),
            path("a.tar", Some("latest"))
        );
        assert_eq!(named("/a.tar"), path("/a.tar", None));
        assert_eq!(named("debian:12"), Named::Store);
    }
}
