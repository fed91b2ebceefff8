//! How a process of a container becomes its program: rights, limits, filter, exec. The same for the first
//! process (build) and for one that comes later (exec). Pure. Not its job: what lies before.

use oci_spec::runtime::Process;
use rootfs::Size;

use crate::conditions::Conditions;
use crate::plan::{Credentials, Step, outside};

/// How a seccomp filter bears on the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtering {
    /// There is none.
    None,
    /// It judges by itself.
    Silent,
    /// It leaves some calls to an agent (SCMP_ACT_NOTIFY).
    Notifying,
}

/// A program that is to be started.
#[derive(Debug)]
pub(super) struct Program<'a> {
    /// What it is to be.
    pub(super) process: &'a Process,
    /// Its seccomp filter.
    pub(super) filtering: Filtering,
    /// Whether setgroups(2) is denied.
    pub(super) groups_denied: bool,
    /// What the kernel is told about it.
    pub(super) conditions: &'a Conditions,
    /// Whether dhow sets its limits from outside, since it has no right to raise them itself.
    pub(super) limits_from_outside: bool,
    /// The same of its scheduling, which may end with a fork too.
    pub(super) treated_from_outside: bool,
}

impl Program<'_> {
    fn credentials(&self) -> Credentials {
        let has_filter = self.filtering != Filtering::None;
        let mut credentials = Credentials::new(self.process, has_filter, self.groups_denied);
        if self.conditions.keeps_groups {
            credentials.groups = None;
        }
        credentials
    }

    /// All but what must be the very last: after these steps the process has the program's rights.
    pub(super) fn rights(&self, steps: &mut Vec<Step>) {
        let credentials = self.credentials();
        let user = self.process.user();
        steps.push(Step::Umask(user.umask().unwrap_or(0o022)));
        // In the container's root, and while whatever it is may be opened.
        steps.push(Step::RenewNull);
        if credentials.uid != 0 {
            // While we may: so that the user can open /dev/stdout again.
            steps.push(Step::StdioOwner(credentials.uid));
        }
        // Before procfs is out of reach. Hooks that run later inherit it, and are as confined.
        let labels = self.conditions.labels.iter();
        steps.extend(labels.cloned().map(Step::Label));
        let container = self.conditions.container.iter();
        steps.extend(container.cloned().map(Step::Treat));
        if !self.treated_from_outside {
            let own = self.conditions.own.iter();
            steps.extend(own.cloned().map(Step::Treat));
        }
        if !self.limits_from_outside {
            // Late, for a small limit of open files must not hinder the steps before; and while we have
            // the rights that raising one takes.
            let limits = self.process.rlimits().iter().flatten();
            steps.extend(limits.map(|l| Step::Limit(outside::limit(l))));
        }
        // What is not needed any more goes before the program's rights are taken on: whoever shares the
        // PID namespace could look at our descriptors (CVE-2024-21626).
        steps.push(Step::CloseDescriptors);
        steps.push(Step::Drop(Box::new(credentials)));
        steps.push(Step::FindProgram(self.name()));
    }

    /// Whether CAP_SYS_ADMIN is kept until the filter is loaded.
    pub(super) fn filter_needs_admin(&self) -> bool {
        self.credentials().filter_needs_admin
    }

    /// The very last: the filter and the exec.
    pub(super) fn end(&self, steps: &mut Vec<Step>) {
        self.filter(steps);
        steps.push(Step::Exec);
    }

    /// The filter, with what loading it takes.
    pub(super) fn filter(&self, steps: &mut Vec<Step>) {
        if self.filtering == Filtering::Notifying {
            // Every call after the filter may be one that the agent is to answer.
            steps.push(Step::AskListener);
        }
        if self.filtering != Filtering::None {
            // As late as can be: every call of ours after it would have to be allowed in every profile.
            steps.push(Step::Seccomp);
            let credentials = self.credentials();
            if credentials.filter_needs_admin {
                steps.push(Step::FinalCapabilities(Box::new(credentials)));
            }
        }
    }

    fn name(&self) -> String {
        let args = self.process.args().as_ref();
        args.and_then(|args| args.first())
            .cloned()
            .unwrap_or_default()
    }
}

/// The window that a process' terminal is to have.
pub(super) fn console_size(process: &Process) -> Option<Size> {
    let console = process.console_size()?;
    let fit = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    Some(Size {
        width: fit(console.width()),
        height: fit(console.height()),
    })
}
