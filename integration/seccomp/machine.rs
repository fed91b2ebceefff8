//! A reading of the profile's rules, one by one, and a machine for classic BPF of its own: both must
//! give the same answer. Not its job: where the filter comes from.

use serde_json::Value;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0xc000_003e
};
const I386: u32 = 0x4000_0003;

/// A rule of the profile.
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    numbers: Vec<u32>,
    answer: u32,
    /// Argument, mask, value.
    when: Vec<(usize, u64, u64)>,
}

/// The rules of the default profile.
pub(super) fn rules() -> Vec<Rule> {
    let profile = serde_json::to_value(image::seccomp::profile().unwrap()).unwrap();
    profile["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .map(rule)
        .collect()
}

/// The number of a call on this machine.
pub(super) fn native(name: &str) -> Option<u32> {
    seccomp::number(name, seccomp::abi::Abi::native())
}

/// The bytes of the default profile's filter, as the kernel gets them.
pub(super) fn filter() -> Vec<u8> {
    let profile = image::seccomp::profile().unwrap();
    seccomp::compile(&profile).unwrap().to_bytes()
}

fn rule(value: &Value) -> Rule {
    let names: Vec<String> = serde_json::from_value(value["names"].clone()).unwrap();
    let args = value["args"].as_array().cloned().unwrap_or_default();
    Rule {
        numbers: names.iter().filter_map(|name| native(name)).collect(),
        names,
        answer: match value["action"].as_str().unwrap() {
            "SCMP_ACT_ALLOW" => ALLOW,
            "SCMP_ACT_ERRNO" => ERRNO | u32::try_from(value["errnoRet"].as_u64().unwrap()).unwrap(),
            other => panic!("{other}"),
        },
        when: args
            .iter()
            .map(|arg| {
                assert_eq!(arg["op"], "SCMP_CMP_MASKED_EQ");
                let number = |field: &str| arg[field].as_u64().unwrap();
                (
                    usize::try_from(number("index")).unwrap(),
                    number("value"),
                    number("valueTwo"),
                )
            })
            .collect(),
    }
}

/// The one answer of the rules; ENOSYS where none fits.
fn expected(rules: &[Rule], number: u32, args: &[u64; 6]) -> u32 {
    let mut answers: Vec<u32> = rules
        .iter()
        .filter(|rule| rule.numbers.contains(&number))
        .filter(|rule| {
            rule.when
                .iter()
                .all(|(index, mask, value)| args[*index] & mask == *value)
        })
        .map(|rule| rule.answer)
        .collect();
    answers.dedup();
    assert!(answers.len() < 2, "call {number} {args:x?}: {answers:x?}");
    answers.first().copied().unwrap_or(ERRNO | 38)
}

/// Runs a filter on one call (struct seccomp_data: number, architecture, instruction pointer, arguments).
fn answer(filter: &[u8], number: u32, architecture: u32, args: &[u64; 6]) -> u32 {
    let mut data = Vec::from(number.to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend([0; 8]);
    data.extend(args.iter().flat_map(|arg| arg.to_le_bytes()));
    let (mut at, mut a) = (0_usize, 0_u32);
    loop {
        let i = &filter[at * 8..at * 8 + 8];
        let k = u32::from_le_bytes([i[4], i[5], i[6], i[7]]);
        let (yes, no) = (usize::from(i[2]), usize::from(i[3]));
        let jump = |holds: bool| if holds { yes } else { no };
        at += 1 + match u16::from_le_bytes([i[0], i[1]]) {
            0x20 => {
                let from = usize::try_from(k).unwrap();
                a = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
                0
            }
            0x54 => {
                a &= k;
                0
            }
            0x05 => usize::try_from(k).unwrap(),
            0x15 => jump(a == k),
            0x25 => jump(a > k),
            0x35 => jump(a >= k),
            0x45 => jump(a & k != 0),
            0x06 => return k,
            code => panic!("instruction {code:#x}"),
        };
    }
}

/// Values at which a condition on `index` may turn: each compared value with each bit turned, and others.
fn turning_points(rules: &[&Rule], index: usize) -> Vec<u64> {
    let mut points = vec![0, u64::MAX, 0xffff_ffff, 1 << 32];
    for (_, mask, value) in rules
        .iter()
        .flat_map(|rule| &rule.when)
        .filter(|w| w.0 == index)
    {
        points.extend([*value, value | !mask, value | 0xdead_0000_0000_0000]);
        points.extend((0..64).map(|bit| value ^ (1 << bit)));
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    points.extend((0..500).map(|_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    }));
    points.sort_unstable();
    points.dedup();
    points
}

/// Holds the filter against the rules: every number to 1100, every judged argument about its turning points.
pub(super) fn compare(filter: &[u8], rules: &[Rule]) {
    let held = |number: u32, args: &[u64; 6]| {
        let got = answer(filter, number, ARCHITECTURE, args);
        assert_eq!(
            got,
            expected(rules, number, args),
            "call {number} {args:x?}"
        );
    };
    for number in 0..1100 {
        let of_it: Vec<&Rule> = rules
            .iter()
            .filter(|r| r.numbers.contains(&number))
            .collect();
        let judged = of_it.iter().any(|rule| !rule.when.is_empty());
        if !judged {
            held(number, &[0; 6]);
            held(number, &[u64::MAX; 6]);
            continue;
        }
        for first in turning_points(&of_it, 0) {
            held(number, &[first, 1, 0, 0, 0, 0]);
            held(number, &[first, first, first, first, first, first]);
        }
        for third in turning_points(&of_it, 2) {
            held(number, &[16, 3, third, 0, 0, 0]);
            held(number, &[0xdead_beef_0000_0010, 3, third, 0, 0, 0]);
        }
    }
    for number in [0, 20, 39, 41, 165] {
        assert_eq!(answer(filter, number, I386, &[0; 6]), KILL_PROCESS);
        if cfg!(target_arch = "x86_64") {
            let x32 = number | 0x4000_0000;
            assert_eq!(answer(filter, x32, ARCHITECTURE, &[0; 6]), KILL_PROCESS);
        }
    }
}
