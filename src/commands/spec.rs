//! `dhow spec`: a configuration to begin with, the one that runc writes; with `--rootless` one that runs
//! without root.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because};

/// Write a config.json to begin with
#[derive(Debug, clap::Parser)]
#[command(name = "spec")]
struct Args {
    /// The bundle's folder
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Another file than config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For a container that runs without root
    #[arg(long)]
    rootless: bool,
}

const DEFAULT: &str = include_str!("spec/default.json");

pub(crate) fn run(_: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let name = args.config.unwrap_or_else(|| "config.json".into());
    let path = args.bundle.unwrap_or_default().join(name);
    let text = match args.rootless {
        false => DEFAULT.to_owned(),
        true => {
            let (uid, gid) = sys::privileges::ids();
            let spec = serde_json::from_str(DEFAULT).map_err(because)?;
            printed(&rootless(spec, uid, gid)).map_err(because)?
        }
    };
    write(&path, &text)?;
    Ok(0)
}

/// A file that is there already is somebody's work.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = match sys::file::create_new(path, 0o666) {
        Ok(file) => file,
        Err(e) if e.errno == sys::Errno::EXIST => {
            let path = path.display();
            return Err(Failure::new(format!("{path} exists: remove it first")));
        }
        Err(e) => return Err(because(e)),
    };
    file.write_all(text.as_bytes())
        .map_err(|e| Failure::new(format!("write {}: {e}", path.display())))
}

/// As runc's: the caller's own ids are root's, the host's network and /sys are shown, and there are no
/// limits, which take rights that a user may not have.
fn rootless(mut spec: Value, uid: u32, gid: u32) -> Value {
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let linux = &mut spec["linux"];
    linux["uidMappings"] = map(uid);
    linux["gidMappings"] = map(gid);
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "user"}));
    }
    if let Some(linux) = linux.as_object_mut() {
        linux.shift_remove("resources");
    }
    for mount in spec["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            *mount = json!({
                "destination": "/sys",
                "type": "none",
                "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            });
        }
        // Ids that the map does not hold.
        if let Some(options) = mount["options"].as_array_mut() {
            let id = |option: &str| option.starts_with("gid=") || option.starts_with("uid=");
            options.retain(|option| !option.as_str().is_some_and(id));
        }
    }
    spec
}

/// With tabs, as the other one.
fn printed(spec: &Value) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    spec.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes, form,
    ))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_configurations_are_valid() {
        let default: Value = serde_json::from_str(DEFAULT).unwrap();
        for spec in [default.clone(), rootless(default, 1000, 1000)] {
            let bytes = serde_json::to_vec(&spec).unwrap();
            let judgement = runtime::judge::judge_bytes(Path::new("/b"), &bytes);
            assert_eq!(judgement.faults.0, []);
            assert_eq!(judgement.unknown, [""; 0]);
        }
    }

    #[test]
    fn the_default_is_printed_as_it_stands() {
        let spec: Value = serde_json::from_str(DEFAULT).unwrap();
        assert_eq!(printed(&spec).unwrap(), DEFAULT);
    }
}
