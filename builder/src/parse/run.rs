//! RUN: its command, and its mounts checked key by key. Not its job: carrying them out.

use super::Request;
use super::command::command_line;
use super::flags::Flags;
use crate::diagnostic::{Checked, Fault, did_you_mean};
use crate::instruction::{CommandLine, Mount, MountKind, Network, Run, Security};
use crate::words::Word;

/// RUN.
pub(super) fn run(request: &Request<'_>) -> Checked<Run> {
    let known = ["mount*", "network", "security", "device*"];
    let flags = Flags::read(&request.parts.flags, &known)?;
    let command = command_line(request)?;
    if command == CommandLine::Exec(Vec::new()) {
        return request.fault("arguments are required: RUN [] runs nothing");
    }
    let mounts = flags.values("mount")?;
    Ok(Run {
        command,
        heredocs: request.line.heredocs.clone(),
        mounts: mounts.iter().map(mount).collect::<Checked<_>>()?,
        network: network(flags.value("network")?)?,
        security: security(flags.value("security")?)?,
        devices: flags.values("device")?,
    })
}

fn network(word: Option<Word>) -> Checked<Network> {
    let Some(word) = word else {
        return Ok(Network::Default);
    };
    Ok(match word.text.as_str() {
        "default" => Network::Default,
        "none" => Network::None,
        "host" => Network::Host,
        other => {
            let near = did_you_mean(other, ["default", "none", "host"]);
            return Err(Fault::new(
                word.span,
                format!("invalid network mode: {other:?}{near}"),
            ));
        }
    })
}

fn security(word: Option<Word>) -> Checked<Security> {
    let Some(word) = word else {
        return Ok(Security::Sandbox);
    };
    Ok(match word.text.as_str() {
        "sandbox" => Security::Sandbox,
        "insecure" => Security::Insecure,
        other => {
            let near = did_you_mean(other, ["sandbox", "insecure"]);
            return Err(Fault::new(
                word.span,
                format!("security mode {other:?} is not valid{near}"),
            ));
        }
    })
}

const KINDS: [MountKind; 5] = [
    MountKind::Bind,
    MountKind::Cache,
    MountKind::Tmpfs,
    MountKind::Secret,
    MountKind::Ssh,
];

/// The keys of every type; a secret and a cache have more in common with files than with each other.
fn keys(kind: MountKind) -> &'static [&'static str] {
    match kind {
        MountKind::Bind => &[
            "from",
            "source",
            "src",
            "target",
            "dst",
            "destination",
            "readonly",
            "ro",
            "readwrite",
            "rw",
        ],
        MountKind::Cache => &[
            "id",
            "sharing",
            "from",
            "source",
            "src",
            "target",
            "dst",
            "destination",
            "mode",
            "uid",
            "gid",
            "readonly",
            "ro",
            "readwrite",
            "rw",
        ],
        MountKind::Tmpfs => &["target", "dst", "destination", "size"],
        MountKind::Secret => &[
            "id",
            "source",
            "src",
            "target",
            "dst",
            "destination",
            "env",
            "required",
            "mode",
            "uid",
            "gid",
        ],
        MountKind::Ssh => &[
            "id",
            "target",
            "dst",
            "destination",
            "required",
            "mode",
            "uid",
            "gid",
        ],
    }
}

fn mount(word: &Word) -> Checked<Mount> {
    let fault = |message: String| Err(Fault::new(word.span, message));
    let mut kind = MountKind::Bind;
    let mut options: Vec<(String, Option<String>)> = Vec::new();
    for field in fields(&word.text) {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
            None => (field.to_lowercase(), None),
        };
        if key != "type" {
            options.push((key, value));
            continue;
        }
        let wanted = value.unwrap_or_default().to_lowercase();
        kind = match KINDS.into_iter().find(|known| known.name() == wanted) {
            Some(known) => known,
            None => {
                let near = did_you_mean(&wanted, KINDS.map(MountKind::name));
                return fault(format!("unsupported mount type {wanted:?}{near}"));
            }
        };
    }
    for (key, value) in &options {
        if !keys(kind).contains(&key.as_str()) {
            let near = did_you_mean(key, keys(kind).iter().copied());
            let name = kind.name();
            return fault(format!(
                "unexpected key '{key}' for mount type '{name}'{near}"
            ));
        }
        let bare = matches!(
            key.as_str(),
            "readonly" | "ro" | "readwrite" | "rw" | "required"
        );
        match value.as_deref() {
            None if !bare => return fault(format!("mount key '{key}' needs a value: {key}=…")),
            Some(text) if bare && text.parse::<bool>().is_err() => {
                return fault(format!("invalid value for {key}: {text}"));
            }
            Some(text) if key == "from" && text.contains('$') => {
                return fault(
                    "'from' doesn't support variable expansion, define alias stage instead"
                        .to_owned(),
                );
            }
            _ => {}
        }
    }
    let mount = Mount {
        kind,
        options,
        span: word.span,
    };
    complete(&mount)?;
    Ok(mount)
}

/// What a type needs, and what excludes what.
fn complete(mount: &Mount) -> Checked<()> {
    let fault = |message: &str| Err(Fault::new(mount.span, message));
    let target = mount.option(&["target", "dst", "destination"]);
    match mount.kind {
        MountKind::Bind | MountKind::Cache | MountKind::Tmpfs => match target {
            None | Some("") => fault("mount needs a target: target=/path"),
            Some("/") => fault("invalid mount target \"/\""),
            Some(_) => Ok(()),
        },
        MountKind::Secret => {
            if target.is_none() && mount.option(&["id", "source", "src"]).is_none() {
                return fault("invalid secret mount: one of id, source or target must be given");
            }
            Ok(())
        }
        MountKind::Ssh => Ok(()),
    }
}

/// The fields of a line of comma-separated values; a field in double quotes may hold commas.
fn fields(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields.retain(|field| !field.is_empty());
    fields
}
