//! Annotations `org.systemd.property.NAME`: properties that a bundle gives its container's unit, as text of
//! GLib's variants. Only such as concern this unit alone are taken: others would put strangers' processes
//! into it (PIDs), start other units (Wants), or undo what the runtime sets (Slice, Delegate, DeviceAllow).
//! Pure. Not its job: limits (properties).

use std::collections::BTreeMap;

use super::message::{Property, Value};
use crate::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// What a property's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Bool,
    I32,
    U64,
}

/// What a bundle may set, and its type.
const ALLOWED: [(&str, Kind); 20] = [
    ("After", Kind::Texts),
    ("Before", Kind::Texts),
    ("CollectMode", Kind::Text),
    ("CPUWeight", Kind::U64),
    ("DefaultDependencies", Kind::Bool),
    ("Description", Kind::Text),
    ("FinalKillSignal", Kind::I32),
    ("IOWeight", Kind::U64),
    ("KillSignal", Kind::I32),
    ("ManagedOOMMemoryPressure", Kind::Text),
    ("ManagedOOMPreference", Kind::Text),
    ("ManagedOOMSwap", Kind::Text),
    ("MemoryHigh", Kind::U64),
    ("MemoryLow", Kind::U64),
    ("MemoryMin", Kind::U64),
    ("OOMPolicy", Kind::Text),
    ("RuntimeMaxUSec", Kind::U64),
    ("SendSIGHUP", Kind::Bool),
    ("SendSIGKILL", Kind::Bool),
    ("TimeoutStopUSec", Kind::U64),
];

/// The properties among a bundle's annotations, by name.
///
/// # Errors
/// [`Error::Spec`] for a property that is not taken, or whose value can't be read.
pub(super) fn properties<'a>(
    annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<Property>> {
    let mut all = BTreeMap::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else {
            continue;
        };
        let refuse = |reason: String| Error::spec(format!("annotations.{key}"), reason);
        // A span may be given in seconds, where systemd's own files do so.
        let (name, is_seconds) = match name.strip_suffix("Sec").filter(|s| !s.ends_with('U')) {
            Some(stem) => (format!("{stem}USec"), true),
            None => (name.to_owned(), false),
        };
        if sys::fault::broken("no-property-list") {
            continue;
        }
        let Some((_, kind)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
            let names = ALLOWED.map(|(name, _)| name).join(", ");
            return Err(refuse(format!(
                "no property that a bundle may set; {names} are"
            )));
        };
        let variant = parse(text.trim()).ok_or_else(|| {
            refuse(format!(
                "{text:?} is no value as in true, 'text', ['a', 'b'] or uint64 5"
            ))
        })?;
        let value = variant
            .into_value(*kind, is_seconds)
            .ok_or_else(|| refuse(format!("{text:?} is no {}", kind.word())))?;
        all.insert(name, value);
    }
    Ok(all.into_iter().collect())
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Text => "text, as in 'text'",
            Self::Texts => "list of texts, as in ['a', 'b']",
            Self::Bool => "true or false",
            Self::I32 => "number of 32 bits",
            Self::U64 => "number from 0 on",
        }
    }
}

/// A value as its text says it.
#[derive(Clone, Debug, PartialEq)]
enum Variant {
    Text(String),
    Texts(Vec<String>),
    Bool(bool),
    Number(i128),
    Fraction(f64),
}

impl Variant {
    /// As a value of this kind, if it is one.
    fn into_value(self, kind: Kind, is_seconds: bool) -> Option<Value> {
        let micro = |number: i128| match is_seconds {
            true => number.checked_mul(1_000_000),
            false => Some(number),
        };
        match (kind, self) {
            (Kind::Text, Self::Text(text)) => Some(Value::Text(text)),
            (Kind::Texts, Self::Texts(texts)) => Some(Value::Texts(texts)),
            (Kind::Bool, Self::Bool(value)) => Some(Value::Bool(value)),
            (Kind::I32, Self::Number(number)) => i32::try_from(number).ok().map(Value::I32),
            (Kind::U64, Self::Number(number)) => u64::try_from(micro(number)?).ok().map(Value::U64),
            (Kind::U64, Self::Fraction(number)) if is_seconds => {
                let span = std::time::Duration::try_from_secs_f64(number).ok()?;
                u64::try_from(span.as_micros()).ok().map(Value::U64)
            }
            _ => None,
        }
    }
}

/// Types that GLib's text may name before a number.
const NUMBERS: [&str; 8] = [
    "byte", "int16", "uint16", "int32", "uint32", "int64", "uint64", "handle",
];

fn parse(text: &str) -> Option<Variant> {
    match text {
        "true" => return Some(Variant::Bool(true)),
        "false" => return Some(Variant::Bool(false)),
        _ => {}
    }
    if let Some(list) = text.strip_prefix("@as").map(str::trim_start) {
        return texts(list);
    }
    match text.as_bytes().first()? {
        b'[' => texts(text),
        b'\'' | b'"' => {
            let (text, rest) = quoted(text)?;
            rest.is_empty().then_some(Variant::Text(text))
        }
        _ => number(text),
    }
}

fn number(text: &str) -> Option<Variant> {
    let (text, is_typed) = match text.split_once(' ') {
        Some(("double", rest)) => return rest.trim().parse().ok().map(Variant::Fraction),
        Some((word, rest)) if NUMBERS.contains(&word) => (rest.trim(), true),
        Some(_) => return None,
        None => (text, false),
    };
    if let Ok(number) = text.parse::<i64>() {
        return Some(Variant::Number(number.into()));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(Variant::Number(number.into()));
    }
    let is_fraction = !is_typed && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_fraction
        .then(|| text.parse().ok().map(Variant::Fraction))
        .flatten()
}

fn texts(text: &str) -> Option<Variant> {
    let mut rest = text.strip_prefix('[')?.trim_start();
    let mut all = Vec::new();
    if let Some(end) = rest.strip_prefix(']') {
        return end.is_empty().then_some(Variant::Texts(all));
    }
    loop {
        let (text, tail) = quoted(rest)?;
        all.push(text);
        let tail = tail.trim_start();
        if let Some(end) = tail.strip_prefix(']') {
            return end.is_empty().then_some(Variant::Texts(all));
        }
        rest = tail.strip_prefix(',')?.trim_start();
    }
}

/// Text between quotes at the beginning, and what follows. No NUL and no control characters: they would be
/// lines of their own in what systemd writes to its log and to unit files.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut out = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            _ if letter == quote => return Some((out, &text[at + 1..])),
            '\\' => out.push(
                letters
                    .next()
                    .map(|(_, c)| c)
                    .filter(|c| "\\'\"".contains(*c))?,
            ),
            _ if letter.is_control() => return None,
            _ => out.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(name: &str, text: &str) -> Result<Property, String> {
        let annotations = [(format!("{PREFIX}{name}"), text.to_owned())];
        let all = properties(annotations.iter().map(|(k, v)| (k, v)));
        all.map(|mut all| all.remove(0)).map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_read_as_glib_writes_them() {
        let table = [
            (
                "CollectMode",
                "'inactive-or-failed'",
                Value::Text("inactive-or-failed".into()),
            ),
            (
                "Description",
                r#""it's \"mine\"""#,
                Value::Text("it's \"mine\"".into()),
            ),
            ("SendSIGHUP", "true", Value::Bool(true)),
            ("KillSignal", "15", Value::I32(15)),
            ("KillSignal", "int32 9", Value::I32(9)),
            (
                "TimeoutStopUSec",
                "uint64 123456789",
                Value::U64(123_456_789),
            ),
            ("TimeoutStopSec", "uint64 30", Value::U64(30_000_000)),
            ("TimeoutStopSec", "1.5", Value::U64(1_500_000)),
            (
                "MemoryMin",
                "uint64 18446744073709551615",
                Value::U64(u64::MAX),
            ),
            (
                "After",
                "['a.service', \"b.service\"]",
                Value::Texts(vec!["a.service".into(), "b.service".into()]),
            ),
            ("After", "@as []", Value::Texts(vec![])),
        ];
        for (name, text, expected) in table {
            assert_eq!(
                one(name, text).map(|(_, value)| value),
                Ok(expected),
                "{name} {text}"
            );
        }
        assert_eq!(one("TimeoutStopSec", "1").unwrap().0, "TimeoutStopUSec");
    }

    #[test]
    fn other_annotations_are_left_alone() {
        let annotations = [("org.systemd.other".to_owned(), "x".to_owned())];
        let all = properties(annotations.iter().map(|(k, v)| (k, v)));
        assert_eq!(all, Ok(vec![]));
    }

    #[test]
    fn a_property_that_reaches_beyond_the_unit_is_refused() {
        for name in [
            "PIDs",
            "Slice",
            "Delegate",
            "Wants",
            "Requires",
            "OnFailure",
            "User",
            "DeviceAllow",
            "BPFProgram",
            "Controller",
            "TasksMax",
            "MemoryMax",
            "",
            "Sec",
            "USec",
            "after",
            "After\0",
        ] {
            let error = one(name, "true").unwrap_err();
            assert!(
                error.contains("no property that a bundle may set"),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (name, text) in [
            ("After", "'a'"),
            ("CollectMode", "5"),
            ("SendSIGHUP", "1"),
            ("KillSignal", "uint64 4294967296"),
            ("TimeoutStopUSec", "-1"),
            ("TimeoutStopUSec", "1.5"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("TimeoutStopSec", "1e400"),
            ("After", "['a'"),
            ("After", "['a',]"),
            ("After", "['a'] x"),
            ("Description", "'a"),
            ("Description", "'a' 'b'"),
            ("Description", "'a\n[Service]'"),
            ("Description", ""),
            ("Description", "<'a'>"),
        ] {
            assert!(one(name, text).is_err(), "{name} {text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(text in "\\PC{0,40}", noise in "[\\[\\]'\", @as0-9.truefals\\\\-]{0,30}") {
            for text in [&text, &noise] {
                for (name, kind) in ALLOWED {
                    if let Ok((_, value)) = one(name, text) {
                        let fits = matches!(
                            (kind, value),
                            (Kind::Text, Value::Text(_)) | (Kind::Texts, Value::Texts(_)) | (Kind::Bool, Value::Bool(_))
                                | (Kind::I32, Value::I32(_)) | (Kind::U64, Value::U64(_))
                        );
                        prop_assert!(fits, "{} {}", name, text);
                    }
                }
            }
        }

        #[test]
        fn only_named_properties_pass(name in "[A-Za-z]{0,24}") {
            if one(&name, "true").is_ok() || one(&name, "'x'").is_ok() {
                prop_assert!(ALLOWED.iter().any(|(allowed, _)| *allowed == name));
            }
        }
    }
}
