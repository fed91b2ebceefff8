//! `Plan::exec`: the order in which a further process comes into a container that is there, and becomes its
//! program. Each rule is a comment at its line. Pure. Not its job: a container's first process (build).

use namespaces::{Namespace, Rights};
use oci_spec::runtime::Process;
use sys::process::NamespaceFlags;

use crate::conditions::Conditions;
use crate::plan::program::console_size;
use crate::plan::program::{Filtering, Program};
use crate::plan::{ParentStep, Plan, Step, outside};

/// What the plan of a further process is made for.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// What the process is to be.
    pub process: &'a Process,
    /// What the kernel is told about it.
    pub conditions: Conditions,
    /// The container's namespaces that are not the host's, as CLONE_NEW* bits.
    pub namespaces: NamespaceFlags,
    /// Whether the container's user namespace, if it has one, maps its root.
    pub root_is_mapped: bool,
    /// Whether its root is not that of its mount namespace.
    pub own_root: bool,
    /// The container's seccomp filter.
    pub filtering: Filtering,
    /// Whether setgroups(2) is denied in it.
    pub groups_denied: bool,
    /// The name of its session keyring; `None` if it has the caller's.
    pub keyring: Option<String>,
    /// Whether it has a cgroup of its own.
    pub has_cgroup: bool,
    /// What the caller may do on this host.
    pub rights: Rights,
    /// Whether somebody in its PID namespace may trace processes of our user namespace.
    pub has_tracers: bool,
    /// The program gets other stdio files than dhow's.
    pub given_stdio: bool,
}

const PID: NamespaceFlags = Namespace::Pid.flag();

impl Plan {
    /// The way of a further process into a container.
    pub fn exec(request: &ExecRequest<'_>) -> Self {
        let hides = hides(request);
        let mut plan = Self {
            parent: parent(request),
            ..Self::default()
        };
        // First of all: whatever happens to dhow from here on, nothing is left running.
        plan.init.push(Step::DieWithDhow);
        if is_staged(request) {
            // The right to enter the PID namespace comes with the user namespace, and what is entered of the
            // first counts for a child only.
            plan.stage.push(Step::DieWithDhow);
            prepare(request, &mut plan.stage);
            join(request, request.namespaces, &mut plan.stage);
            plan.stage.push(Step::CloneInit(0));
        } else {
            prepare(request, &mut plan.init);
            let kinds = match hides {
                true => request.namespaces,
                false => request.namespaces & !PID,
            };
            join(request, kinds, &mut plan.init);
        }
        if request.own_root {
            // The mount namespace's own root, where we are now, is what others have, or the host.
            plan.init.push(Step::EnterRoot);
        }
        if request.given_stdio {
            plan.init.push(Step::Stdio);
        }
        if !hides {
            // A session of its own, before the terminal is opened: it becomes this session's.
            plan.init.push(Step::NewSession);
        }
        if let Some(name) = &request.keyring {
            plan.init.push(Step::NewKeyring(name.clone()));
        }
        let terminal = request.process.terminal().unwrap_or(false);
        if terminal {
            // In the container's own devpts, which is in sight by now.
            let size = console_size(request.process);
            plan.init.push(match hides {
                true => Step::OpenTerminal(size),
                false => Step::Terminal(size),
            });
        }
        let cwd = request.process.cwd().clone();
        plan.init.push(Step::ChangeDirectory(cwd));
        let program = Program {
            process: request.process,
            filtering: request.filtering,
            groups_denied: request.groups_denied,
            conditions: &request.conditions,
            limits_from_outside: has(request, Namespace::User),
            treated_from_outside: has(request, Namespace::User) || hides,
        };
        program.rights(&mut plan.init);
        match hides {
            true => end_inside(&program, terminal, &mut plan.init),
            false => {
                plan.init.extend([Step::Ready, Step::LiveOn]);
                program.end(&mut plan.init);
            }
        }
        plan
    }
}

/// The last steps, of which a child is seen by those inside.
fn end_inside(program: &Program<'_>, terminal: bool, steps: &mut Vec<Step>) {
    let early_filter = program.filter_needs_admin();
    if early_filter {
        // The right that loading it takes must be gone before we are seen.
        program.filter(steps);
    }
    steps.extend([Step::GoInside, Step::NewSession]);
    steps.extend(terminal.then_some(Step::TakeTerminal));
    steps.extend([Step::Ready, Step::LiveOn]);
    match early_filter {
        true => steps.push(Step::Exec),
        false => program.end(steps),
    }
}

impl Plan {
    /// Whether the process is born inside of a PID namespace that is there already.
    pub(crate) fn steps_in(&self) -> bool {
        let steps_in = |step: &ParentStep| matches!(step, ParentStep::StepInto(_));
        self.parent.iter().any(steps_in)
    }
}

fn has(request: &ExecRequest<'_>, kind: Namespace) -> bool {
    request.namespaces & kind.flag() != 0
}

/// Whether a middle process is needed.
fn is_staged(request: &ExecRequest<'_>) -> bool {
    request.rights == Rights::Few && has(request, Namespace::Pid)
}

/// Whether it must not be seen before it has no more rights and files than the program: who has CAP_SYS_PTRACE over it
/// may stop it and take them. In a user namespace nobody has: our memory belongs to the outer one. An agent that
/// hears of a filter's notifications wants the id of the process that loads it, which there is none of before.
fn hides(request: &ExecRequest<'_>) -> bool {
    request.has_tracers
        && has(request, Namespace::Pid)
        && !has(request, Namespace::User)
        && !is_staged(request)
        && request.filtering != Filtering::Notifying
        && !sys::fault::broken("no-late-sight")
}

fn parent(request: &ExecRequest<'_>) -> Vec<ParentStep> {
    // The child is in sight of those inside from its birth on, before its own first step: they must not
    // look into it, which still has the host's files open (CVE-2016-9962).
    let mut steps = Vec::new();
    if request.rights == Rights::Full {
        steps.push(ParentStep::ForbidTracing);
    }
    if has(request, Namespace::Pid) && !is_staged(request) && !hides(request) {
        steps.push(ParentStep::StepInto(
            "the container's PID namespace".to_owned(),
        ));
    }
    let [initial, last] = &request.conditions.processors;
    steps.extend(initial.clone().map(ParentStep::StartOn));
    steps.push(ParentStep::Clone {
        namespaces: 0,
        into_cgroup: request.has_cgroup,
    });
    let process = request.process;
    if request.rights == Rights::Full {
        steps.extend(process.oom_score_adj().map(ParentStep::OomScore));
    }
    if has(request, Namespace::User) {
        // Raising one takes rights that a user namespace does not give.
        let limits = process.rlimits().iter().flatten();
        steps.extend(limits.map(|l| ParentStep::Limit(outside::limit(l))));
    }
    if has(request, Namespace::User) || hides(request) {
        let own = request.conditions.own.iter();
        steps.extend(own.cloned().map(ParentStep::Treat));
    }
    // By now it is in the cgroup, whose own processors are the limit.
    steps.extend(last.clone().map(ParentStep::Treat));
    steps
}

/// What a caller without rights can only do to itself, while its files in /proc are its own: those of a process
/// that can't be traced are the host's root's. Nobody inside has a right over it before it enters.
fn prepare(request: &ExecRequest<'_>, steps: &mut Vec<Step>) {
    if request.rights == Rights::Few {
        let score = request.process.oom_score_adj();
        steps.extend(score.map(Step::OomScore));
        steps.push(Step::ForbidTracing);
    }
}

fn join(request: &ExecRequest<'_>, kinds: NamespaceFlags, steps: &mut Vec<Step>) {
    if kinds != 0 {
        steps.push(Step::JoinContainer(kinds));
    }
    if has(request, Namespace::User) && request.root_is_mapped {
        // The host's root is nobody there.
        steps.push(Step::BecomeRoot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kinds: NamespaceFlags, rights: Rights, process: &str, has_tracers: bool) -> String {
        let process: Process = serde_json::from_str(process).unwrap();
        Plan::exec(&ExecRequest {
            process: &process,
            conditions: Conditions::default(),
            namespaces: kinds,
            root_is_mapped: true,
            own_root: true,
            filtering: Filtering::Silent,
            groups_denied: false,
            keyring: None,
            has_cgroup: true,
            rights,
            has_tracers,
            given_stdio: false,
        })
        .to_string()
    }

    fn text(namespaces: NamespaceFlags, rights: Rights, process: &str) -> String {
        plan(namespaces, rights, process, false)
    }

    const ROOT: &str = r#"{"user":{},"cwd":"/","args":["sh"],"terminal":true,"oomScoreAdj":9}"#;
    const MOST: NamespaceFlags = Namespace::Pid.flag() | Namespace::Mount.flag();

    #[test]
    fn one_clone_does_where_the_caller_has_rights() {
        let plan = text(MOST | Namespace::User.flag(), Rights::Full, ROOT);
        let expected = "dhow:  forbid tracing of dhow and of what it makes
dhow:  step into the container's PID namespace for the next child
dhow:  make a process, in the cgroup
dhow:  set its oom_score_adj to 9
init:  end when dhow ends, until the state is saved
init:  join the container's namespaces: user, mount
init:  become the user namespace's root
init:  make the container's root the root (chroot)
init:  begin a new session
init:  open a terminal, send it away
init:  go to the working directory /
";
        assert!(plan.starts_with(expected), "{plan}");
    }

    #[test]
    fn a_caller_without_rights_enters_by_a_middle_process() {
        let plan = text(MOST | Namespace::User.flag(), Rights::Few, ROOT);
        let stage: Vec<_> = plan.lines().filter(|l| l.starts_with("stage:")).collect();
        let expected = [
            "stage: end when dhow ends, until the state is saved",
            "stage: set oom_score_adj to 9",
            "stage: forbid tracing of this process",
            "stage: join the container's namespaces: user, pid, mount",
            "stage: become the user namespace's root",
            "stage: make the first process",
        ];
        assert_eq!(stage, expected);
        assert!(!plan.contains("init:  join"), "{plan}");
    }

    #[test]
    fn tracing_is_forbidden_before_anything_of_ours_is_in_sight() {
        let plan = text(MOST, Rights::Full, ROOT);
        let at = |words: &str| plan.find(words).unwrap();
        assert!(at("forbid tracing") < at("make a process"));
    }

    #[test]
    fn whoever_may_trace_sees_nothing_but_what_the_program_will_be() {
        let plan = plan(MOST, Rights::Full, ROOT, true);
        let at = |words: &str| {
            plan.find(words)
                .unwrap_or_else(|| panic!("{words}: {plan}"))
        };
        for before in [
            "join the container's namespaces: pid, mount",
            "close all descriptors",
            "drop privileges",
            "drop the capabilities that loading the filter needed",
        ] {
            assert!(at(before) < at("go on as a child"), "{plan}");
        }
        for after in ["new session", "make the terminal", "tell dhow", "execute"] {
            assert!(at("go on as a child") < at(after), "{plan}");
        }
        assert!(!plan.contains("step into"), "{plan}");
    }

    #[test]
    fn the_filter_is_loaded_after_the_last_message_and_before_the_exec() {
        let plan = text(MOST, Rights::Full, ROOT);
        let at = |words: &str| plan.find(words).unwrap();
        assert!(at("tell dhow") < at("no longer end"));
        assert!(at("no longer end") < at("seccomp"));
        assert!(at("seccomp") < at("execute the program"));
    }
}
