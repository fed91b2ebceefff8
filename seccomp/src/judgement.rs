//! What the rules of a profile say of each call's number on one ABI. Pure data, from which a program is written.
//! Not its job: instructions.
//!
//! The order of precedence is libseccomp's where it has one: a rule without conditions beats those with
//! conditions, and the first of several without. Among rules with conditions that hold at once it promises
//! nothing; here the strictest holds, as the kernel chooses among filters, and of equally strict ones the first.

use crate::abi::{Abi, X32};
use crate::calls::{self, Row};
use crate::profile::{Condition, Operator, Rule, Rules, Verdict};

/// The answer to one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Whatever the arguments are.
    Always(Verdict),
    /// The first whose conditions hold, or else the last.
    Depends(Vec<(Verdict, Vec<Condition>)>, Verdict),
}

/// One stretch of numbers, up to where the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) judgement: Judgement,
}

/// A call that a rule names, looked up once for all ABIs.
pub(crate) struct Named {
    rule: usize,
    row: &'static Row,
    /// As a multiplexer calls it.
    part: Option<(Multiplexer, u64)>,
}

/// What the rules name and this program knows; what it does not know is on no architecture. Multiplexers are looked
/// at only where one of the ABIs has any.
pub(crate) fn named(rules: &Rules<'_>, abis: &[&Abi]) -> Vec<Named> {
    let multiplexed = abis.iter().any(|abi| Multiplexers::of(abi).any());
    let rules = rules.rules.iter().enumerate();
    rules
        .flat_map(|(rule, Rule { names, .. })| names.iter().map(move |name| (rule, name)))
        .filter_map(|(rule, name)| {
            Some(Named {
                rule,
                row: calls::row(name)?,
                part: multiplexed.then(|| part(name)).flatten(),
            })
        })
        .collect()
}

/// A rule as it concerns one number; `part` is the call behind a multiplexer.
#[derive(Clone, Copy)]
struct Entry {
    number: u32,
    rule: usize,
    part: Option<Condition>,
}

/// The judgement of every number of `abi` that a filter can see, in order. Numbers of the other ABI behind the same
/// mark of the kernel (x32 and x86_64) are left out.
fn ranges(rules: &Rules<'_>, named: &[Named], abi: &Abi) -> Vec<Range> {
    let (mut entries, numbers) = entries(rules, named, abi);
    entries.sort_by_key(|entry| entry.number);
    let newest = newest(rules, abi, &numbers);
    let beyond = |number: u32| {
        let unknown = newest
            .iter()
            .any(|(known, last)| (*known + 1..=*last).contains(&number));
        if unknown {
            Verdict::ABSENT
        } else {
            rules.default
        }
    };
    let mut turns: Vec<u32> = abi.spaces().iter().map(|(first, _)| *first).collect();
    turns.extend(newest.iter().map(|(known, _)| known + 1));
    if abi.shows_unknown_as_zero() && !newest.is_empty() {
        turns.push(1);
    }
    for group in entries.chunk_by(|a, b| a.number == b.number) {
        turns.push(group[0].number);
        turns.push(group[0].number + 1);
    }
    turns.sort_unstable();
    turns.dedup();
    let mut groups = entries.chunk_by(|a, b| a.number == b.number).peekable();
    let mut ranges: Vec<Range> = Vec::with_capacity(turns.len());
    for first in turns {
        let fallback = if first == 0 && abi.shows_unknown_as_zero() && !newest.is_empty() {
            Verdict::ABSENT
        } else {
            beyond(first)
        };
        let judgement = match groups.next_if(|group| group[0].number == first) {
            Some(group) => judge(rules, group, fallback),
            None => Judgement::Always(fallback),
        };
        if ranges.last().is_none_or(|last| last.judgement != judgement) {
            ranges.push(Range { first, judgement });
        }
    }
    ranges
}

/// The rules that concern a number here, and every number that the profile names.
fn entries(rules: &Rules<'_>, named: &[Named], abi: &Abi) -> (Vec<Entry>, Vec<u32>) {
    let mut entries = Vec::with_capacity(named.len());
    let mut numbers = Vec::with_capacity(named.len());
    let behind = Multiplexers::of(abi);
    for named in named {
        let entry = |number, part| Entry {
            number,
            rule: named.rule,
            part,
        };
        let number = abi.number(named.row);
        numbers.extend(number);
        // A rule that says what is said of all anyway must not undo another one.
        if rules.rules[named.rule].verdict == rules.default {
            continue;
        }
        entries.extend(number.map(|number| entry(number, None)));
        let part = named.part.and_then(|part| behind.condition(part));
        entries.extend(part.map(|(number, part)| entry(number, Some(part))));
    }
    (entries, numbers)
}

/// The newest call that the profile names in each space, and the space's end: what lies between is a call that its
/// author did not know, and answered as by a kernel that lacks it. Where the default lets calls pass, or leaves them to
/// a tracer, nothing lies between.
fn newest(rules: &Rules<'_>, abi: &Abi, numbers: &[u32]) -> Vec<(u32, u32)> {
    /// SECCOMP_RET_TRACE; LOG and ALLOW are laxer still.
    const TRACE: Verdict = Verdict(0x7ff0_0000);
    if rules.default.severity() >= TRACE.severity() || rules.default == Verdict::ABSENT {
        return Vec::new();
    }
    let spaces = abi.spaces().iter();
    spaces
        .filter_map(|(first, last)| {
            let inside = numbers.iter().filter(|n| (first..=last).contains(n));
            inside.max().map(|newest| (*newest, *last))
        })
        .filter(|(newest, last)| newest < last)
        .collect()
}

fn judge(rules: &Rules<'_>, group: &[Entry], fallback: Verdict) -> Judgement {
    let whole = |entry: &&Entry| {
        let rule = &rules.rules[entry.rule];
        entry.part.is_none() && rule.when.iter().any(Vec::is_empty)
    };
    if let Some(entry) = group.iter().find(whole) {
        return Judgement::Always(rules.rules[entry.rule].verdict);
    }
    let mut cases: Vec<(Verdict, Vec<Condition>)> = Vec::new();
    for entry in group {
        let rule = &rules.rules[entry.rule];
        for conditions in &rule.when {
            match entry.part {
                None => cases.push((rule.verdict, conditions.clone())),
                Some(part) if conditions.is_empty() => cases.push((rule.verdict, vec![part])),
                // The arguments lie in memory, where no filter sees them: the doubt goes to the stricter side.
                Some(part) if rule.verdict.severity() < rules.default.severity() => {
                    cases.push((rule.verdict, vec![part]));
                }
                Some(_) => {}
            }
        }
    }
    cases.sort_by_key(|(verdict, _)| verdict.severity());
    cases.dedup();
    if cases.is_empty() {
        return Judgement::Always(fallback);
    }
    Judgement::Depends(cases, fallback)
}

/// A call through which some architectures reach others.
#[derive(Debug, Clone, Copy)]
enum Multiplexer {
    /// socketcall(2)
    Socketcall,
    /// ipc(2)
    Ipc,
}

/// The multiplexers' numbers on one ABI.
struct Multiplexers {
    socketcall: Option<u32>,
    ipc: Option<u32>,
}

/// The calls behind socketcall, from 1 (linux/net.h).
const SOCKET_CALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// The calls behind ipc (linux/ipc.h).
const IPC_CALLS: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

impl Multiplexers {
    fn of(abi: &Abi) -> Self {
        Self {
            socketcall: calls::number("socketcall", abi),
            ipc: calls::number("ipc", abi),
        }
    }

    fn any(&self) -> bool {
        self.socketcall.is_some() || self.ipc.is_some()
    }

    /// The multiplexer's number and the condition under which it does what the call behind it does. The kernel reads
    /// socketcall's first argument as an int, and of ipc's the lower 16 bits.
    fn condition(&self, (multiplexer, value): (Multiplexer, u64)) -> Option<(u32, Condition)> {
        let (number, mask) = match multiplexer {
            Multiplexer::Socketcall => (self.socketcall?, 0xffff_ffff),
            Multiplexer::Ipc => (self.ipc?, 0xffff),
        };
        let condition = Condition {
            index: 0,
            operator: Operator::MaskedEqual(mask),
            value,
        };
        Some((number, condition))
    }
}

/// Behind which multiplexer the call `name` lies, and what that takes for it.
fn part(name: &str) -> Option<(Multiplexer, u64)> {
    let socket = (1..).zip(SOCKET_CALLS).find(|(_, known)| *known == name);
    if let Some((value, _)) = socket {
        return Some((Multiplexer::Socketcall, value));
    }
    let (_, value) = IPC_CALLS.iter().find(|(known, _)| *known == name)?;
    Some((Multiplexer::Ipc, *value))
}

/// The judgements of a whole mark of the kernel: x32's numbers lie behind x86_64's. A space that no ABI of the profile
/// has gets `foreign`, but for -1: a tracer's word for a call that is to be left out.
pub(crate) fn merged(
    rules: &Rules<'_>,
    named: &[Named],
    abis: &[&Abi],
    foreign: Verdict,
) -> Vec<Range> {
    let mut all: Vec<Range> = Vec::new();
    for abi in abis {
        all.append(&mut ranges(rules, named, abi));
    }
    all.sort_by_key(|range| range.first);
    let always = |first, verdict| Range {
        first,
        judgement: Judgement::Always(verdict),
    };
    if abis.iter().all(|abi| abi.spaces() == [(0, X32 - 1)]) {
        all.push(always(X32, foreign));
        all.push(always(u32::MAX, rules.default));
    } else if abis.iter().all(|abi| abi.is_x32()) {
        all.insert(0, always(0, foreign));
    }
    all
}
