//! Names with values, in the order in which they were first set. Not its job: expanding them in text.

use std::collections::HashMap;

/// An ordered environment: setting a name again keeps its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Variables {
    entries: Vec<(String, String)>,
    // A recipe may set many names; looking each up one by one would take quadratic time.
    places: HashMap<String, usize>,
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
        Some(self.entries[*place].1.as_str())
    }

    /// Sets `name`; where it was set before, in its old place.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if let Some(place) = self.places.get(name) {
            let old = &mut self.entries[*place].1;
            self.bytes = self.bytes - old.len() + value.len();
            value.clone_into(old);
            return;
        }
        self.bytes += name.len() + value.len();
        self.places.insert(name.to_owned(), self.entries.len());
        self.entries.push((name.to_owned(), value.to_owned()));
    }

    /// Names and values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
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
    fn a_name_set_again_keeps_its_place() {
        let mut variables = Variables::from_list(["A=1", "B=2=3", "C"]);
        variables.set("A", "long");
        assert_eq!(variables.to_list(), ["A=long", "B=2=3", "C="]);
        assert_eq!(variables.bytes(), 5 + 4 + 1);
        assert_eq!(variables.get("D"), None);
    }
}
