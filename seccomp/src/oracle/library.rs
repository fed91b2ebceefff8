//! libseccomp's program of the same rules. Not its job: judging.

use std::io::Read;

use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::abi::{Abi, Endian};
use crate::{Condition, Instruction, Operator, Rules, Verdict};

/// libseccomp's program; `None` where it refuses the rules, or has no such architecture.
pub(super) fn compile(rules: &Rules<'_>, abi: &Abi) -> Option<Vec<Instruction>> {
    let default = action(rules.default);
    let mut context = ScmpFilterContext::new(default).ok()?;
    let arch = abi.oracle()?;
    if context.get_act_badarch().is_ok() {
        context.set_act_badarch(ScmpAction::KillProcess).unwrap();
    }
    if abi != Abi::native() {
        context.remove_arch(libseccomp::ScmpArch::native()).unwrap();
        context.add_arch(arch).unwrap();
    }
    context.set_ctl_optimize(2).unwrap();
    for rule in rules
        .rules
        .iter()
        .filter(|rule| rule.verdict != rules.default)
    {
        for name in rule.names {
            let Ok(number) = ScmpSyscall::from_name(name) else {
                continue;
            };
            for all in &rule.when {
                let all: Vec<ScmpArgCompare> = all.iter().map(compare).collect();
                let verdict = action(rule.verdict);
                context.add_rule_conditional(verdict, number, &all).ok()?;
            }
        }
    }
    // The longest program fits into a pipe.
    let (mut reader, writer) = std::io::pipe().unwrap();
    context.export_bpf(&writer).unwrap();
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    // The words of a program lie in the order of the machine that it is for.
    if abi.endian == Endian::Big {
        bytes.chunks_mut(8).for_each(|i| {
            i[..2].reverse();
            i[4..].reverse();
        });
    }
    let instruction = |b: &[u8]| Instruction {
        code: u16::from_le_bytes([b[0], b[1]]),
        yes: b[2],
        no: b[3],
        k: u32::from_le_bytes(b[4..].try_into().unwrap()),
    };
    Some(bytes.chunks(8).map(instruction).collect())
}

fn compare(condition: &Condition) -> ScmpArgCompare {
    let operator = match condition.operator {
        Operator::NotEqual => ScmpCompareOp::NotEqual,
        Operator::Less => ScmpCompareOp::Less,
        Operator::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Operator::Equal => ScmpCompareOp::Equal,
        Operator::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
        Operator::Greater => ScmpCompareOp::Greater,
        Operator::MaskedEqual(mask) => ScmpCompareOp::MaskedEqual(mask),
    };
    ScmpArgCompare::new(u32::from(condition.index), operator, condition.value)
}

fn action(verdict: Verdict) -> ScmpAction {
    let data = verdict.0 & 0xffff;
    match verdict.0 & 0xffff_0000 {
        0x8000_0000 => ScmpAction::KillProcess,
        0 => ScmpAction::KillThread,
        0x0003_0000 => ScmpAction::Trap,
        0x0005_0000 => ScmpAction::Errno(i32::try_from(data).unwrap()),
        0x7fc0_0000 => ScmpAction::Notify,
        0x7ff0_0000 => ScmpAction::Trace(u16::try_from(data).unwrap()),
        0x7ffc_0000 => ScmpAction::Log,
        _ => ScmpAction::Allow,
    }
}
