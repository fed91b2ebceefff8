//! F6 to F11: files that a build brings in lead nowhere else. Not its job: steps that run.

use super::Canary;
use super::archive::tar;
use super::shapes::{INSIDE, KINDS, OUTSIDE, entries};
use crate::build::Site;
use crate::support::claims;

claims![
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
