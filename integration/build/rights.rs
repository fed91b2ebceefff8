//! What a RUN may ask for, what it has without asking, and what it is held to.

use serde_json::json;

use super::Site;
use crate::support::image::HandMade;
use crate::support::{claims, run};

claims![
    a_run_for_another_architecture_is_refused_before_any_step: [Root, Cgroup2, Overlay, Dhow],
    the_build_says_what_a_commands_machine_is_called: [Root, Cgroup2, Overlay, Dhow],
    that_nobody_counts_processes_is_told_once: [Root, Cgroup2, Overlay, FaultBuild],
    limits_and_hosts_are_those_of_the_flags: [Root, Cgroup2, Overlay, Dhow],
    f03_cve_2024_23653_a_recipe_has_no_right_that_was_not_allowed: [Root, Cgroup2, Overlay, Dhow],
    f14_cve_2022_27651_a_run_has_no_inheritable_capability: [Root, Cgroup2, Overlay, Dhow],
];

fn that_nobody_counts_processes_is_told_once() {
    let site = Site::new();
    site.context("c", "FROM base\nRUN echo one\nRUN echo two\n");
    for (arguments, times) in [(&["--no-cache"][..], 1), (&[][..], 0)] {
        let mut command = site.dhow();
        command.args(["build", "--network=none", "--progress=plain"]);
        command.args(arguments).arg("c");
        command.env("DHOW_FAULT", "no-pids-controller");
        let output = run(&mut command).success();
        let told = "warning: RUN may have more than 32768 processes: ";
        assert_eq!(output.stderr.matches(told).count(), times, "{output:?}");
    }
}

fn limits_and_hosts_are_those_of_the_flags() {
    let site = Site::new();
    site.context(
        "c",
        "FROM base\nRUN (ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n1 | awk '{print $2}'; grep six /etc/hosts) > /out\n",
    );
    site.build(&[
        "-q",
        "-t",
        "c",
        "--ulimit",
        "nofile=77:88",
        "--shm-size",
        "1m",
        "--add-host",
        "six:::6",
        "c",
    ])
    .success();
    assert_eq!(site.inside("c", "cat /out"), "77\n88\n1024\n::6\tsix\n");
    for (flags, words) in [
        (
            ["--ulimit", "no=1"],
            "--ulimit no=1: the kernel has no such limit",
        ),
        (["--add-host", "a:b"], "--add-host a:b: this is no address"),
        (["--secret", "src=x"], "--secret src=x: it needs id=NAME"),
        (
            ["--ssh", "x=/dev/null"],
            "--ssh x=/dev/null: it is neither an agent's socket nor a key",
        ),
    ] {
        let output = site.build(&[flags[0], flags[1], "c"]).ends_with(1);
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
}

fn f03_cve_2024_23653_a_recipe_has_no_right_that_was_not_allowed() {
    let site = Site::new();
    for (flag, words) in [
        ("--security=insecure", "--allow security.insecure"),
        ("--network=host", "--allow network.host"),
        (
            "--security=Insecure",
            "security mode \"Insecure\" is not valid",
        ),
        ("--security=", "security mode \"\" is not valid"),
        ("--network=HOST", "invalid network mode"),
        ("--device=a.b/c=d", "RUN --device=a.b/c=d: not supported"),
    ] {
        site.context(
            "c",
            &format!("FROM base\nRUN {flag} grep Cap /proc/self/status\n"),
        );
        let output = site.build(&["c"]).ends_with(1);
        assert!(output.stderr.contains(words), "{}", output.stderr);
        assert!(!output.stderr.contains("CapEff"), "{}", output.stderr);
    }
    let recipe = "FROM base\nRUN --security=insecure grep CapEff /proc/self/status > /out\nRUN grep CapEff /proc/self/status >> /out\n";
    site.context("c", recipe);
    site.build(&["-q", "-t", "c", "--allow", "security.insecure", "c"])
        .success();
    let held = site.inside("c", "cat /out");
    let lines: Vec<&str> = held.lines().collect();
    assert_eq!(lines[1], "CapEff:\t00000000800405fb");
    assert_ne!(lines[0], lines[1]);
    let recipe = "FROM base\nRUN --network=host test $(ls /sys/class/net | wc -l) -gt 1 || ls /sys/class/net\n";
    site.context("c", recipe);
    site.build(&["-q", "--allow", "network.host", "c"])
        .success();
}

fn f14_cve_2022_27651_a_run_has_no_inheritable_capability() {
    let site = Site::new();
    let recipe = "FROM base\nRUN grep -E 'Cap(Inh|Amb|Bnd)' /proc/self/status > /root.txt\n\
         USER user\nRUN grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status > /tmp/user.txt\n";
    site.image("c", recipe);
    assert_eq!(
        site.inside("c", "cat /root.txt /tmp/user.txt"),
        "CapInh:\t0000000000000000\nCapBnd:\t00000000800405fb\nCapAmb:\t0000000000000000\n\
         CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n"
    );
}

/// An architecture that no interpreter is for.
fn a_run_for_another_architecture_is_refused_before_any_step() {
    let site = Site::new();
    let other = HandMade::new("other", &["f"]).with(json!({"architecture": "parisc"}));
    other.archive(&site.folder().join("other.tar"));
    run(site.dhow().args(["load", "other.tar"])).success();
    let recipe = "FROM base AS one\nRUN echo early\nFROM other\nCOPY --from=one /etc/passwd /p\nRUN [\"/f\"]\n";
    site.context("c", recipe);
    let output = site.build(&["c"]).ends_with(1);
    let told = "RUN needs linux/parisc: this machine is linux/";
    assert!(output.stderr.contains(told), "{output:?}");
    assert!(output.stderr.contains("Dockerfile:5"), "{output:?}");
    assert!(!output.stderr.contains("early"), "{output:?}");
    // Files can be put onto it.
    site.image(
        "d",
        "FROM other AS two\nFROM two\nCOPY <<g /g\nof ours\ng\n",
    );
    let said = run(site.dhow().args(["inspect", "d"])).success().stdout;
    assert!(said.contains("parisc"), "{said}");
}

fn the_build_says_what_a_commands_machine_is_called() {
    let site = Site::new();
    site.context(
        "c",
        "FROM base\nRUN { hostname; cat /etc/hostname; grep -c sand.box /etc/hosts; } > /out\n",
    );
    let with = |name: &str| {
        let argument = format!("BUILDKIT_SANDBOX_HOSTNAME={name}");
        site.build(&["-q", "-t", "c", "--build-arg", &argument, "c"])
    };
    with("sand.box").success();
    assert_eq!(site.inside("c", "cat /out"), "sand.box\nsand.box\n1\n");
    let refused = with("a b").ends_with(1);
    let told = "it is no name of a machine";
    assert!(refused.stderr.contains(told), "{refused:?}");
}
