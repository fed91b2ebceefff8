//! `RUN --mount` of every type: what a RUN sees, what is kept, what is nowhere.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Site;
use crate::support::{claims, run};

claims![
    files_are_mounted_as_they_are_and_nothing_written_to_them_is_kept: [Root, Cgroup2, Overlay, Dhow],
    what_a_mount_takes_is_part_of_the_steps_key: [Root, Cgroup2, Overlay, Dhow],
    a_cache_is_kept_between_builds_and_is_in_no_image: [Root, Cgroup2, Overlay, Dhow],
    a_locked_cache_is_used_by_one_at_a_time: [Root, Cgroup2, Overlay, Dhow],
    an_agent_is_asked_through_its_socket: [Root, Cgroup2, Overlay, Dhow, Tool("ssh-agent"), Tool("ldd")],
    f01_cve_2024_23651_a_mount_point_raced_in_a_shared_cache_stays_inside: [Root, Cgroup2, Overlay, Dhow],
    f02_cve_2024_23652_an_empty_mount_point_is_removed_without_following_links: [Root, Cgroup2, Overlay, Dhow],
    f04_cve_2024_1753_the_source_of_a_mount_stays_in_its_tree: [Root, Cgroup2, Overlay, Dhow],
    f10_cve_2019_13509_a_secret_is_in_no_byte_of_store_and_output: [Root, Cgroup2, Overlay, Dhow],
];

fn files_are_mounted_as_they_are_and_nothing_written_to_them_is_kept() {
    let site = Site::new();
    let context = site.context(
        "c",
        "FROM base AS made\nRUN mkdir /d && echo staged > /d/f && ln -s /d/f /link\n\
         FROM base\nWORKDIR /w\n\
         RUN --mount=target=ctx --mount=from=made,source=/d,target=/deep/st,rw --mount=from=base,source=bin,target=/img \\\n\
         --mount=from=made,source=/link,target=/one --mount=type=tmpfs,target=/mem,size=1m \\\n\
         cat /w/ctx/dir/a /deep/st/f /one > /out && ls -A /w/ctx >> /out && stat -c %u:%g /w/ctx/dir/a >> /out \\\n\
         && echo new > /deep/st/f && cat /deep/st/f >> /out && test -x /img/busybox && echo x > /mem/x \\\n\
         && ! touch /w/ctx/x 2>&1 && ! touch /img/x\n\
         RUN --mount=from=made,source=/d,target=/st,rw cat /st/f >> /out\n\
         RUN --mount=target=/c,rw echo x > /c/dir/a\n",
    );
    std::fs::create_dir(context.join("dir")).unwrap();
    std::fs::write(context.join("dir/a"), "of the context\n").unwrap();
    std::fs::write(context.join("left"), "out").unwrap();
    std::fs::write(context.join(".dockerignore"), "left\n").unwrap();
    std::os::unix::fs::chown(context.join("dir/a"), Some(7), Some(7)).unwrap();
    site.build(&["-q", "-t", "c", "c"]).success();
    assert_eq!(
        site.inside("c", "cat /out"),
        "of the context\nstaged\nstaged\n.dockerignore\nDockerfile\ndir\n0:0\nnew\nstaged\n"
    );
    // Neither mounts nor the folders made for them.
    assert_eq!(
        site.inside(
            "c",
            "ls -d /w/* /deep /img /one /mem /st /c 2>/dev/null || true"
        ),
        ""
    );
    let text = std::fs::read_to_string(context.join("dir/a")).unwrap();
    assert_eq!(text, "of the context\n");
}

fn what_a_mount_takes_is_part_of_the_steps_key() {
    let site = Site::new();
    let recipe = "FROM base\nRUN --mount=source=a,target=/a cat /a > /out\n";
    let context = site.context("c", recipe);
    let id = |content: &str, other: &str| {
        std::fs::write(context.join("a"), content).unwrap();
        std::fs::write(context.join("b"), other).unwrap();
        site.build(&["-q", "c"]).success().stdout
    };
    let first = id("1", "1");
    assert_eq!(id("1", "2"), first);
    assert_ne!(id("2", "2"), first);
}

fn a_cache_is_kept_between_builds_and_is_in_no_image() {
    let site = Site::new();
    site.context(
        "c",
        "FROM base\nARG N\nRUN --mount=type=cache,target=/c,mode=0700,uid=5,gid=6 echo $N >> /c/f; cp /c/f /out; stat -c '%a %u %g' /c >> /out\n\
         RUN --mount=type=cache,id=other,target=/c test ! -e /c/f\n",
    );
    site.build(&["-q", "--build-arg", "N=1", "c"]).success();
    site.build(&["-q", "-t", "c", "--build-arg", "N=2", "c"])
        .success();
    assert_eq!(site.inside("c", "cat /out"), "1\n2\n700 5 6\n");
    assert_eq!(site.inside("c", "ls -d /c 2>/dev/null || true"), "");
}

fn a_locked_cache_is_used_by_one_at_a_time() {
    let site = Site::new();
    let mut recipe = String::new();
    for name in ["a", "b", "d"] {
        recipe.push_str(&format!(
            "FROM base AS {name}\nRUN --mount=type=cache,id=x,sharing=locked,target=/c \
             for i in 1 2 3 4 5 6 7 8; do mkdir /c/mine || exit 1; rmdir /c/mine; done; echo {name} > /{name}\n"
        ));
    }
    recipe.push_str("FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=d /d /\n");
    site.context("c", &recipe);
    site.build(&["-q", "--jobs", "3", "c"]).success();
}

/// A program of the host with its libraries, below a folder.
pub(super) fn program(folder: &Path, name: &str) -> PathBuf {
    let path = PathBuf::from(
        run(Command::new("sh").args(["-c", &format!("command -v {name}")]))
            .success()
            .stdout
            .trim(),
    );
    let libraries = run(Command::new("ldd").arg(&path)).success().stdout;
    let mut files = vec![path.clone()];
    let words = libraries.split_whitespace();
    files.extend(
        words
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from),
    );
    for file in files {
        let to = folder.join(file.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&file, to).unwrap();
    }
    path
}

fn an_agent_is_asked_through_its_socket() {
    let site = Site::new();
    let folder = site.folder().to_owned();
    let key = folder.join("key");
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "the-key", "-f"])
        .arg(&key))
    .success();
    let socket = folder.join("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::support::command::wait_for("the agent", std::time::Duration::from_secs(20), || {
        socket.exists().then_some(())
    });
    run(Command::new("ssh-add")
        .arg(&key)
        .env("SSH_AUTH_SOCK", &socket))
    .success();
    let context = site.context(
        "c",
        "FROM base\nCOPY root /\n\
         RUN --mount=type=ssh,uid=1000,mode=0600 stat -c '%a %u' $SSH_AUTH_SOCK && ssh-add -l && ssh-add -l\n\
         USER user\nRUN --mount=type=ssh,uid=1000,mode=0600 ssh-add -l\n\
         RUN --mount=type=ssh,id=other test ! -e $SSH_AUTH_SOCK\n\
         RUN --mount=type=ssh,id=other,required echo never\n",
    );
    program(&context.join("root"), "ssh-add");
    let given = format!("default={}", socket.display());
    let output = site.build(&["--ssh", &given, "c"]).ends_with(1);
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(
        output.stderr.matches("the-key (ED25519)").count(),
        3,
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains(" 600 1000\n"), "{}", output.stderr);
    assert!(
        output.stderr.contains(
            "--mount=type=ssh needs \"other\": the build must be started with --ssh other"
        ),
        "{}",
        output.stderr
    );
}

/// A folder of the host that nobody must reach, with an empty folder in it.
fn canary(site: &Site) -> PathBuf {
    let canary = site.folder().join("canary");
    std::fs::create_dir_all(canary.join("empty")).unwrap();
    std::fs::write(canary.join("word"), "of the host").unwrap();
    canary
}

fn is_whole(canary: &Path) {
    let mut names: Vec<_> = std::fs::read_dir(canary)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["empty", "word"]);
    assert_eq!(std::fs::read_dir(canary.join("empty")).unwrap().count(), 0);
}

fn f01_cve_2024_23651_a_mount_point_raced_in_a_shared_cache_stays_inside() {
    let site = Site::new();
    let canary = canary(&site);
    let path = canary.display();
    site.context(
        "c",
        &format!(
            "FROM base AS racer\nARG N\nRUN --mount=type=cache,id=x,target=/c \
             while ! test -e /c/stop; do ln -sfn {path} /c/sub; rm -f /c/sub; mkdir -p /c/sub; rm -rf /c/sub; done; rm /c/stop; echo $N > /n\n\
             FROM base AS victim\nARG N\nRUN --mount=type=cache,id=x,target=/c --mount=type=tmpfs,target=/c/sub/deep echo $N > /n; touch /c/stop\n\
             FROM base\nCOPY --from=racer /n /1\nCOPY --from=victim /n /2\n"
        ),
    );
    for number in 0..4 {
        // The victim may lose its mount point; then the build fails, and the host is as it was.
        let number = format!("N={number}");
        let _either = site.build(&["-q", "--jobs", "2", "--build-arg", &number, "c"]);
        is_whole(&canary);
    }
}

fn f02_cve_2024_23652_an_empty_mount_point_is_removed_without_following_links() {
    let site = Site::new();
    let canary = canary(&site);
    let path = canary.display();
    site.image(
        "c",
        &format!(
            "FROM base\nRUN --mount=type=tmpfs,target=/a/empty mv /a /moved && ln -s {path} /a\n"
        ),
    );
    is_whole(&canary);
    assert_eq!(site.inside("c", "readlink /a"), format!("{path}\n"));
}

fn f04_cve_2024_1753_the_source_of_a_mount_stays_in_its_tree() {
    let site = Site::new();
    let canary = canary(&site);
    let path = canary.display();
    site.image("evil", &format!("FROM base\nRUN ln -s {path} /out && ln -s / /root-link && ln -s ../../../../..{path} /up\n"));
    for (source, from) in [
        ("/out", "evil"),
        ("/up", "evil"),
        ("/root-link/..{path}", "evil"),
        ("/out", ""),
        ("out/word", ""),
    ] {
        let source = source.replace("{path}", &path.to_string());
        let from = match from {
            "" => String::new(),
            name => format!("from={name},"),
        };
        for kind in ["bind", "cache"] {
            let context = site.context(
                "c",
                &format!("FROM base\nRUN --mount=type={kind},{from}source={source},target=/m cat /m /m/word; exit 1\n"),
            );
            let _there = symlink(&canary, context.join("out"));
            let output = site.build(&["c"]).ends_with(1);
            assert!(!output.stderr.contains("of the host"), "{}", output.stderr);
        }
    }
    is_whole(&canary);
}

/// Every file below a folder that holds the bytes.
fn holding(folder: &Path, bytes: &[u8], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = std::fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            holding(&path, bytes, found);
        } else if about.is_file() {
            let content = std::fs::read(&path).unwrap();
            if content.windows(bytes.len()).any(|window| window == bytes) {
                found.push(path);
            }
        }
    }
}

fn f10_cve_2019_13509_a_secret_is_in_no_byte_of_store_and_output() {
    let site = Site::new();
    let word = format!("word-{}-of-nobody", std::process::id());
    let secret = site.folder().join("secret");
    std::fs::write(&secret, &word).unwrap();
    let sum = run(Command::new("sha256sum").arg(&secret)).success().stdout;
    let sum = sum.split_whitespace().next().unwrap();
    site.context(
        "c",
        &format!(
            "FROM base\n\
             RUN --mount=type=secret,id=s,mode=0440,uid=1000 --mount=type=secret,id=s,target=/deep/er/s --mount=type=secret,id=e,env=TOKEN \\\n\
             sha256sum /run/secrets/s | grep -q {sum} && cmp /run/secrets/s /deep/er/s && stat -c '%a %u' /run/secrets/s \\\n\
             && test \"$TOKEN\" = \"$(cat /run/secrets/s)\" && ! touch /run/secrets/s && grep /run/secrets/s /proc/mounts | grep -q ramfs && echo seen\n\
             RUN --mount=type=secret,id=s --mount=type=secret,id=none test ! -e /run/secrets/none && test -z \"$TOKEN\" && env && cat /proc/1/environ\n"
        ),
    );
    let given = format!("id=s,src={}", secret.display());
    let output = run(site.dhow().env("SECRET_WORD", &word).args([
        "build",
        "-t",
        "c",
        "--secret",
        &given,
        "--secret",
        "id=e,env=SECRET_WORD",
        "c",
    ]))
    .success();
    assert!(output.stderr.contains("440 1000\n"), "{}", output.stderr);
    assert!(output.stderr.contains("seen\n"), "{}", output.stderr);
    assert!(!output.stderr.contains(&word) && !output.stdout.contains(&word));
    assert_eq!(
        site.inside("c", "ls -d /run/secrets /deep 2>/dev/null || true"),
        ""
    );
    std::fs::remove_file(&secret).unwrap();
    let mut found = Vec::new();
    holding(site.folder(), word.as_bytes(), &mut found);
    assert_eq!(found, Vec::<PathBuf>::new());
    // One that is needed is asked for, before anything runs of it.
    site.context(
        "c",
        "FROM base\nRUN --mount=type=secret,id=s,required echo never\n",
    );
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(
        output.stderr.contains("--secret id=s,src=FILE"),
        "{}",
        output.stderr
    );
}
