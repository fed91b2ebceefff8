//! Named contexts: what the person puts in the place of names of a recipe (`--build-context`). Pure. Not its job: the
//! files of those that are folders (`context`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use image::Reference;

use crate::instruction::Recipe;
use crate::request::Context;

/// What stands in the place of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Files: what a context can be.
    Files(Context),
    /// An image, by name or place.
    Image(String),
    /// A stage of the same recipe.
    Stage(String),
}

/// All of them, by the names that they take the place of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contexts(BTreeMap<String, Named>);

impl Contexts {
    /// Puts something in the place of a name; the last one counts.
    pub fn insert(&mut self, name: String, named: Named) {
        self.0.insert(name, named);
    }

    /// What is in the place of a stage's or image's name. An image has several: `debian` is
    /// `docker.io/library/debian:latest`.
    pub(crate) fn find(&self, name: &str) -> Option<(&str, &Named)> {
        let same = |key: &str| {
            let whole = |text: &str| text.parse::<Reference>().ok();
            key.eq_ignore_ascii_case(name) || whole(key).is_some_and(|key| whole(name) == Some(key))
        };
        let exact = self.0.get_key_value(name);
        let found = exact.or_else(|| self.0.iter().find(|(key, _)| same(key)));
        found.map(|(key, named)| (key.as_str(), named))
    }

    /// The files that stand in the place of this very name.
    pub(crate) fn files(&self, name: &str) -> Option<&Context> {
        match self.0.get(name) {
            Some(Named::Files(context)) => Some(context),
            _ => None,
        }
    }

    /// The recipe as it is with them: of a stage whose name is taken nothing is left but the name.
    pub(crate) fn applied<'a>(&self, recipe: &'a Recipe) -> Cow<'a, Recipe> {
        if self.0.is_empty() {
            return Cow::Borrowed(recipe);
        }
        let mut recipe = recipe.clone();
        for stage in &mut recipe.stages {
            let name = stage.name.as_deref();
            if name.is_some_and(|name| self.find(name).is_some()) {
                stage.instructions.clear();
                stage.platform = None;
            }
        }
        recipe.contexts = self.clone();
        Cow::Owned(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_each_of_its_names_and_a_stage_by_its_own() {
        let mut contexts = Contexts::default();
        contexts.insert("debian".to_owned(), Named::Image("mine".to_owned()));
        contexts.insert("Build".to_owned(), Named::Stage("other".to_owned()));
        for name in ["debian", "debian:latest", "docker.io/library/debian:latest"] {
            assert_eq!(
                contexts.find(name).map(|found| found.0),
                Some("debian"),
                "{name}"
            );
        }
        assert!(contexts.find("build").is_some());
        for name in ["debian:12", "example.com/debian", "", "buil"] {
            assert_eq!(contexts.find(name), None, "{name}");
        }
    }
}
