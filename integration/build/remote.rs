//! ADD of what servers have: files and repositories. Not its job: hostile servers (security).

use std::path::Path;

use super::adding::LIST;
use super::servers::{GitServer, Web};
use super::{Site, cached};
use crate::security::archive::{file, tar};
use crate::support::{claims, run};

claims![
    a_file_of_a_web_server_is_added: [Root, Cgroup2, Overlay, Dhow],
    a_download_that_is_known_is_not_made_again: [Root, Cgroup2, Overlay, Dhow],
    what_is_no_file_or_not_the_promised_one_is_told: [Root, Overlay, Dhow],
    a_commit_of_a_repository_is_added: [Root, Cgroup2, Overlay, Dhow, Tool("git")],
    a_repository_is_fetched_again_when_its_branch_moved: [Root, Cgroup2, Overlay, Dhow, Tool("git")],
    a_repository_that_cannot_be_had_is_told: [Root, Overlay, Dhow, Tool("git")],
];

fn a_file_of_a_web_server_is_added() {
    let (site, web) = (Site::new(), Web::new());
    let date = "Fri, 31 Dec 1999 23:59:59 GMT";
    web.file("/a/plain", &[("Last-Modified", date)], b"content");
    web.file(
        "/a/b%20c?d=/e",
        &[("Content-Disposition", "attachment; filename=../../x")],
        b"blank",
    );
    web.file("/t.tar", &[], &tar(&[file("in")]));
    web.file("/", &[], b"no name");
    web.put(
        "/moved",
        (
            "302 There",
            vec![("Location", "/a/plain".to_owned())],
            Vec::new(),
        ),
    );
    site.context(
        "c",
        &format!(
            "FROM base\nADD {} /x/\nADD {} /x/\nADD {} /x/\nADD {} /x/\nADD {} /y\n\
             ADD --chmod=751 --chown=user {} /z\nADD --unpack {} /t\nARG U={}\nADD $U /w/\nADD --link {} /l/\n",
            web.url("/a/plain"),
            web.url("/a/b%20c?d=/e"),
            web.url("/t.tar"),
            web.url("/"),
            web.url("/a/plain"),
            web.url("/moved"),
            web.url("/t.tar"),
            web.url("/moved"),
            web.url("/a/plain"),
        ),
    );
    run(site
        .dhow()
        .env("SOURCE_DATE_EPOCH", "2000000000")
        .args(["build", "-t", "c", "c"]))
    .success();
    assert_eq!(
        site.inside("c", &format!("cd /x; {LIST}")),
        ". directory 0:0 755\n./__unnamed__ regular file 0:0 600\n./b c regular file 0:0 600\n\
         ./plain regular file 0:0 600\n./t.tar regular file 0:0 600\n"
    );
    assert_eq!(
        site.inside(
            "c",
            "cat /x/plain '/x/b c' /y /w/moved /l/plain /t/in; stat -c '%u:%g %a %Y' /z /x/__unnamed__"
        ),
        "contentblankcontentcontentcontentof the image\n1000:1001 751 946684799\n0:0 600 0\n"
    );
}

fn a_download_that_is_known_is_not_made_again() {
    let (site, web) = (Site::new(), Web::new());
    web.file("/tagged", &[("ETag", "\"1\"")], b"one");
    web.file("/bare", &[], b"bare");
    web.file("/sure", &[], b"sure");
    let output = run(std::process::Command::new("sh").args(["-c", "printf sure | sha256sum"]));
    let sure = output.success().stdout[..64].to_owned();
    site.context(
        "c",
        &format!(
            "FROM base\nADD {} /a\nADD {} /b\nADD --checksum=sha256:{sure} {} /c\n",
            web.url("/tagged"),
            web.url("/bare"),
            web.url("/sure"),
        ),
    );
    assert_eq!(cached(&site.build(&["c"]).success()), 0);
    assert_eq!(web.seen(), ["/tagged 200", "/bare 200", "/sure 200"]);
    assert_eq!(cached(&site.build(&["c"]).success()), 3);
    assert_eq!(web.seen(), ["/tagged 304", "/bare 200"]);
    // On another base it is fetched again, the same or not at all.
    site.image("base", "FROM base\nRUN touch /new\n");
    assert_eq!(cached(&site.build(&["c"]).success()), 0);
    assert_eq!(
        web.seen(),
        ["/tagged 304", "/tagged 200", "/bare 200", "/sure 200"]
    );
    web.file("/tagged", &[("ETag", "\"2\"")], b"two");
    site.build(&["-t", "c", "c"]).success();
    assert_eq!(site.inside("c", "cat /a"), "two");
    // Nobody's cache is trusted where none is wanted.
    web.seen();
    site.build(&["--no-cache", "c"]).success();
    assert_eq!(web.seen(), ["/tagged 200", "/bare 200", "/sure 200"]);
}

fn what_is_no_file_or_not_the_promised_one_is_told() {
    let (site, web) = (Site::bare(), Web::new());
    web.file("/a", &[], b"content");
    let (a, none) = (web.url("/a"), web.url("/none?token=hush"));
    let zero = format!("sha256:{}", "0".repeat(64));
    for (line, words) in [
        (format!("ADD {none} /x"), "the answer is 404".to_owned()),
        (
            format!("ADD --checksum={zero} {a} /x"),
            format!("not {zero}"),
        ),
        (
            format!("ADD --checksum=md5:0 {a} /x"),
            "only sha256:HEX is supported".to_owned(),
        ),
        (
            "ADD http://user:word@localhost/a /x".to_owned(),
            "it names a user".to_owned(),
        ),
    ] {
        site.context("c", &format!("FROM scratch\n{line}\n"));
        let output = site.build(&["-q", "c"]).ends_with(1);
        assert!(output.stderr.contains(&words), "{}", output.stderr);
    }
}

/// A repository with two commits, a branch, and both kinds of tags; the names of both commits.
fn repository(server: &GitServer, folder: &Path) -> (String, String) {
    let write = |name: &str, text: &str| {
        let path = folder.join("r.git").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("file", "1");
    write("sub/deep/in", "1");
    let first = server.commit("r.git");
    server.git("r.git", &["tag", "light"]);
    server.git("r.git", &["tag", "-m", "x", "heavy"]);
    write("file", "2");
    let second = server.commit("r.git");
    server.git("r.git", &["branch", "side/way", "light"]);
    (first, second)
}

fn a_commit_of_a_repository_is_added() {
    let site = Site::new();
    let server = GitServer::new(site.folder());
    let (first, second) = repository(&server, site.folder());
    let url = server.url("r.git");
    // A repository inside it, by an address of its own.
    std::fs::create_dir(site.folder().join("inner.git")).unwrap();
    std::fs::write(site.folder().join("inner.git/i"), "inner").unwrap();
    server.commit("inner.git");
    server.commit("outer.git");
    let inner = server.url("inner.git");
    server.git("outer.git", &["submodule", "add", "-q", "--", &inner, "m"]);
    server.commit("outer.git");
    let outer = server.url("outer.git");
    site.context(
        "c",
        &format!(
            "FROM base\nADD {url} /head\nADD {url}#light /light/\nADD {url}#heavy:sub /heavy\nADD {url}#side/way:sub/deep /way\n\
             ADD {url}#{first} /commit\nADD --checksum={} --chown=5:6 {url}?ref=main&subdir=/sub /query\n\
             ADD --keep-git-dir {url}#refs/heads/main /kept\nADD {outer} /outer\nADD {outer}?submodules=0 /flat\n\
             ADD --link --exclude=file {url} /link\n",
            &second[..8]
        ),
    );
    site.build(&["-t", "c", "c"]).success();
    assert_eq!(
        site.inside(
            "c",
            "cat /head/file /light/file /commit/file /kept/file /outer/m/i; cd /; find heavy way query flat link head | sort"
        ),
        "2112innerflat\nflat/.gitmodules\nflat/m\nhead\nhead/file\nhead/sub\nhead/sub/deep\nhead/sub/deep/in\n\
         heavy\nheavy/deep\nheavy/deep/in\nlink\nlink/sub\nlink/sub/deep\nlink/sub/deep/in\nquery\nquery/deep\n\
         query/deep/in\nway\nway/in\n"
    );
    assert_eq!(
        site.inside(
            "c",
            "stat -c '%u:%g %a' /head/file /head/sub /query/deep/in; cat /kept/.git/HEAD; [ -e /outer/.git ] || echo none"
        ),
        format!("0:0 644\n0:0 755\n5:6 644\n{second}\nnone\n")
    );
}

fn a_repository_is_fetched_again_when_its_branch_moved() {
    let site = Site::new();
    let server = GitServer::new(site.folder());
    repository(&server, site.folder());
    let url = server.url("r.git");
    site.context(
        "c",
        &format!("FROM base\nADD {url} /a\nADD {url}#light /b\n"),
    );
    assert_eq!(cached(&site.build(&["c"]).success()), 0);
    assert_eq!(cached(&site.build(&["c"]).success()), 2);
    std::fs::write(site.folder().join("r.git/file"), "3").unwrap();
    server.commit("r.git");
    assert_eq!(cached(&site.build(&["-t", "c", "c"]).success()), 0);
    assert_eq!(site.inside("c", "cat /a/file /b/file"), "31");
}

fn a_repository_that_cannot_be_had_is_told() {
    let site = Site::bare();
    let server = GitServer::new(site.folder());
    let (_, second) = repository(&server, site.folder());
    let url = server.url("r.git");
    for (line, words) in [
        (
            format!("ADD {url}#none /x"),
            "it has no branch or tag \"none\"".to_owned(),
        ),
        (
            format!("ADD {url}#:none /x"),
            "open the folder \"none\"".to_owned(),
        ),
        (
            format!("ADD --checksum=00000000 {url} /x"),
            format!("its commit is {second}, not 00000000"),
        ),
        (
            format!("ADD {} /x", server.url("none.git")),
            "none.git".to_owned(),
        ),
    ] {
        site.context("c", &format!("FROM scratch\n{line}\n"));
        let output = site.build(&["-q", "c"]).ends_with(1);
        assert!(output.stderr.contains(&words), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    // A host without git.
    site.context("c", &format!("FROM scratch\nADD {url} /x\n"));
    let output = run(site
        .dhow()
        .env("PATH", site.folder())
        .args(["build", "-q", "c"]))
    .ends_with(1);
    assert!(
        output.stderr.contains("git is not installed on this host"),
        "{}",
        output.stderr
    );
}
