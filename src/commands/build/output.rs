//! The flags that say what becomes of the image, and what is told of it. Not its job: bringing it there
//! (`deliver`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use builder::Attest;
use image::registry::Under;
use image::{MediaTypes, Reference};

use super::compression::Form;
use super::destination::{self, Destination};
use crate::report::{Failure, because};

/// What becomes of the image.
#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// The image's name; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    tag: Vec<String>,
    /// A label for the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Where the result goes, in place of the store alone: a folder, `-` for a tar on stdout, or
    /// type=local|tar|oci|docker|image|registry|cacheonly, with dest=PATH or name=NAME behind commas; may be given
    /// several times
    #[arg(short, long, value_name = "DEST")]
    output: Vec<String>,
    /// Bring the image to the registries that its names say
    #[arg(long)]
    push: bool,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    pub(super) iidfile: Option<PathBuf>,
    /// Write what is known of the image to a file, as JSON in buildx' words
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
    /// Print the image's id alone
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// What the flags come to.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The names of `-t`.
    pub(super) names: Vec<Reference>,
    /// Where the result goes, and how; never none.
    pub(super) destinations: Vec<(Destination, Form)>,
}

impl Output {
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for label in &self.label {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            labels.insert(name.to_owned(), value.to_owned());
        }
        labels
    }

    /// Where the result goes; what can't be meant is refused before anything is done.
    pub(super) fn wanted(&self, attest: &Attest) -> Result<Wanted, Failure> {
        let mut destinations = Vec::new();
        for text in &self.output {
            let parsed = destination::parse(text)
                .map_err(|why| Failure::new(format!("--output {text}: {why}")))?;
            destinations.push(parsed);
        }
        if self.push || destinations.is_empty() {
            let to = Destination::Image {
                names: Vec::new(),
                push: self.push,
            };
            destinations.push((to, Form::of_pushes()));
        }
        let names = self.names()?;
        for (destination, _) in &destinations {
            let unnamed = names.is_empty() && destination.names().is_empty();
            if unnamed && matches!(destination, Destination::Image { push: true, .. }) {
                return Err(Failure::new(
                    "--push: the image has no name; give one by -t",
                ));
            }
        }
        let by_digest = |(_, form): &(_, Form)| form.under == Under::Digest;
        if !names.is_empty() && destinations.iter().any(by_digest) {
            return Err(Failure::new(
                "--output push-by-digest=true: no name is given by -t then",
            ));
        }
        check_attestations(attest, &destinations)?;
        let streams = destinations.iter().filter(|(to, _)| to.is_stdout()).count();
        if streams > 1 {
            return Err(Failure::new("--output: only one can go to stdout"));
        }
        if streams == 1 && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            return Err(Failure::new(
                "--output: an archive is not for a terminal; say dest=FILE",
            ));
        }
        Ok(Wanted {
            names,
            destinations,
        })
    }

    fn names(&self) -> Result<Vec<Reference>, Failure> {
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
}

/// What is to be said must have a place.
fn check_attestations(attest: &Attest, to: &[(Destination, Form)]) -> Result<(), Failure> {
    if *attest == Attest::default() {
        return Ok(());
    }
    if attest.needs_place() && !to.iter().any(|(to, _)| to.takes_attestations()) {
        return Err(Failure::new(
            "--provenance, --sbom: no output takes them; they go with --push, type=oci, registry, local and tar",
        ));
    }
    if to.iter().any(|(_, form)| form.types == MediaTypes::Docker) {
        return Err(Failure::new(
            "--output oci-mediatypes=false: provenance and SBOM need OCI's media types",
        ));
    }
    Ok(())
}
