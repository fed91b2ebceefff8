//! How an image came about, as SLSA's provenance v1, laid out as BuildKit does. Pure but for the images that were found.
//! Not its job: where the document goes (`attest`).
//!
//! No clock is read: with SOURCE_DATE_EPOCH it is the build's time, and without there is none. No secret is named but by
//! its id, and the variables of proxies, which may hold passwords, are left out.

use std::collections::BTreeMap;

use image::{Digest, Predicate, Reference};
use serde_json::{Value, json};

use crate::bases::Bases;
use crate::commit::timestamp;
use crate::graph;
use crate::plan::{Action, Plan};
use crate::platform::Platform;
use crate::remote::{self, Remote};
use crate::request::{Context, Options};
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
    /// The recipe's name and content, and where it is from if not from here.
    recipe: (String, Option<Digest>, Option<String>),
    /// The request in BuildKit's words.
    args: BTreeMap<String, String>,
    secrets: Vec<String>,
    agents: Vec<String>,
    platform: String,
    dependencies: Vec<Value>,
    steps: Vec<Value>,
    epoch: Option<i64>,
}

/// Variables that may hold a proxy's password.
const PROXIES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
];

/// Gathers them.
pub(crate) fn facts(source: &Source, options: &Options, plan: &Plan, bases: &Bases<'_>) -> Facts {
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
    let place = match &options.context {
        Context::Address(address) => Some(without_user(address)),
        _ => None,
    };
    let steps = plan.stages.iter().flat_map(|stage| {
        let name = stage.name.clone();
        let name = name.unwrap_or_else(|| stage.index.to_string());
        let step = move |text: &str| json!({"stage": name, "instruction": text});
        stage.steps.iter().map(move |one| step(&one.text))
    });
    Facts {
        recipe: (
            name.to_owned(),
            Some(Digest::of(source.text.as_bytes())),
            place,
        ),
        args,
        secrets: options.secrets.iter().map(|one| one.id.clone()).collect(),
        agents: options.agents.iter().map(|one| one.id.clone()).collect(),
        platform: Platform::here().to_string(),
        dependencies: dependencies(options, plan, bases),
        steps: steps.collect(),
        epoch: options.epoch,
    }
}

/// What came from elsewhere: images, files of web servers, repositories. Each once.
fn dependencies(options: &Options, plan: &Plan, bases: &Bases<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |one: Value| {
        if !all.contains(&one) {
            all.push(one);
        }
    };
    for stage in &plan.stages {
        if let Base::Image(name) = &stage.base {
            add(image(name, stage.platform.as_ref(), bases));
        }
        for step in &stage.steps {
            for origin in graph::origins(step) {
                if let Origin::Image(name) = origin {
                    add(image(name, options.settings.platform.as_ref(), bases));
                }
            }
            let Action::Copy(copy) = &step.action else {
                continue;
            };
            let Some(adding) = &copy.adding else {
                continue;
            };
            for address in &copy.sources {
                let checksum = adding.checksum.as_deref();
                match remote::remote(address) {
                    Ok(Some(Remote::File(address))) => {
                        add(resource(&without_user(&address), "sha256", checksum));
                    }
                    Ok(Some(Remote::Repository(it))) => {
                        let commit = checksum.or(it.checksum.as_deref());
                        let whole = commit.filter(|commit| commit.len() == 40);
                        add(resource(&without_user(address), "sha1", whole));
                    }
                    _ => {}
                }
            }
        }
    }
    all
}

fn resource(address: &str, kind: &str, checksum: Option<&str>) -> Value {
    let mut one = json!({"uri": address});
    if let Some(checksum) = checksum {
        let hex = checksum.split_once(':').map_or(checksum, |(_, hex)| hex);
        one["digest"] = json!({kind: hex});
    }
    one
}

/// An image, by the name that the recipe has for it, and by what was found under it.
fn image(name: &str, platform: Option<&Platform>, bases: &Bases<'_>) -> Value {
    let here = Platform::here();
    let shown = platform.unwrap_or(&here).to_string();
    let uri = match name.parse::<Reference>() {
        Ok(reference) => image::attestation::package_url(&reference, Some(&shown)),
        Err(_) => name.to_owned(),
    };
    let found = bases.found(name, platform).ok();
    let digest = found.map(|image| format!("sha256:{}", image.manifest.hex()));
    resource(&uri, "sha256", digest.as_deref())
}

/// An address without the name and password, or token, that it may hold.
fn without_user(address: &str) -> String {
    let address = address.split(['?']).next().unwrap_or_default();
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.find('/').unwrap_or(rest.len());
            let user = rest[..host].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[user..])
        }
        None => address.to_owned(),
    }
}

impl Facts {
    /// The build's time in seconds since 1970; its beginning where nobody has said one.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.unwrap_or(0)
    }

    /// The document, in that much detail.
    pub(crate) fn predicate(&self, detail: Detail, builder: Option<&str>) -> Predicate {
        let all = detail == Detail::Max;
        let told = |key: &str| !key.starts_with("build-arg:") && !key.starts_with("label:");
        let args: BTreeMap<&String, &String> = self
            .args
            .iter()
            .filter(|(key, _)| all || told(key))
            .collect();
        let complete = all || args.len() == self.args.len() && self.secrets.is_empty();
        let mut request = json!({
            "frontend": "dockerfile.v0",
            "args": args,
            "locals": [{"name": "context"}, {"name": "dockerfile"}],
        });
        if all {
            let ids =
                |ids: &[String]| -> Vec<Value> { ids.iter().map(|id| json!({"id": id})).collect() };
            for (key, ids) in [("secrets", ids(&self.secrets)), ("ssh", ids(&self.agents))] {
                if !ids.is_empty() {
                    request[key] = json!(ids);
                }
            }
        }
        let (name, digest, place) = &self.recipe;
        let mut config = json!({"path": name});
        if let Some(digest) = digest {
            config["digest"] = json!({"sha256": digest.hex()});
        }
        if let Some(place) = place {
            config["uri"] = json!(place);
        }
        let mut inner = json!({"builderPlatform": self.platform});
        if all {
            inner["buildConfig"] = json!({"steps": self.steps});
        }
        let mut metadata = json!({
            "buildkit_completeness": {"request": complete, "resolvedDependencies": false},
        });
        if let Some(epoch) = self.epoch {
            metadata["startedOn"] = json!(timestamp(epoch));
            metadata["finishedOn"] = json!(timestamp(epoch));
        }
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
                        "id": builder.unwrap_or("urn:dhow"),
                        "version": {"dhow": env!("CARGO_PKG_VERSION")},
                    },
                    "metadata": metadata,
                },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_what_may_be_secret() {
        for (address, shown) in [
            ("https://u:p@h/x?token=1", "https://h/x"),
            ("https://h/a@b", "https://h/a@b"),
            ("git@h:a/b.git", "git@h:a/b.git"),
            ("https://h/r.git#main", "https://h/r.git#main"),
        ] {
            assert_eq!(without_user(address), shown);
        }
    }

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
        let min = facts.predicate(Detail::Min, None).body.to_string();
        assert!(min.contains(r#""args":{"target":"t"}"#), "{min}");
        assert!(
            !min.contains("key\"") && min.contains(r#""request":false"#),
            "{min}"
        );
        assert!(!min.contains("startedOn"), "{min}");
        let max = facts
            .predicate(Detail::Max, Some("https://me"))
            .body
            .to_string();
        for part in [
            r#""build-arg:A":"value""#,
            r#""secrets":[{"id":"key"}]"#,
            r#""id":"https://me""#,
        ] {
            assert!(max.contains(part), "{max}");
        }
    }
}
