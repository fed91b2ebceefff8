//! The flags that say what becomes of the image, and what is told of it. Not its job: making it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use image::registry::{Access, PushOptions};
use image::{Image, Reference, Store};
use serde_json::json;

use crate::progress::Progress;
use crate::report::{Failure, because};
use crate::whole;

/// What becomes of the image.
#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// The image's name; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    tag: Vec<String>,
    /// A label for the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Bring the image to the registries that its names say
    #[arg(long)]
    push: bool,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write what is known of the image to a file, as JSON in buildx' words
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Print the image's id alone
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl Output {
    pub(super) fn names(&self) -> Result<Vec<Reference>, Failure> {
        let named = |text: &String| -> Result<Reference, Failure> {
            let name: Reference = text.parse().map_err(because)?;
            match name.digest() {
                Some(_) => Err(Failure::new(format!(
                    "--tag {text}: a new image's digest can't be chosen"
                ))),
                None => Ok(name),
            }
        };
        self.tag.iter().map(named).collect()
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for label in &self.label {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            labels.insert(name.to_owned(), value.to_owned());
        }
        labels
    }

    /// What must be right before anything is done. An id of an earlier build must not be taken for that
    /// of one that fails.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        if self.push && self.tag.is_empty() {
            return Err(Failure::new(
                "--push: the image has no name; give one by -t",
            ));
        }
        for path in [&self.iidfile, &self.metadata_file].into_iter().flatten() {
            match sys::file::remove_file(path) {
                Err(e) if e.errno != sys::Errno::NOENT => return Err(because(e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Brings the finished image to where it is wanted, and says what it is.
    pub(super) fn deliver(
        &self,
        store: &Store,
        image: &Image,
        access: &Access,
    ) -> Result<(), Failure> {
        if self.push {
            for name in &self.names()? {
                let progress = Progress::begin(&format!("push {}", name.familiar()), self.quiet);
                let options = PushOptions {
                    watch: Some(progress.watch()),
                };
                let pushed = store.push(image, name, access, &options);
                progress.end();
                pushed.map_err(because)?;
            }
        }
        if let Some(path) = &self.iidfile {
            put(path, &image.id.to_string())?;
        }
        if let Some(path) = &self.metadata_file {
            put(path, &format!("{:#}\n", self.metadata(image)?))?;
        }
        Ok(())
    }

    /// buildx' words; what it says of its own builders there is none of.
    fn metadata(&self, image: &Image) -> Result<serde_json::Value, Failure> {
        let mut metadata = json!({
            "containerimage.config.digest": image.id,
            "containerimage.digest": image.manifest,
        });
        let names: Vec<String> = self.names()?.iter().map(Reference::to_string).collect();
        if !names.is_empty() {
            metadata["image.name"] = json!(names.join(","));
        }
        Ok(metadata)
    }
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    whole::write(path, |out| out.write_all(text.as_bytes()).map_err(because))
}
