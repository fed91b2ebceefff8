//! One recipe for one platform after the other, and what cannot be had for several at once. Not its job: a build
//! (builder), and where its results go (`deliver`).

use std::path::Path;

use builder::{Context, Event, Options, Platform};
use image::{Format, Store};

use super::cache_places::{Place, Target};
use super::deliver::Made;
use super::destination::Destination;
use super::output::Wanted;
use super::show::{Aside, Show};
use crate::report::{Failure, because};

/// Refuses what several platforms cannot have.
pub(super) fn check(
    platforms: &[Platform],
    options: &Options,
    wanted: &Wanted,
    targets: &[Target],
) -> Result<(), Failure> {
    let input = options.file.as_deref() == Some(Path::new("-"));
    let refusal = if platforms.len() < 2 {
        None
    } else if input || options.context == Context::Input {
        Some("standard input can be read once: the context must be a folder, a file or an address")
    } else if wanted.destinations.iter().any(|(to, _)| is_for_one(to)) {
        Some(
            "--output type=tar and type=docker are for one: type=oci, registry and local take several",
        )
    } else if targets.iter().any(|target| target.place != Place::Inline) {
        Some("--cache-to is for one, but for type=inline")
    } else {
        None
    };
    match refusal {
        Some(why) => Err(Failure::new(format!("--platform with several: {why}"))),
        None => Ok(()),
    }
}

fn is_for_one(destination: &Destination) -> bool {
    let docker = matches!(destination, Destination::Archive(Format::DockerArchive, ..));
    docker || matches!(destination, Destination::Tar(_))
}

/// Builds for each of the platforms; for this machine if there are none. `begin` begins to show one build.
pub(super) fn build<'a>(
    store: &'a Store,
    options: &Options,
    platforms: &[Platform],
    begin: &mut dyn FnMut() -> Result<Show, Failure>,
) -> Result<(Vec<Made<'a>>, Aside), Failure> {
    let mut made = Vec::new();
    let one = platforms.len() < 2;
    let wanted: Vec<Option<&Platform>> = match platforms {
        [] => vec![None],
        all => all.iter().map(Some).collect(),
    };
    let mut aside = Aside::Quiet;
    for platform in wanted {
        let mut options = options.clone();
        options.settings.platform = platform.cloned();
        let label = platform.filter(|_| !one).map(Platform::to_string);
        let mut show = begin()?;
        let built = builder::build(store, &options, &mut |event| match &label {
            None => show.event(&event),
            Some(label) => labelled(&mut show, label, event),
        });
        aside = show.end();
        made.push(Made {
            platform: platform.cloned().unwrap_or_else(Platform::here),
            finished: built.map_err(because)?,
        });
    }
    Ok((made, aside))
}

/// Shows a step with its platform before its stage's name.
fn labelled(show: &mut Show, label: &str, event: Event<'_>) {
    let Event::Step {
        number,
        total,
        stage,
        text,
    } = event
    else {
        return show.event(&event);
    };
    let stage = match stage {
        Some(stage) => format!("{label} {stage}"),
        None => label.to_owned(),
    };
    show.event(&Event::Step {
        number,
        total,
        stage: Some(&stage),
        text,
    });
}
