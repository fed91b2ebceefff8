//! What a client does with redirects, logins, faults and haste, and to whom it shows what.

use std::time::Duration;

use super::super::credentials::Login;
use super::super::play::{Seen, Server, answer};
use super::*;

/// Little patience: tests do not wait.
pub(in crate::registry) const HASTY: Patience = Patience {
    attempts: 3,
    pause: Duration::from_millis(1),
    connect: Duration::from_secs(20),
    idle: Duration::from_secs(20),
    least: 0,
    progress: 1 << 20,
};

/// A client of a plain server on this machine, with name and password if wanted.
pub(in crate::registry) fn client(server: &Server, login: Option<Login>) -> Client {
    let mut endpoint = Endpoint::of_registry(&server.address.to_string(), false).unwrap();
    endpoint.plain = Plain::Always;
    endpoint.origin.tls = false;
    let credentials = match login {
        Some(login) => Credentials::default().with(login),
        None => Credentials::default(),
    };
    let scope = Scope::Pull("a/b".to_owned());
    Client::new(endpoint, scope, Arc::new(credentials), HASTY).unwrap()
}

pub(in crate::registry) fn me() -> Option<Login> {
    Some(Login::Password {
        user: "me".to_owned(),
        secret: "word".to_owned(),
    })
}

fn get(client: &Client, path: &str) -> Result<(u16, Vec<u8>)> {
    let question = Question::new(Method::GET, client.at(path)?);
    let answer = client.ask(&question)?;
    let status = answer.status;
    Ok((status, read_body(answer, 1000).unwrap_or_default()))
}

fn shown(seen: &[Seen]) -> Vec<Option<&str>> {
    seen.iter()
        .map(|seen| seen.header("authorization"))
        .collect()
}

#[test]
fn a_password_is_shown_when_asked_for_and_not_before() {
    let server = Server::new(|seen, _| match seen.header("authorization") {
        Some("Basic bWU6d29yZA==") => answer("200 OK", &[], b"here"),
        _ => answer("401 No", &["WWW-Authenticate: Basic realm=\"x\""], b""),
    });
    let known = client(&server, me());
    assert_eq!(get(&known, "/x").unwrap(), (200, b"here".to_vec()));
    assert_eq!(get(&known, "/y").unwrap(), (200, b"here".to_vec()));
    let basic = Some("Basic bWU6d29yZA==");
    assert_eq!(shown(&server.seen()), [None, basic, basic]);
    let unknown = get(&client(&server, None), "/x").unwrap_err();
    assert!(
        unknown.to_string().contains("dhow login 127.0.0.1:"),
        "{unknown}"
    );
}

#[test]
fn a_refused_password_is_not_tried_again() {
    let server =
        Server::new(|_, _| answer("401 No", &["WWW-Authenticate: Basic realm=\"x\""], b""));
    let error = get(&client(&server, me()), "/x").unwrap_err();
    assert!(
        error.to_string().contains("refuses name and password"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 2);
}

/// A registry that wants tokens, and gives them out itself.
fn with_tokens() -> Server {
    Server::new(|seen, number| match seen.path.split('?').next() {
        Some("/token") => {
            let body = format!(r#"{{"token":"t{number}","expires_in":60}}"#);
            answer("200 OK", &[], body.as_bytes())
        }
        _ => match seen.header("authorization") {
            // The first token ages at once.
            Some("Bearer t1") if seen.path == "/v2/old" => {
                answer("401 No", &[&challenge(seen)], b"")
            }
            Some(token) if token.starts_with("Bearer t") => answer("200 OK", &[], b"here"),
            _ => answer("401 No", &[&challenge(seen)], b""),
        },
    })
}

fn challenge(seen: &Seen) -> String {
    format!(
        "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:a/b:pull\"",
        seen.header("host").unwrap()
    )
}

#[test]
fn a_token_is_got_with_the_password_and_used_until_it_ages() {
    let server = with_tokens();
    let client = client(&server, me());
    for path in ["/x", "/y", "/old"] {
        assert_eq!(get(&client, path).unwrap().0, 200);
    }
    let seen = server.seen();
    let paths: Vec<&str> = seen.iter().map(|seen| seen.path.as_str()).collect();
    let token = "/token?service=s&account=me&scope=repository%3Aa%2Fb%3Apull";
    assert_eq!(
        paths,
        [
            "/v2/x", token, "/v2/x", "/v2/y", "/v2/old", token, "/v2/old"
        ]
    );
    assert_eq!(seen[1].header("authorization"), Some("Basic bWU6d29yZA=="));
}

#[test]
fn an_identity_token_is_changed_for_another_by_post() {
    let server = with_tokens();
    let login = Login::Identity("i d".to_owned());
    assert_eq!(get(&client(&server, Some(login)), "/x").unwrap().0, 200);
    let seen = &server.seen()[1];
    assert_eq!(
        (seen.method.as_str(), seen.header("authorization")),
        ("POST", None)
    );
    assert_eq!(
        String::from_utf8_lossy(&seen.body),
        "grant_type=refresh_token&client_id=dhow&refresh_token=i%20d&service=s&scope=repository%3Aa%2Fb%3Apull"
    );
}

#[test]
fn an_anonymous_token_is_asked_for_without_a_password() {
    let server = with_tokens();
    assert_eq!(get(&client(&server, None), "/x").unwrap().0, 200);
    assert_eq!(server.seen()[1].header("authorization"), None);
}

#[test]
fn nothing_is_shown_to_those_whom_a_redirect_names() {
    let other = Server::new(|_, _| answer("200 OK", &[], b"there"));
    let there = other.url("/blob?key=secret");
    let server = Server::new(move |seen, _| match seen.header("authorization") {
        Some(_) => answer("307 Go", &[&format!("Location: {there}")], b""),
        None => answer("401 No", &["WWW-Authenticate: Basic"], b""),
    });
    assert_eq!(
        get(&client(&server, me()), "/x").unwrap(),
        (200, b"there".to_vec())
    );
    assert_eq!(shown(&other.seen()), [None]);
}

#[test]
fn a_login_that_another_host_asks_for_is_not_given() {
    let other = Server::new(|_, _| answer("401 No", &["WWW-Authenticate: Basic"], b""));
    let there = other.url("/blob");
    let server = Server::new(move |_, _| answer("302 Go", &[&format!("Location: {there}")], b""));
    assert_eq!(get(&client(&server, me()), "/x").unwrap().0, 401);
    assert_eq!(shown(&other.seen()), [None]);
}

#[test]
fn redirects_end() {
    let server =
        Server::new(|seen, _| answer("302 Go", &[&format!("Location: {}x", seen.path)], b""));
    let error = get(&client(&server, None), "/x").unwrap_err();
    assert!(
        error.to_string().contains("more than 5 redirects"),
        "{error}"
    );
    for (location, rule) in [
        ("", "no http address"),
        ("file:///etc/passwd", "no http address"),
        ("http://u:p@h/", "names a user"),
    ] {
        let line = format!("Location: {location}");
        let server = Server::new(move |_, _| answer("302 Go", &[&line], b""));
        let error = get(&client(&server, None), "/x").unwrap_err();
        assert!(error.to_string().contains(rule), "{error}");
    }
}

#[test]
fn a_token_is_not_asked_for_where_others_can_listen() {
    for realm in [
        "http://example.invalid/token",
        "http://u@127.0.0.1/",
        "token",
    ] {
        let line = format!("WWW-Authenticate: Bearer realm=\"{realm}\"");
        let server = Server::new(move |_, _| answer("401 No", &[&line], b""));
        let error = get(&client(&server, me()), "/x").unwrap_err();
        assert!(
            error.to_string().contains("its tokens are given out at"),
            "{error}"
        );
    }
}

#[test]
fn a_busy_server_is_asked_again_and_not_for_ever() {
    let server = Server::new(|_, number| match number {
        0 => answer("429 Slow", &["Retry-After: 0"], b""),
        1 => answer("503 Busy", &[], b""),
        _ => answer("200 OK", &[], b"here"),
    });
    assert_eq!(get(&client(&server, None), "/x").unwrap().0, 200);
    let server = Server::new(|_, _| answer("500 Oh", &[], b""));
    assert_eq!(get(&client(&server, None), "/x").unwrap().0, 500);
    assert_eq!(server.seen().len(), 3);
    let server = Server::new(|_, _| answer("429 Slow", &["Retry-After: 100000"], b""));
    assert_eq!(get(&client(&server, None), "/x").unwrap().0, 429);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_connection_that_is_cut_is_made_anew() {
    let server = Server::new(|_, number| match number {
        0 => Vec::new(),
        1 => b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(),
        _ => answer("200 OK", &[], b"here"),
    });
    assert_eq!(get(&client(&server, None), "/x").unwrap().0, 200);
}

#[test]
fn what_is_no_http_or_has_endless_headers_is_told_in_a_line() {
    let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(20_000)].concat();
    for bytes in [b"SSH-2.0-x\r\n\r\n".to_vec(), endless] {
        let server = Server::new(move |_, _| bytes.clone());
        let error = get(&client(&server, None), "/x").unwrap_err().to_string();
        assert!(error.starts_with("GET http://127.0.0.1:"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn the_registrys_own_words_are_quoted() {
    let body = br#"{"errors":[{"code":"DENIED","message":"no \u001b[31m way\n"}]}"#;
    let server = Server::new(|_, _| answer("403 No", &[], body));
    let client = client(&server, None);
    let question = Question::new(Method::GET, client.at("/x").unwrap());
    let error = denied(question.name(), client.ask(&question).unwrap());
    assert!(
        error
            .to_string()
            .ends_with(r#"/v2/x: 403 "no \u{1b}[31m way\n""#),
        "{error}"
    );
}

#[test]
fn a_server_of_this_machine_without_tls_is_found_to_be_so() {
    let server = Server::new(|_, _| answer("200 OK", &[], b"here"));
    let endpoint = Endpoint::of_registry(&server.address.to_string(), false).unwrap();
    let scope = Scope::Pull("a/b".to_owned());
    let client = Client::new(endpoint, scope, Arc::default(), HASTY).unwrap();
    assert_eq!(get(&client, "/x").unwrap().0, 200);
    assert!(!client.origin().unwrap().tls);
}
