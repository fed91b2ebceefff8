//! Ways to a registry: through a proxy, and by a certificate of one's own. Not its job: who a registry lets in by name
//! (login).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use super::login::certify;
use super::server::Registry;
use super::{command, dhow, site};
use crate::build::Site;
use crate::support::{Output, claims, run};

claims![
    a_proxy_leads_to_a_registry_that_knows_our_certificate: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("openssl")],
    this_machine_is_never_asked_for_through_a_proxy: [Root, Overlay, Dhow, Tool("docker-registry")],
];

/// Whatever it is asked for, it leads to one address.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, address) = (Arc::clone(&asked), address.to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, seen, address) = (client.unwrap(), Arc::clone(&seen), address.clone());
                // Whoever asked may be gone before the answer.
                thread::spawn(move || drop(lead(client, &address, &seen)));
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn lead(client: TcpStream, to: &str, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    seen.lock().unwrap().push(head);
    let mut server = TcpStream::connect(to)?;
    let (mut back, mut client) = (server.try_clone()?, client);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let answers = thread::spawn(move || {
        let copied = std::io::copy(&mut back, &mut client);
        client
            .shutdown(std::net::Shutdown::Both)
            .and(copied.map(drop))
    });
    std::io::copy(&mut from, &mut server)?;
    server.shutdown(std::net::Shutdown::Write)?;
    drop(answers.join());
    Ok(())
}

/// A registry that wants a certificate, and the folder with one, laid out as docker has it.
fn wary(site: &Site, domain: &str) -> Registry {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let at = |name: &str| folder.path().join(name);
    let own = site.folder().join(".config/dhow/certs.d").join(domain);
    std::fs::create_dir_all(&own).unwrap();
    for (from, to) in [
        ("ca.pem", "ca.crt"),
        ("cert.pem", "client.cert"),
        ("key.pem", "client.key"),
    ] {
        std::fs::copy(at(from), own.join(to)).unwrap();
    }
    let tls = format!(
        "  tls: {{certificate: {}, key: {}, clientcas: [{}]}}\n",
        at("cert.pem").display(),
        at("key.pem").display(),
        at("ca.pem").display()
    );
    Registry::start(folder, &tls, "")
}

/// Nothing of the proxies that this machine may have.
#[track_caller]
fn through(site: &Site, store: &str, variables: &[(&str, &str)], words: &[&str]) -> Output {
    let mut command = command(site, store);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    run(command.envs(variables.iter().copied()).args(words))
}

fn a_proxy_leads_to_a_registry_that_knows_our_certificate() {
    let site = site();
    let domain = "registry.test:5443";
    let registry = wary(&site, domain);
    let proxy = Proxy::to(registry.address());
    let name = format!("{domain}/team/app:1");
    let tls = format!("http://me:word@127.0.0.1:{}", proxy.port);
    let variables = [
        ("HTTPS_PROXY", tls.as_str()),
        // The wrong one: nobody listens there.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("NO_PROXY", "registry.test:5000,10.0.0.0/8,.registry.test"),
    ];
    through(&site, "store", &variables, &["push", "app", &name]).success();
    through(&site, "other", &variables, &["pull", &name]).success();
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for head in &asked {
        assert!(
            head.starts_with(&format!("CONNECT {domain} HTTP/1.1\r\n")),
            "{head}"
        );
        let login = "proxy-authorization: basic bwu6d29yza==\r\n";
        assert!(head.to_lowercase().contains(login), "{head}");
    }
    let own = site.folder().join(".config/dhow/certs.d").join(domain);
    for name in ["client.cert", "client.key"] {
        std::fs::remove_file(own.join(name)).unwrap();
    }
    let stranger = through(&site, "third", &variables, &["pull", &name]).ends_with(1);
    assert_eq!(stranger.stderr.lines().count(), 1, "{stranger:?}");
    assert!(
        stranger
            .stderr
            .ends_with(": it wants a certificate of ours, one that it knows\n"),
        "{stranger:?}"
    );
    // The password of a proxy is nothing to show.
    let wrong = [("HTTPS_PROXY", "socks5://me:word@127.0.0.1:1")];
    let refused = through(&site, "third", &wrong, &["pull", &name]).ends_with(1);
    assert!(
        refused
            .stderr
            .contains("variable HTTPS_PROXY: a proxy is http:// or https://")
    );
    assert!(!refused.stderr.contains("word"), "{refused:?}");
}

fn this_machine_is_never_asked_for_through_a_proxy() {
    let (site, registry) = (site(), Registry::plain());
    let name = registry.name("team/app:1");
    dhow(&site, "store", &["push", "app", &name]).success();
    let proxy = Proxy::to(registry.address());
    let address = format!("http://127.0.0.1:{}", proxy.port);
    for variable in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
        let variables = [(variable, address.as_str())];
        through(&site, "other", &variables, &["pull", &name]).success();
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
    assert!(Path::new(&site.folder().join("other/index.json")).exists());
}
