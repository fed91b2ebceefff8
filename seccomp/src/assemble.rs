//! Writes a program from its end to its beginning: jumps go forward only, so each one's target is known when it is
//! written. Not its job: which instructions (condition, compile).

use std::collections::HashMap;

use crate::profile::Verdict;
use crate::program::Instruction;

pub(crate) const LOAD: u16 = 0x20;
pub(crate) const AND: u16 = 0x54;
pub(crate) const JUMP: u16 = 0x05;
pub(crate) const JUMP_EQUAL: u16 = 0x15;
pub(crate) const JUMP_GREATER: u16 = 0x25;
pub(crate) const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
pub(crate) const JUMP_ANY_BIT: u16 = 0x45;
pub(crate) const RETURN: u16 = 0x06;

/// A place in the program, counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// How far a condition's jump goes: 255, less what a jump of two targets may put in between.
const REACH: usize = 250;

/// A program so far, its last instruction first.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    reversed: Vec<Instruction>,
    returns: HashMap<u32, Label>,
}

impl Assembly {
    pub(crate) fn push(&mut self, code: u16, k: u32) -> Label {
        self.put(code, 0, 0, k)
    }

    fn put(&mut self, code: u16, yes: u8, no: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, yes, no, k });
        Label(self.reversed.len() - 1)
    }

    /// How many instructions lie between the next one written and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - 1 - target.0
    }

    /// Where `verdict` is returned, within reach.
    pub(crate) fn verdict(&mut self, verdict: Verdict) -> Label {
        match self.returns.get(&verdict.0) {
            Some(label) if self.distance(*label) <= REACH => *label,
            _ => {
                let label = self.push(RETURN, verdict.0);
                self.returns.insert(verdict.0, label);
                label
            }
        }
    }

    /// `target`, or a step on the way to it.
    fn near(&mut self, target: Label) -> Label {
        let there = self.reversed[target.0];
        match self.distance(target) {
            0..=REACH => target,
            _ if there.code == RETURN => self.verdict(Verdict(there.k)),
            _ => self.step(target),
        }
    }

    /// An instruction that does as `target`.
    fn step(&mut self, target: Label) -> Label {
        let there = self.reversed[target.0];
        if there.code == RETURN {
            return self.push(RETURN, there.k);
        }
        let distance = u32::try_from(self.distance(target)).unwrap_or(u32::MAX);
        self.push(JUMP, distance)
    }

    /// Goes to `yes` or to `no`.
    pub(crate) fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.near(yes), self.near(no));
        let jump = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let (yes, no) = (jump(self.distance(yes)), jump(self.distance(no)));
        self.put(code, yes, no, k)
    }

    /// Puts `code` before what stands at `label`, which it falls into.
    pub(crate) fn before(&mut self, label: Label, code: u16, k: u32) -> Label {
        if self.distance(label) != 0 {
            self.step(label);
        }
        self.push(code, k)
    }

    pub(crate) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}
