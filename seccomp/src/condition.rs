//! A comparison of one argument as instructions, on registers of 32 or 64 bits: the machine loads 32 at a time.
//! Not its job: which comparisons.

use crate::abi::{Abi, Endian, Width};
use crate::assemble::{
    AND, Assembly, JUMP_ANY_BIT, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, LOAD, Label,
};
use crate::profile::{Condition, Operator};

/// Where arguments begin in `struct seccomp_data`.
pub(crate) const ARGUMENTS: u32 = 16;

/// One half of an argument: where it lies, what it is compared with.
#[derive(Clone, Copy)]
struct Half {
    offset: u32,
    mask: u32,
    value: u32,
}

/// Writes it; it goes to `yes` or to `no`.
pub(crate) fn write(
    assembly: &mut Assembly,
    condition: &Condition,
    abi: &Abi,
    yes: Label,
    no: Label,
) -> Label {
    let mask = match condition.operator {
        Operator::MaskedEqual(mask) => mask,
        _ => u64::MAX,
    };
    let (upper, lower) = halves(condition, abi, mask);
    let wide = abi.width == Width::Bits64;
    let (yes, no) = match condition.operator {
        Operator::NotEqual | Operator::Less | Operator::LessOrEqual => (no, yes),
        _ => (yes, no),
    };
    match condition.operator {
        Operator::Equal | Operator::NotEqual | Operator::MaskedEqual(_) => {
            let rest = equal(assembly, lower, yes, no);
            if wide {
                equal(assembly, upper, rest, no)
            } else {
                rest
            }
        }
        // What is below is what is not at or above.
        Operator::GreaterOrEqual | Operator::Less => {
            let upper = wide.then_some(upper);
            above(assembly, JUMP_GREATER_OR_EQUAL, upper, lower, yes, no)
        }
        Operator::Greater | Operator::LessOrEqual => {
            let upper = wide.then_some(upper);
            above(assembly, JUMP_GREATER, upper, lower, yes, no)
        }
    }
}

/// Upper and lower half.
fn halves(condition: &Condition, abi: &Abi, mask: u64) -> (Half, Half) {
    let first = ARGUMENTS + 8 * u32::from(condition.index);
    let (upper, lower) = match abi.endian {
        Endian::Little => (first + 4, first),
        Endian::Big => (first, first + 4),
    };
    let half = |offset, shift| Half {
        offset,
        mask: cut(mask >> shift),
        value: cut((condition.value & mask) >> shift),
    };
    (half(upper, 32), half(lower, 0))
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn cut(value: u64) -> u32 {
    value as u32
}

fn equal(assembly: &mut Assembly, half: Half, yes: Label, no: Label) -> Label {
    let test = match half.mask {
        0 => return yes,
        u32::MAX => assembly.branch(JUMP_EQUAL, half.value, yes, no),
        mask if half.value == 0 => assembly.branch(JUMP_ANY_BIT, mask, no, yes),
        mask if mask.is_power_of_two() => assembly.branch(JUMP_ANY_BIT, mask, yes, no),
        mask => {
            let test = assembly.branch(JUMP_EQUAL, half.value, yes, no);
            if test == yes {
                return yes;
            }
            assembly.before(test, AND, mask)
        }
    };
    if test == yes {
        return yes;
    }
    assembly.before(test, LOAD, half.offset)
}

/// `code` compares the lower halves, where the upper ones are equal.
fn above(
    assembly: &mut Assembly,
    code: u16,
    upper: Option<Half>,
    lower: Half,
    yes: Label,
    no: Label,
) -> Label {
    if yes == no {
        return yes;
    }
    let test = assembly.branch(code, lower.value, yes, no);
    let rest = assembly.before(test, LOAD, lower.offset);
    let Some(upper) = upper else { return rest };
    let test = assembly.branch(JUMP_EQUAL, upper.value, rest, no);
    let test = assembly.branch(JUMP_GREATER, upper.value, yes, test);
    assembly.before(test, LOAD, upper.offset)
}
