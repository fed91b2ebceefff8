//! What COPY and ADD do beyond plain copies: `--parents`, `--link`, archives. Not its job: hostile archives (security).

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::{Site, cached};
use crate::security::archive::{Entry, file, folder, hard_link, symlink as link, tar};
use crate::support::{claims, run};

claims![
    parents_are_kept_with_what_they_are: [Root, Cgroup2, Overlay, Dhow],
    a_linked_layer_is_the_same_on_any_base: [Root, Cgroup2, Overlay, Dhow],
    a_linked_target_is_made_of_real_folders: [Root, Cgroup2, Overlay, Dhow],
    an_archive_is_unpacked_as_docker_does: [Root, Cgroup2, Overlay, Dhow],
    an_archive_is_known_by_its_content: [Root, Cgroup2, Overlay, Dhow],
    an_archive_takes_the_place_of_what_has_its_names: [Root, Cgroup2, Overlay, Dhow],
    an_archive_is_added_behind_links_of_the_tree: [Root, Cgroup2, Overlay, Dhow],
];

/// Names, types, owners, modes and links of a tree, as a container sees it.
pub(super) const LIST: &str = "find . | sort | while read -r f; do stat -c '%n %F %u:%g %a' \"$f\"; done | sed 's/regular empty file/regular file/'";

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn parents_are_kept_with_what_they_are() {
    let site = Site::new();
    let context = site.context(
        "c",
        "FROM base\n\
         COPY --parents a/b/one.txt a/x /plain/\n\
         COPY --parents ./a/./b/*.txt /pivot\n\
         COPY --parents **/*.txt /deep/\n\
         COPY --parents --exclude=**/two.txt a/*/*.txt /but/\n\
         COPY --parents nomatch*/x ../../a/./x /some/\n\
         COPY --parents --chown=5:6 --chmod=700 a/b/one.txt /mine/\n\
         COPY --parents ./a/./ /all/\n",
    );
    for name in ["a/b/one.txt", "a/b/two.txt", "a/b/c/three.txt", "a/x", "z"] {
        write(&context.join(name), b"x");
    }
    std::fs::create_dir(context.join("a/empty")).unwrap();
    symlink("x", context.join("a/soft")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o2750);
    std::fs::set_permissions(context.join("a/b"), mode).unwrap();
    site.build(&["-t", "c", "c"]).success();
    let list = |folder: &str| {
        let script = format!("cd {folder}; find . ! -type d | sort | tr '\\n' ' '");
        site.inside("c", &script)
    };
    for (folder, files) in [
        ("/plain", "./a/b/one.txt ./a/x "),
        ("/pivot", "./b/one.txt ./b/two.txt "),
        ("/deep", "./a/b/c/three.txt ./a/b/one.txt ./a/b/two.txt "),
        ("/but", "./a/b/one.txt "),
        ("/some", "./x "),
        (
            "/all",
            "./b/c/three.txt ./b/one.txt ./b/two.txt ./soft ./x ",
        ),
    ] {
        assert_eq!(list(folder), files, "{folder}");
    }
    let modes = "stat -c '%n %u:%g %a' /plain /plain/a /plain/a/b /pivot/b /mine /mine/a/b /mine/a/b/one.txt /all/empty";
    assert_eq!(
        site.inside("c", modes),
        "/plain 0:0 755\n/plain/a 0:0 755\n/plain/a/b 0:0 2750\n/pivot/b 0:0 2750\n/mine 5:6 755\n\
         /mine/a/b 5:6 700\n/mine/a/b/one.txt 5:6 700\n/all/empty 0:0 755\n"
    );
    site.context("c", "FROM base\nCOPY --parents a/b/on.txt /x/\n");
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: Dockerfile:2: COPY --parents a/b/on.txt /x/: \"a/b/on.txt\" is not in the context (did you mean one.txt?)\n"
    );
    // From another stage as well, and a link on the way is not followed.
    site.image(
        "d",
        "FROM c AS s\nRUN ln -s /plain /way\nFROM base\nCOPY --from=s --parents /plain/a/x /way* /x/\n",
    );
    assert_eq!(
        site.inside("d", "cd /x; find . ! -type d | sort; readlink way"),
        "./plain/a/x\n./way\n/plain\n"
    );
}

/// The layers of an image.
fn layers(site: &Site, image: &str) -> Vec<String> {
    let output = run(site.dhow().args(["inspect", image])).success().stdout;
    let value: serde_json::Value = serde_json::from_str(&output).unwrap();
    let layers = value[0]["Layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["Digest"].as_str().unwrap().to_owned())
        .collect()
}

fn a_linked_layer_is_the_same_on_any_base() {
    let site = Site::new();
    let build = |name: &str, base: &str| {
        let recipe = format!("FROM {base}\nCOPY --link a d /x/y/\nADD --link t.tar /t/\n");
        let context = site.context("c", &recipe);
        write(&context.join("a"), b"1");
        write(&context.join("d/b"), b"2");
        write(&context.join("t.tar"), &tar(&[file("in")]));
        site.build(&["-t", name, "c"]).success()
    };
    assert_eq!(cached(&build("one", "base")), 0);
    site.image("other", "FROM base\nRUN ln -s /tmp /x\n");
    assert_eq!(cached(&build("two", "other")), 2);
    let (one, two) = (layers(&site, "one"), layers(&site, "two"));
    assert_eq!(one[one.len() - 2..], two[two.len() - 2..]);
    assert_ne!(one.len(), two.len());
    assert_eq!(
        site.inside("one", "cat /x/y/a /x/y/b /t/in"),
        "12of the image\n"
    );
}

fn a_linked_target_is_made_of_real_folders() {
    let site = Site::new();
    site.image("linked", "FROM base\nRUN mkdir /real && ln -s /real /l\n");
    let context = site.context(
        "c",
        "FROM linked AS linked-too\nCOPY --link a /l/a\nFROM linked AS plain\nCOPY a /l/a\nFROM linked\nCOPY --link --chown=user a /a\n",
    );
    write(&context.join("a"), b"1");
    site.build(&["-t", "c", "--target", "linked-too", "c"])
        .success();
    assert_eq!(
        site.inside("c", "stat -c %F /l; ls /l /real"),
        "directory\n/l:\na\n\n/real:\n"
    );
    site.build(&["-t", "c", "--target", "plain", "c"]).success();
    assert_eq!(
        site.inside("c", "stat -c %F /l; ls /real"),
        "symbolic link\na\n"
    );
    // What depends on nothing below knows no names of users either.
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(output.stderr.contains("--chown=user"), "{}", output.stderr);
}

fn an_archive_is_unpacked_as_docker_does() {
    let site = Site::new();
    let context = site.context(
        "c",
        "FROM base\nADD a.tar /kept\nADD --chown=7:8 --chmod=700 a.tar /given/\nADD a.tar plain /both/\n\
         COPY a.tar /whole\nADD --unpack=false a.tar /as-it-is\n",
    );
    let strange = |entry: Entry| Entry {
        mode: 0o4751,
        owner: 1234,
        ..entry
    };
    let entries = [
        folder("./"),
        strange(file("./f")),
        strange(folder("d")),
        file("d/g"),
        file("through/h"),
        link("l", "/etc/passwd"),
        hard_link("h", "d/g"),
        Entry::new(b'6', "fifo"),
    ];
    write(&context.join("a.tar"), &tar(&entries));
    write(&context.join("plain"), b"no archive");
    site.build(&["-t", "c", "c"]).success();
    let list = |folder: &str| site.inside("c", &format!("cd {folder}; {LIST}"));
    assert_eq!(
        list("/kept"),
        ". directory 0:0 755\n./d directory 1234:0 4751\n./d/g regular file 0:0 644\n./f regular file 1234:0 4751\n\
         ./fifo fifo 0:0 644\n./h regular file 0:0 644\n./l symbolic link 0:0 777\n./through directory 0:0 755\n\
         ./through/h regular file 0:0 644\n"
    );
    assert_eq!(
        list("/given"),
        ". directory 7:8 755\n./d directory 7:8 4751\n./d/g regular file 7:8 644\n./f regular file 7:8 4751\n\
         ./fifo fifo 7:8 644\n./h regular file 7:8 644\n./l symbolic link 7:8 777\n./through directory 7:8 755\n\
         ./through/h regular file 7:8 644\n"
    );
    assert_eq!(
        site.inside("c", "cd /both; ls; stat -c %h h; readlink l; cat plain"),
        "d\nf\nfifo\nh\nl\nplain\nthrough\n2\n/etc/passwd\nno archive"
    );
    assert_eq!(
        site.inside("c", "stat -c %F /whole /as-it-is"),
        "regular file\nregular file\n"
    );
}

fn an_archive_is_known_by_its_content() {
    let site = Site::new();
    let context = site.context(
        "c",
        "FROM base\nADD gz /gz\nADD bz2 /bz2\nADD xz /xz\nADD zst /zst\nADD a.tar.gz empty.tar half.tar /no/\n",
    );
    write(&context.join("tar"), &tar(&[file("in")]));
    for (name, program) in [
        ("gz", "gzip"),
        ("bz2", "bzip2"),
        ("xz", "xz"),
        ("zst", "zstd -q"),
    ] {
        let script = format!("{program} < tar > {name}");
        run(Command::new("sh")
            .current_dir(&context)
            .args(["-c", &script]))
        .success();
    }
    run(Command::new("sh")
        .current_dir(&context)
        .args(["-c", "echo no tar | gzip > a.tar.gz"]))
    .success();
    write(&context.join("empty.tar"), b"");
    write(&context.join("half.tar"), &tar(&[file("in")])[..400]);
    site.build(&["-t", "c", "c"]).success();
    let listing = site.inside(
        "c",
        "cat /gz/in /bz2/in /xz/in /zst/in; cd /no; ls; zcat a.tar.gz",
    );
    assert_eq!(
        listing,
        format!(
            "{}a.tar.gz\nempty.tar\nhalf.tar\nno tar\n",
            "of the image\n".repeat(4)
        )
    );
    // One that breaks off is no half an image.
    let whole = std::fs::read(context.join("gz")).unwrap();
    write(&context.join("gz"), &whole[..whole.len() - 9]);
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(
        output.stderr.contains("unpack \"gz\"") && output.stderr.contains("cut short"),
        "{}",
        output.stderr
    );
}

fn an_archive_takes_the_place_of_what_has_its_names() {
    let site = Site::new();
    site.image(
        "full",
        "FROM base\nRUN mkdir -p /x/folder/in /x/kept && chmod 1777 /x/kept && echo > /x/file && ln -s kept /x/link && \
         ln -s kept /x/way\n",
    );
    let context = site.context("c", "FROM full\nADD a.tar /x\n");
    let entries = [
        // A file over a folder, a folder over a file, a folder over a link.
        file("folder"),
        folder("file"),
        file("file/in"),
        folder("link"),
        file("link/in"),
        // Only passed through: a folder stays as it is, a link is followed.
        file("kept/one"),
        file("way/two"),
    ];
    write(&context.join("a.tar"), &tar(&entries));
    site.build(&["-t", "c", "c"]).success();
    assert_eq!(
        site.inside("c", &format!("cd /x; {LIST}")),
        ". directory 0:0 755\n./file directory 0:0 755\n./file/in regular file 0:0 644\n./folder regular file 0:0 644\n\
         ./kept directory 0:0 1777\n./kept/one regular file 0:0 644\n./kept/two regular file 0:0 644\n\
         ./link directory 0:0 755\n./link/in regular file 0:0 644\n./way symbolic link 0:0 777\n"
    );
    write(&context.join("a.tar"), &tar(&[file(".wh.file")]));
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(
        output
            .stderr
            .contains("no image can hold a file of that name"),
        "{}",
        output.stderr
    );
}

fn an_archive_is_added_behind_links_of_the_tree() {
    let site = Site::new();
    site.image(
        "linked",
        "FROM base\nRUN mkdir -p /to/there && ln -s /to/there /abs && ln -s ../../../../to /up\n",
    );
    let context = site.context("c", "FROM linked\nADD a.tar /abs\nADD a.tar /up/new/\n");
    write(&context.join("a.tar"), &tar(&[file("in")]));
    site.build(&["-t", "c", "c"]).success();
    assert_eq!(
        site.inside("c", "cd /to; find . -type f | sort"),
        "./new/in\n./there/in\n"
    );
}
