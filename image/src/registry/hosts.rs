//! Which servers serve a registry: the `hosts.toml` and certificates of containerd's `certs.d`, one folder a
//! registry. Not its job: reaching them.

use std::path::{Path, PathBuf};

use sys::Errno;
use sys::file;
use toml::{Table, Value};

use super::address::Address;
use super::endpoint::{Can, Endpoint, Plain};
use super::transport::Trust;
use crate::error::Doing;
use crate::{Error, Result};

/// A file of hosts.
const MAX_FILE: u64 = 1 << 20;

/// Servers of one registry.
const MAX_SERVERS: usize = 32;

/// The servers of the registry `domain`, mirrors first and itself last, as the first of `folders` says that
/// has a folder for it (or one called `_default`). Without one, the registry itself.
pub(super) fn endpoints(
    folders: &[PathBuf],
    domain: &str,
    insecure: bool,
) -> Result<Vec<Endpoint>> {
    let mut own = Endpoint::of_registry(domain, insecure)?;
    let Some(folder) = folder_of(folders, domain)? else {
        return Ok(vec![own]);
    };
    let path = folder.join("hosts.toml");
    let bytes = match file::read(&path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(e) if e.errno == Errno::NOENT => {
            // docker's way: certificates alone.
            certificates(&folder, &mut own.trust)?;
            return Ok(vec![own]);
        }
        Err(e) => return Err(e).doing(|| format!("read {}", path.display())),
    };
    let text = String::from_utf8_lossy(&bytes);
    parse(&text, &folder, own).map_err(|e| e.inside(path.display().to_string()))
}

/// The folder for a registry. Its name is one of a host, so it is no path.
fn folder_of(folders: &[PathBuf], domain: &str) -> Result<Option<PathBuf>> {
    for name in [domain, "_default"] {
        for folder in folders {
            let path = folder.join(name);
            if file::is_dir(&path).doing(|| format!("look for {}", path.display()))? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// `*.crt` are authorities; `NAME.cert` with `NAME.key` is who we are.
fn certificates(folder: &Path, trust: &mut Trust) -> Result<()> {
    let doing = || format!("read {}", folder.display());
    let dir = file::open_dir(folder).doing(doing)?;
    let mut names: Vec<_> = file::list(&dir)
        .doing(doing)?
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => trust.authorities.push(path),
            Some("cert") => trust.own = Some((path.clone(), path.with_extension("key"))),
            _ => {}
        }
    }
    Ok(())
}

fn parse(text: &str, folder: &Path, own: Endpoint) -> Result<Vec<Endpoint>> {
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let place = e
            .span()
            .map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let line = place.map_or(String::new(), |line| format!("line {line}: "));
        Error::refused(
            format!("hosts.toml, {line}")
                .trim_end_matches([' ', ':', ','])
                .to_owned(),
            e.message(),
        )
    })?;
    let mut found = Vec::new();
    if let Some(hosts) = table.get("host") {
        let hosts = hosts
            .as_table()
            .ok_or_else(|| Error::refused("host", "it is no table"))?;
        for (name, settings) in hosts {
            let settings = settings
                .as_table()
                .ok_or_else(|| Error::refused(format!("host {name:?}"), "it is no table"))?;
            found.push(
                server(name, settings, folder, &own)
                    .map_err(|e| e.inside(format!("host {name:?}")))?,
            );
        }
    }
    // What stands outside of all hosts is about the registry itself.
    let mut settings = table;
    settings.remove("host");
    let last = match settings.remove("server") {
        None => {
            let mut last = own;
            apply(&settings, folder, &mut last)?;
            last
        }
        Some(Value::String(name)) => {
            let mut last = server(&name, &settings, folder, &own)?;
            last.domain.clone_from(&own.domain);
            last.namespace = None;
            last
        }
        Some(_) => return Err(Error::refused("server", "it is no text")),
    };
    found.push(last);
    match found.len() > MAX_SERVERS {
        true => Err(Error::refused(
            "host",
            format!("more than {MAX_SERVERS} of them"),
        )),
        false => Ok(found),
    }
}

/// One server, by its address (`host`, `https://host:port/path`).
fn server(name: &str, settings: &Table, folder: &Path, own: &Endpoint) -> Result<Endpoint> {
    let refuse = |rule| Error::refused(format!("server {name:?}"), rule);
    let whole = match name.contains("://") {
        true => name.to_owned(),
        false => format!("https://{name}"),
    };
    let address = Address::parse(&whole).map_err(refuse)?;
    if address.path.contains('?') {
        return Err(refuse("it has a query"));
    }
    let path = address.path.trim_end_matches('/').to_owned();
    let authority = whole.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let mut server = Endpoint {
        domain: authority.to_owned(),
        plain_port: address.origin.port,
        plain: match address.origin.tls {
            true => Plain::Never,
            false => Plain::Always,
        },
        insecure: own.insecure || !address.origin.tls,
        origin: address.origin,
        prefix: match path.ends_with("/v2") {
            true => path,
            false => format!("{path}/v2"),
        },
        namespace: Some(own.domain.clone()),
        trust: Trust {
            verify: own.trust.verify,
            ..Trust::default()
        },
        headers: Vec::new(),
        can: Can::ALL,
    };
    if settings.get("override_path").and_then(Value::as_bool) == Some(true) {
        server.prefix = address.path.trim_end_matches('/').to_owned();
    }
    apply(settings, folder, &mut server)?;
    Ok(server)
}

/// What a server's settings say. What dhow does not know is refused by its name: a setting about trust must
/// not be passed over.
fn apply(settings: &Table, folder: &Path, server: &mut Endpoint) -> Result<()> {
    for (key, value) in settings {
        let wrong = |rule: &str| Error::refused(key.clone(), rule);
        match (key.as_str(), value) {
            ("capabilities", Value::Array(words)) => server.can = capabilities(words)?,
            ("ca", value) => server.trust.authorities = paths(key, value, folder)?,
            ("client", value) => server.trust.own = client(value, folder)?,
            ("skip_verify", Value::Boolean(skip)) => {
                server.trust.verify = server.trust.verify && !skip;
            }
            ("override_path", Value::Boolean(_)) => {}
            ("header", Value::Table(headers)) => server.headers = header_lines(headers)?,
            ("capabilities" | "skip_verify" | "override_path" | "header", _) => {
                return Err(wrong("it has another type"));
            }
            _ => {
                return Err(Error::Unsupported {
                    what: format!("the setting {key:?}"),
                });
            }
        }
    }
    Ok(())
}

fn capabilities(words: &[Value]) -> Result<Can> {
    let mut can = Can {
        resolve: false,
        pull: false,
        push: false,
    };
    for word in words {
        match word.as_str() {
            Some("resolve") => can.resolve = true,
            Some("pull") => can.pull = true,
            Some("push") => can.push = true,
            // What it says of a registry's other services.
            Some("referrers") => {}
            _ => {
                let rule = format!("{word:?} is none of pull, resolve and push");
                return Err(Error::refused("capabilities", rule));
            }
        }
    }
    Ok(can)
}

/// One path or several; relative ones begin in the folder of the file.
fn paths(key: &str, value: &Value, folder: &Path) -> Result<Vec<PathBuf>> {
    let path = |value: &Value| {
        let text = value
            .as_str()
            .ok_or_else(|| Error::refused(key, "it is no path"))?;
        Ok(folder.join(text))
    };
    match value {
        Value::Array(values) => values.iter().map(path).collect(),
        value => Ok(vec![path(value)?]),
    }
}

/// A file that holds certificate and key, or a pair of files, in a list or not.
fn client(value: &Value, folder: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    match value {
        Value::String(_) => {
            let both = paths("client", value, folder)?;
            Ok(both.first().map(|path| (path.clone(), path.clone())))
        }
        Value::Array(values) => match &values[..] {
            [] => Ok(None),
            [Value::String(chain), Value::String(key)] if !key.is_empty() => {
                Ok(Some((folder.join(chain), folder.join(key))))
            }
            [first] => client(first, folder),
            [first @ Value::Array(_), ..] => client(first, folder),
            _ => Err(Error::refused(
                "client",
                "it is no certificate with its key",
            )),
        },
        _ => Err(Error::refused("client", "it is no path")),
    }
}

fn header_lines(headers: &Table) -> Result<Vec<(String, String)>> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        let refuse = |rule| Error::refused(format!("header {name:?}"), rule);
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if name.is_empty() || !name.bytes().all(legal) {
            return Err(refuse("it is no name of a header"));
        }
        let values = match value {
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        for value in values {
            let text = value
                .as_str()
                .filter(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b)));
            lines.push((
                name.clone(),
                text.ok_or_else(|| refuse("it is no line of text"))?
                    .to_owned(),
            ));
        }
    }
    Ok(lines)
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
