//! Keys for ssh: files that an agent of the build's own has, and git that asks it. Not its job: an agent's way into a
//! RUN (mounts).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Site;
use super::mounts::program;
use crate::support::{claims, run};

claims![
    keys_are_in_an_agent_that_ends_with_the_build: [Root, Cgroup2, Overlay, Dhow, Tool("ssh-agent"), Tool("ldd")],
    a_key_that_is_none_is_told: [Root, Overlay, Dhow, Tool("ssh-agent")],
    git_asks_the_agent_of_the_build: [Root, Cgroup2, Overlay, Dhow, Tool("ssh-agent"), Tool("git")],
];

fn key(site: &Site, name: &str, passphrase: &str) -> PathBuf {
    let key = site.folder().join(name);
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f"])
        .arg(&key))
    .success();
    key
}

/// Processes that have this text among their arguments or in their environment.
fn processes_with(text: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let has = |path: PathBuf| {
        let read = |file| std::fs::read(path.join(file)).unwrap_or_default();
        [read("cmdline"), read("environ")].iter().any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    };
    entries.filter(|entry| has(entry.path())).count()
}

fn keys_are_in_an_agent_that_ends_with_the_build() {
    let site = Site::new();
    let (one, two) = (key(&site, "key-one", ""), key(&site, "key-two", ""));
    let context = site.context(
        "c",
        "FROM base\nCOPY root /\nRUN --mount=type=ssh,id=mine ssh-add -l\n",
    );
    program(&context.join("root"), "ssh-add");
    let given = format!("mine={},{}", one.display(), two.display());
    let output = site.build(&["--ssh", &given, "c"]).success();
    for name in ["key-one (ED25519)", "key-two (ED25519)"] {
        assert!(output.stderr.contains(name), "{}", output.stderr);
    }
    // The agent's shell has the keys' names.
    let patience = std::time::Duration::from_secs(60);
    crate::support::command::wait_for("the agent's end", patience, || {
        (processes_with(&two.display().to_string()) == 0).then_some(())
    });
}

fn a_key_that_is_none_is_told() {
    let site = Site::bare();
    site.context("c", "FROM scratch\n");
    std::fs::write(site.folder().join("text"), "no key\n").unwrap();
    key(&site, "locked", "words");
    let (none, both) = (
        "x=nothing",
        format!("x={},/dev/null", site.folder().join("text").display()),
    );
    for (given, told) in [
        (none, "--ssh x=nothing: "),
        (both.as_str(), "it is neither an agent's socket nor a key"),
        ("x=text", "--ssh x=text: "),
        ("x=locked", "--ssh x=locked: "),
    ] {
        let output = site.build(&["--ssh", given, "c"]).ends_with(1);
        assert!(output.stderr.contains(told), "{given}: {output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{given}: {output:?}");
    }
}

/// A program in ssh's place, which serves repositories of this host to whoever has the agent's key.
const SSH: &str = "#!/bin/sh\nssh-add -l | grep -q the-agents-key || { echo no key of the agent >&2; exit 255; }\n\
     for argument; do last=$argument; done\nexec sh -c \"$last\"\n";

fn git_asks_the_agent_of_the_build() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let key = key(&site, "the-agents-key", "");
    let tools = site.folder().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::write(tools.join("ssh"), SSH).unwrap();
    std::fs::set_permissions(tools.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let repository = site.folder().join("r.git");
    let script = "git init -q -b main . && echo of the repository > f && git add f && \
                  git -c user.name=x -c user.email=x@x commit -q -m x";
    std::fs::create_dir(&repository).unwrap();
    run(Command::new("sh")
        .args(["-ec", script])
        .current_dir(&repository))
    .success();
    let place = repository.display();
    site.context(
        "c",
        &format!("FROM base\nADD git@host.invalid:{place} /r\nRUN cat /r/f > /out\n"),
    );
    let build = |arguments: &[&str], path: &Path| {
        let mut command = site.dhow();
        let paths = std::env::join_paths([path, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        command.env("PATH", paths).env_remove("SSH_AUTH_SOCK");
        command
            .args(["build", "-q", "--network=none", "-t", "c"])
            .args(arguments);
        run(&mut command)
    };
    let refused = build(&["c"], &tools).ends_with(1);
    assert!(refused.stderr.contains("git@host.invalid"), "{refused:?}");
    let given = format!("--ssh=default={}", key.display());
    build(&[&given, "c"], &tools).success();
    assert_eq!(site.inside("c", "cat /out"), "of the repository\n");
    // The whole context by the same way.
    let recipe = "FROM base\nCOPY f /f\n";
    std::fs::write(repository.join("Dockerfile"), recipe).unwrap();
    let commit = "git add . && git -c user.name=x -c user.email=x@x commit -q -m y";
    run(Command::new("sh")
        .args(["-ec", commit])
        .current_dir(&repository))
    .success();
    build(&[&given, &format!("ssh://git@host.invalid{place}")], &tools).success();
    assert_eq!(site.inside("c", "cat /f"), "of the repository\n");
}
