//! `dhow pull` and `dhow push` at a real registry (Debian's docker-registry, on this machine), with skopeo on the
//! other side.
//! Not its job: registries that lie (`registry/hostile.rs`).

mod hostile;
mod login;
pub(crate) mod server;
mod ways;

use std::path::Path;
use std::process::Command;

use self::server::Registry;
use crate::build::Site;
use crate::support::claim::Claim;
use crate::support::{Output, claims, run};

mod here {
    use super::*;

    claims![
        what_skopeo_pushed_is_pulled: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
        layers_that_the_store_has_are_not_asked_for: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
        what_is_pushed_is_what_others_find: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
        what_is_not_there_is_told_in_a_line: [Root, Overlay, Dhow, Tool("docker-registry")],
    ];
}

/// The claims of this room and its inner ones.
pub(crate) fn claims() -> Vec<Claim> {
    [
        here::claims(),
        hostile::claims(),
        login::claims(),
        ways::claims(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A store with the image `app` of two layers, on a site of its own.
fn site() -> Site {
    let site = Site::bare();
    let folder = site.context(
        "app",
        "FROM scratch\nCOPY one /one\nCOPY two /two\nCMD [\"/one\"]\n",
    );
    std::fs::write(folder.join("one"), "the first file\n".repeat(5000)).unwrap();
    std::fs::write(folder.join("two"), "the second file\n").unwrap();
    site.build(&["-t", "app", "app"]).success();
    site
}

/// dhow with another store of the site, and no credentials of this machine's.
#[track_caller]
fn dhow(site: &Site, store: &str, arguments: &[&str]) -> Output {
    run(command(site, store).args(arguments))
}

fn command(site: &Site, store: &str) -> Command {
    let mut command = Command::new(crate::support::sandbox::dhow());
    command
        .current_dir(site.folder())
        .env("HOME", site.folder())
        .env_remove("REGISTRY_AUTH_FILE")
        .env_remove("DOCKER_CONFIG")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("XDG_CONFIG_HOME")
        .arg("--root")
        .arg(site.folder().join("state"))
        .arg("--store")
        .arg(site.folder().join(store));
    command
}

/// Brings the site's image into the registry by skopeo.
#[track_caller]
fn push_by_skopeo(site: &Site, registry: &Registry, name: &str) {
    let archive = site.folder().join("app.tar");
    if !archive.exists() {
        let mut save = site.dhow();
        run(save.args(["save", "--format", "oci-archive", "-o", "app.tar", "app"])).success();
    }
    let from = format!("oci-archive:{}", archive.display());
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        &from,
        &format!("docker://{}", registry.name(name)),
    ]);
}

#[track_caller]
fn skopeo(arguments: &[&str]) -> String {
    run(Command::new("skopeo").args(arguments)).success().stdout
}

/// All that dhow says of an image, without its place and time.
#[track_caller]
fn inspect(site: &Site, store: &str, image: &str) -> serde_json::Value {
    let text = dhow(site, store, &["inspect", image]).success().stdout;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value[0].clone()
}

/// Everything below a folder by name, for comparisons.
fn names_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            names.push(path.display().to_string());
            if path.is_dir() && !path.is_symlink() {
                pending.push(path);
            }
        }
    }
    names.sort();
    names
}

fn what_skopeo_pushed_is_pulled() {
    let (site, registry) = (site(), Registry::plain());
    push_by_skopeo(&site, &registry, "team/app:1");
    let name = registry.name("team/app:1");
    let pulled = dhow(&site, "other", &["pull", &name]).success();
    assert!(
        pulled
            .stdout
            .starts_with(&format!("Pulled image: {name}\n")),
        "{pulled:?}"
    );
    assert_eq!(pulled.stderr, "", "no bar where there is no terminal");
    let (ours, theirs) = (
        inspect(&site, "store", "app"),
        inspect(&site, "other", &name),
    );
    assert_eq!(ours["Id"], theirs["Id"]);
    // By the digest that was said, without a tag.
    let digest = pulled
        .stdout
        .trim_end()
        .rsplit_once(' ')
        .unwrap()
        .1
        .to_owned();
    let name = registry.name(&format!("team/app@{digest}"));
    let id = dhow(&site, "third", &["pull", "-q", &name])
        .success()
        .stdout;
    assert_eq!(id.trim_end(), theirs["Id"].as_str().unwrap());
    let unpacked = dhow(&site, "third", &["unpack", &name, "tree"]);
    unpacked.success();
    let file = site.folder().join("tree/rootfs/two");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "the second file\n");
}

fn layers_that_the_store_has_are_not_asked_for() {
    let (site, registry) = (site(), Registry::plain());
    push_by_skopeo(&site, &registry, "team/app:1");
    dhow(&site, "other", &["pull", &registry.name("team/app:1")]).success();
    let ids = dhow(&site, "other", &["images", "-q"]).success().stdout;
    dhow(&site, "other", &["tag", ids.trim_end(), "kept"]).success();
    // Gone from the registry: whoever asks for a layer now fails.
    let inspected = inspect(&site, "other", "kept");
    for layer in registry.layers(&inspected) {
        std::fs::remove_file(layer).unwrap();
    }
    dhow(&site, "other", &["pull", &registry.name("team/app:1")]).success();
    let failed = dhow(&site, "new", &["pull", &registry.name("team/app:1")]).ends_with(1);
    assert!(failed.stderr.contains("404"), "{failed:?}");
    let left = names_below(&site.folder().join("new"));
    let kept = left
        .iter()
        .filter(|name| name.contains("/work/") || name.contains("/layers/"));
    assert_eq!(kept.collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(dhow(&site, "new", &["images", "-q"]).success().stdout, "");
}

fn what_is_pushed_is_what_others_find() {
    let (site, registry) = (site(), Registry::plain());
    let name = registry.name("team/app:1");
    let pushed = dhow(&site, "store", &["push", "app", &name]).success();
    assert!(
        pushed
            .stdout
            .starts_with(&format!("Pushed image: {name}\n")),
        "{pushed:?}"
    );
    let digest = pushed.stdout.trim_end().rsplit_once(' ').unwrap().1;
    let docker = format!("docker://{name}");
    let raw = skopeo(&["inspect", "--tls-verify=false", "--raw", &docker]);
    let found = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        &docker,
    ]);
    assert_eq!(found.trim_end(), digest);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&raw).unwrap()["schemaVersion"],
        2
    );
    // skopeo verifies each blob that it copies, and dhow each that it loads.
    let layout = format!("oci:{}:app", site.folder().join("layout").display());
    skopeo(&["copy", "--src-tls-verify=false", &docker, &layout]);
    dhow(&site, "other", &["load", "layout"]).success();
    let ours = inspect(&site, "store", "app");
    let theirs = dhow(&site, "other", &["images", "-q"]).success().stdout;
    assert_eq!(theirs.trim_end(), ours["Id"].as_str().unwrap());
    // Once more, under another name: all of it is there, and only the manifest goes.
    dhow(
        &site,
        "store",
        &["tag", "app", &registry.name("team/two:2")],
    )
    .success();
    let again = dhow(
        &site,
        "store",
        &["push", "-q", &registry.name("team/two:2")],
    )
    .success();
    assert_eq!(again.stdout.trim_end(), digest);
    dhow(&site, "third", &["pull", &registry.name("team/two:2")]).success();
}

fn what_is_not_there_is_told_in_a_line() {
    let (site, registry) = (Site::bare(), Registry::plain());
    let name = registry.name("team/none:1");
    let failed = dhow(&site, "store", &["pull", &name]).ends_with(1);
    let address = registry.address();
    assert_eq!(
        failed.stderr,
        format!(
            "dhow: pull {name}: GET http://{address}/v2/team/none/manifests/1: 404 \"manifest unknown\"\n"
        )
    );
    // Nobody has the first port of all.
    let failed = dhow(&site, "store", &["pull", "127.0.0.1:1/team/none:1"]).ends_with(1);
    assert!(
        failed
            .stderr
            .ends_with("/manifests/1: connection refused\n"),
        "{failed:?}"
    );
}
