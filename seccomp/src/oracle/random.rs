//! Profiles and calls by chance, from few names and values so that they meet. Not its job: judging.

use serde_json::{Value, json};

use crate::abi::Abi;
use crate::calls;
use crate::machine::Call;

/// A source of numbers that can be had again.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(super) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_NOTIFY",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// Few, so that rules meet; among them calls behind multiplexers, ARM's own and the newest.
const NAMES: [&str; 18] = [
    "read",
    "mkdir",
    "clone",
    "personality",
    "ioctl",
    "socket",
    "accept",
    "accept4",
    "shmat",
    "semop",
    "msgget",
    "socketcall",
    "ipc",
    "set_tls",
    "openat2",
    "futex_waitv",
    "cachestat",
    "waitpid",
];

const VALUES: [u64; 14] = [
    0,
    1,
    2,
    5,
    0x16,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];

fn errno(chance: &mut Chance, rule: &mut Value, action: &str, field: &str) {
    if matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && chance.below(2) == 0 {
        rule[field] = json!(chance.of(&[0, 2, 38, 4095]));
    }
}

pub(super) fn profile(chance: &mut Chance) -> Value {
    let default = *chance.of(&ACTIONS);
    let rules: Vec<Value> = (0..chance.below(8)).map(|_| rule(chance)).collect();
    let mut profile =
        json!({"defaultAction": default, "listenerPath": "/agent", "syscalls": rules});
    errno(chance, &mut profile, default, "defaultErrnoRet");
    profile
}

fn rule(chance: &mut Chance) -> Value {
    let action = *chance.of(&ACTIONS);
    let names: Vec<&str> = (0..=chance.below(3)).map(|_| *chance.of(&NAMES)).collect();
    let args: Vec<Value> = (0..chance.below(4))
        .map(|_| {
            json!({
                "index": chance.below(3),
                "op": chance.of(&OPERATORS),
                "value": chance.of(&VALUES),
                "valueTwo": chance.of(&VALUES),
            })
        })
        .collect();
    let mut rule = json!({"names": names, "action": action, "args": args});
    errno(chance, &mut rule, action, "errnoRet");
    rule
}

pub(super) fn call(chance: &mut Chance, abi: &Abi) -> Call {
    let number = match chance.below(10) {
        0 => u32::try_from(chance.next() & 0xffff_ffff).unwrap(),
        1 => *chance.of(&[
            abi.first(),
            abi.first() + 470,
            3999,
            u32::MAX,
            crate::abi::X32,
        ]),
        _ => calls::number(chance.of::<&str>(&NAMES), abi)
            .unwrap_or(abi.first() + 7)
            .wrapping_add(u32::from(chance.below(12) == 0)),
    };
    let mut arg = |_| {
        let value = *chance.of(&VALUES);
        match chance.below(4) {
            0 => value ^ (1 << chance.below(64)),
            1 => value.wrapping_add(1),
            _ => value,
        }
    };
    Call {
        number,
        args: std::array::from_fn(&mut arg),
    }
}
