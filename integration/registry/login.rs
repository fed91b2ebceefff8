//! A registry with TLS by an authority of its own, for people whom it knows: who gets in, and what is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Registry;
use super::{command, site};
use crate::build::Site;
use crate::support::{Output, claims, run};

claims![
    who_logs_in_pushes_and_pulls_until_he_logs_out: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("openssl")],
    a_program_keeps_what_docker_says_it_keeps: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("openssl")],
];

/// `me` and `word`, as htpasswd has it (bcrypt is the only hash that the registry takes).
const USERS: &str = "me:$2y$04$v/NkIu6Y4e29Sz1qOFQnxeQQauPWfeM617fodT6queLbJLMzF4fSC\n";

/// A certificate for 127.0.0.1 and registry.test (`cert.pem`, `key.pem`) by an authority (`ca.pem`), all in `folder`.
pub(super) fn certify(folder: &Path) {
    let openssl = |words: &str| {
        let words = words.split(' ');
        run(Command::new("openssl").current_dir(folder).args(words)).success();
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 -subj /CN=authority -keyout ca.key -out ca.pem {key}"
    ));
    openssl(&format!(
        "req -subj /CN=registry -keyout key.pem -out csr.pem {key}"
    ));
    let names = "subjectAltName=IP:127.0.0.1,DNS:registry.test\nbasicConstraints=CA:FALSE\n";
    std::fs::write(folder.join("names"), names).unwrap();
    openssl(
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out cert.pem",
    );
}

/// The registry, and the certificate of its authority.
fn guarded() -> (Registry, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("users"), USERS).unwrap();
    let tls = format!(
        "  tls: {{certificate: {}, key: {}}}\n",
        at("cert.pem").display(),
        at("key.pem").display()
    );
    let users = format!(
        "auth: {{htpasswd: {{realm: people, path: {}}}}}\n",
        at("users").display()
    );
    let authority = at("ca.pem");
    (Registry::start(folder, &tls, &users), authority)
}

/// dhow that knows the authority, given a password if there is one.
#[track_caller]
fn dhow(site: &Site, authority: &Path, password: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = command(site, "store");
    // Programs that keep credentials are looked for here too.
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", site.folder().join("bin").display());
    command.env("PATH", path);
    command.env("SSL_CERT_FILE", authority).args(arguments);
    let Some(password) = password else {
        return run(&mut command);
    };
    // run() gives nothing to read: the password comes by a shell.
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf '%s\\n' \"$PASSWORD\" | \"$@\"", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.current_dir(site.folder()).env("PASSWORD", password);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    run(&mut shell)
}

const LOGIN: [&str; 4] = ["login", "-u", "me", "--password-stdin"];

fn who_logs_in_pushes_and_pulls_until_he_logs_out() {
    let (site, (registry, authority)) = (site(), guarded());
    let (address, name) = (registry.address(), registry.name("team/app:1"));
    let login = [&LOGIN[..], &[address]].concat();
    let nobody = Path::new("/dev/null");
    let stranger = dhow(&site, nobody, Some("word"), &login).ends_with(1);
    assert!(
        stranger
            .stderr
            .contains("signed by nobody that this system knows"),
        "{stranger:?}"
    );
    let unknown = dhow(&site, &authority, None, &["push", "app", &name]).ends_with(1);
    assert!(
        unknown
            .stderr
            .ends_with(&format!("401 (it wants a login: dhow login {address})\n")),
        "{unknown:?}"
    );
    let wrong = dhow(&site, &authority, Some("other"), &login).ends_with(1);
    assert!(
        wrong
            .stderr
            .ends_with("401 (it refuses name and password)\n"),
        "{wrong:?}"
    );
    let file = site.folder().join(".docker/config.json");
    assert!(!file.exists(), "a password that is refused is not kept");

    dhow(&site, &authority, Some("word"), &login).success();
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    dhow(&site, &authority, None, &["push", "app", &name]).success();
    dhow(&site, &authority, None, &["pull", &name]).success();
    dhow(&site, &authority, None, &["logout", address]).success();
    assert!(!std::fs::read_to_string(&file).unwrap().contains(address));
    dhow(&site, &authority, None, &["pull", &name]).ends_with(1);
    dhow(&site, &authority, None, &["logout", address]).ends_with(1);
    // Whoever does not ask who it is needs no authority.
    let insecure = [&LOGIN[..], &["--insecure", address]].concat();
    dhow(&site, nobody, Some("word"), &insecure).success();
}

fn a_program_keeps_what_docker_says_it_keeps() {
    let (site, (registry, authority)) = (site(), guarded());
    let address = registry.address();
    let (bin, kept) = (site.folder().join("bin"), site.folder().join("kept"));
    std::fs::create_dir(&bin).unwrap();
    let program = bin.join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > {0} ;;\nerase) rm -f {0} ;;\n\
         get) cat {0} 2> /dev/null || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;\nesac\n",
        kept.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = site.folder().join(".docker");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("config.json");
    std::fs::write(&file, r#"{"detachKeys":"ctrl-x","credsStore":"test"}"#).unwrap();
    dhow(
        &site,
        &authority,
        Some("word"),
        &[&LOGIN[..], &[address]].concat(),
    )
    .success();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("ctrl-x") && !text.contains("auth\""),
        "{text}"
    );
    assert!(
        std::fs::read_to_string(&kept)
            .unwrap()
            .contains("\"Secret\":\"word\"")
    );
    dhow(
        &site,
        &authority,
        None,
        &["push", "app", &registry.name("team/app:1")],
    )
    .success();
    dhow(&site, &authority, None, &["logout", address]).success();
    assert!(!kept.exists());
    dhow(
        &site,
        &authority,
        None,
        &["pull", &registry.name("team/app:1")],
    )
    .ends_with(1);
}
