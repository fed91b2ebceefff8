//! RUN: its command and flags. Not its job: what the keys of mounts mean (see `mounts`).

use super::Request;
use super::command::command_line;
use super::flags::Flags;
use crate::diagnostic::{Checked, Fault, did_you_mean, one_of};
use crate::instruction::{CommandLine, Device, Mount, Network, Run, Security};
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
    let devices = flags.values("device")?;
    Ok(Run {
        command,
        heredocs: request.line.heredocs.clone(),
        mounts: mounts.iter().map(mount).collect::<Checked<_>>()?,
        network: network(flags.value("network")?)?,
        security: security(flags.value("security")?)?,
        devices: devices.iter().map(device).collect::<Checked<_>>()?,
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
            let near = one_of(other, ["default", "none", "host"]);
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
            let near = one_of(other, ["sandbox", "insecure"]);
            return Err(Fault::new(
                word.span,
                format!("security mode {other:?} is not valid{near}"),
            ));
        }
    })
}

/// `--mount`: its keys and values. Which keys its type has is asked once the variables are known.
fn mount(word: &Word) -> Checked<Mount> {
    let mut options: Vec<(String, Option<String>)> = Vec::new();
    let mut from = None;
    for field in fields(word, "mount")? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
            None => (field.to_lowercase(), None),
        };
        if let Some(text) = value.as_ref().filter(|_| key == "from") {
            if text.find('$').is_some_and(|at| at + 1 < text.len()) {
                return Err(Fault::new(
                    word.span,
                    "'from' doesn't support variable expansion, define alias stage instead",
                ));
            }
            from = Some(Word {
                text: text.clone(),
                span: word.span,
            })
            .filter(|word| !word.text.is_empty());
        }
        options.push((key, value));
    }
    Ok(Mount {
        options,
        from,
        span: word.span,
    })
}

/// `--device`: a name and whether it is required.
fn device(word: &Word) -> Checked<Device> {
    let fault = |message: String| Err(Fault::new(word.span, message));
    let mut device = Device::default();
    for field in fields(word, "device")? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None | Some("true")) => device.required = true,
            ("required", Some("false")) => device.required = false,
            ("required", Some(value)) => {
                return fault(format!(
                    "invalid value for required: {value} (true or false)"
                ));
            }
            ("name", Some(value)) if device.name.is_empty() => value.clone_into(&mut device.name),
            ("name", Some(_)) => {
                return fault(format!("device name already set to {}", device.name));
            }
            // The name alone may hold an equals sign: vendor.com/class=name.
            _ if device.name.is_empty() => device.name.clone_from(&field),
            (key, _) => {
                let near = did_you_mean(key, ["name", "required"]);
                return fault(format!("unexpected key '{key}' in '{field}'{near}"));
            }
        }
    }
    Ok(device)
}

/// The fields of a line of comma-separated values; a field in double quotes may hold commas.
fn fields(word: &Word, flag: &str) -> Checked<Vec<String>> {
    let fault = |why: &str| {
        let message = format!("--{flag}: not a list of comma-separated values: {why}");
        Err(Fault::new(word.span, message))
    };
    if word.text.is_empty() {
        return fault("it is empty");
    }
    let mut fields = Vec::new();
    let mut rest = word.text.as_str();
    loop {
        let mut field = String::new();
        if let Some(mut inner) = rest.strip_prefix('"') {
            loop {
                let Some((part, after)) = inner.split_once('"') else {
                    return fault("a quote does not close");
                };
                field.push_str(part);
                rest = after;
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        inner = more;
                    }
                    None => break,
                }
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return fault("text follows a quote");
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            if field.contains('"') {
                return fault("a quote stands in a field that does not begin with one");
            }
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}
