//! Where credentials are found, and what becomes of the files they are in.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests look at files of their own from outside"
)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn password(user: &str, secret: &str) -> Login {
    Login::Password {
        user: user.to_owned(),
        secret: secret.to_owned(),
    }
}

fn found(document: &Value, domain: &str, repository: &str) -> Place {
    let document = document.as_object().unwrap();
    place(Path::new("f"), document, domain, Some(repository)).unwrap()
}

#[test]
fn an_entry_is_found_under_every_name_that_others_write() {
    // me:word
    let entry = json!({"auth": "bWU6d29yZA=="});
    for (key, domain) in [
        ("r.io", "r.io"),
        ("r.io:5000", "r.io:5000"),
        ("https://r.io/v2/", "r.io"),
        ("http://r.io", "r.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("r.io/team", "r.io"),
        ("r.io/team/app", "r.io"),
    ] {
        let document = json!({"auths": {"other.io": {"auth": "eDp5"}, key: entry}});
        let place = found(&document, domain, "team/app");
        assert_eq!(place, Place::Here(password("me", "word")), "{key}");
    }
    for key in [
        "r.io.evil.io",
        "r.io:5000",
        "r.io/tea",
        "r.io/team/app/x",
        "https://r.io/v3/",
    ] {
        let document = json!({"auths": {key: entry}});
        assert_eq!(
            found(&document, "r.io", "team/app"),
            Place::Nowhere,
            "{key}"
        );
    }
}

#[test]
fn the_longest_part_of_a_registry_counts() {
    let document = json!({"auths": {
        "r.io": {"auth": "YTph"},
        "r.io/team/app": {"auth": "Yzpj"},
        "r.io/team": {"auth": "Yjpi"},
    }});
    for (repository, user) in [("team/app", "c"), ("team/b", "b"), ("x", "a")] {
        assert_eq!(
            found(&document, "r.io", repository),
            Place::Here(password(user, user))
        );
    }
}

#[test]
fn tokens_are_told_from_passwords() {
    for (entry, login) in [
        (
            json!({"identitytoken": "t", "auth": "YTph"}),
            Login::Identity("t".to_owned()),
        ),
        (json!({"registrytoken": "t"}), Login::Bearer("t".to_owned())),
        // <token>:x
        (
            json!({"auth": "PHRva2VuPjp4"}),
            Login::Identity("x".to_owned()),
        ),
        (
            json!({"username": "u", "password": "p:q"}),
            password("u", "p:q"),
        ),
        // u:p:q, without its padding
        (json!({"auth": "dTpwOnE"}), password("u", "p:q")),
    ] {
        let document = json!({"auths": {"r.io": entry}});
        assert_eq!(found(&document, "r.io", "x"), Place::Here(login));
    }
    assert_eq!(
        found(&json!({"auths": {"r.io": {}}}), "r.io", "x"),
        Place::Nowhere
    );
    for auth in ["", "?", "bWU=", "/////w=="] {
        let document = json!({"auths": {"r.io": {"auth": auth}}});
        let place = place(Path::new("f"), document.as_object().unwrap(), "r.io", None);
        assert_eq!(place.is_err(), !auth.is_empty(), "{auth:?}");
    }
}

#[test]
fn a_registrys_own_program_goes_before_the_one_for_all() {
    let document = json!({"credsStore": "all", "credHelpers": {"r.io": "own"}, "auths": {"x.io": {"auth": "YTph"}}});
    let program = |domain| match found(&document, domain, "x") {
        Place::Program { program, server } => (program, server),
        other => panic!("{other:?}"),
    };
    assert_eq!(program("r.io"), ("own".to_owned(), "r.io".to_owned()));
    assert_eq!(
        program("docker.io"),
        ("all".to_owned(), "https://index.docker.io/v1/".to_owned())
    );
    let hostile = json!({"credsStore": "../../bin/x"});
    assert!(place(Path::new("f"), hostile.as_object().unwrap(), "r.io", None).is_err());
}

#[test]
fn the_places_are_those_of_docker_and_podman() {
    let places = |pairs: &[(&str, &str)]| {
        let get = |name: &str| {
            let pair = pairs.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| OsString::from(value))
        };
        let files = Credentials::new(None, get).files;
        files
            .iter()
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        places(&[("HOME", "/h")]),
        "/h/.docker/config.json /h/.config/containers/auth.json"
    );
    assert_eq!(
        places(&[
            ("HOME", "/h"),
            ("DOCKER_CONFIG", "/d"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_CONFIG_HOME", "/c")
        ]),
        "/d/config.json /r/containers/auth.json /c/containers/auth.json"
    );
    assert_eq!(
        places(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/f")]),
        "/f"
    );
    assert_eq!(places(&[]), "");
}

#[test]
fn what_is_kept_is_private_and_leaves_the_rest_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/config.json");
    let credentials = Credentials::new(Some(path.clone()), |_| None);
    credentials.keep("r.io", &password("me", "word")).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(
        credentials.find("r.io", None).unwrap(),
        Some(password("me", "word"))
    );

    let others = json!({"psFormat": "x", "auths": {"https://r.io/v2/": {"auth": "YTph"}, "z.io": {"auth": "YTph"}}, "proxies": {"b": 1, "a": 2}});
    std::fs::write(&path, others.to_string()).unwrap();
    credentials.keep("r.io", &password("me", "other")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let now: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(now["proxies"].to_string(), r#"{"b":1,"a":2}"#);
    assert_eq!(now["auths"].as_object().unwrap().len(), 2);
    assert_eq!(
        credentials.find("r.io", None).unwrap(),
        Some(password("me", "other"))
    );

    assert!(credentials.remove("r.io").unwrap());
    assert!(!credentials.remove("r.io").unwrap());
    assert_eq!(credentials.find("r.io", None).unwrap(), None);
    assert_eq!(
        credentials.find("z.io", None).unwrap(),
        Some(password("a", "a"))
    );
}

#[test]
fn a_link_to_the_file_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real.json");
    let link = folder.path().join("config.json");
    std::fs::write(&real, "{}").unwrap();
    std::os::unix::fs::symlink("real.json", &link).unwrap();
    let credentials = Credentials::new(Some(link.clone()), |_| None);
    credentials.keep("r.io", &password("me", "word")).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(
        std::fs::read_to_string(&real)
            .unwrap()
            .contains("bWU6d29yZA==")
    );
}
