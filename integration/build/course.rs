//! Steps side by side: what runs at once, what is done once, and how a build ends in the middle.

use std::process::{Child, Stdio};
use std::time::Duration;

use super::Site;
use crate::support::command::wait_for;
use crate::support::{claims, run};

claims![
    stages_that_do_not_need_each_other_run_at_once: [Root, Cgroup2, Overlay, Dhow],
    with_one_job_steps_run_in_the_plans_order: [Root, Cgroup2, Overlay, Dhow],
    the_same_step_of_two_stages_is_done_once: [Root, Cgroup2, Overlay, Dhow],
    the_first_failure_ends_the_other_steps: [Root, Cgroup2, Overlay, Dhow],
    a_killed_build_takes_its_steps_with_it: [Root, Cgroup2, Overlay, Dhow],
    twenty_builds_at_once_do_each_step_once: [Root, Cgroup2, Overlay, Dhow],
    a_build_killed_after_any_line_leaves_a_whole_store_and_the_next_goes_on: [Root, Cgroup2, Overlay, Dhow],
];

/// Two stages that wait for ever, and one that needs both.
const ENDLESS: &str = "FROM base AS one\nRUN echo one; sleep 1000\nFROM base AS two\nRUN echo two; sleep 1000\n\
     FROM base\nCOPY --from=one /tmp /a\nCOPY --from=two /tmp /b\n";

const PATIENCE: Duration = Duration::from_secs(60);

impl Site {
    /// How many containers run.
    fn running(&self) -> usize {
        let list = run(self.dhow().args(["list"])).success().stdout;
        list.matches(" running ").count()
    }

    /// A build that goes on meanwhile.
    fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.dhow();
        command.arg("build").args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// What builds have in the making.
    fn work(&self) -> Vec<String> {
        ["work", "turns"]
            .iter()
            .filter_map(|folder| std::fs::read_dir(self.folder().join("store").join(folder)).ok())
            .flatten()
            .map(|entry| entry.unwrap().path().display().to_string())
            .collect()
    }
}

fn stages_that_do_not_need_each_other_run_at_once() {
    let site = Site::new();
    site.context("c", ENDLESS);
    let build = site.begin(&["-q", "--jobs", "2", "c"]);
    wait_for("both commands", PATIENCE, || {
        (site.running() == 2).then_some(())
    });
    sys::process::send_signal(
        sys::process::open_process(sys::process::Pid::from_child(&build)).unwrap(),
        sys::process::Signal::INT,
    )
    .unwrap();
    let output = build.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "dhow: interrupted by signal 2\n"
    );
    assert_eq!(site.sandbox.left_behind(), Vec::<String>::new());
    assert_eq!(site.work(), Vec::<String>::new());
}

fn with_one_job_steps_run_in_the_plans_order() {
    let site = Site::new();
    site.context(
        "c",
        "FROM base AS one\nRUN echo of one\nFROM base\nRUN echo of two\nCOPY --from=one /tmp /t\n",
    );
    let output = site.build(&["--jobs", "1", "c"]).success();
    let shown = output.stderr.lines().filter(|line| !line.contains("DONE "));
    // Without the times, and what the host lacks.
    let shown = shown.filter(|line| !line.is_empty() && !line.starts_with("warning: "));
    let shown = shown.map(|line| match line.split_once(" of ") {
        Some((_, words)) if !line.contains("RUN") => words,
        _ => line,
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            "#1 [one 1/5] FROM base",
            "#2 [one 2/5] RUN echo of one",
            "one",
            "#3 [3/5] FROM base",
            "#4 [4/5] RUN echo of two",
            "two",
            "#5 [5/5] COPY --from=one /tmp /t",
        ]
    );
}

fn the_same_step_of_two_stages_is_done_once() {
    let site = Site::new();
    // Each would leave another number.
    site.context(
        "c",
        "FROM base AS one\nRUN cat /proc/sys/kernel/random/uuid > /number\n\
         FROM base AS two\nRUN cat /proc/sys/kernel/random/uuid > /number\n\
         FROM base\nCOPY --from=one /number /1\nCOPY --from=two /number /2\nRUN cmp /1 /2\n",
    );
    site.build(&["--jobs", "2", "c"]).success();
    assert_eq!(site.work(), Vec::<String>::new());
}

fn the_first_failure_ends_the_other_steps() {
    let site = Site::new();
    site.context(
        "c",
        "FROM base AS one\nRUN sleep 1000\nFROM base AS two\nRUN echo why; exit 3\n\
         FROM base\nCOPY --from=one /tmp /a\nCOPY --from=two /tmp /b\n",
    );
    let output = site.build(&["-q", "--jobs", "2", "c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: Dockerfile:4: RUN echo why; exit 3: exit status 3\n  | why\n"
    );
    assert_eq!(site.sandbox.left_behind(), Vec::<String>::new());
    assert_eq!(site.work(), Vec::<String>::new());
}

fn a_killed_build_takes_its_steps_with_it() {
    let site = Site::new();
    site.context("c", ENDLESS);
    let mut build = site.begin(&["-q", "--jobs", "2", "c"]);
    wait_for("both commands", PATIENCE, || {
        (site.running() == 2).then_some(())
    });
    build.kill().unwrap();
    build.wait().unwrap();
    // No further build is needed for that.
    wait_for("the end of the steps", PATIENCE, || {
        site.sandbox.left_behind().is_empty().then_some(())
    });
}

/// Many small steps, one of which leaves another number each time that it is done.
const STEPS: &str = "FROM base AS one\nRUN cat /proc/sys/kernel/random/uuid > /number\nRUN echo a > /a\n\
     FROM base\nRUN echo b > /b\nCOPY --from=one /number /a /\nRUN echo c > /c\n";

fn twenty_builds_at_once_do_each_step_once() {
    let site = Site::new();
    site.context("c", STEPS);
    let builds: Vec<Child> = (0..20).map(|_| site.begin(&["-q", "c"])).collect();
    let ids: std::collections::BTreeSet<Vec<u8>> = builds
        .into_iter()
        .map(|build| {
            let output = build.wait_with_output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{told}");
            output.stdout
        })
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(site.work(), Vec::<String>::new());
}

fn a_build_killed_after_any_line_leaves_a_whole_store_and_the_next_goes_on() {
    use std::io::BufRead as _;
    let site = Site::new();
    site.context("c", STEPS);
    for lines in 1..=7 {
        let mut build = site.begin(&["--jobs", "2", "c"]);
        let stderr = std::io::BufReader::new(build.stderr.take().unwrap());
        let seen = stderr.lines().take(lines).count();
        build.kill().unwrap();
        build.wait().unwrap();
        assert!(seen > 0);
    }
    let first = site.build(&["-q", "c"]).success().stdout;
    run(site.dhow().args(["store", "check"])).success();
    assert_eq!(site.build(&["-q", "c"]).success().stdout, first);
    wait_for("the end of the steps", PATIENCE, || {
        site.sandbox.left_behind().is_empty().then_some(())
    });
    wait_for("an empty work folder", PATIENCE, || {
        run(site.dhow().arg("images")).success();
        site.work().is_empty().then_some(())
    });
}
