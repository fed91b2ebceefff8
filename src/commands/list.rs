//! `dhow list`: the containers, as a table or JSON.

use std::ffi::OsString;

use runtime::{ContainerId, Snapshot, Store};

use super::{Outcome, parse};
use crate::global::Global;
use crate::log;
use crate::report::{because, say};
use crate::tables::table;

/// List the containers
#[derive(Debug, clap::Parser)]
#[command(name = "list")]
struct Args {
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// How to show them
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let root = global.state_root()?;
    // The default place is made by the first create; a place that was named must be there.
    let listed = if global.root.is_none() && !sys::file::exists(&root).map_err(because)? {
        Vec::new()
    } else {
        runtime::list(&Store::new(root))?
    };
    let mut known: Vec<(ContainerId, Snapshot)> = Vec::new();
    for (id, snapshot) in listed {
        match snapshot {
            Ok(snapshot) => known.push((id, snapshot)),
            // Deleted between the listing and the look, or cut off before its first record.
            Err(runtime::Error::Missing { .. }) => {}
            // The others are listed all the same, with success: callers of runc want those.
            Err(e) => log::warn(format_args!("{}", runtime::chain(&e))),
        }
    }
    say(format_args!("{}", shown(&args, &known)?));
    Ok(0)
}

fn shown(args: &Args, known: &[(ContainerId, Snapshot)]) -> Result<String, crate::report::Failure> {
    if args.quiet {
        return Ok(known.iter().map(|(id, _)| format!("{id}\n")).collect());
    }
    if args.format == "json" {
        let reports: Vec<_> = known
            .iter()
            .map(|(_, s)| s.record.report(s.status))
            .collect();
        return Ok(format!(
            "{}\n",
            serde_json::to_string(&reports).map_err(because)?
        ));
    }
    let rows: Vec<[String; 6]> = known
        .iter()
        .map(|(id, snapshot)| {
            let report = snapshot.record.report(snapshot.status);
            [
                id.to_string(),
                report.pid.to_string(),
                report.status.to_owned(),
                snapshot.record.bundle.display().to_string(),
                snapshot.record.created.clone(),
                report.owner.clone(),
            ]
        })
        .collect();
    Ok(table(
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
        &rows,
    ))
}
