//! A profile as plain rules: answers as the kernel's numbers, alternatives apart, faults named. Not its job: what a
//! rule means on one architecture (judgement).

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

use crate::{Error, Result};

/// What a filter answers (linux/seccomp.h, SECCOMP_RET_*): the action, and 16 bits of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict(pub u32);

impl Verdict {
    /// Ends the process.
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    /// What a kernel that lacks the call says: ENOSYS.
    pub const ABSENT: Self = Self(0x0005_0000 | 38);

    /// The order in which the kernel, too, chooses among several filters: what is stricter comes first.
    pub fn severity(self) -> i32 {
        (self.0 & 0xffff_0000).cast_signed()
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `==` of the bits in this mask; the value's other bits do not count either.
    MaskedEqual(u64),
}

/// One comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// An answer to some calls, if all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<'p> {
    /// The calls' names.
    pub names: &'p [String],
    /// The answer.
    pub verdict: Verdict,
    /// Any of these lists; `[[]]` is without a condition.
    pub when: Vec<Vec<Condition>>,
}

/// A whole profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules<'p> {
    /// The answer to what no rule is for.
    pub default: Verdict,
    /// In the profile's order.
    pub rules: Vec<Rule<'p>>,
    /// SECCOMP_FILTER_FLAG_*, to load the filter with.
    pub flags: u64,
}

/// SECCOMP_FILTER_FLAG_*.
const TSYNC: u64 = 1;
const LOG: u64 = 1 << 1;
const SPEC_ALLOW: u64 = 1 << 2;
const NEW_LISTENER: u64 = 1 << 3;
const WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// The errno of SCMP_ACT_ERRNO and SCMP_ACT_TRACE without `errnoRet` (config-linux.md: EPERM).
const DEFAULT_ERRNO: u32 = 1;

/// The highest errno that a system call can answer with.
const MAX_ERRNO: u32 = 4095;

impl<'p> Rules<'p> {
    /// Reads a profile.
    ///
    /// # Errors
    /// What is wrong with it, by its place.
    pub fn read(profile: &'p LinuxSeccomp) -> Result<Self> {
        let default = verdict(
            profile.default_action(),
            profile.default_errno_ret(),
            "defaultAction",
        )?;
        let rules = profile
            .syscalls()
            .iter()
            .flatten()
            .enumerate()
            .map(|(at, rule)| self::rule(rule, &format!("syscalls[{at}]")))
            .collect::<Result<Vec<_>>>()?;
        let listens = listens(profile);
        let path = profile.listener_path().as_ref();
        let path = path.filter(|path| !path.as_os_str().is_empty());
        if path.is_none() && listens {
            return Err(Error::NoListener);
        }
        let metadata = profile.listener_metadata().as_deref().unwrap_or_default();
        if path.is_none() && !metadata.is_empty() {
            return Err(Error::Metadata);
        }
        Ok(Self {
            default,
            rules,
            flags: flags(profile.flags().as_deref(), listens),
        })
    }
}

/// Whether some call is left to a listener (SCMP_ACT_NOTIFY).
pub fn listens(profile: &LinuxSeccomp) -> bool {
    let rules = profile.syscalls().iter().flatten();
    std::iter::once(profile.default_action())
        .chain(rules.map(LinuxSyscall::action))
        .any(|action| action == LinuxSeccompAction::ScmpActNotify)
}

/// SPEC_ALLOW where the profile has no list of flags, as with runc and crun: else every program of the container pays
/// for a guard against speculation that the profile never asked for (before Linux 5.16).
fn flags(list: Option<&[LinuxSeccompFilterFlag]>, listens: bool) -> u64 {
    use LinuxSeccompFilterFlag as Flag;
    let mut bits = match list {
        None => SPEC_ALLOW,
        Some(list) => list.iter().fold(0, |bits, flag| {
            bits | match flag {
                Flag::SeccompFilterFlagTsync => TSYNC,
                Flag::SeccompFilterFlagLog => LOG,
                Flag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
                Flag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
            }
        }),
    };
    if listens {
        bits |= NEW_LISTENER;
        // The one other thread is that which hands the listener over; it must not be filtered.
        bits &= !TSYNC;
    } else {
        // Without a listener nobody waits, and the kernel refuses it.
        bits &= !WAIT_KILLABLE_RECV;
    }
    bits
}

fn rule<'p>(rule: &'p LinuxSyscall, path: &str) -> Result<Rule<'p>> {
    if rule.names().is_empty() {
        let path = path.to_owned();
        return Err(Error::NoNames { path });
    }
    if rule.names().iter().any(String::is_empty) {
        let path = path.to_owned();
        return Err(Error::EmptyName { path });
    }
    Ok(Rule {
        names: rule.names(),
        verdict: verdict(rule.action(), rule.errno_ret(), &format!("{path}.action"))?,
        when: alternatives(rule.args().as_deref().unwrap_or_default(), path)?,
    })
}

/// Several conditions on one argument make each condition of the rule an alternative, as runc reads them (its
/// library takes one an argument); otherwise all must hold.
fn alternatives(args: &[LinuxSeccompArg], path: &str) -> Result<Vec<Vec<Condition>>> {
    let all = args
        .iter()
        .map(|arg| condition(arg, path))
        .collect::<Result<Vec<_>>>()?;
    let repeated = all
        .iter()
        .enumerate()
        .any(|(at, c)| all[..at].iter().any(|earlier| earlier.index == c.index));
    Ok(if repeated {
        all.into_iter().map(|c| vec![c]).collect()
    } else {
        vec![all]
    })
}

fn condition(arg: &LinuxSeccompArg, path: &str) -> Result<Condition> {
    use LinuxSeccompOperator as O;
    let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6);
    let index = index.ok_or_else(|| Error::Index {
        path: path.to_owned(),
        index: arg.index(),
    })?;
    let (operator, value) = match arg.op() {
        O::ScmpCmpNe => (Operator::NotEqual, arg.value()),
        O::ScmpCmpLt => (Operator::Less, arg.value()),
        O::ScmpCmpLe => (Operator::LessOrEqual, arg.value()),
        O::ScmpCmpEq => (Operator::Equal, arg.value()),
        O::ScmpCmpGe => (Operator::GreaterOrEqual, arg.value()),
        O::ScmpCmpGt => (Operator::Greater, arg.value()),
        O::ScmpCmpMaskedEq => (
            Operator::MaskedEqual(arg.value()),
            arg.value_two().unwrap_or(0),
        ),
    };
    Ok(Condition {
        index,
        operator,
        value,
    })
}

fn verdict(action: LinuxSeccompAction, errno: Option<u32>, path: &str) -> Result<Verdict> {
    use LinuxSeccompAction as A;
    let most = match action {
        A::ScmpActErrno => MAX_ERRNO,
        A::ScmpActTrace => u32::from(u16::MAX),
        _ if errno.is_some() => {
            return Err(Error::NoErrno {
                path: path.to_owned(),
                action: action.to_string(),
            });
        }
        _ => 0,
    };
    if let Some(errno) = errno.filter(|errno| *errno > most) {
        let path = path.to_owned();
        return Err(Error::Errno { path, errno, most });
    }
    let data = errno.unwrap_or(DEFAULT_ERRNO);
    Ok(Verdict(match action {
        A::ScmpActKillProcess => Verdict::KILL_PROCESS.0,
        A::ScmpActKill | A::ScmpActKillThread => 0,
        A::ScmpActTrap => 0x0003_0000,
        A::ScmpActErrno => 0x0005_0000 | data,
        A::ScmpActNotify => 0x7fc0_0000,
        A::ScmpActTrace => 0x7ff0_0000 | data,
        A::ScmpActLog => 0x7ffc_0000,
        A::ScmpActAllow => 0x7fff_0000,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(json: &str) -> LinuxSeccomp {
        serde_json::from_str(json).unwrap()
    }

    fn words(json: &str) -> String {
        Rules::read(&profile(json)).unwrap_err().to_string()
    }

    #[test]
    fn faults_name_their_place() {
        for (rule, expected) in [
            (
                r#""names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]"#,
                "syscalls[0].args: index 6 is not in 0 to 5",
            ),
            (
                r#""names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":4096"#,
                "syscalls[0].action: errnoRet 4096 is above 4095",
            ),
            (
                r#""names":["mkdir"],"action":"SCMP_ACT_TRACE","errnoRet":65536"#,
                "syscalls[0].action: errnoRet 65536 is above 65535",
            ),
            (
                r#""names":["mkdir"],"action":"SCMP_ACT_TRAP","errnoRet":1"#,
                "syscalls[0].action: SCMP_ACT_TRAP takes no errnoRet",
            ),
            (
                r#""names":[],"action":"SCMP_ACT_TRAP""#,
                "syscalls[0].names: no system call is named",
            ),
            (
                r#""names":["mkdir",""],"action":"SCMP_ACT_TRAP""#,
                "syscalls[0].names: an empty name",
            ),
            (
                r#""names":["mkdir"],"action":"SCMP_ACT_NOTIFY""#,
                "listenerPath: SCMP_ACT_NOTIFY is used and nobody is named to be notified",
            ),
        ] {
            let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{{rule}}}]}}"#);
            assert_eq!(words(&json), expected);
        }
        assert_eq!(
            words(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#),
            "defaultAction: errnoRet 5000 is above 4095"
        );
        assert_eq!(
            words(r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#),
            "listenerMetadata: there is no listenerPath to send it to"
        );
    }

    #[test]
    fn conditions_on_one_argument_are_alternatives() {
        let when = |second: usize| {
            let json = format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_ERRNO",
                "args":[{{"index":0,"value":1,"op":"SCMP_CMP_EQ"}},{{"index":{second},"value":2,"op":"SCMP_CMP_EQ"}}]}}]}}"#
            );
            Rules::read(&profile(&json)).unwrap().rules[0].when.len()
        };
        assert_eq!((when(0), when(1)), (2, 1));
    }

    #[test]
    fn flags_are_the_kernels() {
        let flags = |rest: &str| {
            let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{rest}}}"#);
            Rules::read(&profile(&json)).unwrap().flags
        };
        let notify =
            r#","listenerPath":"/a","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]"#;
        let killable = r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
        let synced = r#","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG"]"#;
        assert_eq!(flags(""), SPEC_ALLOW);
        assert_eq!(flags(r#","flags":[]"#), 0);
        assert_eq!(flags(synced), TSYNC | LOG);
        assert_eq!(flags(killable), 0);
        assert_eq!(flags(&format!("{notify}{killable}")), 0x28);
        assert_eq!(flags(&format!("{notify}{synced}")), 0xa);
    }
}
