//! A configuration that is wrong in many places, read as far as it can be: each value that can't be
//! understood is named and left out, until the rest can. Pure. Not its job: what the values mean (judge).

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::Spec;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::validate::{Fault, Faults};

/// What could be read.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    /// The rest, if it is one.
    pub(super) spec: Option<Spec>,
    /// Each value that was left out.
    pub(super) faults: Faults,
    /// Keys that runtime-spec does not know: they are ignored, as it demands.
    pub(super) unknown: Vec<String>,
}

/// Reads `config`.
pub(super) fn salvage(mut config: Value) -> Salvaged {
    let mut salvaged = Salvaged::default();
    let mut removed = Removed::default();
    loop {
        match serde_path_to_error::deserialize::<_, Spec>(&config) {
            Ok(spec) => {
                salvaged.unknown = unknown(&config, &spec);
                salvaged.spec = Some(spec);
                return salvaged;
            }
            Err(error) => {
                let steps = removed.steps(error.path(), &config);
                let reason = error.inner().to_string();
                // A field that we took out ourselves has been named already.
                match removed.explains(&steps, &reason) {
                    Some(missing) if stand_in(&mut config, &steps, &missing) => continue,
                    Some(_) => {}
                    None => {
                        let field = words(&steps);
                        salvaged.faults.0.push(Fault { field, reason });
                    }
                }
                if !removed.take(&mut config, &steps) {
                    return salvaged;
                }
            }
        }
    }
}

/// A step of a path: the key or the index as they were in the file, and the index as it is now.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index { written: usize, now: usize },
}

/// `linux.namespaces[2].type`.
fn words(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index { written, .. } => text.push_str(&format!("[{written}]")),
        }
    }
    match text.is_empty() {
        true => "config.json".to_owned(),
        false => text,
    }
}

/// What was left out, so that places are named as they are in the file.
#[derive(Debug, Default)]
struct Removed {
    /// By the list's path: the original indexes of what is still there.
    lists: BTreeMap<String, Vec<usize>>,
    /// Paths of fields of objects.
    fields: BTreeSet<String>,
}

impl Removed {
    fn steps(&mut self, path: &Path, config: &Value) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut here = Some(config);
        for segment in path.iter() {
            let step = match segment {
                Segment::Map { key } | Segment::Enum { variant: key } => Step::Key(key.clone()),
                Segment::Seq { index } => {
                    let length = here.and_then(Value::as_array).map_or(0, Vec::len);
                    let list = self.lists.entry(words(&steps));
                    let there = list.or_insert_with(|| (0..length).collect());
                    let written = there.get(*index).copied().unwrap_or(*index);
                    Step::Index {
                        written,
                        now: *index,
                    }
                }
                Segment::Unknown => break,
            };
            here = here.and_then(|value| child(value, &step));
            if here.is_none() {
                break;
            }
            steps.push(step);
        }
        steps
    }

    /// The field that is missing because it was left out, if that is the failure.
    fn explains(&self, steps: &[Step], reason: &str) -> Option<String> {
        let field = reason
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next())?;
        let mut path = steps.to_vec();
        path.push(Step::Key(field.to_owned()));
        let ours = self.fields.contains(&words(&path));
        ours.then(|| field.to_owned())
    }

    /// Leaves out what the steps lead to; not if that is everything.
    fn take(&mut self, config: &mut Value, steps: &[Step]) -> bool {
        let Some((last, way)) = steps.split_last() else {
            return false;
        };
        let Some(parent) = at(config, way) else {
            return false;
        };
        match (last, parent) {
            (Step::Key(key), Value::Object(object)) => {
                self.fields.insert(words(steps));
                object.shift_remove(key).is_some()
            }
            (Step::Index { now, .. }, Value::Array(list)) if *now < list.len() => {
                list.remove(*now);
                if let Some(there) = self.lists.get_mut(&words(way)) {
                    there.remove(*now);
                }
                true
            }
            _ => false,
        }
    }
}

/// Puts a harmless value where a needed one was left out, so that its neighbours are still judged.
fn stand_in(config: &mut Value, steps: &[Step], field: &str) -> bool {
    let value = match field {
        "cwd" | "path" | "destination" => Value::from("/"),
        "uid" | "gid" => Value::from(0),
        _ => return false,
    };
    let object = at(config, steps).and_then(Value::as_object_mut);
    object.is_some_and(|object| object.insert(field.to_owned(), value).is_none())
}

fn at<'a>(config: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(config, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index { now, .. } => value.get_mut(*now),
    })
}

fn child<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Key(key) => value.get(key),
        Step::Index { now, .. } => value.get(*now),
    }
}

/// The keys of `config` that have no place in `spec`.
fn unknown(config: &Value, spec: &Spec) -> Vec<String> {
    let mut list = Vec::new();
    if let Ok(understood) = serde_json::to_value(spec) {
        compare("", config, &understood, &mut list);
    }
    list
}

fn compare(path: &str, written: &Value, understood: &Value, list: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (key, value) in written {
                let path = match path.is_empty() {
                    true => key.clone(),
                    false => format!("{path}.{key}"),
                };
                match understood.get(key) {
                    Some(understood) => compare(&path, value, understood, list),
                    None if value.is_null() => {}
                    None => list.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) if written.len() == understood.len() => {
            for (index, (written, understood)) in written.iter().zip(understood).enumerate() {
                compare(&format!("{path}[{index}]"), written, understood, list);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> (Vec<String>, Vec<String>) {
        let salvaged = salvage(serde_json::from_str(json).unwrap());
        let faults = salvaged.faults.0.iter().map(ToString::to_string).collect();
        (faults, salvaged.unknown)
    }

    #[test]
    fn each_value_that_is_no_such_thing_is_named_where_it_is_written() {
        let (faults, _) = read(
            r#"{"ociVersion":7,"process":{"user":{"uid":-1,"gid":0},"cwd":"/","args":"sh"},
                "linux":{"namespaces":[{"type":"a"},{"type":"mount"},{"type":"b"},{"type":"pid","path":3}]}}"#,
        );
        let expected = [
            "ociVersion: invalid type: integer `7`, expected a string",
            "process.user.uid: invalid value: integer `-1`, expected u32",
            "process.args: invalid type: string \"sh\", expected a sequence",
        ];
        assert_eq!(faults[..3], expected);
        assert!(faults[3].starts_with("linux.namespaces[0].type: unknown variant `a`"));
        assert!(faults[4].starts_with("linux.namespaces[2].type: unknown variant `b`"));
        assert!(faults[5].starts_with("linux.namespaces[3].path: invalid type: integer `3`"));
        assert_eq!(faults.len(), 6);
    }

    #[test]
    fn keys_that_the_spec_does_not_know_are_listed() {
        let (faults, unknown) = read(
            r#"{"ociVersion":"1.0.0","hostnam":"x","linux":{"namespaces":[{"type":"pid","pth":"/"}]}}"#,
        );
        assert_eq!(faults, [""; 0]);
        assert_eq!(unknown, ["hostnam", "linux.namespaces[0].pth"]);
    }

    #[test]
    fn what_is_no_object_at_all_is_one_fault() {
        let (faults, _) = read("[1]");
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
