//! linux.resources.devices as rules, with those that every container gets. Pure. Not its job: the program.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::program::MAX_RULES;
use crate::Error;

/// Making a node (BPF_DEVCG_ACC_MKNOD).
pub(super) const MAKE: u8 = 1;
/// BPF_DEVCG_ACC_READ.
pub(super) const READ: u8 = 2;
/// BPF_DEVCG_ACC_WRITE.
pub(super) const WRITE: u8 = 4;
/// Every kind of access.
pub(super) const ALL: u8 = MAKE | READ | WRITE;

/// The two kinds of device (BPF_DEVCG_DEV_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block = 1,
    Character = 2,
}

/// Allows or denies some kinds of access to some devices; `None` means any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) kind: Option<Kind>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: u8,
}

/// What every container may do, whatever the rules say: the list of runc (its specconv.AllowedDevices).
/// Making any node is harmless by itself, since opening it is asked about too; images and builds need it.
/// The console is not in the list: a container's /dev/console is a pty, and 5:1 is the host's.
/// Equal kinds and majors stand together, for a short program.
const ALWAYS: [(Kind, Option<u32>, Option<u32>, u8); 10] = [
    (Kind::Block, None, None, MAKE),
    (Kind::Character, None, None, MAKE),
    (Kind::Character, Some(136), None, ALL),  // pts/N
    (Kind::Character, Some(5), Some(2), ALL), // ptmx
    (Kind::Character, Some(5), Some(0), ALL), // tty
    (Kind::Character, Some(1), Some(9), ALL), // urandom
    (Kind::Character, Some(1), Some(8), ALL), // random
    (Kind::Character, Some(1), Some(7), ALL), // full
    (Kind::Character, Some(1), Some(5), ALL), // zero
    (Kind::Character, Some(1), Some(3), ALL), // null
];

/// The rules in their order, the last to be asked first.
pub(super) fn read(spec: &[LinuxDeviceCgroup], problems: &mut Vec<Error>) -> Vec<Rule> {
    if spec.len() > MAX_RULES {
        problems.push(Error::spec(
            "linux.resources.devices",
            format!("{} rules are more than {MAX_RULES}", spec.len()),
        ));
        return Vec::new();
    }
    let mut rules: Vec<_> = spec
        .iter()
        .enumerate()
        .filter_map(|(i, rule)| one(i, rule, problems))
        .collect();
    rules.extend(ALWAYS.map(|(kind, major, minor, access)| Rule {
        allow: true,
        kind: Some(kind),
        major,
        minor,
        access,
    }));
    rules
}

fn one(i: usize, rule: &LinuxDeviceCgroup, problems: &mut Vec<Error>) -> Option<Rule> {
    let mut problem = |member: &str, reason: String| {
        let field = format!("linux.resources.devices[{i}].{member}");
        problems.push(Error::spec(field, reason));
    };
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Kind::Block),
        Some(LinuxDeviceType::C) => Some(Kind::Character),
        Some(other) => {
            problem("type", format!("{:?} is none of a, b, c", other.as_str()));
            return None;
        }
    };
    let mut number = |member: &str, number: Option<i64>| match number {
        None | Some(-1) => Some(None),
        Some(number) => match u32::try_from(number) {
            Ok(number) => Some(Some(number)),
            Err(_) => {
                problem(
                    member,
                    format!("{number} is no device number; -1 means any"),
                );
                None
            }
        },
    };
    let (major, minor) = (number("major", rule.major()), number("minor", rule.minor()));
    let access = match access(rule.access().as_deref().unwrap_or_default()) {
        Ok(access) => Some(access),
        Err(reason) => {
            problem("access", reason);
            None
        }
    };
    Some(Rule {
        allow: rule.allow(),
        kind,
        major: major?,
        minor: minor?,
        access: access?,
    })
}

fn access(letters: &str) -> Result<u8, String> {
    let mut access = 0;
    for letter in letters.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MAKE,
            _ => return Err(format!("{letters:?} has other letters than r, w, m")),
        };
    }
    match access {
        0 => Err("none of r, w, m is given, so the rule says nothing".to_owned()),
        access => Ok(access),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The rules of this JSON without those of every container, or the problems in words.
    pub(in crate::devices) fn parse(json: &str) -> Result<Vec<Rule>, String> {
        let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        let mut problems = Vec::new();
        let mut rules = read(&spec, &mut problems);
        match problems.is_empty() {
            true => {
                rules.truncate(spec.len());
                Ok(rules)
            }
            false => Err(problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")),
        }
    }

    #[test]
    fn absent_members_and_minus_one_mean_any() {
        let any = Rule {
            allow: false,
            kind: None,
            major: None,
            minor: None,
            access: ALL,
        };
        for json in [
            r#"[{"allow":false,"access":"rwm"}]"#,
            r#"[{"allow":false,"type":"a","major":-1,"minor":-1,"access":"mwr"}]"#,
        ] {
            assert_eq!(parse(json), Ok(vec![any]), "{json}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let table = [
            (
                r#"[{"allow":true,"access":"rwx"}]"#,
                r#"linux.resources.devices[0].access: "rwx" has other letters than r, w, m"#,
            ),
            (
                r#"[{"allow":true,"access":"r"},{"allow":true}]"#,
                "linux.resources.devices[1].access: none of r, w, m is given, so the rule says nothing",
            ),
            (
                r#"[{"allow":true,"type":"p","access":"r"}]"#,
                r#"linux.resources.devices[0].type: "p" is none of a, b, c"#,
            ),
            (
                r#"[{"allow":true,"major":4294967296,"minor":-2,"access":"r"}]"#,
                "linux.resources.devices[0].major: 4294967296 is no device number; -1 means any; \
                 linux.resources.devices[0].minor: -2 is no device number; -1 means any",
            ),
        ];
        for (json, expected) in table {
            assert_eq!(parse(json), Err(expected.to_owned()), "{json}");
        }
    }
}
