//! What differs between the keys of two steps, in words. Pure. Not its job: which steps are compared (`before`).

use std::collections::{BTreeMap, BTreeSet};

use crate::cache::Key;

/// So many files are named.
const NAMED: usize = 5;

/// More of a value is not shown.
const SHOWN: usize = 60;

/// What is known beside the keys.
pub(crate) struct Around<'a> {
    /// Names that the recipe's ARGs declare.
    pub(crate) arguments: &'a BTreeSet<String>,
    /// What is to be said of other layers below.
    pub(crate) below: String,
}

/// Why the step of `new` is not that of `old`; empty if they are one.
pub(crate) fn differences(old: &Key, new: &Key, around: &Around<'_>) -> Vec<String> {
    let (was, is): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (old.parts().collect(), new.parts().collect());
    let mut why = Vec::new();
    let mut below = None;
    for (name, value) in &is {
        let before = was.get(name).copied();
        match (*name, before) {
            (_, Some(before)) if before == *value => {}
            ("parent", _) => below = Some(around.below.clone()),
            ("version", _) => why.push("this dhow does such steps in another way".to_owned()),
            ("epoch", Some(before)) => why.push(format!("SOURCE_DATE_EPOCH {before} -> {value}")),
            ("env", Some(before)) => why.extend(variables(before, value, around.arguments)),
            (name, _) if name.starts_with("source ") => why.push(files(name, old, new)),
            (name, Some(before)) => {
                why.push(format!("{name} {} -> {}", short(before), short(value)))
            }
            (name, None) => why.push(format!("{name} is new")),
        }
    }
    let gone = was.keys().filter(|name| !is.contains_key(*name));
    why.extend(gone.map(|name| format!("{name} is gone")));
    // What changed here says more than what changed before.
    why.extend(below);
    why
}

/// Variables, which stand in a key as a list of JSON.
fn variables(was: &str, is: &str, arguments: &BTreeSet<String>) -> Vec<String> {
    let read = |text: &str| -> BTreeMap<String, String> {
        let list: Vec<String> = serde_json::from_str(text).unwrap_or_default();
        let pairs = list.iter().filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (was, is) = (read(was), read(is));
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let mut why = Vec::new();
    for name in names {
        let kind = if arguments.contains(name) {
            "ARG"
        } else {
            "ENV"
        };
        match (was.get(name), is.get(name)) {
            (Some(was), Some(is)) if was != is => {
                why.push(format!("{kind} {name} {} -> {}", short(was), short(is)));
            }
            (None, Some(is)) => why.push(format!("{kind} {name} is new: {}", short(is))),
            (Some(_), None) => why.push(format!("{kind} {name} is gone")),
            _ => {}
        }
    }
    if why.is_empty() {
        why.push("the variables stand in another order".to_owned());
    }
    why
}

/// Files of a source: `source NAME SHAPE`.
fn files(part: &str, old: &Key, new: &Key) -> String {
    let source = part.split(' ').nth(1).unwrap_or_default();
    let (was, is): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (old.files().collect(), new.files().collect());
    let changed = is
        .iter()
        .filter(|(path, sum)| was.get(*path).is_some_and(|was| was != *sum));
    let added = is.keys().filter(|path| !was.contains_key(*path));
    let gone = was.keys().filter(|path| !is.contains_key(*path));
    let told = [
        counted(
            &changed.map(|(path, _)| *path).collect::<Vec<_>>(),
            "changed",
        ),
        counted(&added.copied().collect::<Vec<_>>(), "new"),
        counted(&gone.copied().collect::<Vec<_>>(), "gone"),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    match told.is_empty() {
        true => format!("{source}: files beyond those that are listed changed"),
        false => format!("{source}: {}", told.join("; ")),
    }
}

/// `3 files changed: a, b, c`
fn counted(paths: &[&str], what: &str) -> Option<String> {
    let noun = match paths.len() {
        0 => return None,
        1 => "file",
        _ => "files",
    };
    let mut named = paths
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if paths.len() > NAMED {
        named.push_str(&format!(" and {} more", paths.len() - NAMED));
    }
    Some(format!("{} {noun} {what}: {named}", paths.len()))
}

/// The beginning of a value.
fn short(value: &str) -> String {
    if value.is_empty() {
        return "\"\"".to_owned();
    }
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[(&str, &str)], files: &[(&str, &str)]) -> Key {
        let mut key = Key::default();
        for (name, value) in parts {
            key.add(name, *value);
        }
        let files = files
            .iter()
            .map(|(path, sum)| ((*path).to_owned(), (*sum).to_owned()));
        key.add_files(
            "source src folder",
            format!("{:?}", files.clone().collect::<Vec<_>>()),
            files.collect(),
        );
        key
    }

    fn why(old: &Key, new: &Key) -> Vec<String> {
        let arguments = BTreeSet::from(["VERSION".to_owned()]);
        let below = "the step before it was done anew".to_owned();
        differences(
            old,
            new,
            &Around {
                arguments: &arguments,
                below,
            },
        )
    }

    #[test]
    fn variables_are_told_by_name() {
        let old = key(
            &[("parent", "1"), ("env", r#"["A=1","VERSION=1","X=x"]"#)],
            &[],
        );
        let new = key(&[("parent", "2"), ("env", r#"["A=","VERSION=2"]"#)], &[]);
        assert_eq!(
            why(&old, &new),
            [
                "ENV A 1 -> \"\"",
                "ARG VERSION 1 -> 2",
                "ENV X is gone",
                "the step before it was done anew"
            ]
        );
        assert_eq!(why(&new, &new), Vec::<String>::new());
    }

    #[test]
    fn files_are_told_by_name() {
        let many: Vec<String> = (0..9).map(|n| format!("n{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
        let old = key(&[], &[("a", "1"), ("b", "1"), ("c", "1")]);
        let new = key(&[], &[&[("a", "2"), ("b", "1")], &many[..]].concat());
        assert_eq!(
            why(&old, &new),
            ["src: 1 file changed: a; 9 files new: n0, n1, n2, n3, n4 and 4 more; 1 file gone: c"]
        );
    }

    #[test]
    fn other_parts_are_told_with_both_values() {
        let old = key(&[("user", ""), ("chown", "a")], &[]);
        let new = key(&[("user", "x"), ("link", "")], &[]);
        assert_eq!(
            why(&old, &new),
            ["link is new", "user \"\" -> x", "chown is gone"]
        );
    }
}
