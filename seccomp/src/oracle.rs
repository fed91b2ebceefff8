//! Random profiles against random calls: our program, libseccomp's and a plain reading of the rules must agree.
//! DHOW_TEST_SWEEP makes it a million cases. Not its job: the table of numbers (calls).

mod library;
mod random;

use oci_spec::runtime::LinuxSeccomp;
use serde_json::json;

use self::random::{Chance, call, profile};
use crate::abi::{ABIS, Abi, Endian, Width};
use crate::machine::{self, Call};
use crate::{Condition, Operator, Rules, Verdict, calls};

/// Whether `condition` holds.
fn holds(condition: &Condition, abi: &Abi, call: &Call) -> bool {
    let cut = |value: u64| match abi.width {
        Width::Bits32 => value & 0xffff_ffff,
        Width::Bits64 => value,
    };
    let (arg, value) = (
        cut(call.args[usize::from(condition.index)]),
        cut(condition.value),
    );
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

/// The rules read plainly: all answers of rules that fit a call, the one of a rule without conditions alone. Nothing is
/// said of multiplexers.
fn fitting(rules: &Rules<'_>, abi: &Abi, call: &Call) -> Vec<Verdict> {
    let named = |name: &String| calls::number(name, abi) == Some(call.number);
    let concerned = rules
        .rules
        .iter()
        .filter(|r| r.verdict != rules.default && r.names.iter().any(named));
    let concerned: Vec<_> = concerned.collect();
    if let Some(rule) = concerned
        .iter()
        .find(|rule| rule.when.iter().any(Vec::is_empty))
    {
        return vec![rule.verdict];
    }
    let fits = concerned.iter().filter(|r| {
        r.when
            .iter()
            .any(|all| all.iter().all(|c| holds(c, abi, call)))
    });
    fits.map(|rule| rule.verdict).collect()
}

/// Whether libseccomp's reading of the rules for a call can be relied on. Of rules with conditions that differ in their
/// answer it makes a tree that can lose some, and so of several orders (`<=` beside `<`, say) of one argument.
fn reliable(rules: &Rules<'_>, abi: &Abi, call: &Call) -> bool {
    let named = |name: &String| calls::number(name, abi) == Some(call.number);
    let concerned = || {
        rules
            .rules
            .iter()
            .filter(|r| r.verdict != rules.default && r.names.iter().any(named))
    };
    let mut answers: Vec<u32> = concerned().map(|rule| rule.verdict.0).collect();
    answers.dedup();
    let ordered = |c: &&Condition| {
        let equal = matches!(
            c.operator,
            Operator::Equal | Operator::NotEqual | Operator::MaskedEqual(_)
        );
        !equal && abi.width == Width::Bits64
    };
    let mut orders: Vec<u8> = concerned()
        .flat_map(|r| r.when.iter().flatten())
        .filter(ordered)
        .map(|c| c.index)
        .collect();
    let count = orders.len();
    orders.sort_unstable();
    orders.dedup();
    answers.len() < 2 && orders.len() == count
}

/// Whether a call is newer than all that the rules name.
fn newer(rules: &Rules<'_>, abi: &Abi, call: &Call) -> bool {
    let lax = rules.default.severity() >= 0x7ff0_0000;
    let own = |number: u32| abi.column_is_arm() && number >= 0xf_0000;
    let zero = abi.shows_unknown_as_zero() && call.number == 0;
    let mut named = rules
        .rules
        .iter()
        .flat_map(|rule| rule.names)
        .filter_map(|name| calls::number(name, abi));
    let same_space = |number: &u32| own(*number) == own(call.number);
    let newest = if zero {
        named.next()
    } else {
        named.filter(same_space).max()
    };
    !lax && newest.is_some_and(|newest| zero || call.number > newest)
}

#[test]
fn random_profiles_mean_what_libseccomp_and_their_rules_say() {
    let sweep = std::env::var_os("DHOW_TEST_SWEEP").is_some();
    let (profiles, calls) = if sweep { (4_000, 250) } else { (300, 50) };
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let (mut judged, mut refused) = (0, 0);
    for _ in 0..profiles {
        let mut json = profile(&mut chance);
        let abi = chance.of(&ABIS);
        json["architectures"] = json!([abi.arch]);
        let parsed: LinuxSeccomp = serde_json::from_value(json.clone()).unwrap();
        let rules = Rules::read(&parsed).unwrap();
        let ours = crate::compile(&parsed).unwrap();
        let theirs = library::compile(&rules, abi);
        refused += usize::from(theirs.is_none() && abi.oracle().is_some());
        for _ in 0..calls {
            let call = call(&mut chance, abi);
            let about = format!("{json}\n{abi:?} {call:x?}");
            let answer = machine::answer(&ours.instructions, abi, &call);
            let their_answer = theirs
                .as_ref()
                .and_then(|program| machine::answer(program, abi, &call));
            agree(
                &rules,
                abi,
                &call,
                answer.expect(&about),
                their_answer,
                &about,
            );
            judged += usize::from(their_answer.is_some());
        }
    }
    assert!(
        judged > profiles * calls / 2,
        "{judged} of {profiles} * {calls}, {refused} refused"
    );
}

fn agree(
    rules: &Rules<'_>,
    abi: &Abi,
    call: &Call,
    ours: Verdict,
    theirs: Option<Verdict>,
    about: &str,
) {
    let multiplexer = ["socketcall", "ipc"].map(|name| calls::number(name, abi));
    if abi
        .spaces()
        .iter()
        .all(|(first, last)| !(first..=last).contains(&&call.number))
    {
        let expected = if call.number == u32::MAX {
            rules.default
        } else {
            Verdict::KILL_PROCESS
        };
        // Beside x32 the filter has the native ABI, whose numbers these are.
        assert!(
            ours == expected || abi.is_x32(),
            "a foreign number: {about}"
        );
        return;
    }
    if multiplexer.contains(&Some(call.number)) {
        let plain = rules
            .rules
            .iter()
            .all(|rule| rule.when.iter().all(Vec::is_empty));
        if let Some(theirs) = theirs.filter(|_| plain && call.args[0] <= 0xffff) {
            let absent = newer(rules, abi, call) && theirs == rules.default;
            assert_eq!(
                ours,
                if absent { Verdict::ABSENT } else { theirs },
                "{about}"
            );
        }
        return;
    }
    let fitting = fitting(rules, abi, call);
    let strictest = fitting.iter().min_by_key(|verdict| verdict.severity());
    let expected = match strictest {
        Some(verdict) => *verdict,
        None if newer(rules, abi, call) => Verdict::ABSENT,
        None => rules.default,
    };
    assert_eq!(ours, expected, "ours against the rules: {about}");
    if let Some(theirs) = theirs.filter(|_| reliable(rules, abi, call)) {
        let fits = fitting.contains(&theirs) || (fitting.is_empty() && theirs == rules.default);
        assert!(
            fits,
            "libseccomp says {theirs:x?}, the rules {fitting:x?}: {about}"
        );
    }
}

#[test]
fn both_orders_of_bytes_are_among_them() {
    for endian in [Endian::Big, Endian::Little] {
        assert!(
            ABIS.iter()
                .any(|abi| abi.endian == endian && abi.oracle().is_some())
        );
    }
}
