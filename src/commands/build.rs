//! `dhow build`: a recipe becomes an image. Not its job: the recipe's language (builder).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use builder::{NetworkDefault, Options, Settings};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say, visible};

/// Build an image from a recipe
#[derive(Debug, clap::Parser)]
#[command(name = "build")]
struct Args {
    /// The image's name; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    tag: Vec<String>,
    /// The recipe [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A value for an ARG; without one, that of our own environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Build this stage instead of the last one
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A label for the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// What RUN sees of networks: loopback alone, or the host's
    #[arg(long, value_name = "MODE", default_value = "none", value_parser = ["none", "host"])]
    network: String,
    /// Do every step anew
    #[arg(long)]
    no_cache: bool,
    /// Print the image's id alone
    #[arg(short, long)]
    quiet: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    plan: bool,
    /// How to print the plan
    #[arg(long, requires = "plan", default_value = "json", value_parser = ["json"])]
    format: String,
    /// The folder that COPY takes files from
    context: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let options = options(global, &args)?;
    if args.plan {
        let mut open = || image::Store::open(&global.image_store().unwrap_or_default());
        let plan = builder::plan_only(&options, &mut open).map_err(because)?;
        say(format_args!("{:#}\n", plan.to_json()));
        return Ok(0);
    }
    // RUN's programs must not be able to write to dhow itself.
    runtime::guard(runtime::Aim::Make)?;
    let store = image::Store::open(&global.image_store()?).map_err(because)?;
    let mut show = |event: builder::Event<'_>| {
        if !args.quiet {
            show(&event);
        }
    };
    let image = builder::build(&store, &options, &mut show).map_err(because)?;
    say(format_args!("{}\n", image.id));
    Ok(0)
}

fn options(global: &Global, args: &Args) -> Result<Options, Failure> {
    if args.context == "-" || args.context.contains("://") {
        return Err(Failure::new(format!(
            "context {}: not supported yet (only a folder)",
            args.context
        )));
    }
    let names = args.tag.iter().map(|name| name.parse().map_err(because));
    let build_args = build_args(&args.build_arg);
    let mut labels = BTreeMap::new();
    for label in &args.label {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(Options {
        context: PathBuf::from(&args.context),
        file: args.file.clone(),
        names: names.collect::<Result<_, _>>()?,
        // Else the beginning of time.
        epoch: epoch(&build_args)?.unwrap_or(0),
        settings: Settings {
            build_args,
            target: args.target.clone(),
            labels,
            network: match args.network.as_str() {
                "host" => NetworkDefault::Host,
                _ => NetworkDefault::None,
            },
        },
        no_cache: args.no_cache,
        state: global.state_root()?,
    })
}

fn build_args(given: &[String]) -> BTreeMap<String, String> {
    given
        .iter()
        .filter_map(|argument| match argument.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((argument.clone(), std::env::var(argument).ok()?)),
        })
        .collect()
}

/// SOURCE_DATE_EPOCH, as a build arg or in our environment.
pub(super) fn epoch(build_args: &BTreeMap<String, String>) -> Result<Option<i64>, Failure> {
    let name = "SOURCE_DATE_EPOCH";
    let given = build_args.get(name).cloned();
    let Some(text) = given.or_else(|| std::env::var(name).ok()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Failure::new(format!(
            "{name}={text}: it must be a number of seconds since 1970"
        ))
    })
}

fn show(event: &builder::Event<'_>) {
    match event {
        builder::Event::Warning(text) => eprintln!("warning: {}", visible(text)),
        builder::Event::Step {
            number,
            total,
            stage,
            text,
        } => {
            let stage = stage.map(|stage| format!("{stage} ")).unwrap_or_default();
            eprintln!("[{stage}{number}/{total}] {}", visible(text));
        }
        builder::Event::Cached => eprintln!("  cached"),
        builder::Event::Output(bytes) => {
            // Programs that redraw a line of a terminal write many lines of a log.
            let text = String::from_utf8_lossy(bytes)
                .replace("\r\n", "\n")
                .replace('\r', "\n");
            let text = visible(&text);
            // Who closed our stderr does not want to see it.
            let _closed = std::io::stderr().write_all(text.as_bytes());
        }
    }
}
