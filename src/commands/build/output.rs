//! The flags that say what becomes of the image, and what is told of it. Not its job: making it.

use std::collections::BTreeMap;

use image::Reference;

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
    /// Print the image's id alone
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl Output {
    pub(super) fn names(&self) -> Result<Vec<Reference>, Failure> {
        self.tag
            .iter()
            .map(|name| name.parse().map_err(because))
            .collect()
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for label in &self.label {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            labels.insert(name.to_owned(), value.to_owned());
        }
        labels
    }
}
