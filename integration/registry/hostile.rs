//! Registries that lie, break off, and send people elsewhere, each a few lines of TCP. Not its job: honest ones.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{command, dhow, inspect, names_below, site};
use crate::build::Site;
use crate::support::command::wait_for;
use crate::support::{claims, run};

claims![
    e30_cve_2020_15157_a_password_goes_to_its_own_registry_alone: [Root, Overlay, Dhow],
    e30_cve_2020_15157_a_token_is_not_asked_for_without_tls: [Root, Overlay, Dhow],
    e31_a_redirect_does_not_lead_out_of_tls: [Root, Overlay, Dhow, Tool("openssl")],
    e32_bytes_that_were_not_promised_leave_nothing: [Root, Overlay, Dhow],
    a_broken_line_and_a_busy_registry_are_overcome: [Root, Overlay, Dhow],
    a_mirror_that_fails_is_passed_over: [Root, Overlay, Dhow],
];

/// A request: its path and its header lines.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    headers: Vec<String>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }
}

/// A server that answers with what a function gives, and hangs up.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn new(answer: impl Fn(&Asked, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || {
                    // The first word of TLS is no request.
                    let Some(asked) = read(&stream) else { return };
                    let number = {
                        let mut kept = kept.lock().unwrap();
                        kept.push(asked.clone());
                        kept.len() - 1
                    };
                    let _gone = (&stream).write_all(&answer(&asked, number));
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    if reader.fill_buf().ok()?.first() == Some(&0x16) {
        return None;
    }
    let mut lines = reader.lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    Some(Asked {
        path,
        headers: headers.collect(),
    })
}

fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n", body.len());
    [text.as_bytes(), body].concat()
}

/// The image of a site as a registry has it: its blobs by digest, and the manifest's.
struct Served {
    blobs: PathBuf,
    manifest: String,
    layers: Vec<String>,
}

impl Served {
    fn of(site: &Site) -> Self {
        let folder = site.folder().join("served");
        std::fs::create_dir(&folder).unwrap();
        run(site
            .dhow()
            .args(["save", "--format", "oci-archive", "-o", "served.tar", "app"]))
        .success();
        run(Command::new("tar")
            .current_dir(&folder)
            .args(["-xf", "../served.tar"]))
        .success();
        let inspected = inspect(site, "store", "app");
        let layers = inspected["Layers"].as_array().unwrap().iter();
        Self {
            blobs: folder.join("blobs/sha256"),
            manifest: inspected["Manifest"].as_str().unwrap().to_owned(),
            layers: layers
                .map(|layer| layer["Digest"].as_str().unwrap().to_owned())
                .collect(),
        }
    }

    fn blob(&self, digest: &str) -> Vec<u8> {
        let hex = digest.strip_prefix("sha256:").unwrap();
        std::fs::read(self.blobs.join(hex)).unwrap()
    }

    /// What an honest registry says.
    fn answer(&self, asked: &Asked) -> Vec<u8> {
        let path = asked.path.split('?').next().unwrap();
        match path.rsplit_once('/').unwrap() {
            ("/v2/team/app/manifests", _) => {
                let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
                answer("200 OK", &[kind], &self.blob(&self.manifest))
            }
            ("/v2/team/app/blobs", digest) => answer("200 OK", &[], &self.blob(digest)),
            _ => answer("404 Not Found", &[], b""),
        }
    }

    fn is_layer(&self, asked: &Asked) -> bool {
        self.layers.iter().any(|layer| asked.path.ends_with(layer))
    }
}

/// A file of credentials: `me` and `word` for each of these.
fn known(site: &Site, addresses: &[SocketAddr]) -> PathBuf {
    let entry = |address: &SocketAddr| format!(r#""{address}": {{"auth": "bWU6d29yZA=="}}"#);
    let entries: Vec<String> = addresses.iter().map(entry).collect();
    let path = site.folder().join("auth.json");
    std::fs::write(&path, format!(r#"{{"auths": {{{}}}}}"#, entries.join(","))).unwrap();
    path
}

const BASIC: &str = "WWW-Authenticate: Basic realm=\"x\"";

fn e30_cve_2020_15157_a_password_goes_to_its_own_registry_alone() {
    let site = site();
    let served = Served::of(&site);
    let other = Server::new(|_, _| answer("401 Who", &[BASIC], b""));
    let location = format!("Location: http://{}/blob", other.address);
    let registry = Server::new(move |asked, _| match asked.header("authorization") {
        None => answer("401 Who", &[BASIC], b""),
        Some(_) if served.is_layer(asked) => answer("307 There", &[&location], b""),
        Some(_) => served.answer(asked),
    });
    let file = known(&site, &[registry.address]);
    let name = registry.name("team/app:1");
    let pull = ["pull", "--authfile", file.to_str().unwrap(), &name];
    dhow(&site, "other", &pull).ends_with(1);
    let shown = other.asked();
    assert!(!shown.is_empty(), "nobody was sent there");
    let told: Vec<_> = shown
        .iter()
        .filter_map(|asked| asked.header("authorization"))
        .collect();
    assert_eq!(told, Vec::<&str>::new());
}

fn e30_cve_2020_15157_a_token_is_not_asked_for_without_tls() {
    let site = Site::bare();
    let line = "WWW-Authenticate: Bearer realm=\"http://tokens.invalid/token\",service=\"x\"";
    let registry = Server::new(|_, _| answer("401 Who", &[line], b""));
    let file = known(&site, &[registry.address]);
    let name = registry.name("team/app:1");
    let pull = ["pull", "--authfile", file.to_str().unwrap(), &name];
    let failed = dhow(&site, "other", &pull).ends_with(1);
    let end = "its tokens are given out at \"http://tokens.invalid/token\": that is without TLS\n";
    assert!(failed.stderr.ends_with(end), "{failed:?}");
}

/// `openssl s_server` for the files of a folder, each a whole answer. It ends with its owner.
struct Tls {
    child: std::process::Child,
    port: String,
}

impl Tls {
    fn serve(folder: &Path) -> Self {
        super::login::certify(folder);
        let log = folder.join("log");
        let child = Command::new("openssl")
            .current_dir(folder)
            .args([
                "s_server",
                "-HTTP",
                "-accept",
                "127.0.0.1:0",
                "-cert",
                "cert.pem",
                "-key",
                "key.pem",
            ])
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut tls = Self {
            child,
            port: String::new(),
        };
        tls.port = wait_for("the port of openssl", Duration::from_secs(30), || {
            let text = std::fs::read_to_string(&log).unwrap();
            let (_, rest) = text.split_once("ACCEPT 127.0.0.1:")?;
            rest.split_once('\n').map(|(port, _)| port.to_owned())
        });
        tls
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn e31_a_redirect_does_not_lead_out_of_tls() {
    let site = Site::bare();
    let plain = Server::new(|_, _| answer("404 Not Found", &[], b""));
    let folder = site.folder().join("tls");
    std::fs::create_dir_all(folder.join("v2/team/app/manifests")).unwrap();
    let location = format!(
        "Location: http://localhost:{}/v2/team/app/manifests/1",
        plain.address.port()
    );
    let redirect = answer("302 There", &[&location], b"");
    std::fs::write(folder.join("v2/team/app/manifests/1"), redirect).unwrap();
    let tls = Tls::serve(&folder);
    let mut pull = command(&site, "other");
    pull.env("SSL_CERT_FILE", folder.join("ca.pem"));
    pull.args(["pull", &format!("127.0.0.1:{}/team/app:1", tls.port)]);
    let failed = run(&mut pull).ends_with(1);
    assert!(
        failed.stderr.ends_with("that would be without TLS\n"),
        "{failed:?}"
    );
    assert_eq!(plain.asked().len(), 0);
}

fn e32_bytes_that_were_not_promised_leave_nothing() {
    let site = site();
    let served = Served::of(&site);
    let registry = Server::new(move |asked, _| match served.is_layer(asked) {
        false => served.answer(asked),
        true => {
            let mut bytes = served.blob(asked.path.rsplit_once('/').unwrap().1);
            *bytes.last_mut().unwrap() ^= 1;
            answer("200 OK", &[], &bytes)
        }
    });
    let failed = dhow(&site, "other", &["pull", &registry.name("team/app:1")]).ends_with(1);
    assert_eq!(failed.stderr.lines().count(), 1, "{failed:?}");
    assert_eq!(dhow(&site, "other", &["images", "-q"]).success().stdout, "");
    let left = names_below(&site.folder().join("other"));
    let whole = ["/work/", "/layers/", "/sha256/"];
    let left = left
        .iter()
        .filter(|name| whole.iter().any(|part| name.contains(part)));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<&String>::new());
}

fn a_broken_line_and_a_busy_registry_are_overcome() {
    let site = site();
    let served = Served::of(&site);
    let broken = Mutex::new(std::collections::BTreeSet::new());
    let registry = Server::new(move |asked, number| {
        if number == 0 {
            return answer("429 Busy", &["Retry-After: 0"], b"");
        }
        let mut whole = served.answer(asked);
        if !served.is_layer(asked) {
            return whole;
        }
        let bytes = served.blob(asked.path.rsplit_once('/').unwrap().1);
        let half = bytes.len() / 2;
        if broken.lock().unwrap().insert(asked.path.clone()) {
            whole.truncate(whole.len() - bytes.len() + half);
            return whole;
        }
        assert_eq!(asked.header("range"), Some(&*format!("bytes={half}-")));
        let range = format!(
            "Content-Range: bytes {half}-{}/{}",
            bytes.len() - 1,
            bytes.len()
        );
        answer("206 Part", &[&range], &bytes[half..])
    });
    let name = registry.name("team/app:1");
    dhow(&site, "other", &["pull", &name]).success();
    assert_eq!(
        inspect(&site, "other", &name)["Id"],
        inspect(&site, "store", "app")["Id"]
    );
    let parts = registry
        .asked()
        .into_iter()
        .filter(|asked| asked.header("range").is_some());
    assert_eq!(parts.count(), 2);
}

fn a_mirror_that_fails_is_passed_over() {
    let site = site();
    let served = Served::of(&site);
    let fails = Server::new(|_, _| answer("404 Not Found", &[], b""));
    let mirror = Server::new(move |asked, _| served.answer(asked));
    let folder = site.folder().join(".config/dhow/certs.d/registry.invalid");
    std::fs::create_dir_all(&folder).unwrap();
    let hosts = format!(
        "[host.\"http://{}\"]\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        fails.address, mirror.address
    );
    std::fs::write(folder.join("hosts.toml"), hosts).unwrap();
    dhow(&site, "other", &["pull", "registry.invalid/team/app:1"]).success();
    assert!(!fails.asked().is_empty());
    assert!(
        mirror
            .asked()
            .iter()
            .all(|asked| asked.path.ends_with("?ns=registry.invalid"))
    );
    let ours = inspect(&site, "store", "app");
    assert_eq!(
        inspect(&site, "other", "registry.invalid/team/app:1")["Id"],
        ours["Id"]
    );
}
