//! Contexts that are no folder: archives, recipes alone, servers. Not its job: what COPY makes of files (files).

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Site;
use super::servers::{GitServer, Web};
use crate::security::archive::{Entry, file, tar};
use crate::support::{Output, claims, run};

claims![
    a_context_is_a_tar: [Root, Cgroup2, Overlay, Dhow],
    a_recipe_comes_alone: [Root, Cgroup2, Overlay, Dhow],
    a_context_is_what_a_server_has: [Root, Cgroup2, Overlay, Dhow, Tool("git")],
    a_context_that_cannot_be_had_is_told: [Root, Overlay, Dhow],
    the_context_says_the_time: [Root, Overlay, Dhow, Tool("git")],
];

fn text(name: &str, content: &str) -> Entry {
    Entry {
        data: content.as_bytes().to_vec(),
        ..file(name)
    }
}

/// Builds with a file as standard input.
#[track_caller]
fn from(site: &Site, path: &Path, arguments: &[&str]) -> Output {
    let dhow = site.dhow();
    let mut command = Command::new("sh");
    command
        .current_dir(site.folder())
        .args(["-c", "input=$1; shift; exec \"$@\" < \"$input\"", "sh"])
        .arg(path)
        .arg(dhow.get_program())
        .args(dhow.get_args())
        .args(["build", "-q", "-t", "c"])
        .args(arguments);
    run(&mut command)
}

fn a_context_is_a_tar() {
    let site = Site::new();
    let path = site.folder().join("c.tar");
    let owned = Entry {
        owner: 7,
        ..text("d/in", "in")
    };
    let entries = [
        text("Dockerfile", "FROM base\nCOPY . /all/\n"),
        text("other/Dockerfile", "FROM base\nCOPY d /other\n"),
        text(".dockerignore", "out\n*file\nother"),
        text("out", "out"),
        owned,
    ];
    std::fs::write(&path, tar(&entries)).unwrap();
    let list = "cd /all; find . -type f | sort; stat -c %u d/in";
    let listing = "./.dockerignore\n./d/in\n7\n";
    from(&site, &path, &["-"]).success();
    assert_eq!(site.inside("c", list), listing);
    site.build(&["-q", "-t", "d", "c.tar"]).success();
    assert_eq!(site.inside("d", list), listing);
    from(&site, &path, &["-f", "other/Dockerfile", "-"]).success();
    assert_eq!(site.inside("c", "cat /other/in"), "in");
    run(Command::new("gzip").arg(&path)).success();
    let path = site.folder().join("c.tar.gz");
    from(&site, &path, &["-"]).success();
    assert_eq!(site.inside("c", list), listing);
    // Nothing of it is left when the build is over.
    let work = site.folder().join("store/work");
    assert_eq!(std::fs::read_dir(work).unwrap().count(), 0);
}

fn a_recipe_comes_alone() {
    let site = Site::new();
    let path = site.folder().join("recipe");
    std::fs::write(&path, "FROM base\nCOPY <<f /\nx\nf\nCOPY *.txt /y/\n").unwrap();
    from(&site, &path, &["-"]).success();
    assert_eq!(
        site.inside("c", "cat /f; ls -d /y 2>&1 || true"),
        "x\nls: /y: No such file or directory\n"
    );
    // With a folder, only the recipe comes so.
    let context = site.context("c", "FROM nowhere\n");
    std::fs::write(context.join("a.txt"), "a").unwrap();
    from(&site, &path, &["-f", "-", "c"]).success();
    assert_eq!(site.inside("c", "cat /y/a.txt"), "a");
    std::fs::write(&path, "FROM base\nCOPY a /\n").unwrap();
    let told = from(&site, &path, &["-"]).ends_with(1).stderr;
    assert!(told.contains("\"a\" is not in the context"), "{told}");
}

fn a_context_is_what_a_server_has() {
    let (site, web) = (Site::new(), Web::new());
    let server = GitServer::new(site.folder());
    let recipe = "FROM base\nCOPY . /all/\n";
    web.file("/recipe", &[], b"FROM base\nRUN echo alone > /x\n");
    web.file(
        "/c.tar",
        &[],
        &tar(&[text("Dockerfile", recipe), text("in", "tar")]),
    );
    site.build(&["-q", "-t", "c", &web.url("/recipe")])
        .success();
    assert_eq!(site.inside("c", "cat /x"), "alone\n");
    site.build(&["-q", "-t", "c", &web.url("/c.tar")]).success();
    assert_eq!(site.inside("c", "cat /all/in"), "tar");
    let folder = site.folder().join("r.git");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("sub/Dockerfile"), recipe).unwrap();
    std::fs::write(folder.join("Dockerfile"), recipe).unwrap();
    server.commit("r.git");
    server.git("r.git", &["branch", "old"]);
    std::fs::write(folder.join("sub/in"), "git").unwrap();
    server.commit("r.git");
    let url = server.url("r.git");
    let list = "cd /all; find . -type f | sort";
    for (context, listing) in [
        (url.clone(), "./Dockerfile\n./sub/Dockerfile\n./sub/in\n"),
        (format!("{url}#:sub"), "./Dockerfile\n./in\n"),
        (format!("{url}#old:sub"), "./Dockerfile\n"),
        (format!("{url}?branch=old&subdir=sub"), "./Dockerfile\n"),
    ] {
        site.build(&["-q", "-t", "c", &context]).success();
        assert_eq!(site.inside("c", list), listing, "{context}");
    }
    assert_eq!(
        std::fs::read_dir(site.folder().join("store/work"))
            .unwrap()
            .count(),
        0
    );
}

fn a_context_that_cannot_be_had_is_told() {
    let (site, web) = (Site::bare(), Web::new());
    web.file("/no", &[], &tar(&[text("x", "")]));
    for (context, words) in [
        (web.url("/none"), "the answer is 404"),
        (web.url("/no"), "read the recipe"),
        ("ftp://h/a".to_owned(), "it is no address"),
        ("git://-x/a".to_owned(), "could be taken for an option"),
        ("none".to_owned(), "read the recipe"),
    ] {
        let told = site.build(&["-q", &context]).ends_with(1).stderr;
        assert!(told.contains(words) && told.lines().count() == 1, "{told}");
    }
}

const TIMED: &str = "ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nARG SOURCE_DATE_EPOCH\n\
    LABEL t=${SOURCE_DATE_EPOCH:-none}\nCOPY Dockerfile /\n";

/// What the image of a context says of its time, and what a stage saw of it.
fn times(site: &Site, arguments: &[&str]) -> (String, String) {
    let id = site.build(&[&["-q"], arguments].concat()).success().stdout;
    let inspected = run(site.dhow().args(["inspect", id.trim_end()])).success();
    let inspected: Value = serde_json::from_str(&inspected.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let created = text(&inspected[0]["Created"]);
    (created, text(&inspected[0]["Config"]["Labels"]["t"]))
}

fn the_context_says_the_time() {
    let (site, web) = (Site::bare(), Web::new());
    let server = GitServer::new(site.folder());
    let recipe = Entry {
        data: TIMED.as_bytes().to_vec(),
        ..file("Dockerfile")
    };
    let newest = Entry {
        records: vec![("mtime".to_owned(), b"172800".to_vec())],
        ..file("new")
    };
    let archive = tar(&[recipe, newest]);
    let date = "Fri, 31 Dec 1999 23:59:59 GMT";
    web.file("/said.tar", &[("Last-Modified", date)], &archive);
    web.file("/silent.tar", &[], &archive);
    std::fs::write(site.context("r.git", TIMED).join("in"), "").unwrap();
    server.commit("r.git");
    let committed = server.git("r.git", &["log", "-1", "--format=%ct"]);
    let seconds: i64 = committed.trim().parse().unwrap();
    let (_, of_commit) = times(&site, &[&server.url("r.git")]);
    assert_eq!(of_commit, seconds.to_string());
    let expected = |created: &str, seen: &str| (created.to_owned(), seen.to_owned());
    let said = expected("1999-12-31T23:59:59Z", "946684799");
    assert_eq!(times(&site, &[&web.url("/said.tar")]), said);
    let silent = expected("1970-01-03T00:00:00Z", "172800");
    assert_eq!(times(&site, &[&web.url("/silent.tar")]), silent);
    // Nobody knows it of a folder; whoever says it is heard first.
    let none = expected("1970-01-01T00:00:00Z", "none");
    assert_eq!(times(&site, &["r.git"]), none);
    let number = "--build-arg=SOURCE_DATE_EPOCH=86400";
    let day = expected("1970-01-02T00:00:00Z", "86400");
    assert_eq!(times(&site, &[number, &web.url("/said.tar")]), day);
    // The same without a word of it in the recipe.
    let plain = TIMED.replace("ARG SOURCE_DATE_EPOCH=context\n", "");
    let recipe = Entry {
        data: plain.into_bytes(),
        ..file("Dockerfile")
    };
    web.file("/plain.tar", &[("Last-Modified", date)], &tar(&[recipe]));
    let asked = "--build-arg=SOURCE_DATE_EPOCH=context";
    assert_eq!(times(&site, &[asked, &web.url("/plain.tar")]), said);
}
