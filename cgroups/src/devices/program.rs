//! Device rules as eBPF, by hand: some sixty instructions need no compiler. Pure. Not its job: loading it.
//!
//! The last rule is asked first. Each kind of access that is wanted is decided by the last rule that speaks
//! of the device and of that kind; what no rule decides is denied.
//!
//! ```text
//! r2 = kind   r3 = access not yet decided   r4 = major   r5 = minor
//! each rule:  is it another device? -> next rule
//!             deny:  one of r3 in it? -> return 0
//!             allow: take its kinds out of r3; nothing left? -> return 1
//! return 0
//! ```

use super::rules::{ALL, Rule};

#[cfg(target_endian = "big")]
compile_error!("instructions are laid out for little-endian machines");

// Opcodes (linux/bpf.h). All compare and compute with 32 bits, as the numbers have.
const LOAD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const SET: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP_IF_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const JUMP_UNLESS_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The program for `rules`: 1 allows, 0 denies.
pub(super) fn assemble(rules: &[Rule]) -> Vec<u64> {
    // struct bpf_cgroup_dev_ctx { __u32 access_type /* access << 16 | kind */, major, minor }
    let mut program = vec![
        instruction(LOAD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, WANTED, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
        instruction(LOAD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let body = body(rule);
        let tests = [
            (KIND, rule.kind.map(|kind| kind as u32)),
            (MAJOR, rule.major),
            (MINOR, rule.minor),
        ];
        let tests: Vec<_> = tests
            .into_iter()
            .filter_map(|(register, value)| value.map(|value| (register, value)))
            .collect();
        for (i, (register, value)) in tests.iter().enumerate() {
            let over = tests.len() - i - 1 + body.len();
            program.push(instruction(
                JUMP_UNLESS_EQUAL,
                *register,
                0,
                jump(over),
                *value,
            ));
        }
        program.extend(&body);
        if tests.is_empty() && rule.access == ALL {
            // It decides everything: earlier rules are dead, and the verifier refuses unreachable code.
            return program;
        }
    }
    program.extend(give(0));
    program
}

/// What a rule does about a device that it speaks of.
fn body(rule: &Rule) -> Vec<u64> {
    let access = u32::from(rule.access);
    let [set, exit] = give(u32::from(rule.allow));
    if rule.access == ALL {
        return vec![set, exit];
    }
    let next = jump(2);
    if rule.allow {
        return vec![
            instruction(AND, WANTED, 0, 0, !access & u32::from(ALL)),
            instruction(JUMP_UNLESS_EQUAL, WANTED, 0, next, 0),
            set,
            exit,
        ];
    }
    vec![
        instruction(MOVE, RESULT, WANTED, 0, 0),
        instruction(AND, RESULT, 0, 0, access),
        instruction(JUMP_IF_EQUAL, RESULT, 0, next, 0),
        set,
        exit,
    ]
}

fn give(result: u32) -> [u64; 2] {
    [
        instruction(SET, RESULT, 0, 0, result),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// A distance over at most two tests and one body.
fn jump(instructions: usize) -> i16 {
    i16::try_from(instructions).expect("a rule has at most eight instructions")
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
        let json = r#"[{"allow":false,"access":"rwm"},
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
}
