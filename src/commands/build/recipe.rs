//! The flags that say what is read of the recipe, and with which values. Not its job: reading it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use builder::{Epoch, Platform};

use super::call::{Call, What, call};
use crate::report::Failure;

/// The recipe and its values.
#[derive(Debug, clap::Args)]
pub(super) struct Recipe {
    /// The recipe [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// A value for an ARG; without one, that of our own environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// What the image is for: os/architecture[/variant]; FROM takes that one of an index. Several, behind commas or given
    /// several times, make one image for them all
    #[arg(long, value_name = "PLATFORM", value_parser = platform, value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Build this stage instead of the last one
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long, group = "instead")]
    pub(super) plan: bool,
    /// Say what is wrong or likely wrong in the recipe, and do nothing
    #[arg(long, group = "instead")]
    check: bool,
    /// Say what the recipe takes (outline), which stages it has (targets) or what is wrong in it (check), and do nothing;
    /// with ,format=json for programs
    #[arg(long, value_name = "METHOD[,format=json]", group = "instead", value_parser = call)]
    call: Option<Call>,
    /// How to print what is said instead of a build [default: a plan as json, others as text]
    #[arg(long, requires = "instead", value_parser = ["json", "text"])]
    format: Option<String>,
}

impl Recipe {
    /// What is done.
    pub(super) fn what(&self) -> What {
        match (self.check, self.call) {
            (true, _) => What::Check,
            (false, call) => call.map_or(What::Build, |call| call.what),
        }
    }

    /// Whether what is said instead of a build is printed as JSON.
    pub(super) fn is_json(&self) -> Result<bool, Failure> {
        match self.format.as_deref() {
            Some("text") if self.plan => Err(Failure::new("--plan: it is printed as json alone")),
            Some(format) => Ok(self.plan || format == "json"),
            None => Ok(self.plan || self.call.and_then(|call| call.json) == Some(true)),
        }
    }

    /// What the image is for, each once, in the order in which they were given; none means this machine.
    pub(super) fn platforms(&self) -> Vec<Platform> {
        let mut all = Vec::new();
        for platform in &self.platform {
            if !all.contains(platform) {
                all.push(platform.clone());
            }
        }
        all
    }

    /// Whether something is said instead of a build.
    pub(super) fn is_instead(&self) -> bool {
        self.plan || self.what() != What::Build
    }

    pub(super) fn build_args(&self) -> BTreeMap<String, String> {
        self.build_arg
            .iter()
            .filter_map(|argument| match argument.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => Some((argument.clone(), std::env::var(argument).ok()?)),
            })
            .collect()
    }
}

/// SOURCE_DATE_EPOCH, as a build arg or in our environment.
pub(crate) fn epoch(build_args: &BTreeMap<String, String>) -> Result<Option<Epoch>, Failure> {
    let name = "SOURCE_DATE_EPOCH";
    let given = build_args.get(name).cloned();
    let Some(text) = given.or_else(|| std::env::var(name).ok()) else {
        return Ok(None);
    };
    Epoch::parse(&text).map(Some).map_err(Failure::new)
}

fn platform(text: &str) -> Result<Platform, String> {
    match Platform::parse(text)? {
        linux if linux.os == "linux" => Ok(linux),
        other => Err(format!("{other}: only linux is supported")),
    }
}
