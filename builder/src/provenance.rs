//! How an image came about, as SLSA's provenance v1, laid out as BuildKit does. Pure but for the images that were found.
//! Not its job: where the document goes (`attest`).
//!
//! No clock is read: with SOURCE_DATE_EPOCH it is the build's time, and without there is none. No secret is named but by
//! its id, and the variables of proxies, which may hold passwords, are left out.

use std::collections::BTreeMap;

use image::{Digest, Predicate, Reference};
use serde_json::{Value, json};

use crate::attest::Provenance;
use crate::bases::Bases;
use crate::commit::timestamp;
use crate::graph;
use crate::material::Material;
use crate::places::Places;
use crate::plan::{Action, Plan, Step};
use crate::platform::Platform;
use crate::request::{NetworkDefault, Options};
use crate::source::Source;
use crate::stages::{Base, Origin};

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// Nothing that the person gave as a value.
    #[default]
    Min,
    /// Build args, labels, ids of secrets, and the steps too.
    Max,
}

/// What a build's provenance says, in any detail.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The recipe's name and content.
    recipe: (String, Option<Digest>),
    /// Where it and its context are from, if not from here.
    context: Option<Value>,
    /// The request in BuildKit's words.
    args: BTreeMap<String, String>,
    secrets: Vec<String>,
    agents: Vec<String>,
    platform: String,
    dependencies: Vec<Value>,
    steps: Vec<Value>,
    epoch: Option<i64>,
    /// Whether no step could reach another machine.
    hermetic: bool,
    /// Whether files of this host were taken.
    local: bool,
}

/// Variables that may hold a proxy's password.
const PROXIES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
];

/// What a build has found out beside its plan.
pub(crate) struct Sides<'a> {
    /// The images.
    pub(crate) bases: &'a Bases<'a>,
    /// The contexts.
    pub(crate) files: &'a Places,
    /// What steps got from servers.
    pub(crate) materials: &'a [Material],
}

/// Gathers them.
pub(crate) fn facts(source: &Source, options: &Options, plan: &Plan, sides: &Sides<'_>) -> Facts {
    let settings = &options.settings;
    let mut args = BTreeMap::new();
    for (name, value) in &settings.build_args {
        if !PROXIES.contains(&name.to_ascii_lowercase().as_str()) {
            args.insert(format!("build-arg:{name}"), value.clone());
        }
    }
    for (name, value) in &settings.labels {
        args.insert(format!("label:{name}"), value.clone());
    }
    if let Some(target) = &settings.target {
        args.insert("target".to_owned(), target.clone());
    }
    let name = source.name.rsplit('/').next().unwrap_or_default();
    let steps = plan.stages.iter().flat_map(|stage| {
        let name = stage.name.clone();
        let name = name.unwrap_or_else(|| stage.index.to_string());
        let step = move |text: &str| json!({"stage": name, "instruction": text});
        stage.steps.iter().map(move |one| step(&one.text))
    });
    Facts {
        recipe: (name.to_owned(), Some(Digest::of(source.text.as_bytes()))),
        context: sides.files.own.material().map(Material::descriptor),
        args,
        secrets: options.secrets.iter().map(|one| one.id.clone()).collect(),
        agents: options.agents.iter().map(|one| one.id.clone()).collect(),
        platform: Platform::here().to_string(),
        dependencies: dependencies(options, plan, sides),
        steps: steps.collect(),
        epoch: options.seconds(),
        hermetic: !plan
            .stages
            .iter()
            .flat_map(|stage| &stage.steps)
            .any(reaches),
        local: sides.files.any_local(),
    }
}

/// Whether a step can reach other machines by itself.
fn reaches(step: &Step) -> bool {
    matches!(&step.action, Action::Run(run) if run.network != NetworkDefault::None)
}

/// What came from elsewhere: images, then contexts, then what ADD has fetched. Each once.
fn dependencies(options: &Options, plan: &Plan, sides: &Sides<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |one: Value| {
        if !all.contains(&one) {
            all.push(one);
        }
    };
    for stage in &plan.stages {
        if let Base::Image(name) = &stage.base {
            add(image(name, stage.platform.as_ref(), sides.bases));
        }
        for origin in stage.steps.iter().flat_map(graph::origins) {
            if let Origin::Image(name) = origin {
                add(image(name, options.settings.platform.as_ref(), sides.bases));
            }
        }
    }
    let materials = sides.files.materials().chain(sides.materials);
    materials.map(Material::descriptor).for_each(add);
    all
}

/// An image, by the name that the recipe has for it, and by what was found under it.
fn image(name: &str, platform: Option<&Platform>, bases: &Bases<'_>) -> Value {
    let here = Platform::here();
    let shown = platform.unwrap_or(&here).to_string();
    let uri = match name.parse::<Reference>() {
        Ok(reference) => image::attestation::package_url(&reference, Some(&shown)),
        Err(_) => name.to_owned(),
    };
    let mut one = json!({"uri": uri});
    if let Ok(found) = bases.found(name, platform) {
        one["digest"] = json!({"sha256": found.manifest.hex()});
    }
    one
}

impl Facts {
    /// The build's time in seconds since 1970; its beginning where nobody has said one.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.unwrap_or(0)
    }

    /// The document, as it is asked for.
    pub(crate) fn predicate(&self, asked: &Provenance) -> Predicate {
        let all = asked.detail == Detail::Max;
        let told = |key: &str| !key.starts_with("build-arg:") && !key.starts_with("label:");
        let args: BTreeMap<&String, &String> = self
            .args
            .iter()
            .filter(|(key, _)| all || told(key))
            .collect();
        let ids_told = self.secrets.is_empty() && self.agents.is_empty();
        let complete = all || args.len() == self.args.len() && ids_told;
        let mut request = json!({"frontend": "dockerfile.v0", "args": args});
        if self.context.is_none() {
            request["locals"] = json!([{"name": "context"}, {"name": "dockerfile"}]);
        }
        if all {
            let ids =
                |ids: &[String]| -> Vec<Value> { ids.iter().map(|id| json!({"id": id})).collect() };
            for (key, ids) in [("secrets", ids(&self.secrets)), ("ssh", ids(&self.agents))] {
                if !ids.is_empty() {
                    request[key] = json!(ids);
                }
            }
        }
        let (name, digest) = &self.recipe;
        let mut config = match (&self.context, digest) {
            (Some(context), _) => context.clone(),
            (None, Some(digest)) => json!({"digest": {"sha256": digest.hex()}}),
            (None, None) => json!({}),
        };
        config["path"] = json!(name);
        let mut inner = json!({"builderPlatform": self.platform});
        if all {
            inner["buildConfig"] = json!({"steps": self.steps});
        }
        let metadata = self.metadata(asked, complete);
        Predicate {
            kind: "https://slsa.dev/provenance/v1".to_owned(),
            body: json!({
                "buildDefinition": {
                    "buildType": "urn:dhow:build:1",
                    "externalParameters": {"configSource": config, "request": request},
                    "internalParameters": inner,
                    "resolvedDependencies": self.dependencies,
                },
                "runDetails": {
                    "builder": {
                        "id": asked.builder.as_deref().unwrap_or("urn:dhow"),
                        "version": {"dhow": env!("CARGO_PKG_VERSION")},
                    },
                    "metadata": metadata,
                },
            }),
        }
    }

    /// What is said of the build itself; of its parameters, whether they are all there.
    fn metadata(&self, asked: &Provenance, complete: bool) -> Value {
        let mut metadata = json!({
            "buildkit_completeness": {
                "request": complete,
                "resolvedDependencies": self.hermetic && !self.local,
            },
        });
        for (key, is) in [
            ("buildkit_hermetic", self.hermetic),
            ("buildkit_reproducible", asked.reproducible),
        ] {
            if is {
                metadata[key] = json!(true);
            }
        }
        if let Some(epoch) = self.epoch {
            metadata["startedOn"] = json!(timestamp(epoch));
            metadata["finishedOn"] = json!(timestamp(epoch));
        }
        metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_ids_are_told_in_full_detail_alone() {
        let facts = Facts {
            args: BTreeMap::from([
                ("build-arg:A".to_owned(), "value".to_owned()),
                ("target".to_owned(), "t".to_owned()),
            ]),
            secrets: vec!["key".to_owned()],
            ..Facts::default()
        };
        let min = facts.predicate(&Provenance::default()).body.to_string();
        assert!(min.contains(r#""args":{"target":"t"}"#), "{min}");
        assert!(
            !min.contains("key\"") && min.contains(r#""request":false"#),
            "{min}"
        );
        assert!(!min.contains("startedOn"), "{min}");
        let asked = Provenance {
            detail: Detail::Max,
            builder: Some("https://me".to_owned()),
            reproducible: true,
            inline_only: false,
        };
        let max = facts.predicate(&asked).body.to_string();
        for part in [
            r#""build-arg:A":"value""#,
            r#""secrets":[{"id":"key"}]"#,
            r#""id":"https://me""#,
            r#""buildkit_reproducible":true"#,
        ] {
            assert!(max.contains(part), "{max}");
        }
    }
}
