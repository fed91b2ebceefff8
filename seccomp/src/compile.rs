//! The whole program: which ABI, then a search among the stretches of numbers, then the conditions. Not its job:
//! what the answers are (judgement).

use oci_spec::runtime::LinuxSeccomp;

use crate::abi::Abi;
use crate::assemble::{Assembly, JUMP_EQUAL, JUMP_GREATER_OR_EQUAL, LOAD, Label};
use crate::judgement::{Judgement, Range, merged, named};
use crate::profile::{Rules, Verdict};
use crate::program::{LONGEST, Program};
use crate::{Error, Result, condition};

/// Where `struct seccomp_data` has the call's number and the kernel's mark of the ABI.
const NUMBER: u32 = 0;
const MARK: u32 = 4;

/// The answer to a call through an ABI that the profile does not name. It ends the process, not one thread of it: the
/// others would wait for that thread for ever.
const FOREIGN: Verdict = Verdict::KILL_PROCESS;

/// The filter of a profile. The ABI that this program was built for is always in it.
///
/// # Errors
/// What is wrong with the profile, by its place; a filter that is longer than the kernel takes.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program> {
    let rules = Rules::read(profile)?;
    let mut abis = vec![Abi::native()];
    for arch in profile.architectures().iter().flatten() {
        let abi = Abi::of(*arch);
        if !abis.contains(&abi) {
            abis.push(abi);
        }
    }
    let instructions = write(&rules, &abis).finish();
    if instructions.len() > LONGEST {
        return Err(Error::TooLong(instructions.len()));
    }
    Ok(Program {
        instructions,
        flags: rules.flags,
    })
}

/// The native ABI is asked for first; it stands last, as all is written from the end.
fn write(rules: &Rules<'_>, abis: &[&Abi]) -> Assembly {
    let mut marks: Vec<u32> = Vec::new();
    for abi in abis {
        if !marks.contains(&abi.audit) {
            marks.push(abi.audit);
        }
    }
    let named = named(rules, abis);
    let mut assembly = Assembly::default();
    let mut sections = Vec::new();
    for mark in marks.into_iter().rev() {
        let same: Vec<&Abi> = abis
            .iter()
            .copied()
            .filter(|abi| abi.audit == mark)
            .collect();
        let ranges = merged(rules, &named, &same, FOREIGN);
        let top = search(&mut assembly, &ranges, &same);
        sections.push((mark, assembly.before(top, LOAD, NUMBER)));
    }
    let mut next = assembly.verdict(FOREIGN);
    for (mark, section) in sections {
        next = assembly.branch(JUMP_EQUAL, mark, section, next);
    }
    assembly.before(next, LOAD, MARK);
    assembly
}

/// A binary search for the stretch that the number lies in.
fn search(assembly: &mut Assembly, ranges: &[Range], abis: &[&Abi]) -> Label {
    match ranges {
        [] => assembly.verdict(FOREIGN),
        [only] => leaf(assembly, only, abis),
        // One number between two stretches of the same answer takes one comparison.
        [before, one, after]
            if before.judgement == after.judgement && after.first - one.first == 1 =>
        {
            let around = leaf(assembly, after, abis);
            let inside = leaf(assembly, one, abis);
            assembly.branch(JUMP_EQUAL, one.first, inside, around)
        }
        _ => {
            let (left, right) = ranges.split_at(ranges.len() / 2);
            let above = search(assembly, right, abis);
            let below = search(assembly, left, abis);
            assembly.branch(JUMP_GREATER_OR_EQUAL, right[0].first, above, below)
        }
    }
}

fn leaf(assembly: &mut Assembly, range: &Range, abis: &[&Abi]) -> Label {
    let (cases, fallback) = match &range.judgement {
        Judgement::Always(verdict) => return assembly.verdict(*verdict),
        Judgement::Depends(cases, fallback) => (cases, fallback),
    };
    let holds = |abi: &&&Abi| {
        let mut spaces = abi.spaces().iter();
        spaces.any(|(first, last)| (first..=last).contains(&&range.first))
    };
    let Some(abi) = abis.iter().find(holds) else {
        return assembly.verdict(FOREIGN);
    };
    let mut next = assembly.verdict(*fallback);
    for (verdict, conditions) in cases.iter().rev() {
        let mut yes = assembly.verdict(*verdict);
        for condition in conditions.iter().rev() {
            yes = condition::write(assembly, condition, abi, yes, next);
        }
        next = yes;
    }
    next
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::abi::{ABIS, X32};
    use crate::machine::{self, Call};
    use crate::{Verdict, calls};

    fn compiled(profile: Value) -> Program {
        compile(&serde_json::from_value(profile).unwrap()).unwrap()
    }

    fn answer(program: &Program, abi: &Abi, number: u32, first: u64) -> Verdict {
        let args = [first, 0, 0, 0, 0, 0];
        machine::answer(&program.instructions, abi, &Call { number, args }).unwrap()
    }

    const ALLOW: Verdict = Verdict(0x7fff_0000);
    const EPERM: Verdict = Verdict(0x0005_0001);
    const ABSENT: Verdict = Verdict(0x0005_0026);

    /// An answer of its own for each call, so that no two share a return: jumps are longer than 255 and need
    /// steps in between.
    #[test]
    fn a_long_program_jumps_right() {
        let rule = |(at, name): (u64, &str)| {
            json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 100 + at, "args":
                [{"index": 0, "op": "SCMP_CMP_GT", "value": at << 30}]})
        };
        let names: Vec<&str> = calls::names().collect();
        let rules: Vec<Value> = (0..).zip(names.iter().copied()).map(rule).collect();
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
        let program = compiled(profile);
        assert!(program.instructions.len() > 2000);
        let abi = &ABIS[0];
        for (at, name) in (0_u32..).zip(names) {
            if let Some(number) = calls::number(name, abi) {
                let edge = u64::from(at) << 30;
                let refused = Verdict(0x0005_0000 | (100 + at));
                assert_eq!(answer(&program, abi, number, edge), ALLOW, "{name}");
                assert_eq!(answer(&program, abi, number, edge + 1), refused, "{name}");
            }
        }
    }

    #[test]
    fn a_program_that_the_kernel_would_not_take_is_refused() {
        let args: Vec<Value> = (0..900)
            .map(|value| json!({"index": 0, "op": "SCMP_CMP_GT", "value": value}))
            .collect();
        let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_TRAP", "args": args}]);
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
        let error = compile(&serde_json::from_value(profile).unwrap()).unwrap_err();
        assert!(matches!(error, Error::TooLong(4530)), "{error}");
    }

    #[test]
    fn calls_newer_than_the_profile_do_not_exist() {
        let profile = |default: &str| {
            let rules =
                json!([{"names": ["mkdir", "openat2", "set_tls"], "action": "SCMP_ACT_LOG"}]);
            let architectures = json!(["SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_S390X"]);
            compiled(
                json!({"defaultAction": default, "architectures": architectures, "syscalls": rules}),
            )
        };
        let of = |arch: &str| Abi::of(serde_json::from_value(json!(arch)).unwrap());
        let (native, x32) = (Abi::native(), of("SCMP_ARCH_X32"));
        let (arm, s390x) = (of("SCMP_ARCH_ARM"), of("SCMP_ARCH_S390X"));
        let strict = profile("SCMP_ACT_ERRNO");
        for (abi, number, expected) in [
            (native, 436, EPERM),
            (native, 438, ABSENT),
            (native, X32 - 1, ABSENT),
            (x32, X32 + 436, EPERM),
            (x32, X32 + 438, ABSENT),
            (arm, 500, ABSENT),
            (arm, 0xf_0001, EPERM),
            (arm, 0xf_0006, ABSENT),
            (s390x, 0, ABSENT),
            (s390x, 1, EPERM),
        ] {
            assert_eq!(
                answer(&strict, abi, number, 0),
                expected,
                "{abi:?} {number}"
            );
        }
        let lax = profile("SCMP_ACT_ALLOW");
        assert_eq!(answer(&lax, native, 438, 0), ALLOW);
        assert_eq!(answer(&lax, s390x, 0, 0), ALLOW);
    }

    #[test]
    fn abis_that_are_not_named_end_the_process() {
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
        assert_eq!(answer(&program, Abi::native(), 39, 0), ALLOW);
        assert_eq!(
            answer(&program, &ABIS[0], X32 | 39, 0),
            Verdict::KILL_PROCESS
        );
        assert_eq!(answer(&program, &ABIS[0], u32::MAX, 0), ALLOW);
        for abi in ABIS.iter().filter(|abi| abi.audit != Abi::native().audit) {
            assert_eq!(
                answer(&program, abi, 39, 0),
                Verdict::KILL_PROCESS,
                "{abi:?}"
            );
        }
    }

    /// What can't be seen behind socketcall is not allowed by a rule that would have to see it.
    #[test]
    fn a_condition_does_not_open_the_multiplexer() {
        let x86 = &ABIS[1];
        let profile = |default: &str, action: &str| {
            let unix = json!([{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]);
            let rules = json!([{"names": ["socket"], "action": action, "args": unix},
                               {"names": ["bind", "shmat"], "action": action}]);
            compiled(
                json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": rules}),
            )
        };
        let (socketcall, ipc) = (102, 117);
        let open = profile("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW");
        assert_eq!(answer(&open, x86, socketcall, 1), EPERM);
        assert_eq!(answer(&open, x86, socketcall, 2), ALLOW);
        assert_eq!(answer(&open, x86, ipc, 0x1_0015), ALLOW);
        assert_eq!(answer(&open, x86, ipc, 0x16), EPERM);
        let shut = profile("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO");
        assert_eq!(answer(&shut, x86, socketcall, 1), EPERM);
        assert_eq!(answer(&shut, x86, ipc, 0x15), EPERM);
        assert_eq!(answer(&shut, x86, ipc, 0x16), ALLOW);
    }
}
