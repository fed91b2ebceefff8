//! The seccomp profile of an image's container and of a build's RUN: our own lists (`seccomp/*.txt`), and
//! the calls that are judged by an argument. What stands nowhere is answered with ENOSYS, so that a
//! C library that tries a newer call goes back to the older one. Foreign ABIs die: no architecture is
//! listed, so the filter knows the native one only. Not its job: compiling and loading a filter.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use self::judged::{
    ANY_NAMESPACE, Answer, CLONE_FLAGS, NAMESPACES, NEW_TIME, PERSONALITIES, SOCKETS,
    UNSHARE_WITHIN, When,
};
use crate::{Error, Result};

mod judged;

const ALLOWED: &str = include_str!("seccomp/allowed.txt");
const REFUSED: &str = include_str!("seccomp/refused.txt");
const ABSENT: &str = include_str!("seccomp/absent.txt");

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The default profile. Pure, and the same on every host of one architecture.
///
/// # Errors
/// None but those of the library that holds the spec's types.
pub fn profile() -> Result<LinuxSeccomp> {
    let mut rules = vec![
        rule(names(ALLOWED), Answer::Allow, Vec::new())?,
        rule(names(REFUSED), Answer::Errno(EPERM), Vec::new())?,
        rule(names(ABSENT), Answer::Errno(ENOSYS), Vec::new())?,
    ];
    let clone = |answer, mask, value| {
        rule(
            one("clone"),
            answer,
            vec![condition(&When(CLONE_FLAGS, mask, value))?],
        )
    };
    let unshare = |answer, mask, value| {
        rule(
            one("unshare"),
            answer,
            vec![condition(&When(0, mask, value))?],
        )
    };
    rules.push(clone(Answer::Allow, ANY_NAMESPACE, 0)?);
    rules.push(unshare(Answer::Allow, !UNSHARE_WITHIN, 0)?);
    rules.push(unshare(Answer::Errno(EPERM), NEW_TIME, NEW_TIME)?);
    for bit in NAMESPACES {
        rules.push(clone(Answer::Errno(EPERM), bit, bit)?);
        rules.push(unshare(Answer::Errno(EPERM), bit, bit)?);
    }
    for judged in SOCKETS.iter().chain(PERSONALITIES) {
        let conditions = judged.when.iter().map(condition).collect::<Result<_>>()?;
        rules.push(rule(one(judged.call), judged.answer, conditions)?);
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(ENOSYS)
        .syscalls(rules)
        .build()
        .map_err(fault)
}

/// The words of a list without its remarks.
fn names(list: &str) -> Vec<String> {
    list.lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

fn one(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

fn rule(names: Vec<String>, answer: Answer, args: Vec<LinuxSeccompArg>) -> Result<LinuxSyscall> {
    let mut rule = LinuxSyscallBuilder::default().names(names);
    rule = match answer {
        Answer::Allow => rule.action(LinuxSeccompAction::ScmpActAllow),
        Answer::Errno(errno) => rule
            .action(LinuxSeccompAction::ScmpActErrno)
            .errno_ret(errno),
    };
    if !args.is_empty() {
        rule = rule.args(args);
    }
    rule.build().map_err(fault)
}

fn condition(When(index, mask, value): &When) -> Result<LinuxSeccompArg> {
    LinuxSeccompArgBuilder::default()
        .index(*index)
        .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
        .value(*mask)
        .value_two(*value)
        .build()
        .map_err(fault)
}

fn fault(error: oci_spec::OciSpecError) -> Error {
    Error::Json {
        what: "the default seccomp profile".to_owned(),
        fault: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Spelled anew, not derived from the lists: what must never be allowed without a condition.
    const DANGEROUS: &str = "mount umount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount
        open_tree open_tree_attr mount_setattr setns unshare clone clone3 sethostname setdomainname
        name_to_handle_at open_by_handle_at add_key request_key keyctl bpf perf_event_open userfaultfd
        io_uring_setup io_uring_enter io_uring_register fanotify_init process_vm_readv process_vm_writev
        process_madvise pidfd_getfd kcmp move_pages migrate_pages init_module finit_module delete_module
        kexec_load kexec_file_load reboot syslog settimeofday clock_settime clock_settime64 stime swapon
        swapoff quotactl quotactl_fd acct vhangup iopl ioperm vm86 vm86old modify_ldt personality socket
        socketpair socketcall lookup_dcookie nfsservctl uselib sysfs ustat _sysctl";

    fn rules() -> Vec<LinuxSyscall> {
        profile().unwrap().syscalls().clone().unwrap()
    }

    #[test]
    fn no_name_stands_in_two_lists_or_twice_in_one() {
        let mut seen = BTreeSet::new();
        for name in [ALLOWED, REFUSED, ABSENT].into_iter().flat_map(names) {
            assert!(seen.insert(name.clone()), "{name} stands there twice");
        }
        for rule in rules().iter().filter(|rule| rule.args().is_some()) {
            for name in rule.names() {
                assert!(!seen.contains(name), "{name} is judged and listed");
            }
        }
    }

    #[test]
    fn nothing_dangerous_is_allowed_whatever_its_arguments() {
        let allowed: BTreeSet<String> = names(ALLOWED).into_iter().collect();
        for name in DANGEROUS.split_whitespace() {
            assert!(!allowed.contains(name), "{name}");
        }
    }

    /// Two answers to one call would leave it to libseccomp which of them holds.
    #[test]
    fn no_two_answers_fit_the_same_arguments() {
        let mut judged: BTreeMap<String, Vec<LinuxSyscall>> = BTreeMap::new();
        for rule in rules().into_iter().filter(|rule| rule.args().is_some()) {
            judged
                .entry(rule.names()[0].clone())
                .or_default()
                .push(rule);
        }
        let apart = |a: &LinuxSyscall, b: &LinuxSyscall| {
            a.args().iter().flatten().any(|x| {
                b.args().iter().flatten().any(|y| {
                    let both = x.value() & y.value();
                    let differ = x.value_two().unwrap() ^ y.value_two().unwrap();
                    x.index() == y.index() && differ & both != 0
                })
            })
        };
        assert_eq!(judged.len(), 5);
        for (name, rules) in judged {
            for (at, a) in rules.iter().enumerate() {
                for b in &rules[at + 1..] {
                    let same = (a.action(), a.errno_ret()) == (b.action(), b.errno_ret());
                    assert!(same || apart(a, b), "{name}: {a:?} and {b:?}");
                }
            }
        }
    }

    #[test]
    fn a_condition_asks_for_no_bit_outside_its_mask() {
        for arg in rules()
            .iter()
            .flat_map(|rule| rule.args().clone().unwrap_or_default())
        {
            assert_eq!(arg.value_two().unwrap() & !arg.value(), 0, "{arg:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_answered_as_by_a_kernel_that_lacks_it() {
        let profile = profile().unwrap();
        assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActErrno);
        assert_eq!(profile.default_errno_ret(), Some(ENOSYS));
        assert_eq!(profile.architectures(), &None);
    }

    #[test]
    fn the_masks_of_namespaces_are_whole() {
        assert_eq!(
            NAMESPACES.iter().fold(0, |all, bit| all | bit),
            ANY_NAMESPACE
        );
        assert_eq!(UNSHARE_WITHIN & (ANY_NAMESPACE | NEW_TIME), 0);
    }
}
