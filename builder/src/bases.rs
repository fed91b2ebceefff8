//! Images that recipes stand on or copy from: in the store, in a registry, or an archive or layout by its
//! path. Not its job: how images get into the store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::registry::{self, PullOptions};
use image::{Digest, Image, Layer, LoadOptions, Names, Reference, Source, Store};

use crate::build::in_recipe;
use crate::config::Config;
use crate::diagnostic::nearest;
use crate::error::{Doing, Error, Result};
use crate::graph;
use crate::instruction::{Recipe, Stage};
use crate::notes;
use crate::plan::{BaseConfig, Plan};
use crate::platform::Platform;
use crate::request::{Event, Options};
use crate::stages::{Base, Origin};

/// The images of one build, each found once: a name that moves meanwhile does not mix two images.
pub(crate) struct Bases<'a> {
    store: &'a Store,
    options: &'a Options,
    found: BTreeMap<Sought, Image>,
}

/// What is sought: a name, and what it must be for, if anybody says so.
type Sought = (String, Option<Platform>);

/// What a name in a recipe says.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// An archive or layout, and which image of it, by its tag, name or manifest's digest.
    Path(PathBuf, Option<String>),
    /// An image of the store.
    Store,
}

/// `oci:PATH[:name][@digest]`, `oci-archive:PATH[:name]`, `docker-archive:PATH[:name]`, a plain path, or a name.
fn named(name: &str) -> Named {
    let schemes = ["oci:", "oci-archive:", "docker-archive:"];
    if let Some(rest) = schemes.iter().find_map(|scheme| name.strip_prefix(scheme)) {
        if let Some((path, digest)) = rest.split_once('@') {
            let path = path.split_once(':').map_or(path, |(path, _)| path);
            return Named::Path(path.into(), Some(digest.to_owned()));
        }
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

/// Told what happens.
type Tell<'t> = &'t mut dyn FnMut(Event<'_>);

impl<'a> Bases<'a> {
    /// No images yet.
    pub(crate) fn new(store: &'a Store, options: &'a Options) -> Self {
        Self {
            store,
            options,
            found: BTreeMap::new(),
        }
    }

    /// Finds all images of a plan, so that no step waits for one, or has threads beside it.
    ///
    /// # Errors
    /// As [`Bases::image`], with its place in the recipe.
    pub(crate) fn find_all(
        &mut self,
        (source, recipe, plan): (&crate::Source, &Recipe, &Plan),
        tell: Tell<'_>,
    ) -> Result<()> {
        for stage in &plan.stages {
            if let Base::Image(name) = &stage.base {
                self.image(name, stage.platform.as_ref(), tell)?;
            }
            for step in &stage.steps {
                for origin in graph::origins(step) {
                    if let Origin::Image(name) = origin {
                        let target = self.options.settings.platform.as_ref();
                        self.image(name, target, tell).map_err(|error| {
                            let earlier = recipe.stages.iter().take(stage.index);
                            let error = meant(error, "image", name, earlier);
                            in_recipe(source, step.span, &error)
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The image that a recipe calls `name`.
    ///
    /// # Errors
    /// If there is none, or it can't be loaded.
    pub(crate) fn image(
        &mut self,
        name: &str,
        platform: Option<&Platform>,
        tell: Tell<'_>,
    ) -> Result<&Image> {
        let sought = (name.to_owned(), platform.cloned());
        if !self.found.contains_key(&sought) {
            let image = self.find(name, platform, tell)?;
            // It came by several threads; the next step needs a process of one.
            sys::process::outlive_threads().doing(|| "wait for our threads".to_owned())?;
            self.found.insert(sought.clone(), image);
        }
        Ok(&self.found[&sought])
    }

    /// An image that was found before.
    ///
    /// # Errors
    /// If nobody has asked for it.
    pub(crate) fn found(&self, name: &str, platform: Option<&Platform>) -> Result<&Image> {
        let found = self.found.get(&(name.to_owned(), platform.cloned()));
        found.ok_or_else(|| Error::Refused(format!("image {name} is none that the plan names")))
    }

    /// The layers of all images that were found.
    pub(crate) fn layers(&self) -> Vec<Layer> {
        let layers = self.found.values().flat_map(|image| &image.layers);
        layers.cloned().collect()
    }

    /// The config of that image.
    ///
    /// # Errors
    /// As [`Bases::image`]; a config that is none.
    pub(crate) fn config(
        &mut self,
        name: &str,
        platform: Option<&Platform>,
        tell: Tell<'_>,
    ) -> Result<BaseConfig> {
        config_of(name, &self.image(name, platform, tell)?.config)
    }

    /// The same, for a plan: of an image that only a registry has, nothing else is brought here.
    ///
    /// # Errors
    /// As [`Bases::config`].
    pub(crate) fn config_alone(
        &mut self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<BaseConfig> {
        let doing = || format!("base image {name}");
        match self.absent(name, platform)? {
            Some(reference) => {
                let wanted = platform.map(Platform::of_images).transpose().doing(doing)?;
                let bytes = registry::config(&reference, &self.options.access, wanted);
                config_of(name, &bytes.doing(doing)?)
            }
            None => self.config(name, platform, &mut |_| {}),
        }
    }

    fn find(&self, name: &str, platform: Option<&Platform>, tell: Tell<'_>) -> Result<Image> {
        let doing = || format!("base image {name}");
        let wanted = platform.map(Platform::of_images).transpose().doing(doing)?;
        if let Some(reference) = self.absent(name, platform)? {
            if let Some(image) = self.of_before(name, platform) {
                return Ok(image);
            }
            tell(Event::Pull(name));
            let options = PullOptions {
                // The name is that of the image for this machine.
                nameless: platform.is_some_and(|platform| *platform != Platform::here()),
                platform: wanted,
                ..PullOptions::default()
            };
            let pulled = self.store.pull(&reference, &self.options.access, &options);
            let image = pulled.doing(doing)?.loaded.image;
            if options.nameless {
                notes::write(
                    self.store,
                    NOTE,
                    subject(name, platform).as_bytes(),
                    image.id,
                );
            }
            return Ok(image);
        }
        match named(name) {
            Named::Store => {
                let found = self.store.find(name);
                let image = found.map_err(|error| no_name(name).unwrap_or(error));
                let image = image.doing(doing)?;
                self.store.use_image(&image).doing(doing)?;
                Ok(image)
            }
            Named::Path(path, tag) => {
                let options = LoadOptions {
                    names: Names::Leave,
                    only: tag,
                    platform: wanted,
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

    /// The image that was brought for a platform under that name before.
    fn of_before(&self, name: &str, platform: Option<&Platform>) -> Option<Image> {
        if self.options.pull {
            return None;
        }
        let id: Digest = notes::read(self.store, NOTE, subject(name, platform).as_bytes())?;
        let image = self.store.find(&id.to_string()).ok()?;
        self.store.use_image(&image).ok()?;
        is_for(&image, platform).then_some(image)
    }

    /// The name under which a registry must be asked for the image; `None` if the store or a path has it.
    /// What is found by its id is in no registry.
    /// An image that the store has under the name, but for another platform, is not it.
    fn absent(&self, name: &str, platform: Option<&Platform>) -> Result<Option<Reference>> {
        if named(name) != Named::Store {
            return Ok(None);
        }
        let Ok(reference) = name.parse::<Reference>() else {
            return Ok(None);
        };
        Ok(match self.store.find(name) {
            Ok(image) if !is_for(&image, platform) => Some(reference),
            Ok(image) => {
                // A digest says what the image is: asking again can't bring another one.
                let movable = reference.digest().is_none() && image.names.contains(&reference);
                (self.options.pull && movable).then_some(reference)
            }
            Err(image::Error::NoSuchImage { .. }) => Some(reference),
            Err(e) => return Err(e).doing(|| format!("base image {name}")),
        })
    }
}

/// An error about an image, and which earlier stage may be meant by its name.
pub(crate) fn meant<'s>(
    error: Error,
    kind: &str,
    name: &str,
    earlier: impl Iterator<Item = &'s Stage>,
) -> Error {
    let Error::Image { source, .. } = error else {
        return error;
    };
    let near = nearest(name, earlier.filter_map(|stage| stage.name.as_deref()))
        .map(|stage| format!(" (did you mean the stage {stage}?)"));
    let near = near.unwrap_or_default();
    let what = format!("{kind} {name}{near}");
    Error::Image { what, source }
}

/// Why a name can be no image's, here or elsewhere.
pub(crate) fn no_name(name: &str) -> Option<image::Error> {
    let id = name.bytes().all(|b| b.is_ascii_hexdigit());
    (named(name) == Named::Store && !id)
        .then(|| name.parse::<Reference>().err())
        .flatten()
}

/// The note of an image for another platform: it has no name in the store.
const NOTE: &str = "image of another platform";

fn subject(name: &str, platform: Option<&Platform>) -> String {
    let platform = platform.map(Platform::to_string);
    format!("{} {name}", platform.unwrap_or_default())
}

/// Whether an image is for a platform, as far as it says.
fn is_for(image: &Image, platform: Option<&Platform>) -> bool {
    let configuration = &image.configuration;
    platform.is_none_or(|wanted| {
        configuration.os().to_string() == wanted.os
            && configuration.architecture().to_string() == wanted.architecture
    })
}

fn config_of(name: &str, bytes: &[u8]) -> Result<BaseConfig> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Document {
        config: Option<Config>,
        os: String,
        architecture: String,
    }
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|e| Error::Refused(format!("config of image {name}: {e}")))?;
    let says = !document.os.is_empty() && !document.architecture.is_empty();
    Ok(BaseConfig {
        config: document.config.unwrap_or_default(),
        platform: says.then(|| format!("{}/{}", document.os, document.architecture)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_its_image_is() {
        let path = |path: &str, tag: Option<&str>| Named::Path(path.into(), tag.map(str::to_owned));
        assert_eq!(named("oci:dir"), path("dir", None));
        assert_eq!(named("oci:/a/b:v1"), path("/a/b", Some("v1")));
        let digest = "sha256:00";
        assert_eq!(named("oci:a:t@sha256:00"), path("a", Some(digest)));
        assert_eq!(named("oci:./a@sha256:00"), path("./a", Some(digest)));
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
