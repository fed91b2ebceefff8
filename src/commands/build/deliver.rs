//! Brings what a build has made to where it is wanted, and says what it is. Not its job: the flags.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use builder::Finished;
use image::registry::{Access, PushOptions};
use image::{Format, Image, Reference, Store};
use serde_json::json;

use super::destination::Destination;
use super::output::{Output, Wanted};
use super::show::Aside;
use crate::progress::Progress;
use crate::report::{Failure, because, say};
use crate::whole;

/// A finished build on its way out.
pub(super) struct Delivery<'a> {
    pub(super) store: &'a Store,
    pub(super) finished: &'a Finished<'a>,
    pub(super) output: &'a Output,
    pub(super) wanted: &'a Wanted,
    pub(super) access: &'a Access,
    pub(super) aside: Aside,
}

/// An id of an earlier build must not be taken for that of one that fails.
pub(super) fn prepare(output: &Output) -> Result<(), Failure> {
    for path in [&output.iidfile, &output.metadata_file]
        .into_iter()
        .flatten()
    {
        match sys::file::remove_file(path) {
            Err(e) if e.errno != sys::Errno::NOENT => return Err(because(e)),
            _ => {}
        }
    }
    Ok(())
}

impl Delivery<'_> {
    /// To all destinations, in their order; then the files and the line that say what it is.
    pub(super) fn all(&self) -> Result<(), Failure> {
        let wanted = self.wanted;
        let image = match wanted.destinations.iter().any(Destination::wants_image) {
            true => Some(self.finished.image(&self.names()).map_err(because)?),
            false => None,
        };
        for destination in &wanted.destinations {
            match (destination, &image) {
                (Destination::Files(path), _) => self.files(path)?,
                (Destination::Tar(path), _) => self.tar(path.as_deref())?,
                (Destination::Cache, _) | (_, None) => {}
                (destination, Some(image)) => self.image(destination, image)?,
            }
        }
        if let Some(path) = &self.output.iidfile {
            put(path, &self.finished.id().to_string())?;
        }
        if let Some(path) = &self.output.metadata_file {
            put(path, &format!("{:#}\n", self.metadata(image.as_ref())))?;
        }
        if image.is_some() && !wanted.destinations.iter().any(Destination::is_stdout) {
            say(format_args!("{}\n", self.finished.id()));
        }
        Ok(())
    }

    /// Whether a line on a terminal that is written anew has no place on stderr.
    pub(super) fn is_quiet(&self) -> bool {
        self.aside != Aside::Words
    }

    /// All names that the image gets.
    fn names(&self) -> Vec<Reference> {
        let wanted = self.wanted;
        let mut names = wanted.names.clone();
        names.extend(
            wanted
                .destinations
                .iter()
                .flat_map(Destination::names)
                .cloned(),
        );
        names.sort();
        names.dedup();
        names
    }

    fn files(&self, path: &Path) -> Result<(), Failure> {
        let left_out = self.finished.write_files(path).map_err(because)?;
        for what in left_out {
            self.aside.warn(&format!("left out {what}"));
        }
        Ok(())
    }

    fn tar(&self, path: Option<&Path>) -> Result<(), Failure> {
        match path {
            Some(path) => whole::write(path, |out| {
                self.finished.write_tar(out).map_err(because).map(drop)
            }),
            None => {
                let out = std::io::stdout().lock();
                let mut out = self.finished.write_tar(out).map_err(because)?;
                out.flush().map_err(because)
            }
        }
    }

    fn image(&self, destination: &Destination, image: &Image) -> Result<(), Failure> {
        let mut image = image.clone();
        // What leaves has the names that were asked for, not those that it has here from before.
        let mut names = self.wanted.names.clone();
        names.extend(destination.names().iter().cloned());
        image.names = names;
        match destination {
            Destination::Image { push: true, .. } => self.push(&image),
            Destination::Layout(path, _) => self.store.save_layout(&[image], path).map_err(because),
            Destination::Archive(format, path, _) => self.archive(&image, *format, path.as_ref()),
            _ => Ok(()),
        }
    }

    fn push(&self, image: &Image) -> Result<(), Failure> {
        for name in &image.names {
            let progress = Progress::begin(&format!("push {}", name.familiar()), self.is_quiet());
            let options = PushOptions {
                watch: Some(progress.watch()),
            };
            let pushed = self.store.push(image, name, self.access, &options);
            progress.end();
            pushed.map_err(because)?;
        }
        Ok(())
    }

    fn archive(
        &self,
        image: &Image,
        format: Format,
        path: Option<&PathBuf>,
    ) -> Result<(), Failure> {
        let images = std::slice::from_ref(image);
        match path {
            Some(path) => whole::write(path, |out| {
                self.store
                    .save(images, format, out)
                    .map_err(because)
                    .map(drop)
            }),
            None => {
                let out = std::io::stdout().lock();
                let mut out = self.store.save(images, format, out).map_err(because)?;
                out.flush().map_err(because)
            }
        }
    }

    /// buildx' words; what it says of its own builders there is none of.
    fn metadata(&self, image: Option<&Image>) -> serde_json::Value {
        let mut metadata = json!({"containerimage.config.digest": self.finished.id()});
        if let Some(image) = image {
            metadata["containerimage.digest"] = json!(image.manifest);
        }
        let names: Vec<String> = self.names().iter().map(Reference::to_string).collect();
        if !names.is_empty() {
            metadata["image.name"] = json!(names.join(","));
        }
        metadata
    }
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    whole::write(path, |out| out.write_all(text.as_bytes()).map_err(because))
}
