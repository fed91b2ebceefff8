//! What we show a registry: name and password, or a token got for them at the place that it names.
//! Not its job: finding name and password.

use serde_json::Value;
use ureq::http::Method;

use super::address::{Address, escape};
use super::challenge::Challenge;
use super::client::{Client, Scope, denied, read_body, unanswered};
use super::credentials::Login;
use super::transport::{Answer, Sent};
use crate::{Error, Result, json};

/// A token server's answer.
const MAX_ANSWER: u64 = 1 << 20;

/// The longest token: it goes with every request.
const MAX_TOKEN: usize = 16 << 10;

impl Client {
    /// The `Authorization` that meets `challenge`. `again` if one was refused already.
    pub(super) fn authorize(
        &self,
        challenge: Option<Challenge>,
        again: bool,
        request: &str,
    ) -> Result<String> {
        let domain = &self.endpoint.domain;
        let login = self.credentials.find(domain, self.scope.repository())?;
        match challenge {
            Some(Challenge::Basic) => {
                let login = login.ok_or_else(|| wants_login(request, domain))?;
                if again {
                    return Err(refuses(request));
                }
                let origin = self.origin()?;
                let secret = login.basic().ok_or_else(|| Error::Credentials {
                    registry: domain.clone(),
                    reason: "a token is kept, but the registry wants a password".to_owned(),
                })?;
                match origin.tls || origin.is_loopback() || self.endpoint.insecure {
                    true => Ok(secret),
                    false => Err(unanswered(
                        request.to_owned(),
                        "it wants a password without TLS".to_owned(),
                    )),
                }
            }
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                if let Some(Login::Bearer(token)) = &login {
                    return match again {
                        true => Err(refuses(request)),
                        false => bearer(token, request),
                    };
                }
                let realm = self.realm(&realm, request)?;
                let scopes = self.scope.words(scope.as_deref());
                let token = self.token(&realm, service.as_deref(), &scopes, login.as_ref())?;
                bearer(&token, request)
            }
            None => Err(unanswered(
                request.to_owned(),
                "it wants a login of a kind that is not supported".to_owned(),
            )),
        }
    }

    /// The token server's address. Whoever answers there gets the password, so he has to prove who he is
    /// as the registry has.
    fn realm(&self, realm: &str, request: &str) -> Result<Address> {
        let shown: String = realm.chars().take(200).collect();
        let refuse = |rule: &str| {
            let reason = format!("its tokens are given out at {shown:?}: {rule}");
            unanswered(request.to_owned(), reason)
        };
        let address = Address::parse(realm).map_err(refuse)?;
        let origin = self.origin()?;
        let same_host = !origin.tls && address.origin.host == origin.host;
        let private = address.origin.tls
            || address.origin.is_loopback() && !origin.tls
            || same_host && self.endpoint.insecure;
        match private || sys::fault::broken("no-private-realm") {
            true => Ok(address),
            false => Err(refuse("that is without TLS")),
        }
    }

    fn token(
        &self,
        realm: &Address,
        service: Option<&str>,
        scopes: &[String],
        login: Option<&Login>,
    ) -> Result<String> {
        let (method, address, headers, form);
        match login {
            Some(Login::Identity(token)) => {
                let mut text = format!(
                    "grant_type=refresh_token&client_id=dhow&refresh_token={}",
                    escape(token)
                );
                if let Some(service) = service {
                    text.push_str(&format!("&service={}", escape(service)));
                }
                text.push_str(&format!("&scope={}", escape(&scopes.join(" "))));
                method = Method::POST;
                address = realm.clone();
                headers = vec![(
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                )];
                form = Some(text);
            }
            _ => {
                let mut asked = realm.clone();
                if let Some(service) = service {
                    asked = asked.with("service", service);
                }
                if let Some(Login::Password { user, .. }) = login {
                    asked = asked.with("account", user);
                }
                for scope in scopes {
                    asked = asked.with("scope", scope);
                }
                method = Method::GET;
                address = asked;
                let shown = login.and_then(Login::basic);
                headers = shown
                    .map(|shown| ("authorization", shown))
                    .into_iter()
                    .collect();
                form = None;
            }
        }
        let request = format!("{method} {}", realm.origin);
        let answer = self.ask_for_token(&request, || {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let sent = match &form {
                Some(form) => Sent::Bytes(form.as_bytes()),
                None => Sent::Nothing,
            };
            self.transport.ask(&method, &address, &headers, sent)
        })?;
        match answer.status {
            200 => token_of(&request, answer),
            401 | 403 if login.is_some() => Err(refuses(&request)),
            _ => Err(denied(request, answer)),
        }
    }

    /// The token server's answer, asked again where that may help. Redirects are not followed.
    fn ask_for_token(
        &self,
        request: &str,
        ask: impl Fn() -> Result<Answer, super::transport::Fault>,
    ) -> Result<Answer> {
        use super::transport::Fault;
        let mut made = 1;
        loop {
            let (passing, last) = match ask() {
                Ok(answer) => (
                    matches!(answer.status, 429 | 500 | 502 | 503 | 504),
                    Ok(answer),
                ),
                Err(fault) => (
                    matches!(fault, Fault::Passing(_)),
                    Err(unanswered(request.to_owned(), fault.reason())),
                ),
            };
            match self.patience.wait(made, None).filter(|_| passing) {
                Some(wait) => std::thread::sleep(wait),
                None => return last,
            }
            made += 1;
        }
    }
}

impl Scope {
    fn repository(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Pull(repository) | Self::Push(repository, _) => Some(repository),
        }
    }

    /// What a token must allow: what the registry says it wants, and what else we shall do.
    fn words(&self, wanted: Option<&str>) -> Vec<String> {
        let mut words: Vec<String> = wanted
            .into_iter()
            .flat_map(|wanted| wanted.split(' '))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let ours = match self {
            Self::Nothing => None,
            Self::Pull(repository) => Some((repository, "pull")),
            Self::Push(repository, _) => Some((repository, "pull,push")),
        };
        if let Some((repository, acts)) = ours {
            // To look for a blob it wants less than to take one: one token does for both.
            let own = format!("repository:{repository}:");
            let before = words.len();
            words.retain(|word| !word.starts_with(&own));
            if words.len() < before || words.is_empty() {
                words.insert(0, format!("{own}{acts}"));
            }
        }
        if let Self::Push(_, others) = self {
            let others = others
                .iter()
                .map(|other| format!("repository:{other}:pull"));
            words.extend(others);
        }
        let mut seen = std::collections::BTreeSet::new();
        words.retain(|word| seen.insert(word.clone()));
        words
    }
}

fn token_of(request: &str, answer: Answer) -> Result<String> {
    let refuse = |rule: &str| unanswered(request.to_owned(), rule.to_owned());
    let bytes = read_body(answer, MAX_ANSWER).ok_or_else(|| refuse("its answer is too long"))?;
    let value = json::parse("the token server's answer", &bytes)?;
    let token = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    let token = token("token").or_else(|| token("access_token"));
    token
        .map(str::to_owned)
        .ok_or_else(|| refuse("its answer holds no token"))
}

/// A token that may stand in a header.
fn bearer(token: &str, request: &str) -> Result<String> {
    let legal = token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_graphic());
    match legal {
        true => Ok(format!("Bearer {token}")),
        false => Err(unanswered(
            request.to_owned(),
            "the token it gave out is none".to_owned(),
        )),
    }
}

fn wants_login(request: &str, domain: &str) -> Error {
    Error::Denied {
        request: request.to_owned(),
        status: 401,
        said: format!("(it wants a login: dhow login {domain})"),
    }
}

fn refuses(request: &str) -> Error {
    Error::Denied {
        request: request.to_owned(),
        status: 401,
        said: "(it refuses name and password)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_what_the_registry_wants_and_for_mounts() {
        let pull = Scope::Pull("a/b".to_owned());
        assert_eq!(pull.words(None), ["repository:a/b:pull"]);
        assert_eq!(
            pull.words(Some("repository:x/a/b:pull")),
            ["repository:x/a/b:pull"]
        );
        let push = Scope::Push("a/b".to_owned(), vec!["c".to_owned()]);
        assert_eq!(
            push.words(Some("repository:a/b:pull repository:c:pull")),
            ["repository:a/b:pull,push", "repository:c:pull"]
        );
        assert_eq!(Scope::Nothing.words(None), Vec::<String>::new());
    }

    #[test]
    fn what_can_not_stand_in_a_header_is_no_token() {
        assert_eq!(bearer("a.b-c", "x").unwrap(), "Bearer a.b-c");
        for token in ["a b", "a\r\nHost: x", "ä", &"a".repeat(MAX_TOKEN + 1)] {
            assert!(bearer(token, "x").is_err());
        }
    }
}
