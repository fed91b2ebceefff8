//! `dhow cache`: the build cache in another store, by an archive and by a registry; and less of it. Not its job: keys.

use std::process::Command;

use super::{Site, cached};
use crate::registry::server::Registry;
use crate::support::{Output, claims, run};

claims![
    a_cache_serves_another_store: [Root, Overlay, Dhow],
    a_cache_goes_by_a_registry: [Root, Overlay, Dhow, Tool("docker-registry")],
    what_is_no_cache_is_refused_and_leaves_nothing: [Root, Overlay, Dhow],
    a_cache_is_pruned_and_images_stay: [Root, Overlay, Dhow],
];

const RECIPE: &str = "FROM scratch\nARG WORD\nCOPY <<a /a\none $WORD\na\nCOPY <<b /b\ntwo\nb\n";

/// dhow on another store of the site.
#[track_caller]
fn elsewhere(site: &Site, arguments: &[&str]) -> Output {
    run(site.dhow().args(["--store", "elsewhere"]).args(arguments))
}

/// Builds with the cache that came, and gives how many steps it had.
#[track_caller]
fn build(site: &Site) -> usize {
    let build = [
        "build",
        "--network=none",
        "--build-arg",
        "WORD=secret",
        "-t",
        "c",
        "c",
    ];
    let built = elsewhere(site, &build).success();
    let (ours, theirs) = (
        site.dhow().args(["images", "-q"]).output().unwrap().stdout,
        elsewhere(site, &["images", "-q"]).success().stdout,
    );
    assert_eq!(
        String::from_utf8(ours).unwrap(),
        theirs,
        "one image on either side, the same"
    );
    cached(&built)
}

fn a_cache_serves_another_store() {
    let site = Site::bare();
    site.context("c", RECIPE);
    site.build(&["--build-arg", "WORD=secret", "-t", "c", "c"])
        .success();
    run(site.dhow().args(["cache", "export", "cache.tar"])).success();
    let again = run(site.dhow().args(["cache", "export", "-"]))
        .success()
        .stdout;
    let archive = std::fs::read(site.folder().join("cache.tar")).unwrap();
    assert!(
        again.as_bytes() == archive,
        "the same cache gives the same archive"
    );
    let added = elsewhere(&site, &["cache", "import", "cache.tar"])
        .success()
        .stdout;
    assert_eq!(added, "Steps that are new: 2\n");
    assert_eq!(elsewhere(&site, &["images", "-q"]).success().stdout, "");
    assert_eq!(build(&site), 2);
    let added = elsewhere(&site, &["cache", "import", "cache.tar"])
        .success()
        .stdout;
    assert_eq!(added, "Steps that are new: 0\n");
}

fn a_cache_goes_by_a_registry() {
    let (site, registry) = (Site::bare(), Registry::plain());
    let name = format!("docker://{}", registry.name("cache:1"));
    site.context("c", RECIPE);
    site.build(&["--build-arg", "WORD=secret", "-t", "c", "c"])
        .success();
    run(site.dhow().args(["cache", "export", &name])).success();
    elsewhere(&site, &["cache", "import", &name]).success();
    assert_eq!(build(&site), 2);
}

fn what_is_no_cache_is_refused_and_leaves_nothing() {
    let site = Site::bare();
    site.context("c", RECIPE);
    site.build(&["-t", "c", "-o", "type=oci,dest=image.tar", "c"])
        .success();
    let refused = elsewhere(&site, &["cache", "import", "image.tar"]).ends_with(1);
    assert_eq!(
        refused.stderr,
        "dhow: the build cache: it is an image that carries none\n"
    );
    assert_eq!(elsewhere(&site, &["images", "-q"]).success().stdout, "");
    // One byte of a layer is another.
    run(site.dhow().args(["cache", "export", "cache.tar"])).success();
    let path = site.folder().join("cache.tar");
    let mut archive = std::fs::read(&path).unwrap();
    let at = archive
        .windows(4)
        .position(|bytes| bytes == b"two\n")
        .unwrap();
    archive[at] = b'T';
    std::fs::write(&path, archive).unwrap();
    elsewhere(&site, &["cache", "import", "cache.tar"]).ends_with(1);
    assert_eq!(elsewhere(&site, &["images", "-q"]).success().stdout, "");
    assert!(!site.folder().join("elsewhere/cache").exists());
}

fn a_cache_is_pruned_and_images_stay() {
    let site = Site::bare();
    site.context("c", RECIPE);
    site.build(&["-t", "c", "c"]).success();
    let prune = |arguments: &[&str]| {
        run(site.dhow().args(["cache", "prune"]).args(arguments))
            .success()
            .stdout
    };
    let build = || cached(&site.build(&["-t", "c", "c"]).success());
    // One was killed as it wrote an entry, long ago; another writes one.
    let entry = |name: &str| site.folder().join("store/cache").join(name);
    let (torn, fresh) = (entry(".a.json.new"), entry(".b.json.new"));
    for path in [&torn, &fresh] {
        std::fs::write(path, "{").unwrap();
    }
    run(Command::new("touch").args(["-d", "2 hours ago"]).arg(&torn)).success();
    prune(&["--filter", "until=1h"]);
    assert_eq!((torn.exists(), fresh.exists()), (false, true));
    std::fs::remove_file(fresh).unwrap();
    prune(&["--dry-run"]);
    prune(&["--keep-storage", "1g"]);
    assert_eq!(build(), 2, "all steps are of use");
    assert!(prune(&[]).starts_with("Forgot 2 steps of builds\n"));
    assert_ne!(run(site.dhow().args(["images", "-q"])).success().stdout, "");
    assert_eq!(build(), 0);
    // What was learned of files goes with the step, and is none.
    prune(&[]);
    site.context("d", "FROM scratch\nCOPY Dockerfile /d\n");
    site.build(&["-t", "d", "d"]).success();
    let had = std::fs::read_dir(site.folder().join("store/cache")).unwrap();
    assert!(had.count() > 1);
    assert!(prune(&[]).starts_with("Forgot 1 step of builds\n"));
    let left = std::fs::read_dir(site.folder().join("store/cache")).unwrap();
    assert_eq!(left.count(), 0);
}
