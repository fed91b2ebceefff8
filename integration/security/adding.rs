//! F6 to F11: files that a build brings in lead nowhere else. Not its job: steps that run.

use super::Canary;
use super::archive::{Entry, file, symlink, tar};
use super::shapes::{INSIDE, KINDS, OUTSIDE, entries};
use crate::build::Site;
use crate::build::servers::{GitServer, Web};
use crate::support::claims;

claims![
    f06_cve_2026_44517_a_recipe_in_a_tar_is_no_link_out: [Root, Overlay, Dhow],
    f06_cve_2026_33748_a_folder_of_a_repository_is_no_link_out: [Root, Overlay, Dhow, Tool("git")],
    f07_buildkit_9ce6f62_a_server_names_no_file: [Root, Overlay, Dhow],
    f09_cve_2019_13139_an_address_is_no_option: [Root, Overlay, Dhow, Tool("git")],
    f08_buildkit_640eb23_no_shape_of_links_leads_an_added_archive_out: [Root, Overlay, Dhow],
    f11_buildkit_3916124_no_source_climbs_out_of_its_tree: [Root, Overlay, Dhow],
];

/// E1 again, through ADD: the setup and the victims in one archive, or in two.
fn f08_buildkit_640eb23_no_shape_of_links_leads_an_added_archive_out() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let inside = canary.path().strip_prefix("/").unwrap();
    let context = site.context("c", "");
    let put = |name: &str, bytes: &[u8]| std::fs::write(context.join(name), bytes).unwrap();
    for (number, kind) in KINDS.iter().enumerate() {
        let shapes = INSIDE.iter().enumerate();
        let (before, victims): (Vec<_>, Vec<_>) = shapes
            .map(|(n, shape)| entries(shape, n, kind, &canary))
            .unzip();
        let before = before.concat();
        put("all", &tar(&[&before[..], &victims[..]].concat()));
        put("before", &tar(&before));
        put("victims", &tar(&victims));
        let recipe = ["ADD all /t/", "ADD before victims /t/"][number % 2];
        site.context("c", &format!("FROM scratch\n{recipe}\n"));
        let output = site.build(&["-q", "-t", "c", "c"]);
        canary.assert_untouched();
        if ["whiteout", "opaque"].contains(kind) {
            let told = output.ends_with(1).stderr;
            assert!(told.contains("no image can hold a file"), "{told}");
            continue;
        }
        output.success();
        let layers = std::fs::read_dir(site.folder().join("store/layers")).unwrap();
        let mut roots = layers.map(|layer| layer.unwrap().path().join("fs/t"));
        // They went somewhere: where a container would find them.
        let landed = roots.any(|root| {
            let landed = root.join(inside).join("secret");
            landed.symlink_metadata().is_ok()
        });
        assert!(landed, "{kind}, {recipe}");
    }
    for (n, (shape, words)) in OUTSIDE.iter().enumerate() {
        let (before, victim) = entries(shape, n, "file", &canary);
        put("all", &tar(&[&before[..], &[victim]].concat()));
        site.context("c", "FROM scratch\nADD all /t/\n");
        let told = site.build(&["-q", "c"]).ends_with(1).stderr;
        assert!(told.contains(words) && told.lines().count() == 1, "{told}");
        canary.assert_untouched();
    }
}

fn f11_buildkit_3916124_no_source_climbs_out_of_its_tree() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let up = "../".repeat(12);
    let context = site.context("c", "");
    std::os::unix::fs::symlink(canary.path(), context.join("out")).unwrap();
    std::fs::write(context.join("a"), "").unwrap();
    let c = canary.text();
    for line in [
        format!("COPY {up}{c}/secret /x"),
        format!("COPY {up}{c} /x/"),
        format!("COPY --parents {up}{c}/secret /x/"),
        format!("COPY --parents ./out/./{up}{c}/secret /x/"),
        "COPY --parents out/./secret /x/".to_owned(),
        "COPY --parents out/secret /x/".to_owned(),
        "COPY out/secret /x".to_owned(),
        "ADD out/secret /x".to_owned(),
    ] {
        site.context("c", &format!("FROM scratch\n{line}\n"));
        let told = site.build(&["-q", "c"]).ends_with(1).stderr;
        assert!(told.contains("is not in the context"), "{line}: {told}");
    }
    // Patterns fit nothing there, and what an ignore file brings back is of the context too.
    std::fs::write(
        context.join(".dockerignore"),
        format!("*\n!{up}{c}/secret\n!../a\n!out\n"),
    )
    .unwrap();
    for line in [
        format!("COPY {up}{c}/sec* /x/"),
        "COPY ../*/secret out/* /x/".to_owned(),
        "COPY --parents **/secret out/** /x/".to_owned(),
        format!("COPY --parents {up}**/secret /x/"),
    ] {
        site.context("c", &format!("FROM scratch\n{line}\nCOPY . /y/\n"));
        site.build(&["-q", "-t", "c", "c"]).success();
    }
    let found = crate::support::run(
        std::process::Command::new("grep")
            .args(["-rl", super::canary::SECRET])
            .arg(site.folder().join("store")),
    );
    assert_eq!(found.stdout, "");
    canary.assert_untouched();
}

/// Links of a repository lead nowhere, as its folder or on the way to it.
fn f06_cve_2026_33748_a_folder_of_a_repository_is_no_link_out() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let server = GitServer::new(site.folder());
    let inside = site.folder().join("evil.git");
    std::fs::create_dir_all(inside.join("real")).unwrap();
    std::os::unix::fs::symlink(canary.path(), inside.join("abs")).unwrap();
    let up = format!("{}{}", "../".repeat(20), &canary.text()[1..]);
    std::os::unix::fs::symlink(up, inside.join("real/up")).unwrap();
    server.commit("evil.git");
    let url = server.url("evil.git");
    for folder in [
        "abs",
        "real/up",
        "abs/b",
        "../../canary",
        "real/../../canary",
    ] {
        for line in [
            format!("ADD {url}#:{folder} /x"),
            format!("ADD {url}?subdir={folder} /x"),
        ] {
            site.context("c", &format!("FROM scratch\n{line}\n"));
            let told = site.build(&["-q", "c"]).ends_with(1).stderr;
            assert!(told.contains("open the folder"), "{told}");
        }
    }
    canary.assert_untouched();
}

/// buildah wrote to and read from what a tar's link led to.
fn f06_cve_2026_44517_a_recipe_in_a_tar_is_no_link_out() {
    let site = Site::bare();
    let canary = Canary::new(&site.sandbox);
    let secret = format!("{}/secret", canary.text());
    let recipe = Entry {
        data: b"FROM scratch\nCOPY . /x/\n".to_vec(),
        ..file("Dockerfile")
    };
    let there = format!("{}{}", super::shapes::UP, secret);
    for (n, entries) in [
        vec![symlink("Dockerfile", &secret)],
        vec![symlink("Dockerfile", &there)],
        vec![symlink("Dockerfile", &secret), recipe.clone()],
        vec![symlink(".dockerignore", &secret), recipe.clone()],
        vec![symlink("d", canary.text()), file("d/secret"), recipe],
    ]
    .iter()
    .enumerate()
    {
        std::fs::write(site.folder().join("c.tar"), tar(entries)).unwrap();
        let output = site.build(&["-q", "-t", "c", "c.tar"]);
        assert!(
            !output.stderr.contains(super::canary::SECRET),
            "{}",
            output.stderr
        );
        assert_eq!(output.status == 0, n > 1, "{n}: {}", output.stderr);
        canary.assert_untouched();
    }
}

fn f07_buildkit_9ce6f62_a_server_names_no_file() {
    let (site, web) = (Site::bare(), Web::new());
    let canary = Canary::new(&site.sandbox);
    let secret = format!("{}/secret", canary.text());
    let bad = format!("attachment; filename=\"../../../../../../..{secret}\"");
    web.file("/a", &[("Content-Disposition", &bad)], b"evil");
    let encoded = format!("/%2e%2e{}", secret.replace('/', "%2F"));
    web.file(&encoded, &[], b"evil");
    for (path, name) in [("/a", "a"), (&encoded[..], "secret")] {
        site.context("c", &format!("FROM scratch\nADD {} /t/\n", web.url(path)));
        site.build(&["-q", "-t", "c", "c"]).success();
        let layers = std::fs::read_dir(site.folder().join("store/layers")).unwrap();
        let mut roots = layers.map(|layer| layer.unwrap().path().join("fs/t"));
        assert!(roots.any(|root| root.join(name).is_file()), "{path}");
    }
    web.put(
        "/to",
        (
            "302 There",
            vec![("Location", "file:///etc/passwd".to_owned())],
            Vec::new(),
        ),
    );
    for path in ["/..", "/%2e%2e", "/a%00b", "/to"] {
        site.context("c", &format!("FROM scratch\nADD {} /t/\n", web.url(path)));
        site.build(&["-q", "c"]).ends_with(1);
    }
    canary.assert_untouched();
}

/// Neither a program nor a file is named by an address.
fn f09_cve_2019_13139_an_address_is_no_option() {
    let site = Site::bare();
    let mark = site.folder().join("mark");
    let touch = format!("touch${{IFS}}{}", mark.display());
    let server = GitServer::new(site.folder());
    std::fs::create_dir(site.folder().join("r.git")).unwrap();
    server.commit("r.git");
    let url = server.url("r.git");
    for source in [
        format!("git://--upload-pack={touch}/a"),
        format!("ssh://-oProxyCommand={touch}/a"),
        format!("git@-oProxyCommand={touch}:a"),
        format!("git@localhost:--upload-pack={touch}"),
        format!("{url}#--upload-pack={touch}"),
        format!("{url}?ref=--upload-pack={touch}"),
        format!("ext::sh -c {touch}"),
        "file:///etc/passwd".to_owned(),
        "/etc/passwd".to_owned(),
    ] {
        site.context("c", &format!("FROM scratch\nADD '{source}' /x\n"));
        site.build(&["-q", "c"]).ends_with(1);
        assert!(!mark.exists(), "{source}");
    }
    // Nor by what a repository brings.
    let folder = site.folder().join("r.git");
    let script = format!("#!/bin/sh\ntouch {}\n", mark.display());
    std::fs::write(folder.join("run"), script).unwrap();
    std::fs::write(folder.join(".gitattributes"), "* filter=x\n").unwrap();
    let modules = "[submodule \"m\"]\n\tpath = m\n\turl = ext::sh -c ./run\n\tupdate = !./run\n";
    std::fs::write(folder.join(".gitmodules"), modules).unwrap();
    server.git("r.git", &["add", "-A"]);
    let link = format!("160000,{},m", "1".repeat(40));
    server.git("r.git", &["update-index", "--add", "--cacheinfo", &link]);
    server.git("r.git", &["commit", "-q", "-m", "x"]);
    site.context("c", &format!("FROM scratch\nADD {url} /x\n"));
    // Some versions of git pass over such a submodule, others end with it.
    let _either = site.build(&["-q", "c"]);
    assert!(!mark.exists());
}
