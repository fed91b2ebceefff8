//! A machine for classic BPF as seccomp knows it: tells what a program answers to a call, without a kernel. For
//! tests and for showing a filter. Not its job: other programs than filters of system calls.

use crate::abi::{Abi, Endian};
use crate::assemble::{
    AND, JUMP, JUMP_ANY_BIT, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, LOAD, RETURN,
};
use crate::profile::Verdict;
use crate::program::Instruction;

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number; x32's with its bit.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What `program` answers to `call` through `abi`; `None` where the kernel would not have taken the program: it
/// runs off its end or reads past the call's data, or has an instruction that filters may not have.
pub fn answer(program: &[Instruction], abi: &Abi, call: &Call) -> Option<Verdict> {
    let data = words(abi, call);
    let (mut at, mut a) = (0_usize, 0_u32);
    loop {
        let i = program.get(at)?;
        let branch = |holds: bool| usize::from(if holds { i.yes } else { i.no });
        at += 1 + match i.code {
            LOAD => {
                let word = usize::try_from(i.k).ok().filter(|k| k % 4 == 0)? / 4;
                a = *data.get(word)?;
                0
            }
            AND => {
                a &= i.k;
                0
            }
            JUMP => usize::try_from(i.k).ok()?,
            JUMP_EQUAL => branch(a == i.k),
            JUMP_GREATER => branch(a > i.k),
            JUMP_GREATER_OR_EQUAL => branch(a >= i.k),
            JUMP_ANY_BIT => branch(a & i.k != 0),
            RETURN => return Some(Verdict(i.k)),
            _ => return None,
        };
    }
}

/// `struct seccomp_data` in words.
fn words(abi: &Abi, call: &Call) -> [u32; 16] {
    let mut words = [0; 16];
    words[0] = call.number;
    words[1] = abi.audit;
    for (at, arg) in call.args.iter().enumerate() {
        let (low, high) = (arg & 0xffff_ffff, arg >> 32);
        let halves = match abi.endian {
            Endian::Little => [low, high],
            Endian::Big => [high, low],
        };
        for (half, word) in halves.into_iter().zip(&mut words[4 + 2 * at..]) {
            *word = u32::try_from(half).unwrap_or(u32::MAX);
        }
    }
    words
}
