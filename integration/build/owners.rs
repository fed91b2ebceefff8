//! Files that a command gives to others in a build that has one id: the owners that root's build would leave, and nothing
//! of the host's.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::Site;
use super::rootless::User;
use crate::support::tree::{Times, tree};
use crate::support::{claims, run};

claims![
    what_a_command_gives_away_is_kept_where_there_is_one_id: [Root, Cgroup2, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Tool("tar"), Dhow],
    f16_a_users_command_gives_nothing_of_the_host_away: [Root, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Dhow],
    a_calls_answer_is_that_of_the_kernel: [Root, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Dhow],
    apt_is_told_that_nobody_else_is_there: [Root, Overlay, UserNamespaces, Tool("setpriv"), Tool("newuidmap"), Dhow],
];

/// By path, by descriptor and by link; then moved, linked, removed and made anew; of layers below and of this one.
const GIVEN: &str = "FROM base AS one\n\
    COPY --chown=33:44 f /f\n\
    RUN chown 33:5 /f && chown -R 7:8 /etc && chown user:user /tmp && cp -r /etc /copied && rm /copied/resolv.conf && chown 9:8 /copied/passwd\n\
    RUN mkdir -p /d/sub && cd /d && touch sub/x 'a name' && ln -s x sub/link && mkfifo sub/pipe && ln sub/x sub/hard && \
        chown -R 1000:1001 . && chown -h 70000:4294967294 sub/link && chown 3:4 sub/pipe && mv sub/link ./moved && \
        mv sub/pipe /pipe && chown 5:6 ../etc/../d/sub/x && ln -s /etc/group to && chown 12:13 to && chown 0:0 'a name' && \
        chmod 0 sub/hard && chown 21:22 sub/hard && touch gone && chown 1:1 gone && rm gone && ln -s x gone && \
        ln -s away away && chown -h 2:2 away && rm away && mkdir sticky && chmod 1755 sticky && chown 4:4 sticky\n\
    RUN cp /bin/busybox /su && chmod 6755 /su && chown 1:2 /su && cp /bin/busybox /sg && chmod 2745 /sg && chown 1:1 /sg && \
        mkdir /gid && chmod 2755 /gid && chown 1:2 /gid\n\
    RUN mkdir -p /root/in/bin && cp /bin/busybox /root/in/bin && touch /root/in/file && chroot /root/in /bin/busybox chown 8:9 /file && \
        chown -h 88:99 /d/moved\n\
    COPY a.tar /\n\
    RUN mkdir /t && tar -xf /a.tar -C /t\n\
    FROM one\n\
    RUN chmod 711 /d/sub && mv /d/sub/x / && chown 3:77 /pipe && chown 0:0 /etc/passwd /tmp\n\
    COPY --from=one /d /gid /from/\n";

/// The same bytes as root's build, so the same owners and modes.
fn what_a_command_gives_away_is_kept_where_there_is_one_id() {
    let site = Site::new();
    let user = User::new(&site, "");
    user.recipe("given", GIVEN);
    site.context("given", GIVEN);
    std::fs::write(site.folder().join("given/f"), "content").unwrap();
    let script = "mkdir d; echo x > d/x; chmod 4755 d/x; ln -s x d/link; chown -hR 7:8 d; tar --numeric-owner -cf own/given/a.tar d; \
                  cp own/given/a.tar given/; chmod 644 own/given/a.tar given/a.tar";
    run(Command::new("sh")
        .args(["-c", script])
        .current_dir(site.folder()))
    .success();
    user.build("base").success();
    let theirs = user.build("given").success().stdout;
    let ours = site.image("given", GIVEN);
    let tar = ["build", "-q", "-o", "type=tar,dest=all.tar", "given"];
    user.dhow("", &tar).success();
    site.build(&tar[1..]).success();
    let listed = |folder: &Path| {
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "-tvf"])
            .arg(folder.join("all.tar"));
        let lines = run(&mut tar).success().stdout;
        lines.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Line by line first, for the words of a failure.
    for (theirs, ours) in listed(&user.own()).iter().zip(listed(site.folder())) {
        assert_eq!(*theirs, ours);
    }
    assert_eq!(theirs, ours);
    user.dhow("", &["store", "check"]).success();
}

/// Names that lead to the host's files when they are asked of the wrong root, at rest and while they change. busybox
/// looks before it calls: so the step has files of its own by these names.
fn f16_a_users_command_gives_nothing_of_the_host_away() {
    let site = Site::bare();
    let user = User::new(&site, "");
    user.build("base").success();
    let canary = user.own().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("file"), "of the host").unwrap();
    symlink("nowhere", canary.join("link")).unwrap();
    let own = |path: &Path| std::os::unix::fs::lchown(path, Some(1000), Some(1000)).unwrap();
    for path in [canary.clone(), canary.join("file"), canary.join("link")] {
        own(&path);
    }
    let before = tree(&user.own().join("canary"), Times::Exact);
    let path = canary.display();
    let up = "../".repeat(40);
    user.recipe(
        "hostile",
        &format!(
            "FROM base\n\
             RUN mkdir -p {path} /d/e /real; touch {path}/file /real/file; ln -s {path} /data; ln -s {up}{path}/file /up; \
                 for name in {path}/file /data/file /up {up}{path}/file /proc/1/root{path}/file /proc/self/root{path}/file \
                 /proc/self/cwd/{up}{path}/file /dev/null /proc/1/fd/0 /proc/self/exe /sys /etc/hosts; do \
                 chown 5:6 $name; chown -h 5:6 $name; done; \
                 (while test ! -e /done; do ln -sfn {path} /race; ln -sfn /real /race; \
                 mv /d/e /d/f; mv /d/f /d/e; done) & \
                 for n in $(seq 40); do chown 5:6 /race/file; (cd /d/e && chown 5:6 ../../data/file); done; \
                 touch /done; wait\n"
        ),
    );
    user.dhow("", &["build", "--network=none", "-t", "hostile", "hostile"])
        .success();
    assert_eq!(tree(&user.own().join("canary"), Times::Exact), before);
}

/// What can't be done fails as ever, and what was never ours to do is the kernel's.
fn a_calls_answer_is_that_of_the_kernel() {
    let site = Site::bare();
    let user = User::new(&site, "");
    user.build("base").success();
    user.recipe(
        "c",
        "FROM base\n\
         RUN --mount=target=/ro,readonly --mount=type=cache,target=/cache \
             says() { words=$1; shift; out=$(chown \"$@\" 2>&1) && exit 9; case $out in *\"$words\"*) ;; *) echo \"$out\"; exit 8;; esac; }; \
             says 'No such file' 5 /none && says 'Not a directory' 5 /etc/passwd/x && says 'Read-only' 5 /ro/f && \
             says 'File name too long' 5 /$(printf %05000d 1) && ln -s loop /loop && says 'levels of symbolic' 5 /loop && \
             says 'not permitted' 5 /dev/null; \
             touch /cache/x && chown 5:6 /cache/x /dev/shm && test \"$(stat -c %u:%g /cache/x)\" = 0:0\n",
    );
    user.build("c").success();
}

/// Otherwise it gives up rights for what it fetches, which fails.
fn apt_is_told_that_nobody_else_is_there() {
    let site = Site::new();
    let user = User::new(&site, "");
    user.build("base").success();
    let recipe = "FROM base\nRUN test -z \"$APT_CONFIG\" && mkdir /etc/apt\nRUN cat \"$APT_CONFIG\"; true\n\
                  ENV APT_CONFIG=/mine\nRUN echo $APT_CONFIG; true\n";
    user.recipe("apt", recipe);
    let arguments = ["build", "--network=none", "-t", "apt", "apt"];
    let output = user.dhow("", &arguments).success().stderr;
    for (words, count) in [("APT::Sandbox::User \"root\";", 1), (" /mine\n", 1)] {
        assert_eq!(output.matches(words).count(), count, "{output}");
    }
    // And nobody else is told.
    site.context("apt", recipe);
    let output = site.build(&["--network=none", "-t", "apt", "apt"]);
    assert!(!output.success().stderr.contains("Sandbox"));
}
