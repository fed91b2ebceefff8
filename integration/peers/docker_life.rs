//! Docker: a container's life, command by command. Not its job: the options of `docker run` (docker).

use std::time::Duration;

use super::docker::{Docker, UNCONFINED};
use super::engine::Engine;
use crate::support::claims;
use crate::support::command::wait_for;

claims![
    docker_keeps_logs_and_waits: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_execs: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker"), Tool("script")],
    docker_privileged_has_all_rights: [Root, Cgroup2, Overlay, SysResource, Tool("dockerd"), Tool("docker")],
    docker_pauses_kills_stops_and_restarts: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_checks_health: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_sees_what_runs_inside: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_restarts_what_failed: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
];

fn docker_keeps_logs_and_waits() {
    let docker = Docker::new();
    docker.ok("create --name one --network none box sh -c 'echo out; echo err >&2; exit 3'");
    assert_eq!(docker.inspect("one", ".State.Status"), "created");
    docker.ok("start one");
    assert_eq!(docker.ok("wait one"), "3");
    let logs = docker.run("logs one").success();
    assert_eq!((&*logs.stdout, &*logs.stderr), ("out\n", "err\n"));
    docker.run("start -a one").ends_with(3);
    docker.ok("rm one");
    docker.ok("run -d --name two --network none box sh -c 'sleep 3; echo late; exit 6'");
    assert_eq!(docker.run("attach two").ends_with(6).stdout, "late\n");
}

fn docker_execs() {
    let docker = Docker::new();
    docker.ok("run -d --name one --network none -e A=a box sleep 1000");
    let output = docker
        .run("exec one sh -c 'echo out; echo err >&2; exit 42'")
        .ends_with(42);
    assert_eq!((&*output.stdout, &*output.stderr), ("out\n", "err\n"));
    let other =
        docker.ok("exec -u web -w /srv -e B=b one sh -c 'id -u; id -G; pwd; echo $A $B $GREETING'");
    assert_eq!(other, "101\n102 7\n/srv\na b hello");
    assert_eq!(docker.piped("exec -i one cat").success().stdout, "in\n");
    let terminal = docker
        .terminal("exec -it one sh -c 'tty; exit 4'")
        .ends_with(4);
    assert!(
        terminal.stdout.contains("/dev/pts/0"),
        "{}",
        terminal.stdout
    );
    for lost in ["no-such-program", "/etc"] {
        let output = docker.run(&format!("exec one {lost}"));
        assert!([126, 127].contains(&output.status), "{output:?}");
        assert!((output.stdout + &output.stderr).contains(lost));
    }
    docker.ok("exec -d one sh -c 'touch /tmp/begun; sleep 2000'");
    wait_for("the detached program", Duration::from_secs(10), || {
        (docker.ok("exec one ls /tmp") == "begun").then_some(())
    });
}

fn docker_privileged_has_all_rights() {
    let docker = Docker::new();
    docker.ok(&format!(
        "run -d --name one --network none {UNCONFINED} box sleep 1000"
    ));
    let all = docker.ok("run --rm --network none --privileged box grep CapEff /proc/self/status");
    let plain = docker.ok("exec one grep CapEff /proc/self/status");
    let more = docker.ok("exec --privileged one grep CapEff /proc/self/status");
    assert_ne!(plain, more);
    assert_eq!(all, more);
    let mounted = "mount -t tmpfs x /srv && touch /srv/y && test -c /dev/kmsg";
    docker.ok(&format!(
        "run --rm --network none --privileged box sh -c '{mounted}'"
    ));
}

fn docker_pauses_kills_stops_and_restarts() {
    let docker = Docker::new();
    let script = "trap \"echo usr1\" USR1; trap \"echo term; exit 7\" TERM; echo ready; while :; do sleep 0.1; done";
    docker.ok(&format!(
        "run -d --name one --network none box sh -c '{script}'"
    ));
    let says = |word: &str| {
        wait_for(word, Duration::from_secs(10), || {
            docker.ok("logs one").ends_with(word).then_some(())
        });
    };
    says("ready");
    docker.ok("pause one");
    assert_eq!(docker.inspect("one", ".State.Status"), "paused");
    assert_ne!(docker.run("exec one true").status, 0);
    docker.ok("unpause one");
    docker.ok("kill -s USR1 one");
    says("usr1");
    docker.ok("stop -t 20 one");
    assert_eq!(docker.inspect("one", ".State.ExitCode"), "7");
    docker.ok("restart -t 0 one");
    assert_eq!(docker.inspect("one", ".State.Status"), "running");
    docker.ok("rm -f one");
    docker.ok("run -d --name two --network none box sleep 1000");
    docker.ok("stop -t 1 two");
    assert_eq!(docker.inspect("two", ".State.ExitCode"), "137");
    docker.ok("start two");
    docker.ok("kill two");
    wait_for("the kill", Duration::from_secs(10), || {
        (docker.inspect("two", ".State.Status") == "exited").then_some(())
    });
    docker.ok("start two");
    docker.ok("pause two");
    docker.ok("rm -f two");
    assert_eq!(docker.ok("ps -aq"), "");
}

fn docker_checks_health() {
    let docker = Docker::new();
    docker.ok("run -d --name one --network none --health-cmd 'test -e /tmp/well' --health-interval 200ms --health-retries 1 box sleep 1000");
    let becomes = |word: &str| {
        wait_for(word, Duration::from_secs(10), || {
            (docker.inspect("one", ".State.Health.Status") == word).then_some(())
        });
    };
    becomes("unhealthy");
    docker.ok("exec one touch /tmp/well");
    becomes("healthy");
}

fn docker_sees_what_runs_inside() {
    let docker = Docker::new();
    docker.ok("run -d --name one --network none box sh -c 'echo x > /tmp/inside; exec sleep 1000'");
    assert_eq!(docker.ok("ps --format {{.Names}}"), "one");
    wait_for("the program", Duration::from_secs(10), || {
        docker.ok("top one").contains("sleep 1000").then_some(())
    });
    assert_eq!(docker.ok("stats --no-stream --format {{.Name}} one"), "one");
    assert_eq!(docker.inspect("one", ".HostConfig.Runtime"), "dhow");
    let copy = docker.home.sandbox.path().join("copy");
    docker.ok(&format!("cp one:/tmp/inside {}", copy.display()));
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "x\n");
    docker.ok(&format!("cp {} one:/srv/back", copy.display()));
    assert_eq!(docker.ok("exec one cat /srv/back"), "x");
    assert!(docker.ok("diff one").contains("A /srv/back"));
    docker.ok("commit one copied");
    assert_eq!(
        docker.ok("run --rm --network none copied cat /srv/back"),
        "x"
    );
    docker.ok("rename one other");
    docker.ok("rm -f other");
    wait_for("the events", Duration::from_secs(10), || {
        let line = "events --since 10m --until 0s --filter type=container --format {{.Status}}";
        let events = docker.ok(line);
        let told = |event| events.lines().any(|line| line == event);
        let all = ["create", "start", "die", "destroy"];
        all.into_iter().all(told).then_some(())
    });
}

fn docker_restarts_what_failed() {
    let docker = Docker::new();
    docker.ok(
        "run -d --name one --network none --restart on-failure:2 box sh -c 'echo tried; exit 1'",
    );
    wait_for("the third try", Duration::from_secs(20), || {
        let tries = docker.ok("logs one").matches("tried").count();
        (tries == 3 && docker.inspect("one", ".State.Status") == "exited").then_some(())
    });
}
