//! Nothing of the host is had by a hostile recipe, context, base image or command.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use super::Site;
use crate::support::claims;
use crate::support::command::{Output, patience, run};

claims![
    links_of_the_context_lead_nowhere: [Root, Overlay, Dhow],
    links_of_a_base_image_lead_nowhere: [Root, Cgroup2, Overlay, Dhow],
    a_replaced_mount_point_leads_nowhere: [Root, Cgroup2, Overlay, Dhow],
    files_made_for_run_are_in_no_layer: [Root, Cgroup2, Overlay, Dhow],
    run_has_eleven_capabilities_and_only_loopback: [Root, Cgroup2, Overlay, Dhow],
    a_build_arg_that_nobody_names_is_nowhere: [Root, Cgroup2, Overlay, Dhow],
    f12_a_recipe_that_grows_without_end_is_stopped_soon: [Dhow],
    f05_cve_2026_33747_a_foreign_front_end_is_never_run: [Dhow],
];

/// A folder of the host with a file that nobody must reach.
fn canary(site: &Site) -> std::path::PathBuf {
    let canary = site.folder().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("secret"), "of the host").unwrap();
    std::fs::write(canary.join("hosts"), "").unwrap();
    canary
}

fn links_of_the_context_lead_nowhere() {
    let site = Site::bare();
    let canary = canary(&site);
    let context = site.context("c", "FROM scratch\nCOPY out/secret /x\n");
    symlink(&canary, context.join("out")).unwrap();
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(
        output
            .stderr
            .contains("\"out/secret\" is not in the context"),
        "{}",
        output.stderr
    );
    symlink("../../../../../../etc", context.join("up")).unwrap();
    site.context("c", "FROM scratch\nCOPY up/passwd /x\n");
    site.build(&["-q", "c"]).ends_with(1);
    // The recipe itself, too.
    std::fs::remove_file(context.join("Dockerfile")).unwrap();
    symlink(canary.join("secret"), context.join("Dockerfile")).unwrap();
    let output = site.build(&["-q", "c"]).ends_with(1);
    assert!(!output.stderr.contains("of the host"), "{}", output.stderr);
}

fn links_of_a_base_image_lead_nowhere() {
    let site = Site::new();
    let canary = canary(&site);
    let path = canary.display();
    site.image(
        "evil",
        &format!("FROM base\nRUN ln -s {path} /data && ln -s {path}/secret /file && ln -s {path} /etc/link\n"),
    );
    site.image(
        "c",
        "FROM evil\nCOPY Dockerfile /data/new\nCOPY Dockerfile /data/\nCOPY Dockerfile /file\nWORKDIR /data/deep\n\
         WORKDIR /etc/link/deeper\nRUN echo x > here\n",
    );
    let names: Vec<_> = std::fs::read_dir(&canary)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(
        std::fs::read_to_string(canary.join("secret")).unwrap(),
        "of the host"
    );
    assert_eq!(
        site.inside("c", &format!("ls {path}")),
        "Dockerfile\ndeep\ndeeper\nnew\nsecret\n"
    );
    assert_eq!(site.inside("c", "stat -c %F /file"), "symbolic link\n");
}

fn a_replaced_mount_point_leads_nowhere() {
    let site = Site::new();
    let canary = canary(&site);
    site.image(
        "c",
        &format!(
            "FROM scratch\nCOPY --from=base /bin /bin\nRUN mv /etc /away && ln -s {} /etc\n",
            canary.display()
        ),
    );
    assert!(canary.join("hosts").exists());
    // What the command itself moved is its own, empty as it was.
    assert_eq!(
        site.inside("c", "cat /away/*; readlink /etc"),
        format!("{}\n", canary.display())
    );
}

fn files_made_for_run_are_in_no_layer() {
    let site = Site::new();
    site.image(
        "c",
        "FROM base\nRUN cat /etc/hosts /etc/hostname > /seen; touch /etc/mine\nRUN true\n",
    );
    for layer in std::fs::read_dir(site.folder().join("store/layers")).unwrap() {
        let root = layer.unwrap().path().join("fs");
        for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
            assert!(root.join(file).symlink_metadata().is_err(), "{file}");
        }
        // The base has had them since its first RUN, as it would with other builders.
        for folder in ["proc", "dev", "sys"] {
            let names = std::fs::read_dir(root.join(folder));
            assert!(
                names.is_err() || names.unwrap().next().is_none(),
                "{folder}"
            );
        }
    }
    let seen = site.inside("c", "cat /seen; ls /etc");
    assert!(seen.starts_with("127.0.0.1\tlocalhost"), "{seen}");
    assert!(
        seen.ends_with("dhow-build\ngroup\nmine\npasswd\n") || seen.contains("mine"),
        "{seen}"
    );
}

fn run_has_eleven_capabilities_and_only_loopback() {
    let site = Site::new();
    site.image(
        "c",
        "FROM base\nRUN grep -E 'Cap(Inh|Prm|Bnd|Amb)|NoNewPrivs' /proc/self/status > /status; ls /sys/class/net > /net\n\
         USER user\nRUN grep -E 'CapEff|CapBnd' /proc/self/status > /tmp/user; id -u >> /tmp/user\n",
    );
    let seen = site.inside("c", "cat /status /net /tmp/user");
    assert_eq!(
        seen,
        "CapInh:\t0000000000000000\nCapPrm:\t00000000800405fb\nCapBnd:\t00000000800405fb\nCapAmb:\t0000000000000000\n\
         NoNewPrivs:\t0\nlo\nCapEff:\t0000000000000000\nCapBnd:\t00000000800405fb\n1000\n"
    );
}

fn a_build_arg_that_nobody_names_is_nowhere() {
    let site = Site::new();
    site.context("c", "FROM base\nRUN env > /env\n");
    let output = site
        .build(&[
            "-t",
            "c",
            "--build-arg",
            "TOKEN=hush-hush",
            "--build-arg",
            "http_proxy=http://p-r-o-x-y",
            "c",
        ])
        .success();
    assert!(
        output.stderr.contains("build arg TOKEN is not used"),
        "{}",
        output.stderr
    );
    // A proxy reaches the command, and is written down by it alone.
    let found = crate::support::run(
        std::process::Command::new("grep")
            .args(["-rl", "-e", "hush-hush", "-e", "p-r-o-x-y"])
            .arg(site.folder().join("store")),
    );
    let files: Vec<&str> = found
        .stdout
        .lines()
        .filter(|f| !f.ends_with("/env") && !f.contains("/blobs/"))
        .collect();
    assert_eq!(files, Vec::<&str>::new());
    assert!(!site.inside("c", "cat /env").contains("hush-hush"));
}

fn f12_a_recipe_that_grows_without_end_is_stopped_soon() {
    let site = Site::bare();
    let mut doubling = "FROM scratch\nARG A=0123456789\n".to_owned();
    for _ in 0..40 {
        doubling.push_str("ARG A=$A$A\n");
    }
    let nested = format!("FROM scratch\nENV A={}\n", "${B:-".repeat(10_000));
    let endless = format!("FROM scratch\nRUN <<E\n{}", "x\n".repeat(400_000));
    let line = format!("FROM scratch\nRUN {}\n", "x".repeat(1 << 20));
    for recipe in [
        doubling,
        nested,
        endless,
        line,
        "FROM scratch\nRUN x\0y".to_owned(),
    ] {
        site.context("c", &recipe);
        let output = within(&site, &["build", "--plan", "c"]).ends_with(1);
        assert!(output.stderr.len() < 2000, "{}", output.stderr);
    }
}

/// dhow in 64 MiB of memory and in far more of the processor's own seconds than it takes: who needs more is ended by
/// the kernel, however busy the machine is.
fn within(site: &Site, arguments: &[&str]) -> Output {
    let seconds = patience(Duration::from_secs(20)).as_secs();
    let dhow = site.dhow();
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -d 65536 && ulimit -t $0 && exec \"$@\""])
        .arg(seconds.to_string())
        .arg(dhow.get_program())
        .args(dhow.get_args())
        .args(arguments)
        .current_dir(site.folder());
    run(&mut command)
}

fn f05_cve_2026_33747_a_foreign_front_end_is_never_run() {
    let site = Site::bare();
    site.context("c", "# syntax=evil/frontend:1\nFROM scratch\n");
    let output = site.build(&["--plan", "c"]).ends_with(1);
    let first = output.stderr.lines().next().unwrap();
    assert_eq!(
        first,
        "dhow: Dockerfile:1: syntax \"evil/frontend:1\": foreign front ends are not supported (only docker/dockerfile)"
    );
    site.context("c", "# syntax=docker/dockerfile:1\nFROM scratch\n");
    site.build(&["--plan", "c"]).success();
}
