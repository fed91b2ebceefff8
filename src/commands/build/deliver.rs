//! Brings what a build has made to where it is wanted, and says what it is. Not its job: the flags.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use builder::{Attest, Finished, Platform, Said};
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

/// What was made for one platform.
pub(super) struct Made<'a> {
    pub(super) platform: Platform,
    pub(super) finished: Finished<'a>,
}

/// A finished build on its way out.
pub(super) struct Delivery<'a> {
    pub(super) store: &'a Store,
    /// What was made, in the order of the platforms; never none.
    pub(super) made: &'a [Made<'a>],
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
    /// To all destinations, in their order; then the files and the lines that say what it is.
    pub(super) fn all(&self) -> Result<(), Failure> {
        let wanted = self.wanted;
        let mut destinations = wanted.destinations.iter().map(|(to, _)| to);
        let images = match destinations.any(Destination::wants_image) {
            true => self.images()?,
            false => Vec::new(),
        };
        let said = self.said()?;
        let mut left = None;
        for (destination, form) in &wanted.destinations {
            match destination {
                Destination::Files(path) => {
                    for (made, said) in self.made.iter().zip(&said) {
                        self.files(path, made, (&said.among_files, &form.prefix))?;
                    }
                }
                Destination::Tar(path) => {
                    for (made, said) in self.made.iter().zip(&said) {
                        tar(path.as_deref(), made, (&said.among_files, &form.prefix))?;
                    }
                }
                Destination::Cache => {}
                destination => {
                    left = self.image((destination, form), &images, &said)?.or(left);
                }
            }
        }
        self.tell(&images, left)
    }

    /// Writes the files and the lines that say what has been made.
    fn tell(&self, images: &[Image], left: Option<Digest>) -> Result<(), Failure> {
        let ids = self.made.iter().map(|made| made.finished.id());
        let ids: Vec<Digest> = ids.collect();
        // Of several only what leads to them all has one id.
        let id = match &ids[..] {
            [id] => Some(*id),
            _ => left.or_else(|| images.get(self.named()).map(|image| image.id)),
        };
        if let (Some(path), Some(id)) = (&self.output.iidfile, id) {
            put(path, &id.to_string())?;
        }
        if let Some(path) = &self.output.metadata_file {
            put(path, &format!("{:#}\n", self.metadata(images, left)))?;
        }
        let mut destinations = self.wanted.destinations.iter().map(|(to, _)| to);
        if !images.is_empty() && !destinations.any(Destination::is_stdout) {
            for id in ids {
                say(format_args!("{id}\n"));
            }
        }
        Ok(())
    }

    /// The images in the store. Of several, the one for this machine gets the names, or the first.
    fn images(&self) -> Result<Vec<Image>, Failure> {
        let names = self.names();
        let image = |(n, made): (usize, &Made<'_>)| {
            let names = if n == self.named() { &names[..] } else { &[] };
            made.finished.image(names).map_err(because)
        };
        self.made.iter().enumerate().map(image).collect()
    }

    fn named(&self) -> usize {
        let here = Platform::here();
        let place = self.made.iter().position(|made| made.platform == here);
        place.unwrap_or(0)
    }

    fn said(&self) -> Result<Vec<Said>, Failure> {
        let mut all = Vec::new();
        for made in self.made {
            let said = made.finished.said(self.attest).map_err(because)?;
            for path in &said.unread {
                self.aside.warn(&format!(
                    "--sbom: packages of {path} are not in it: dhow does not read rpm's"
                ));
            }
            all.push(said);
        }
        Ok(all)
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

    /// Into a folder; with several platforms, into one for each there.
    fn files(
        &self,
        path: &Path,
        made: &Made<'_>,
        predicates: (&[Predicate], &str),
    ) -> Result<(), Failure> {
        let name = made.platform.to_string().replace('/', "_");
        let inner = (self.made.len() > 1).then_some(&*name);
        let left_out = made.finished.write_files((path, inner), predicates);
        for what in left_out.map_err(because)? {
            self.aside.warn(&format!("left out {what}"));
        }
        Ok(())
    }

    /// To one place; gives the digest of what has left for there.
    fn image(
        &self,
        (destination, form): (&Destination, &Form),
        images: &[Image],
        said: &[Said],
    ) -> Result<Option<Digest>, Failure> {
        // What leaves has the names that were asked for, not those that it has here from before.
        let mut names = self.wanted.names.clone();
        names.extend(destination.names().iter().cloned());
        let named = |image: &Image| Image {
            names: names.clone(),
            ..image.clone()
        };
        let images: Vec<Image> = images.iter().map(named).collect();
        let said = images.iter().zip(said).map(|(image, said)| {
            let predicates = said.predicates.clone();
            (image.id, predicates)
        });
        let said = said.filter(|(_, predicates)| !predicates.is_empty());
        let leaving = Leaving {
            method: form.method,
            force: form.force,
            types: form.types,
            predicates: match destination.takes_attestations() {
                true => said.collect(),
                false => BTreeMap::new(),
            },
            together: true,
        };
        let outgoing = || self.store.outgoing(&images, leaving).map_err(because);
        match destination {
            Destination::Image { push: true, .. } => {
                let mut outgoing = outgoing()?;
                self.push(&names, &mut outgoing, form.under)?;
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
    fn metadata(&self, images: &[Image], left: Option<Digest>) -> serde_json::Value {
        let mut metadata = json!({});
        if let [made] = self.made {
            metadata["containerimage.config.digest"] = json!(made.finished.id());
        }
        let only = match images {
            [image] => Some(image.manifest),
            _ => None,
        };
        if let Some(digest) = left.or(only) {
            metadata["containerimage.digest"] = json!(digest);
        }
        let names: Vec<String> = self.names().iter().map(Reference::to_string).collect();
        if !names.is_empty() {
            metadata["image.name"] = json!(names.join(","));
        }
        metadata
    }
}

fn tar(
    path: Option<&Path>,
    made: &Made<'_>,
    predicates: (&[Predicate], &str),
) -> Result<(), Failure> {
    let finished = &made.finished;
    match path {
        Some(path) => whole::write(path, |out| {
            let written = finished.write_tar(out, predicates);
            written.map_err(because).map(drop)
        }),
        None => {
            let out = std::io::stdout().lock();
            let mut out = finished.write_tar(out, predicates).map_err(because)?;
            out.flush().map_err(because)
        }
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
