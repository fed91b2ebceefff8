//! Brings what a build has made to where it is wanted, and says what it is. Not its job: the flags.

use std::io::Write;
use std::path::Path;

use builder::{Attest, Finished};
use image::registry::{Access, PushOptions, Under};
use image::{Digest, Format, Image, Leaving, Outgoing, Predicate, Reference, Store};
use serde_json::json;

use super::compression::Form;
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
    pub(super) attest: &'a Attest,
    pub(super) access: &'a Access,
    pub(super) aside: Aside,
}

/// An id of an earlier build must not be taken for that of one that fails.
pub(super) fn prepare(output: &Output) -> Result<(), Failure> {
    for path in [&output.iidfile, &output.metadata_file]
        .into_iter()
        .flatten()
        .filter(|path| !sys::file::is_stream(path))
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
        let mut destinations = wanted.destinations.iter().map(|(to, _)| to);
        let image = match destinations.any(Destination::wants_image) {
            true => Some(self.finished.image(&self.names()).map_err(because)?),
            false => None,
        };
        let said = self.finished.said(self.attest).map_err(because)?;
        for path in &said.unread {
            self.aside.warn(&format!(
                "--sbom: packages of {path} are not in it: dhow does not read rpm's"
            ));
        }
        let (predicates, among_files) = (&said.predicates, &said.among_files);
        let mut left = None;
        for (destination, form) in &wanted.destinations {
            match (destination, &image) {
                (Destination::Files(path), _) => self.files(path, (among_files, &form.prefix))?,
                (Destination::Tar(path), _) => {
                    self.tar(path.as_deref(), (among_files, &form.prefix))?;
                }
                (Destination::Cache, _) | (_, None) => {}
                (destination, Some(image)) => {
                    left = self.image((destination, form), image, predicates)?.or(left);
                }
            }
        }
        if let Some(path) = &self.output.iidfile {
            put(path, &self.finished.id().to_string())?;
        }
        if let Some(path) = &self.output.metadata_file {
            put(
                path,
                &format!("{:#}\n", self.metadata(image.as_ref(), left)),
            )?;
        }
        let mut destinations = wanted.destinations.iter().map(|(to, _)| to);
        if image.is_some() && !destinations.any(Destination::is_stdout) {
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
        let tagged = wanted.destinations.iter();
        let tagged = tagged.filter(|(_, form)| form.under == Under::Tag);
        names.extend(tagged.flat_map(|(to, _)| to.names()).cloned());
        names.sort();
        names.dedup();
        names
    }

    fn files(&self, path: &Path, predicates: (&[Predicate], &str)) -> Result<(), Failure> {
        let left_out = self
            .finished
            .write_files(path, predicates)
            .map_err(because)?;
        for what in left_out {
            self.aside.warn(&format!("left out {what}"));
        }
        Ok(())
    }

    fn tar(&self, path: Option<&Path>, predicates: (&[Predicate], &str)) -> Result<(), Failure> {
        match path {
            Some(path) => whole::write(path, |out| {
                self.finished
                    .write_tar(out, predicates)
                    .map_err(because)
                    .map(drop)
            }),
            None => {
                let out = std::io::stdout().lock();
                let mut out = self.finished.write_tar(out, predicates).map_err(because)?;
                out.flush().map_err(because)
            }
        }
    }

    /// To one place; gives the digest of what has left for there.
    fn image(
        &self,
        (destination, form): (&Destination, &Form),
        image: &Image,
        predicates: &[Predicate],
    ) -> Result<Option<Digest>, Failure> {
        let mut image = image.clone();
        // What leaves has the names that were asked for, not those that it has here from before.
        let mut names = self.wanted.names.clone();
        names.extend(destination.names().iter().cloned());
        image.names = names;
        let leaving = Leaving {
            method: form.method,
            force: form.force,
            types: form.types,
            predicates: match destination.takes_attestations() {
                true => predicates.to_vec(),
                false => Vec::new(),
            },
        };
        let images = std::slice::from_ref(&image);
        let outgoing = || self.store.outgoing(images, leaving).map_err(because);
        match destination {
            Destination::Image { push: true, .. } => {
                let mut outgoing = outgoing()?;
                self.push(&image.names, &mut outgoing, form.under)?;
                Ok(outgoing.left())
            }
            Destination::Layout(path, _) => {
                let mut outgoing = outgoing()?;
                outgoing.save_layout(path, None).map_err(because)?;
                Ok(outgoing.left())
            }
            Destination::Archive(format, path, _) => {
                let mut outgoing = outgoing()?;
                archive(path.as_deref(), |out| {
                    outgoing.save(*format, out, None).map(drop)
                })?;
                // A docker archive has no manifest that a digest could name.
                Ok(outgoing.left().filter(|_| *format == Format::OciArchive))
            }
            _ => Ok(None),
        }
    }

    fn push(
        &self,
        names: &[Reference],
        outgoing: &mut Outgoing<'_>,
        under: Under,
    ) -> Result<(), Failure> {
        for name in names {
            let progress = Progress::begin(&format!("push {}", name.familiar()), self.is_quiet());
            let options = PushOptions {
                watch: Some(progress.watch()),
                under,
            };
            let pushed = outgoing.push(name, self.access, &options);
            progress.end();
            pushed.map_err(because)?;
        }
        Ok(())
    }

    /// buildx' words; what it says of its own builders there is none of.
    fn metadata(&self, image: Option<&Image>, left: Option<Digest>) -> serde_json::Value {
        let mut metadata = json!({"containerimage.config.digest": self.finished.id()});
        if let Some(image) = image {
            metadata["containerimage.digest"] = json!(left.unwrap_or(image.manifest));
        }
        let names: Vec<String> = self.names().iter().map(Reference::to_string).collect();
        if !names.is_empty() {
            metadata["image.name"] = json!(names.join(","));
        }
        metadata
    }
}

/// An archive in a file, or on stdout.
fn archive(
    path: Option<&Path>,
    save: impl FnOnce(&mut dyn Write) -> image::Result<()>,
) -> Result<(), Failure> {
    match path {
        Some(path) => whole::write(path, |out| save(out).map_err(because)),
        None => {
            let mut out = std::io::stdout().lock();
            save(&mut out).map_err(because)?;
            out.flush().map_err(because)
        }
    }
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    whole::write(path, |out| out.write_all(text.as_bytes()).map_err(because))
}
