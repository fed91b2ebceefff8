//! Recipes as real projects have them, and corners of the language: each becomes the tree and the config that BuildKit
//! and buildah make of it. `alike/cases` holds them, a file each. Not its job: asking those two (peers/alike).
//!
//! A case's sections: the recipe; a shell script that makes the context; arguments of the build; which of the two is
//! to be asked (`reading` stands for what both are too old for here: then the tree was written by hand from what
//! BuildKit's sources say); and what must come out: files that the base has not, and the config.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::sandbox::dhow;
use crate::support::tree::{Times, tree};
use crate::support::{Output, Sandbox, claims, run};

claims![
    recipes_become_the_trees_that_other_builders_make: [Root, Cgroup2, Overlay, Dhow],
];

/// Times of contexts are earlier than this; later ones are those of a build, which cannot be compared.
const EPOCH: i64 = 1_500_000_000;

/// Contexts get times from here on.
const EARLY: usize = 1_400_000_000;

/// Fields of a config that say something of the builder alone.
const LEFT_OUT: [&str; 3] = ["Hostname", "Image", "ArgsEscaped"];

/// What all cases stand on, as `box`.
const BOX: &str = include_str!("alike/box");

/// A recipe, what it needs, and what it comes to.
pub(crate) struct Case {
    pub(crate) name: String,
    recipe: String,
    script: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) judges: String,
    pub(crate) wanted: String,
}

/// All cases, by name.
pub(crate) fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/build/alike/cases");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        let mut at = "";
        for line in text.split_inclusive('\n') {
            match line.strip_prefix("=== ") {
                Some(name) => at = name.trim_end(),
                None => sections.entry(at).or_default().push_str(line),
            }
        }
        let mut section = |name: &str| sections.remove(name).unwrap_or_default();
        Self {
            name: path.file_name().unwrap().display().to_string(),
            recipe: section("Dockerfile"),
            script: section("context"),
            arguments: section("arguments")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            judges: section("judge"),
            wanted: section("tree"),
        }
    }

    /// Makes its context below `folder`.
    pub(crate) fn context(&self, folder: &Path) -> PathBuf {
        let context = folder.join(&self.name);
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), &self.recipe).unwrap();
        // Not the same in two cases: BuildKit's client does not send a file again that looks like an earlier one.
        let early = EARLY
            + self
                .name
                .bytes()
                .enumerate()
                .map(|(at, byte)| (at + 1) * usize::from(byte))
                .sum::<usize>();
        let touch = format!("find . -depth -newermt @{EARLY} -exec touch -h -d @{early} {{}} +");
        let script = format!("umask 022\n{}\n{touch}\n", self.script);
        run(Command::new("bash")
            .args(["-ec", &script])
            .current_dir(&context))
        .success();
        context
    }
}

/// A store with the base, and the base's own tree.
pub(crate) struct Ground {
    pub(crate) sandbox: Sandbox,
    base: BTreeMap<PathBuf, String>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let mut ground = Self {
            sandbox: Sandbox::in_memory(),
            base: BTreeMap::new(),
        };
        let context = ground.sandbox.path().join("box");
        std::fs::create_dir(&context).unwrap();
        let busybox = crate::support::needs::program("busybox").expect("busybox-static is set up");
        std::fs::copy(busybox, context.join("busybox")).unwrap();
        std::fs::write(context.join("Dockerfile"), BOX).unwrap();
        ground.build("box", &[], &context).success();
        ground.base = ground.unpacked("box").0;
        ground
    }

    pub(crate) fn dhow(&self) -> Command {
        let mut command = Command::new(dhow());
        command.env("SOURCE_DATE_EPOCH", EPOCH.to_string());
        command.arg("--root").arg(self.sandbox.state_root());
        command
            .arg("--store")
            .arg(self.sandbox.path().join("store"));
        command
    }

    fn build(&self, name: &str, arguments: &[String], context: &Path) -> Output {
        let mut command = self.dhow();
        command.args(["build", "--network=none", "-qt", name]);
        run(command.args(arguments).arg(context))
    }

    fn unpacked(&self, image: &str) -> (BTreeMap<PathBuf, String>, Value) {
        let bundle = self.sandbox.path().join("bundle");
        run(self.dhow().args(["unpack", image]).arg(&bundle)).success();
        let seen = tree(&bundle.join("rootfs"), Times::Before(EPOCH));
        std::fs::remove_dir_all(&bundle).unwrap();
        let shown = run(self.dhow().args(["inspect", image])).success().stdout;
        (seen, serde_json::from_str(&shown).unwrap())
    }

    /// What an image of the store has that the base has not, a line a file, and its config, a line a field.
    pub(crate) fn listing(&self, image: &str) -> String {
        let (seen, document) = self.unpacked(image);
        let mut lines = Vec::new();
        for path in self.base.keys().filter(|path| !seen.contains_key(*path)) {
            lines.push((
                path,
                format!("- {}", path.display().to_string().escape_debug()),
            ));
        }
        for (path, facts) in &seen {
            if self.base.get(path) != Some(facts) {
                let shown = path.to_string_lossy();
                lines.push((path, format!("+ {} {facts}", shown.escape_debug())));
            }
        }
        lines.sort();
        let mut text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
        let config = document[0]["Config"].as_object().into_iter().flatten();
        let mut fields: Vec<(&String, &Value)> = config
            .filter(|(name, value)| !is_empty(value) && !LEFT_OUT.contains(&name.as_str()))
            .collect();
        fields.sort_by_key(|(name, _)| *name);
        for (name, value) in fields {
            text += &format!("{name} = {}\n", in_order(value));
        }
        text
    }

    /// What dhow makes of a case.
    fn ours(&self, case: &Case) -> String {
        let context = case.context(self.sandbox.path());
        let built = self.build("ours", &case.arguments, &context);
        match built.status {
            0 => self.listing("ours"),
            _ => "refused\n".to_owned(),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The same with the names in objects in order: that of builders' own means nothing.
fn in_order(value: &Value) -> Value {
    let Value::Object(map) = value else {
        return value.clone();
    };
    let mut names: Vec<&String> = map.keys().collect();
    names.sort();
    let sorted = names
        .into_iter()
        .map(|name| (name.clone(), in_order(&map[name])));
    Value::Object(sorted.collect())
}

/// Fails with all cases that differ, each line of them with who has it.
#[track_caller]
pub(crate) fn expect_none(differences: &[String]) {
    assert!(
        differences.is_empty(),
        "{} differ\n{}",
        differences.len(),
        differences.concat()
    );
}

/// What differs between two listings of a case: nothing, or the lines that only one has.
pub(crate) fn difference(case: &str, wanted: &str, whose: &str, listing: &str) -> Option<String> {
    if listing == wanted {
        return None;
    }
    let only = |text: &str, other: &str| -> Vec<String> {
        let other: Vec<&str> = other.lines().collect();
        let lines = text.lines().filter(|line| !other.contains(line));
        lines.map(str::to_owned).collect()
    };
    let mut text = format!("== {case}\n");
    for line in only(wanted, listing) {
        text += &format!("  the case  {line}\n");
    }
    for line in only(listing, wanted) {
        text += &format!("  {whose:9} {line}\n");
    }
    Some(text)
}

fn recipes_become_the_trees_that_other_builders_make() {
    let ground = Ground::new();
    let cases = cases();
    assert!(cases.len() > 40, "{} cases", cases.len());
    let differences: Vec<String> = cases
        .iter()
        .filter_map(|case| difference(&case.name, &case.wanted, "dhow", &ground.ours(case)))
        .collect();
    expect_none(&differences);
}
