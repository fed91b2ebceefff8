//! Names with values, in the order in which they were last set. Not its job: expanding them in text.

use std::collections::{BTreeMap, HashMap};

/// An ordered environment: a name that is set again moves to the end, as in the environments that BuildKit
/// gives its steps (an image config keeps places instead, see `config`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Variables {
    /// By the number of the setting.
    entries: BTreeMap<usize, (String, String)>,
    // A recipe may set many names; looking each up one by one would take quadratic time.
    places: HashMap<String, usize>,
    next: usize,
    bytes: usize,
}

impl Variables {
    /// The variables of `NAME=value` texts, as an image config holds them. A text without `=` is a name
    /// with an empty value.
    pub(crate) fn from_list<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Self {
        let mut variables = Self::default();
        for entry in list {
            let entry = entry.as_ref();
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            variables.set(name, value);
        }
        variables
    }

    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.get(name)?;
        self.entries.get(place).map(|(_, value)| value.as_str())
    }

    /// Sets `name`, which is the last one then.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if let Some(place) = self.places.insert(name.to_owned(), self.next)
            && let Some((name, value)) = self.entries.remove(&place)
        {
            self.bytes -= name.len() + value.len();
        }
        self.bytes += name.len() + value.len();
        self.entries
            .insert(self.next, (name.to_owned(), value.to_owned()));
        self.next += 1;
    }

    /// Names and values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .values()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `NAME=value` texts, in order.
    pub(crate) fn to_list(&self) -> Vec<String> {
        self.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The length of all names and values together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_set_again_is_the_last_one() {
        let mut variables = Variables::from_list(["A=1", "B=2=3", "C"]);
        variables.set("A", "long");
        assert_eq!(variables.to_list(), ["B=2=3", "C=", "A=long"]);
        assert_eq!(variables.bytes(), 5 + 4 + 1);
        assert_eq!(variables.get("D"), None);
    }
}
