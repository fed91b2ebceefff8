//! A seccomp profile → its program, judged by a plain reading of the profile's rules.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use oci_spec::runtime::LinuxSeccomp;
use seccomp::abi::{ABIS, Abi, Width};
use seccomp::machine::{self, Call};
use seccomp::{Condition, Operator, Rules, Verdict};
use serde_json::{Value, json};

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

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes make no profile.
    let _too_short = judge(&mut Unstructured::new(bytes));
});

fn judge(input: &mut Unstructured<'_>) -> Result<()> {
    let abi = input.choose(&ABIS)?;
    let profile = profile(input, abi)?;
    let profile: LinuxSeccomp = serde_json::from_value(profile).expect("it has the spec's form");
    let Ok(program) = seccomp::compile(&profile) else {
        return Ok(());
    };
    assert!(program.instructions.len() <= seccomp::LONGEST);
    let rules = Rules::read(&profile).expect("it was compiled");
    for _ in 0..16 {
        let number = u32::from(input.arbitrary::<u16>()?) % 600 + abi.first();
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = value(input)?;
        }
        let call = Call { number, args };
        let answer = machine::answer(&program.instructions, abi, &call);
        let answer = answer.expect("the kernel would take the program");
        if let Some(expected) = expected(&rules, abi, &call) {
            assert_eq!(answer, expected, "{profile:?} {abi:?} {call:x?}");
        }
    }
    Ok(())
}

fn profile(input: &mut Unstructured<'_>, abi: &Abi) -> Result<Value> {
    let mut rules = Vec::new();
    for _ in 0..input.int_in_range(0..=12)? {
        let mut args = Vec::new();
        for _ in 0..input.int_in_range(0..=3)? {
            args.push(json!({
                "index": input.int_in_range(0..=6)?,
                "op": input.choose(&OPERATORS)?,
                "value": value(input)?,
                "valueTwo": value(input)?,
            }));
        }
        let mut names = Vec::new();
        for _ in 0..input.int_in_range(0..=4)? {
            names.push(name(input)?);
        }
        let mut rule = json!({"names": names, "action": input.choose(&ACTIONS)?, "args": args});
        if input.ratio(1, 4)? {
            rule["errnoRet"] = json!(input.int_in_range(0..=5000)?);
        }
        rules.push(rule);
    }
    Ok(json!({
        "defaultAction": input.choose(&ACTIONS)?,
        "architectures": [abi.arch],
        "listenerPath": "/agent",
        "syscalls": rules,
    }))
}

/// A name of the table, or none.
fn name(input: &mut Unstructured<'_>) -> Result<String> {
    const TABLE: &str = include_str!("../../../seccomp/calls.txt");
    let rows = TABLE.lines().count();
    let row = TABLE.lines().nth(input.int_in_range(0..=rows - 1)?);
    let name = row.and_then(|row| row.split(' ').next());
    Ok(name.unwrap_or_default().to_owned())
}

/// A value about which a comparison may turn.
fn value(input: &mut Unstructured<'_>) -> Result<u64> {
    let edge = 1_u64.checked_shl(input.int_in_range(0..=64)?).unwrap_or(0);
    Ok(edge
        .wrapping_add(u64::from(input.int_in_range(0..=4_u8)?))
        .wrapping_sub(2))
}

/// What the rules say of a call, read one by one; none for what lies behind a multiplexer, and where a number is another
/// ABI's.
fn expected(rules: &Rules<'_>, abi: &Abi, call: &Call) -> Option<Verdict> {
    let number = |name: &str| seccomp::number(name, abi);
    if ["socketcall", "ipc"]
        .iter()
        .any(|name| number(name) == Some(call.number))
    {
        return None;
    }
    let concerned: Vec<_> = rules
        .rules
        .iter()
        .filter(|rule| rule.verdict != rules.default)
        .filter(|rule| {
            rule.names
                .iter()
                .any(|name| number(name) == Some(call.number))
        })
        .collect();
    if let Some(rule) = concerned
        .iter()
        .find(|rule| rule.when.contains(&Vec::new()))
    {
        return Some(rule.verdict);
    }
    let fits = |all: &Vec<Condition>| all.iter().all(|c| holds(c, abi, call));
    let fitting = concerned.iter().filter(|rule| rule.when.iter().any(fits));
    if let Some(rule) = fitting.min_by_key(|rule| rule.verdict.severity()) {
        return Some(rule.verdict);
    }
    // ARM's own calls are apart, s390 shows what it does not know as 0: left to the crate's own tests.
    let newest = rules
        .rules
        .iter()
        .flat_map(|rule| rule.names)
        .filter_map(|name| number(name));
    let newest = newest
        .filter(|number| *number < 0xf_0000 || abi.first() > 0xf_0000)
        .max();
    let lax = rules.default.severity() >= 0x7ff0_0000;
    match newest {
        Some(newest) if call.number > newest && !lax => Some(Verdict::ABSENT),
        Some(_) if call.number == 0 => None,
        _ => Some(rules.default),
    }
}

fn holds(condition: &Condition, abi: &Abi, call: &Call) -> bool {
    let cut = |value: u64| match abi.width {
        Width::Bits32 => value & 0xffff_ffff,
        Width::Bits64 => value,
    };
    let arg = cut(call.args[usize::from(condition.index)]);
    let value = cut(condition.value);
    match condition.operator {
        Operator::NotEqual => arg != value,
        Operator::Less => arg < value,
        Operator::LessOrEqual => arg <= value,
        Operator::Equal => arg == value,
        Operator::GreaterOrEqual => arg >= value,
        Operator::Greater => arg > value,
        Operator::MaskedEqual(mask) => arg & cut(mask) == value & cut(mask),
    }
}
