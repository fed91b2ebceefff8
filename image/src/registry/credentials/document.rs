//! What docker's config.json and podman's auth.json say of one registry. Pure. Not its job: reading them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value, json};

use super::Login;
use crate::{Error, Result};

/// docker's own registry has an old name in files.
const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Where the credentials of a registry are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `docker-credential-NAME` has them, for this server.
    Program { program: String, server: String },
    /// In the file itself.
    Here(Login),
    /// The file knows nothing.
    Nowhere,
}

/// The key of a registry in files, and its name to programs.
pub(super) fn key(domain: &str) -> String {
    match domain {
        HUB => HUB_KEY.to_owned(),
        other => other.to_owned(),
    }
}

/// Whether an entry's name is a spelling of this registry's: with a scheme, with the path of its API.
pub(super) fn is_of(name: &str, domain: &str) -> bool {
    let bare = ["https://", "http://"]
        .iter()
        .find_map(|scheme| name.strip_prefix(scheme));
    let bare = bare.unwrap_or(name).trim_end_matches('/');
    let bare = ["/v1", "/v2"]
        .iter()
        .find_map(|path| bare.strip_suffix(path))
        .unwrap_or(bare);
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    bare.eq_ignore_ascii_case(domain) || domain == HUB && hub.contains(&bare)
}

/// The program that keeps this registry's credentials: its own, or the one for all.
pub(super) fn program_of(
    path: &Path,
    document: &Map<String, Value>,
    domain: &str,
) -> Result<Option<String>> {
    let own = document.get("credHelpers").and_then(Value::as_object);
    let own = own.and_then(|own| own.iter().find(|(name, _)| is_of(name, domain)));
    let named = own
        .map(|(_, program)| program)
        .or(document.get("credsStore"));
    let Some(named) = named
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match named.bytes().all(legal) {
        true => Ok(Some(named.to_owned())),
        false => Err(Error::refused(
            path.display().to_string(),
            format!("{named:?} is no name of a program"),
        )),
    }
}

/// Where the file at `path` has the credentials for `repository` of `domain`.
pub(super) fn place(
    path: &Path,
    document: &Map<String, Value>,
    domain: &str,
    repository: Option<&str>,
) -> Result<Place> {
    if let Some(program) = program_of(path, document, domain)? {
        let server = key(domain);
        return Ok(Place::Program { program, server });
    }
    let Some(auths) = document.get("auths").and_then(Value::as_object) else {
        return Ok(Place::Nowhere);
    };
    // podman has entries for a part of a registry: the longest one counts.
    let mut part = repository.map(|repository| format!("{domain}/{repository}"));
    while let Some(name) = part.filter(|name| name.len() > domain.len()) {
        if let Some(login) = auths
            .get(&name)
            .map(|e| login(path, &name, e))
            .transpose()?
            .flatten()
        {
            return Ok(Place::Here(login));
        }
        part = name.rsplit_once('/').map(|(shorter, _)| shorter.to_owned());
    }
    let exact = auths.iter().filter(|(name, _)| **name == key(domain));
    let alike = auths.iter().filter(|(name, _)| is_of(name, domain));
    for (name, entry) in exact.chain(alike) {
        if let Some(login) = login(path, name, entry)? {
            return Ok(Place::Here(login));
        }
    }
    Ok(Place::Nowhere)
}

/// One entry; `None` if it is empty.
fn login(path: &Path, name: &str, entry: &Value) -> Result<Option<Login>> {
    let text = |key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Login::Identity(token.to_owned())));
    }
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Login::Bearer(token.to_owned())));
    }
    let Some(auth) = text("auth") else {
        return Ok(text("username")
            .zip(text("password"))
            .map(|(user, secret)| Login::Password {
                user: user.to_owned(),
                secret: secret.to_owned(),
            }));
    };
    let refuse = || {
        let what = format!("{}: auths[{name:?}].auth", path.display());
        Error::refused(what, "it is not name:password in base64")
    };
    let bare = auth.trim().trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(bare).map_err(|_| refuse())?;
    let both = String::from_utf8(bytes).map_err(|_| refuse())?;
    // docker fills with NUL what it has from old files.
    let (user, secret) = both
        .trim_end_matches('\0')
        .split_once(':')
        .ok_or_else(refuse)?;
    Ok(Some(match user {
        "<token>" => Login::Identity(secret.to_owned()),
        user => Login::Password {
            user: user.to_owned(),
            secret: secret.to_owned(),
        },
    }))
}

/// A login as an entry.
pub(super) fn entry(login: &Login) -> Value {
    match login {
        Login::Password { user, secret } => {
            json!({"auth": STANDARD.encode(format!("{user}:{secret}"))})
        }
        Login::Identity(token) => json!({"identitytoken": token}),
        Login::Bearer(token) => json!({"registrytoken": token}),
    }
}
