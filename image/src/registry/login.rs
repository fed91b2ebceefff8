//! Whether a registry takes a name and a password, before they are kept. Not its job: keeping them.

use std::sync::Arc;

use ureq::http::Method;

use super::address::Origin;
use super::client::{Client, Question, Scope, denied};
use super::credentials::Login;
use super::{Access, Credentials, hosts};
use crate::{Error, Result};

/// The registry that a person means: `docker.io` by any of its names, `HOST`, `HOST:PORT`, or their address.
///
/// # Errors
/// If it is no host.
pub fn domain(text: &str) -> Result<String> {
    let bare = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let bare = bare.unwrap_or(text).trim_end_matches('/');
    let bare = ["/v1", "/v2"]
        .iter()
        .find_map(|path| bare.strip_suffix(path))
        .unwrap_or(bare);
    let refuse = |rule| Error::refused(format!("registry {text:?}"), rule);
    Origin::of_domain(bare, true).map_err(refuse)?;
    Ok(match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    })
}

/// Asks the registry `domain` whether it takes `login`.
///
/// # Errors
/// If it does not, or does not answer.
pub fn log_in(domain: &str, login: &Login, access: &Access) -> Result<()> {
    let credentials = Arc::new(Credentials::default().with(login.clone()));
    let mut servers = hosts::endpoints(&access.folders, domain, access.insecure)?;
    // The last one is the registry itself.
    let endpoint = servers.remove(servers.len() - 1);
    let client = Client::new(endpoint, Scope::Nothing, credentials, access.patience)?;
    let question = Question::new(Method::GET, client.at("/")?);
    let answer = client.ask(&question)?;
    match answer.status {
        200 => Ok(()),
        _ => Err(denied(question.name(), answer)),
    }
    .map_err(|e| e.inside(format!("log in to {domain}")))
}

#[cfg(test)]
mod tests {
    use super::super::client::tests::me;
    use super::super::play::{Server, answer};
    use super::*;

    #[test]
    fn a_registry_is_named_in_many_ways() {
        for (text, expected) in [
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("r.io:5000", "r.io:5000"),
            ("http://r.io/", "r.io"),
        ] {
            assert_eq!(domain(text).unwrap(), expected);
        }
        for text in ["", "a b", "r.io/team", "u@r.io", "r.io:x"] {
            assert!(domain(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_password_is_taken_where_the_registry_takes_it() {
        let server = Server::new(|seen, _| match seen.header("authorization") {
            Some("Basic bWU6d29yZA==") => answer("200 OK", &[], b"{}"),
            _ => answer("401 No", &["WWW-Authenticate: Basic realm=\"x\""], b""),
        });
        let name = server.address.to_string();
        log_in(&name, &me().unwrap(), &Access::default()).unwrap();
        let wrong = Login::Password {
            user: "me".to_owned(),
            secret: "wrong".to_owned(),
        };
        assert!(log_in(&name, &wrong, &Access::default()).is_err());
    }
}
