//! What the files of an administrator make of a registry.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests make files of their own"
)]

use super::*;

fn read(text: &str) -> Result<Vec<Endpoint>> {
    parse(
        text,
        Path::new("/c"),
        Endpoint::of_registry("docker.io", false).unwrap(),
    )
}

fn shown(endpoint: &Endpoint) -> String {
    format!(
        "{}{} as {}",
        endpoint.origin, endpoint.prefix, endpoint.domain
    )
}

#[test]
fn mirrors_come_in_their_order_and_the_registry_last() {
    let text = r#"
        server = "https://registry-1.docker.io"
        [host."https://b.io"]
        capabilities = ["pull", "resolve"]
        [host."http://a.io:5000/hub"]
        capabilities = ["pull"]
        [host."https://c.io/api/x"]
        override_path = true
    "#;
    let found = read(text).unwrap();
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        [
            "https://b.io/v2 as b.io",
            "http://a.io:5000/hub/v2 as a.io:5000",
            "https://c.io/api/x as c.io",
            "https://registry-1.docker.io/v2 as docker.io",
        ]
    );
    assert_eq!(found[0].namespace.as_deref(), Some("docker.io"));
    assert_eq!(found[3].namespace, None);
    let can = |n: usize| (found[n].can.resolve, found[n].can.pull, found[n].can.push);
    assert_eq!(
        [can(0), can(1), can(2)],
        [
            (true, true, false),
            (false, true, false),
            (true, true, true)
        ]
    );
    assert_eq!(
        [found[0].plain, found[1].plain],
        [Plain::Never, Plain::Always]
    );
}

#[test]
fn trust_is_each_servers_own() {
    let text = r#"
        ca = "own.pem"
        [host."https://a.io"]
        ca = ["x.pem", "/y.pem"]
        client = [["c.pem", "k.pem"]]
        skip_verify = true
        header = {x-key = ["1", "2"]}
    "#;
    let found = read(text).unwrap();
    let trust = &found[0].trust;
    assert_eq!(
        trust.authorities,
        [PathBuf::from("/c/x.pem"), PathBuf::from("/y.pem")]
    );
    assert_eq!(trust.own, Some(("/c/c.pem".into(), "/c/k.pem".into())));
    assert!(!trust.verify && found[1].trust.verify);
    assert_eq!(found[0].headers.len(), 2);
    assert_eq!(found[1].trust.authorities, [PathBuf::from("/c/own.pem")]);
    assert_eq!(found[1].domain, "docker.io");
}

#[test]
fn what_is_not_understood_is_refused_by_its_name() {
    for (text, named) in [
        ("server = 1", "server"),
        ("x = 1", "\"x\""),
        ("[host.\"https://a\"]\nskip_verify = \"no\"", "skip_verify"),
        (
            "[host.\"https://a\"]\ncapabilities = [\"write\"]",
            "capabilities",
        ),
        ("[host.\"https://u@a\"]", "u@a"),
        ("[host.\"https://a\"]\nheader = {\"a b\" = \"x\"}", "header"),
        ("[host.\"https://a\"]\nheader = {a = \"x\\ny\"}", "header"),
        ("a = \n", "hosts.toml"),
    ] {
        let error = read(text).unwrap_err();
        let mut words = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            words = format!("{words}: {inner}");
            source = inner.source();
        }
        assert!(words.contains(named), "{text}: {words}");
    }
}

#[test]
fn the_first_folder_that_knows_a_registry_counts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["one/_default", "one/r.io", "two/q.io", "two/r.io"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    std::fs::write(at("one/r.io/hosts.toml"), "[host.\"https://m.io\"]\n").unwrap();
    std::fs::write(at("two/q.io/a.crt"), "").unwrap();
    std::fs::write(at("two/q.io/b.cert"), "").unwrap();
    let folders = [at("none"), at("one"), at("two")];
    let servers = |domain| endpoints(&folders, domain, false).unwrap();
    assert_eq!(servers("r.io").len(), 2);
    let trust = servers("q.io").remove(0).trust;
    assert_eq!(trust.authorities, [at("two/q.io/a.crt")]);
    assert_eq!(
        trust.own,
        Some((at("two/q.io/b.cert"), at("two/q.io/b.key")))
    );
    assert_eq!(servers("z.io").len(), 1);
}
