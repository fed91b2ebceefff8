//! `docker-credential-NAME`: a program that keeps credentials for others (docker-credential-helpers).
//! Not its job: which one.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Login;
use crate::{Error, Result};

/// What a program says at most.
const MAX_OUTPUT: u64 = 256 << 10;

/// What `NAME` has for `server`; `None` if nothing.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Login>> {
    let output = call(name, "get", server, server)?;
    if !output.good {
        // The one answer that all of them give in the same words.
        return match output.text.contains("credentials not found") {
            true => Ok(None),
            false => Err(output.fault(name, "get", server)),
        };
    }
    let fail = |reason: &str| fault(name, "get", server, reason);
    let value = crate::json::parse(
        &format!("answer of docker-credential-{name}"),
        output.text.as_bytes(),
    )?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let (Some(user), Some(secret)) = (text("Username"), text("Secret")) else {
        return Err(fail("its answer lacks Username or Secret"));
    };
    Ok(Some(match user {
        "<token>" => Login::Identity(secret.to_owned()),
        user => Login::Password {
            user: user.to_owned(),
            secret: secret.to_owned(),
        },
    }))
}

/// Gives `NAME` the login of `server` to keep.
pub(super) fn store(name: &str, server: &str, login: &Login) -> Result<()> {
    let (user, secret) = match login {
        Login::Password { user, secret } => (user.as_str(), secret),
        Login::Identity(token) => ("<token>", token),
        Login::Bearer(_) => {
            return Err(fault(name, "store", server, "it keeps no bearer tokens"));
        }
    };
    let words = json!({"ServerURL": server, "Username": user, "Secret": secret});
    let output = call(name, "store", server, &words.to_string())?;
    match output.good {
        true => Ok(()),
        false => Err(output.fault(name, "store", server)),
    }
}

/// Has `NAME` forget `server`; that it knows nothing of it is as good.
pub(super) fn erase(name: &str, server: &str) -> Result<()> {
    let output = call(name, "erase", server, server)?;
    match output.good || output.text.contains("credentials not found") {
        true => Ok(()),
        false => Err(output.fault(name, "erase", server)),
    }
}

struct Output {
    good: bool,
    text: String,
}

impl Output {
    fn fault(&self, name: &str, act: &str, server: &str) -> Error {
        let words: String = self.text.trim().chars().take(200).collect();
        fault(name, act, server, &format!("it says {words:?}"))
    }
}

fn call(name: &str, act: &str, server: &str, input: &str) -> Result<Output> {
    let fail = |e: &std::io::Error| fault(name, act, server, &super::super::transport::reason(e));
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(act)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| fail(&e))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read has its reasons, and tells them.
        let _not_read = stdin.write_all(input.as_bytes());
    }
    let mut bytes = Vec::new();
    let read = child
        .stdout
        .take()
        .map(|out| out.take(MAX_OUTPUT).read_to_end(&mut bytes));
    let status = child.wait().map_err(|e| fail(&e))?;
    if let Some(Err(e)) = read {
        return Err(fail(&e));
    }
    Ok(Output {
        good: status.success(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

fn fault(name: &str, act: &str, server: &str, reason: &str) -> Error {
    Error::Credentials {
        registry: server.to_owned(),
        reason: format!("docker-credential-{name} {act}: {reason}"),
    }
}
