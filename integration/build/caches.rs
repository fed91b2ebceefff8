//! Cache mounts by archives and registries: what goes out comes back, what is hostile goes nowhere, and nobody's RUN is disturbed.

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Site;
use crate::registry::server::Registry;
use crate::support::command::wait_for;
use crate::support::{claims, run};

claims![
    cache_mounts_go_by_archives_and_come_back_as_they_were: [Root, Cgroup2, Overlay, Dhow],
    cache_mounts_go_by_a_registry: [Root, Cgroup2, Overlay, Dhow, Tool("docker-registry")],
    a_cache_mount_that_a_run_uses_is_not_touched_meanwhile: [Root, Cgroup2, Overlay, Dhow],
    f15_an_archive_of_cache_mounts_leads_nowhere_and_is_what_it_says: [Root, Cgroup2, Overlay, Dhow],
];

/// Where the one cache mount of a site is.
fn mount(site: &Site) -> PathBuf {
    let mounts = site.folder().join("store/cache-mounts");
    let mut names = std::fs::read_dir(mounts).unwrap();
    let only = names.next().unwrap().unwrap().path();
    assert!(names.next().is_none(), "one cache mount");
    only
}

/// Builds a recipe of one RUN with the cache `x` at /c and gives what it prints to /out.
#[track_caller]
fn with_cache(site: &Site, script: &str) -> String {
    let recipe = format!("FROM base\nRUN --mount=type=cache,id=x,target=/c {script}\n");
    site.context("c", &recipe);
    site.build(&["-q", "--no-cache", "-t", "c", "c"]).success();
    site.inside("c", "cat /out")
}

fn cache_mounts_go_by_archives_and_come_back_as_they_were() {
    let site = Site::new();
    let cache = |arguments: &[&str]| run(site.dhow().arg("cache").args(arguments));
    let look = "cd /c; ls -la --full-time | sed 1,3d > /out; cat d/f >> /out";
    let fill = "cd /c; mkdir -m 0750 d; echo text > d/f; chmod 4711 d/f; chown 7:8 d/f; ln d/f hard; ln -s /nowhere link; \
                mkfifo pipe; touch -d @1000000000 d/f \"$(printf 'n\\374')\"";
    with_cache(&site, &format!("{fill}; {look}"));
    let before = site.inside("c", "cat /out");
    assert!(before.contains(" 7 "), "{before}");
    cache(&["export", "--mount-id", "x", "x.tar"]).success();
    cache(&["export", "--mounts", "all.tar"]).success();
    let refused = cache(&["export", "--mount-id", "y", "y.tar"]).ends_with(1);
    assert_eq!(refused.stderr, "dhow: there is no cache mount \"y\"\n");

    // A plain tar, and no trace of the store but the mount.
    let listed = run(Command::new("tar")
        .arg("tf")
        .arg(site.folder().join("x.tar")))
    .success();
    let name = mount(&site)
        .file_name()
        .unwrap()
        .to_owned()
        .into_string()
        .unwrap();
    assert!(listed.stdout.contains(&format!("{name}/0/data/d/f\n")));
    assert!(listed.stdout.lines().all(|line| line.starts_with(&name)));

    let removed = cache(&["prune", "--mounts", "--filter", "until=1h"]).success();
    assert_eq!(removed.stdout, "");
    let removed = cache(&["prune", "--mount-id", "x", "--dry-run"]).success();
    assert_eq!(removed.stdout, "Would remove cache mount x\n");
    let removed = cache(&["prune", "--mount-id", "x"]).success();
    assert_eq!(removed.stdout, "Removed cache mount x\n");
    assert_eq!(with_cache(&site, "ls -A /c > /out"), "");

    // In place of what is there.
    for archive in ["x.tar", "all.tar"] {
        with_cache(&site, "touch /c/newer /out");
        let came = cache(&["import", "--mount-id", "x", archive]).success();
        assert_eq!(came.stdout, "Cache mounts: 1\n");
        assert_eq!(with_cache(&site, look), before, "{archive}");
    }
    let data = mount(&site).join("0/data");
    let odd = std::ffi::OsString::from_vec(b"n\xfc".to_vec());
    assert!(data.join(odd).exists());
    let names: Vec<_> = std::fs::read_dir(mount(&site).join("0")).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing beside the data");
    assert_eq!(
        std::fs::read_dir(site.folder().join("store/work"))
            .unwrap()
            .count(),
        0
    );
}

fn cache_mounts_go_by_a_registry() {
    let (site, registry) = (Site::new(), Registry::plain());
    let [mounts, steps] =
        ["mounts:1", "steps:1"].map(|name| format!("docker://{}", registry.name(name)));
    let images = || run(site.dhow().args(["images", "-aq"])).success().stdout;
    let cache = |arguments: &[&str]| {
        let had = images();
        let output = run(site.dhow().arg("cache").args(arguments));
        assert_eq!(images(), had, "nothing stays of what was on its way");
        output
    };
    let look = "cd /c; ls -la --full-time | sed 1,3d > /out; cat d/f >> /out";
    let fill = "cd /c; mkdir -m 0750 d; echo text > d/f; chmod 4711 d/f; chown 7:8 d/f; ln d/f hard; ln -s /nowhere link; \
                touch -d @1000000000 d/f";
    with_cache(&site, &format!("{fill}; {look}"));
    let before = site.inside("c", "cat /out");
    cache(&["export", "--mounts", &mounts]).success();
    cache(&["export", &steps]).success();
    for emptied in ["prune", "touch"] {
        match emptied {
            "prune" => drop(cache(&["prune", "--mounts"]).success()),
            _ => drop(with_cache(&site, "touch /c/newer /out")),
        }
        let came = cache(&["import", "--mount-id", "x", &mounts]).success();
        assert_eq!(came.stdout, "Cache mounts: 1\n");
        assert_eq!(with_cache(&site, look), before, "{emptied}");
    }
    let other = cache(&["import", "--mount-id", "y", &mounts]).ends_with(1);
    assert_eq!(other.stderr, "dhow: the archive has no cache mount \"y\"\n");
    // One is not taken for the other.
    for (arguments, what) in [
        (&["import", "--mounts", &steps][..], "cache mounts"),
        (&["import", &mounts][..], "build cache"),
    ] {
        let refused = cache(arguments).ends_with(1);
        assert_eq!(
            refused.stderr,
            format!("dhow: the {what}: it is an image that carries none\n")
        );
    }
    let left = std::fs::read_dir(site.folder().join("store/work")).unwrap();
    assert_eq!(left.count(), 0);
}

fn a_cache_mount_that_a_run_uses_is_not_touched_meanwhile() {
    let site = Site::new();
    with_cache(&site, "echo archived > /c/f; touch /out");
    run(site.dhow().args(["cache", "export", "--mounts", "m.tar"])).success();
    let data = mount(&site).join("0/data");
    site.context(
        "d",
        "FROM base\nRUN --mount=type=cache,id=x,target=/c echo mine > /c/f; touch /c/here; \
         until test -e /c/go; do sleep 0.05; done; cat /c/f > /out\n",
    );
    let mut build = site
        .dhow()
        .args(["build", "--network=none", "-q", "-t", "d", "d"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the RUN", Duration::from_secs(60), || {
        data.join("here").exists().then_some(())
    });
    let pruned = run(site.dhow().args(["cache", "prune", "--mounts"])).success();
    assert_eq!(
        pruned.stderr,
        "warning: cache mount x is in use: it stays\n"
    );
    let mut import = site
        .dhow()
        .args(["cache", "import", "--mounts", "m.tar"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let waits = format!(" {} ", import.id());
    wait_for("the import to wait", Duration::from_secs(60), || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let waiting = |line: &str| line.contains("-> FLOCK") && line.contains(&waits);
        locks.lines().any(waiting).then_some(())
    });
    assert_eq!(std::fs::read_to_string(data.join("f")).unwrap(), "mine\n");
    std::fs::write(data.join("go"), "").unwrap();
    assert!(build.wait().unwrap().success());
    assert!(import.wait().unwrap().success());
    assert_eq!(site.inside("d", "cat /out"), "mine\n");
    assert_eq!(
        std::fs::read_to_string(data.join("f")).unwrap(),
        "archived\n"
    );
}

/// Makes a tar of what a script leaves in a folder.
fn archive(site: &Site, name: &str, script: &str) -> PathBuf {
    let folder = site.folder().join(format!("{name}-files"));
    std::fs::create_dir(&folder).unwrap();
    run(Command::new("sh")
        .current_dir(&folder)
        .args(["-ec", script]))
    .success();
    site.folder().join(format!("{name}.tar"))
}

/// Scripts that make archives `NAME.tar` of the cache `name`, each of which would reach the folder `host` or be a lie.
fn lies(name: &str, host: &Path) -> [(&'static str, String); 10] {
    let host = host.display();
    let good = r#"{"id":"x"}"#;
    let whole = format!("mkdir -p {name}/0/data; echo '{good}' > {name}/mount.json");
    let other = "0".repeat(64);
    [
        ("link", format!("ln -s {host} {name}; tar cf ../link.tar *")),
        (
            "data",
            format!(
                "mkdir -p {name}/0; ln -s {host}/0/data {name}/0/data; echo '{good}' > {name}/mount.json; tar cf ../data.tar *"
            ),
        ),
        (
            "through",
            format!(
                "{whole}; ln -s {host}/0 a; tar cf ../through.tar a; tar rf ../through.tar --transform=s,{name}/0/data,a/data/new, {name}/0/data"
            ),
        ),
        (
            "up",
            format!(
                "{whole}; tar cPf ../up.tar --transform=s,{name}/mount.json,../../../up, {name}"
            ),
        ),
        (
            "another",
            format!("{whole}; mv {name} {other}; tar cf ../another.tar *"),
        ),
        (
            "path",
            format!("{whole}; mv {name} x; tar cf ../path.tar *"),
        ),
        (
            "pipe",
            format!("mkdir -p {name}/0/data; mkfifo {name}/mount.json; tar cf ../pipe.tar *"),
        ),
        (
            "text",
            format!("{whole}; echo no > {name}/mount.json; tar cf ../text.tar *"),
        ),
        // What is good beside it does not come either.
        (
            "beside",
            format!("{whole}; mkdir {other}; tar cf ../beside.tar *"),
        ),
        ("none", "echo no archive > ../none.tar".to_owned()),
    ]
}

fn f15_an_archive_of_cache_mounts_leads_nowhere_and_is_what_it_says() {
    let site = Site::new();
    with_cache(&site, "echo kept > /c/f; touch /out");
    let kept = mount(&site);
    let (name, host) = (
        kept.file_name().unwrap().to_str().unwrap(),
        site.folder().join("host"),
    );
    std::fs::create_dir_all(host.join("0/data")).unwrap();
    std::fs::write(host.join("0/data/secret"), "of the host").unwrap();
    std::fs::copy(kept.join("mount.json"), host.join("mount.json")).unwrap();
    for (case, script) in lies(name, &host) {
        let tar = archive(&site, case, &script);
        let refused = run(site.dhow().args(["cache", "import", "--mounts"]).arg(&tar)).ends_with(1);
        assert_eq!(
            refused.stderr.lines().count(),
            1,
            "{case}: {}",
            refused.stderr
        );
        assert_eq!(mount(&site), kept, "{case}");
        let text = std::fs::read_to_string(kept.join("0/data/f"));
        assert_eq!(text.unwrap(), "kept\n", "{case}");
        let left = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!(left(&site.folder().join("host/0/data")), 1, "{case}");
        assert_eq!(left(&site.folder().join("store/work")), 0, "{case}");
        assert!(!site.folder().join("up").exists() && !site.folder().join("store/up").exists());
    }
}
