//! `--cache-from` and `--cache-to`: builds that take steps from caches elsewhere, each at its own word. Not its job:
//! `dhow cache` (carrying).

use super::{Site, cached};
use crate::registry::server::Registry;
use crate::support::{Output, claims, run};

claims![
    a_build_takes_from_a_registry_what_another_left_there: [Root, Overlay, Dhow, Tool("docker-registry"), Tool("skopeo")],
    a_layout_is_a_cache_and_is_written_again_in_place: [Root, Overlay, Dhow],
    an_image_may_be_its_own_cache: [Root, Overlay, Dhow, Tool("docker-registry")],
    a_cache_that_lies_or_is_not_there_costs_a_warning_alone: [Root, Overlay, Dhow],
    what_a_cache_cannot_be_is_refused_before_anything: [Root, Overlay, Dhow],
];

const RECIPE: &str = "FROM scratch AS one\nCOPY <<a /a\none\na\nFROM scratch\nCOPY --from=one /a /b\nCOPY <<c /c\ntwo\nc\n";

/// Builds in a store of its own.
#[track_caller]
fn build(site: &Site, store: &str, arguments: &[&str]) -> Output {
    let mut command = site.dhow();
    command.args(["--store", store, "build", "--network=none"]);
    run(command.args(arguments).arg("c"))
}

/// How many steps a store's own cache has; what it notes of files is of no step.
fn entries(site: &Site, store: &str) -> usize {
    let Ok(names) = std::fs::read_dir(site.folder().join(store).join("cache")) else {
        return 0;
    };
    let documents = names.map(|name| std::fs::read_to_string(name.unwrap().path()).unwrap());
    let entries = documents.filter(|text| {
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        document.get("note").is_none()
    });
    entries.count()
}

fn a_build_takes_from_a_registry_what_another_left_there() {
    let (site, registry) = (Site::bare(), Registry::plain());
    site.context("c", RECIPE);
    let (most, least) = (registry.name("cache:max"), registry.name("cache:min"));
    let to = |name: &str, mode: &str| format!("--cache-to=type=registry,ref={name},mode={mode}");
    let first = build(&site, "s1", &[&to(&most, "max"), &to(&least, "min")]).success();
    assert_eq!(cached(&first), 0);
    // The caches themselves are no images of the store.
    let images = run(site.dhow().args(["--store", "s1", "images", "-q"])).success();
    assert_eq!(images.stdout.lines().count(), 1);
    let all = build(&site, "s2", &["--cache-from", &most]).success();
    assert_eq!((cached(&all), &all.stdout), (3, &first.stdout));
    // Nobody else who builds here takes the registry's word.
    assert_eq!(entries(&site, "s2"), 0);
    let from = format!("--cache-from=type=registry,ref={least}");
    let some = build(&site, "s3", &[&from]).success();
    assert_eq!((cached(&some), &some.stdout), (2, &first.stdout));
    assert_eq!(
        cached(&build(&site, "s4", &[&from, "--no-cache"]).success()),
        0
    );
    let both = build(&site, "s5", &[&from, "--cache-from", &most]).success();
    assert_eq!(cached(&both), 3);
    let mut inspect = std::process::Command::new("skopeo");
    let name = format!("docker://{most}");
    run(inspect.args(["inspect", "--tls-verify=false", &name])).success();
}

fn a_layout_is_a_cache_and_is_written_again_in_place() {
    let site = Site::bare();
    site.context("c", RECIPE);
    let to = "--cache-to=type=local,dest=cache,mode=max";
    let blobs = || {
        let names = std::fs::read_dir(site.folder().join("cache/blobs/sha256")).unwrap();
        names.count()
    };
    let first = build(&site, "s1", &[to]).success();
    assert_eq!(blobs(), 5, "three layers, a config, a manifest");
    let both = [to, "--cache-from=type=local,src=cache"];
    assert_eq!(cached(&build(&site, "s2", &both).success()), 3);
    assert_eq!(blobs(), 5);
    site.context("c", &RECIPE.replace("two", "three"));
    let changed = build(&site, "s2", &both).success();
    assert_eq!(cached(&changed), 2);
    assert_eq!(blobs(), 5, "what nobody refers to is gone");
    site.context("c", RECIPE);
    let last = build(&site, "s3", &["--cache-from=type=local,src=cache"]).success();
    assert_eq!((cached(&last), last.stdout), (2, first.stdout));
    // What is no layout stays as it is.
    std::fs::create_dir(site.folder().join("mine")).unwrap();
    std::fs::write(site.folder().join("mine/file"), "mine").unwrap();
    let refused = build(&site, "s1", &["--cache-to=type=local,dest=mine"]).ends_with(1);
    assert!(
        refused
            .stderr
            .ends_with("the folder holds something else than an OCI layout\n"),
        "{refused:?}"
    );
    let to = "--cache-to=type=local,dest=mine,ignore-error=true";
    let told = build(&site, "s1", &[to, "--progress=json"]).success();
    let mut events = told.stderr.lines().map(|line| {
        let event: Result<serde_json::Value, _> = serde_json::from_str(line);
        event.unwrap_or_else(|e| panic!("{line}: {e}"))
    });
    let warning = events.next_back().unwrap();
    assert_eq!(warning["event"], "warning", "{told:?}");
    let text = warning["text"].as_str().unwrap();
    assert!(text.starts_with("--cache-to: "), "{text}");
    assert_eq!(
        std::fs::read_dir(site.folder().join("mine"))
            .unwrap()
            .count(),
        1
    );
}

fn an_image_may_be_its_own_cache() {
    let (site, registry) = (Site::bare(), Registry::plain());
    site.context("c", RECIPE);
    let name = registry.name("app:1");
    let push = ["--push", "-t", &name, "--cache-to=type=inline"];
    let first = build(&site, "s1", &push).success();
    let again = build(
        &site,
        "s2",
        &["--cache-from", &name, "--cache-to=type=inline"],
    )
    .success();
    assert_eq!((cached(&again), again.stdout), (2, first.stdout));
    // The word of an image is not that of those who stand on it.
    site.context("c", &format!("FROM {name}\nLABEL a=b\n"));
    let id = build(&site, "s2", &["-q"]).success().stdout;
    let inspected = run(site
        .dhow()
        .args(["--store", "s2", "inspect", id.trim_end()]))
    .success();
    assert!(!inspected.stdout.contains("dhow.cache"), "{inspected:?}");
}

fn a_cache_that_lies_or_is_not_there_costs_a_warning_alone() {
    let site = Site::bare();
    site.context("c", RECIPE);
    let first = build(&site, "s1", &["--cache-to=type=local,dest=cache,mode=max"]).success();
    // Every layer has one byte that is another.
    let mut changed = 0;
    for blob in std::fs::read_dir(site.folder().join("cache/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if !bytes.starts_with(b"{") {
            let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[last] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, 3);
    let lied = build(&site, "s2", &["--cache-from=type=local,src=cache"]).success();
    assert_eq!((cached(&lied), &lied.stdout), (0, &first.stdout));
    assert!(lied.stderr.contains("--cache-from"), "{lied:?}");
    let nowhere = [
        "--cache-from=127.0.0.1:1/a:b",
        "--cache-from=type=local,src=nowhere",
        "--cache-from=type=local,src=c",
    ];
    let none = build(&site, "s3", &nowhere).success();
    assert_eq!((cached(&none), &none.stdout), (0, &first.stdout));
    for name in ["127.0.0.1:1/a:b: ", "nowhere: ", " c: "] {
        let said = format!("--cache-from {}", name.trim_start());
        assert!(none.stderr.contains(&said), "{said}: {none:?}");
    }
}

fn what_a_cache_cannot_be_is_refused_before_anything() {
    let site = Site::bare();
    site.context("c", RECIPE);
    for (flag, why) in [
        (
            "--cache-to=type=s3",
            "type=s3 is not supported; it can be registry, local or inline",
        ),
        (
            "--cache-from=type=inline",
            "type=inline is not supported; it can be registry or local",
        ),
        (
            "--cache-to=type=registry,ref=a,compression=estargz",
            "compression is not supported for type=registry",
        ),
    ] {
        let refused = build(&site, "store", &[flag]).ends_with(1);
        assert_eq!(
            refused.stderr,
            format!("dhow: {}: {why}\n", flag.replacen('=', " ", 1))
        );
    }
    assert!(!site.folder().join("store").exists());
}
