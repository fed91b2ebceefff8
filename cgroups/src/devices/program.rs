//! Device rules as eBPF, by hand: some thirty instructions need no compiler. Pure. Not its job: loading it.
//!
//! The last rule is asked first. Each kind of access that is wanted is decided by the last rule that speaks
//! of the device and of that kind; what no rule decides is denied.
//!
//! ```text
//! r2 = kind   r3 = access not yet decided   r4 = major   r5 = minor
//! each run of rules for one kind: another kind? -> next run
//!   each run for one major: another major? -> next run
//!     each rule: another minor? -> next rule
//!                deny:  one of r3 in it? -> deny
//!                allow: take its access out of r3; nothing left? -> allow
//! deny:  return 0
//! allow: return 1
//! ```
//! The kernel follows every path through a program when it loads it, at each start of a container: with a
//! test of its own for each part of each rule and an end of its own, the default rules took 260 µs to load
//! and attach; in runs, with common ends, half of that.

use super::rules::{ALL, Rule};

#[cfg(target_endian = "big")]
compile_error!("instructions are laid out for little-endian machines");

// Opcodes (linux/bpf.h). All compare and compute with 32 bits, as the numbers have.
const LOAD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const SET: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const JUMP_UNLESS_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// No more than this many rules: jumps reach 32767 instructions, and a rule has at most seven.
pub(super) const MAX_RULES: usize = 4096;

/// The program for at most [`MAX_RULES`] `rules` of a spec and those of every container: 1 allows, 0 denies.
pub(super) fn assemble(rules: &[Rule]) -> Vec<u64> {
    // struct bpf_cgroup_dev_ctx { __u32 access_type /* access << 16 | kind */, major, minor }
    let mut program = Program {
        code: vec![
            instruction(LOAD, KIND, CONTEXT, 0, 0),
            instruction(MOVE, WANTED, KIND, 0, 0),
            instruction(AND, KIND, 0, 0, 0xffff),
            instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
            instruction(LOAD, MAJOR, CONTEXT, 4, 0),
            instruction(LOAD, MINOR, CONTEXT, 8, 0),
        ],
        to_allow: Vec::new(),
        to_deny: Vec::new(),
    };
    // A rule for everything decides everything: earlier ones are dead, and the kernel refuses code that
    // nothing reaches.
    let is_for_all = |rule: &Rule| {
        rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none() && rule.access == ALL
    };
    let first = rules.iter().rposition(is_for_all);
    let allow = first.is_some_and(|first| rules[first].allow);
    let rules = &rules[first.map_or(0, |first| first + 1)..];
    let last_first: Vec<_> = rules.iter().rev().copied().collect();
    for run in last_first.chunk_by(|a, b| a.kind == b.kind) {
        program.run(KIND, run[0].kind.map(|kind| kind as u32), |program| {
            run.chunk_by(|a, b| a.major == b.major).any(|run| {
                program.run(MAJOR, run[0].major, |program| {
                    run.iter().any(|rule| program.rule(*rule))
                })
            })
        });
    }
    program.finish(allow)
}

/// A program that is being written, and its jumps to the two ends, which come last.
struct Program {
    code: Vec<u64>,
    to_allow: Vec<usize>,
    to_deny: Vec<usize>,
}

impl Program {
    /// What `body` writes, for devices whose `register` has `value` only (none: for all). A body says
    /// whether it decides everything that reaches it; so does this.
    fn run(
        &mut self,
        register: u8,
        value: Option<u32>,
        body: impl FnOnce(&mut Self) -> bool,
    ) -> bool {
        let Some(value) = value else {
            return body(self);
        };
        let test = self.code.len();
        self.code
            .push(instruction(JUMP_UNLESS_EQUAL, register, 0, 0, value));
        body(self);
        self.aim(test, self.code.len());
        false
    }

    /// One rule, for devices of its kind and major.
    fn rule(&mut self, rule: Rule) -> bool {
        if let (Some(minor), ALL) = (rule.minor, rule.access) {
            self.jump(JUMP_IF_EQUAL, MINOR, minor, rule.allow);
            return false;
        }
        let access = u32::from(rule.access);
        self.run(MINOR, rule.minor, |program| {
            if rule.access == ALL {
                program.jump(JUMP, 0, 0, rule.allow);
                return true;
            }
            if rule.allow {
                let others = u32::from(ALL) & !access;
                program.code.push(instruction(AND, WANTED, 0, 0, others));
                program.jump(JUMP_IF_EQUAL, WANTED, 0, true);
            } else {
                program.code.push(instruction(MOVE, RESULT, WANTED, 0, 0));
                program.code.push(instruction(AND, RESULT, 0, 0, access));
                program.jump(JUMP_UNLESS_EQUAL, RESULT, 0, false);
            }
            false
        })
    }

    /// Jumps to an end, if `register` compares with `value` as `code` says.
    fn jump(&mut self, code: u8, register: u8, value: u32, allow: bool) {
        let jumps = match allow {
            true => &mut self.to_allow,
            false => &mut self.to_deny,
        };
        jumps.push(self.code.len());
        self.code.push(instruction(code, register, 0, 0, value));
    }

    /// Lets the jump at `from` go to `to`.
    fn aim(&mut self, from: usize, to: usize) {
        let distance = i16::try_from(to - from - 1).expect("MAX_RULES keeps programs short enough");
        self.code[from] |= u64::from(distance.cast_unsigned()) << 16;
    }

    /// Adds the ends: first that of whom no rule has decided about, then the other if it is ever reached.
    fn finish(mut self, allow: bool) -> Vec<u64> {
        for result in [allow, !allow] {
            let jumps = match result {
                true => std::mem::take(&mut self.to_allow),
                false => std::mem::take(&mut self.to_deny),
            };
            if result != allow && jumps.is_empty() {
                break;
            }
            for from in jumps {
                self.aim(from, self.code.len());
            }
            self.code
                .push(instruction(SET, RESULT, 0, 0, u32::from(result)));
            self.code.push(instruction(EXIT, 0, 0, 0, 0));
        }
        self.code
    }
}

/// struct bpf_insn as one number: code, the two registers, the jump's or load's offset, the value.
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: u32) -> u64 {
    u64::from(code)
        | u64::from(to) << 8
        | u64::from(from) << 12
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value) << 32
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::parse;
    use super::super::rules::{Kind, MAKE, READ, WRITE, read};
    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[u64], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let bytes: Vec<u8> = program.iter().flat_map(|i| i.to_le_bytes()).collect();
        let context = [u32::from(access) << 16 | kind as u32, major, minor];
        let mut context: Vec<u8> = context.iter().flat_map(|n| n.to_le_bytes()).collect();
        let machine = rbpf::EbpfVmRaw::new(Some(&bytes)).unwrap();
        machine.execute_program(&mut context).unwrap() == 1
    }

    /// The rules in ten lines: each wanted kind of access is decided by the last rule that speaks of it.
    fn reference(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        [MAKE, READ, WRITE]
            .into_iter()
            .filter(|bit| access & bit != 0)
            .all(|bit| {
                let speaks = |rule: &&Rule| {
                    rule.kind.is_none_or(|k| k == kind)
                        && rule.major.is_none_or(|m| m == major)
                        && rule.minor.is_none_or(|m| m == minor)
                        && rule.access & bit != 0
                };
                rules
                    .iter()
                    .rev()
                    .find(speaks)
                    .is_some_and(|rule| rule.allow)
            })
    }

    /// A generator of numbers good enough to pick rules with (xorshift).
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }

        fn rule(&mut self) -> Rule {
            let number = |dice: &mut Self| match dice.roll(3) {
                0 => None,
                1 => Some(dice.roll(3) as u32),
                _ => Some(u32::MAX - dice.roll(2) as u32),
            };
            Rule {
                allow: self.roll(2) == 1,
                kind: [None, Some(Kind::Block), Some(Kind::Character)][self.roll(3) as usize],
                major: number(self),
                minor: number(self),
                access: 1 + self.roll(7) as u8,
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_rules_do() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let numbers = [0, 1, 2, u32::MAX - 1, u32::MAX];
        for _ in 0..300 {
            let rules: Vec<_> = (0..dice.roll(8)).map(|_| dice.rule()).collect();
            let program = assemble(&rules);
            for kind in [Kind::Block, Kind::Character] {
                for major in numbers {
                    for minor in numbers {
                        for access in 1..=ALL {
                            assert_eq!(
                                run(&program, kind, major, minor, access),
                                reference(&rules, kind, major, minor, access),
                                "{kind:?} {major}:{minor} access {access} by {rules:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn without_rules_the_usual_devices_can_be_used_and_no_disk() {
        let program = assemble(&read(&[], &mut Vec::new()));
        // It is loaded at each start: what makes it longer makes that dearer.
        assert_eq!(program.len(), 27);
        let table = [
            (Kind::Character, 1, 3, READ | WRITE, true),    // null
            (Kind::Character, 136, 77, READ | WRITE, true), // pts/77
            (Kind::Character, 5, 1, READ, false),           // the host's console
            (Kind::Character, 1, 1, READ, false),           // mem
            (Kind::Block, 8, 0, READ, false),               // sda
            (Kind::Block, 8, 0, MAKE, true),
        ];
        for (kind, major, minor, access, expected) in table {
            assert_eq!(
                run(&program, kind, major, minor, access),
                expected,
                "{kind:?} {major}:{minor}"
            );
        }
    }

    #[test]
    fn a_later_rule_wins() {
        let json = r#"[{"allow":true,"access":"rwm"},{"allow":false,"access":"rwm"},
            {"allow":true,"type":"b","major":8,"access":"rw"},
            {"allow":false,"type":"b","major":8,"minor":1,"access":"w"}]"#;
        let program = assemble(&parse(json).unwrap());
        assert!(run(&program, Kind::Block, 8, 0, READ | WRITE));
        assert!(run(&program, Kind::Block, 8, 1, READ));
        assert!(!run(&program, Kind::Block, 8, 1, READ | WRITE));
        assert!(!run(&program, Kind::Character, 8, 0, READ));
    }

    #[test]
    fn what_stands_before_a_rule_for_everything_is_not_compiled() {
        let all =
            parse(r#"[{"allow":true,"type":"c","access":"r"},{"allow":true,"access":"rwm"}]"#);
        assert_eq!(assemble(&all.unwrap()).len(), 6 + 2);
    }

    #[test]
    fn the_longest_program_still_jumps_to_its_ends() {
        // No two neighbours share a kind or a major, so every test stands.
        let rule = |i: usize| Rule {
            allow: i.is_multiple_of(3),
            kind: Some([Kind::Block, Kind::Character][i % 2]),
            major: Some(i as u32),
            minor: Some(7),
            access: READ,
        };
        let rules: Vec<_> = (0..MAX_RULES).map(rule).collect();
        let program = assemble(&rules);
        assert!(run(&program, Kind::Character, 3, 7, READ));
        assert!(!run(&program, Kind::Character, 1, 7, READ));
    }
}
