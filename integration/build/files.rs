//! What COPY makes of files: places, owners, modes, links, what is left out.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::Site;
use crate::support::claims;

claims![
    copy_puts_files_where_buildkit_puts_them: [Root, Cgroup2, Overlay, Dhow],
    copy_gives_owners_and_modes_as_asked: [Root, Cgroup2, Overlay, Dhow],
    copy_keeps_links_attributes_and_times: [Root, Cgroup2, Overlay, Dhow],
    copy_refuses_what_it_cannot_replace: [Root, Cgroup2, Overlay, Dhow],
    copy_brings_no_device_that_means_a_removed_file: [Root, Overlay, Dhow],
    the_ignore_file_leaves_out_and_brings_back: [Root, Overlay, Cgroup2, Dhow],
    add_copies_files: [Root, Cgroup2, Overlay, Dhow],
    a_missing_source_is_named_with_its_neighbour: [Root, Overlay, Dhow],
];

/// A context with a few files and this recipe.
fn site(recipe: &str) -> Site {
    let site = Site::new();
    let context = site.context("c", recipe);
    std::fs::create_dir_all(context.join("d/sub")).unwrap();
    for (name, content) in [
        ("a.txt", "a"),
        ("b.txt", "b"),
        (".hidden", "h"),
        ("d/x", "x"),
        ("d/sub/y", "y"),
    ] {
        std::fs::write(context.join(name), content).unwrap();
    }
    site
}

fn copy_puts_files_where_buildkit_puts_them() {
    let site = site(
        "FROM base\nWORKDIR /w\n\
         COPY a.txt file\nCOPY a.txt b.txt dir/\nCOPY a.txt /tmp\nCOPY d /whole\nCOPY d d/sub /merged/\n\
         COPY *.txt /glob/\nCOPY ?hidden* /dots/\nCOPY nomatch* /never/\nCOPY ../../a.txt /up\n\
         COPY a.txt \"\"\nCOPY a.txt b.txt /last\nCOPY [\"a.txt\", \"/with blank\"]\n",
    );
    site.build(&["-t", "c", "c"]).success();
    let script = "cd /; find w tmp whole merged glob dots up last 'with blank' -type f | sort; cat last; ls -d never 2>/dev/null";
    let listing = site.inside("c", &format!("{script}; true"));
    let wanted = "dots/.hidden\nglob/a.txt\nglob/b.txt\nlast\nmerged/sub/y\nmerged/x\nmerged/y\ntmp/a.txt\nup\n\
                  w/a.txt\nw/dir/a.txt\nw/dir/b.txt\nw/file\nwhole/sub/y\nwhole/x\nwith blank\nb";
    assert_eq!(listing, wanted);
}

fn copy_gives_owners_and_modes_as_asked() {
    let site = site(
        "FROM base AS s\nCOPY d /from\nRUN chown -R 7:8 /from && chmod 700 /from /from/x && mkdir /there && chown 9:9 /there\n\
         FROM base\nUSER user\nCOPY d /plain\nCOPY --chown=user a.txt /name\nCOPY --chown=5 a.txt /number\n\
         COPY --chown=user:staff --chmod=750 d /both\nCOPY --chmod=u=rwX,go=rX d /letters\n\
         COPY --from=s /from /kept\nCOPY --from=s /there /there/\nWORKDIR /home/deep/er\n",
    );
    let context = site.folder().join("c");
    std::fs::set_permissions(context.join("d/x"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(context.join("d/x"), Some(33), Some(33)).unwrap();
    site.build(&["-t", "c", "c"]).success();
    let listing = site.inside(
        "c",
        "stat -c '%n %u:%g %a' /plain /plain/x /name /number /both /both/sub/y /letters/x /letters/sub /kept /kept/x \
         /home/deep /home/deep/er",
    );
    assert_eq!(
        listing,
        "/plain 0:0 755\n/plain/x 0:0 600\n/name 1000:1001 644\n/number 5:5 644\n/both 1000:50 755\n\
         /both/sub/y 1000:50 750\n/letters/x 0:0 644\n/letters/sub 0:0 755\n/kept 0:0 755\n/kept/x 7:8 700\n\
         /home/deep 1000:1001 755\n/home/deep/er 1000:1001 755\n"
    );
}

fn copy_keeps_links_attributes_and_times() {
    let site = site(
        "FROM base AS s\nRUN mkdir /l && cd /l && echo 1 > one && ln one two && ln -s one soft && ln -s /etc abs\n\
         FROM base\nCOPY --from=s /l /l\nCOPY l /m\nCOPY soft /followed\n",
    );
    let context = site.folder().join("c");
    std::fs::create_dir(context.join("l")).unwrap();
    symlink("../nowhere", context.join("l/dangling")).unwrap();
    symlink("a.txt", context.join("soft")).unwrap();
    let file = std::fs::File::open(context.join("a.txt")).unwrap();
    let early = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    file.set_modified(early).unwrap();
    crate::support::run(
        site.dhow()
            .env("SOURCE_DATE_EPOCH", "2000000")
            .args(["build", "-t", "c", "c"]),
    )
    .success();
    let listing = site.inside(
        "c",
        "cd /; stat -c '%h' l/one; for l in l/soft l/abs m/dangling; do readlink $l; done; stat -c %F followed; stat -c %Y followed l/one",
    );
    assert_eq!(
        listing,
        "2\none\n/etc\n../nowhere\nregular file\n1000000\n2000000\n"
    );
}

fn copy_refuses_what_it_cannot_replace() {
    for (lines, words) in [
        (
            "COPY d /x\nCOPY a.txt /y/a.txt/\nCOPY a.txt /y",
            "cannot replace directory /y/a.txt with a file",
        ),
        (
            "COPY a.txt /x/sub\nCOPY d /x",
            "cannot copy a directory onto /x/sub, which is none",
        ),
    ] {
        let site = site(&format!("FROM base\n{lines}\n"));
        let output = site.build(&["-q", "c"]).ends_with(1);
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
}

fn copy_brings_no_device_that_means_a_removed_file() {
    for flags in ["", "--link "] {
        let site = Site::bare();
        let context = site.context("c", &format!("FROM scratch\nCOPY {flags}d /d\n"));
        std::fs::create_dir(context.join("d")).unwrap();
        let mut mknod = std::process::Command::new("mknod");
        crate::support::run(mknod.arg(context.join("d/x")).args(["c", "0", "0"])).success();
        let output = site.build(&["-q", "c"]).ends_with(1);
        let words = "cannot copy to /d/x: a device 0:0 would remove a file of the layers below";
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
}

fn the_ignore_file_leaves_out_and_brings_back() {
    let site = site("FROM base\nCOPY . /all/\n");
    let context = site.folder().join("c");
    std::fs::write(
        context.join(".dockerignore"),
        "# all but\n*\n!d\nd/*\n!d/sub/y\n!b.txt\n",
    )
    .unwrap();
    site.build(&["-t", "c", "c"]).success();
    let list = "cd /all; find . -type f | sort";
    assert_eq!(site.inside("c", list), "./b.txt\n./d/sub/y\n");
    // The recipe's own ignore file comes first.
    std::fs::write(
        context.join("Dockerfile.dockerignore"),
        "d\n.*\nDockerfile*\n",
    )
    .unwrap();
    site.build(&["-t", "c", "c"]).success();
    assert_eq!(site.inside("c", list), "./a.txt\n./b.txt\n");
    site.context("c", "FROM base\nCOPY d/x /x\n");
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: Dockerfile:2: COPY d/x /x: \"d/x\" is left out of the context by .dockerignore\n"
    );
}

fn a_missing_source_is_named_with_its_neighbour() {
    let site = Site::bare();
    let context = site.context("c", "FROM scratch\nCOPY sorce /x\n");
    std::fs::write(context.join("source"), "").unwrap();
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: Dockerfile:2: COPY sorce /x: \"sorce\" is not in the context (did you mean source?)\n"
    );
}

fn add_copies_files() {
    let site = site("FROM base\nADD a.txt d /x/\n");
    site.build(&["-t", "c", "c"]).success();
    assert_eq!(
        site.inside("c", "cd /x; find . -type f | sort"),
        "./a.txt\n./sub/y\n./x\n"
    );
}
