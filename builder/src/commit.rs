//! A finished stage → the image's config document. Pure: the same build gives the same bytes on any day
//! and any machine. Not its job: storing it.

use image::Layer;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::platform::{self, Platform};

/// One line of an image's history.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    /// The instruction.
    pub(crate) text: String,
    /// Whether a layer came of it.
    pub(crate) layer: bool,
}

/// What an image's document begins with: its base's fields, known or not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    fields: Map<String, Value>,
    /// What this build adds.
    pub(crate) past: Vec<Past>,
}

impl Document {
    /// The document of a base image.
    pub(crate) fn of_base(bytes: &[u8]) -> Self {
        Self {
            fields: serde_json::from_slice(bytes).unwrap_or_default(),
            past: Vec::new(),
        }
    }

    /// The document of an image that stands on nothing.
    pub(crate) fn of_scratch(platform: &Platform) -> Self {
        let mut document = Self::default();
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                document.fields.insert(name.to_owned(), json!(value));
            }
        };
        set("architecture", &platform.architecture);
        set("os", &platform.os);
        set("variant", &platform.variant);
        document
    }

    /// The bytes of the image's config.
    pub(crate) fn bytes(
        &self,
        config: &Config,
        author: Option<&str>,
        layers: &[Layer],
        epoch: i64,
    ) -> Vec<u8> {
        let mut fields = self.fields.clone();
        let created = timestamp(epoch);
        fields
            .entry("architecture")
            .or_insert_with(|| platform::native().into());
        fields.entry("os").or_insert_with(|| "linux".into());
        fields.insert("created".to_owned(), json!(created));
        if let Some(author) = author {
            fields.insert("author".to_owned(), json!(author));
        }
        fields.insert("config".to_owned(), json!(config));
        let diff_ids: Vec<String> = layers.iter().map(|l| l.diff_id.to_string()).collect();
        fields.insert(
            "rootfs".to_owned(),
            json!({"type": "layers", "diff_ids": diff_ids}),
        );
        let history = fields
            .entry("history")
            .or_insert_with(|| Value::Array(Vec::new()));
        if !history.is_array() {
            *history = Value::Array(Vec::new());
        }
        if let Value::Array(history) = history {
            history.extend(self.past.iter().map(|past| {
                let mut line =
                    json!({"created": created, "created_by": past.text, "comment": "dhow"});
                if !past.layer {
                    line["empty_layer"] = json!(true);
                }
                line
            }));
        }
        // Facts of the container that once made the base are none of this image.
        for stale in [
            "container",
            "container_config",
            "docker_version",
            "id",
            "parent",
            crate::carry::FIELD,
        ] {
            fields.shift_remove(stale);
        }
        // A map of strings to values always can be written.
        serde_json::to_vec(&fields).unwrap_or_default()
    }
}

/// Seconds since 1970 in RFC 3339.
pub fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_of_the_base_stay_and_history_grows() {
        let base = br#"{"architecture":"arm64","os":"linux","x":1,"container":"old","history":[{"created_by":"a"}]}"#;
        let mut document = Document::of_base(base);
        document.past.push(Past {
            text: "ENV A=1".to_owned(),
            layer: false,
        });
        let bytes = document.bytes(&Config::scratch(), None, &[], 0);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["architecture"], "arm64");
        assert_eq!(value["x"], 1);
        assert_eq!(value.get("container"), None);
        assert_eq!(value["history"][1]["created_by"], "ENV A=1");
        assert_eq!(value["history"][1]["empty_layer"], true);
        assert_eq!(value["created"], "1970-01-01T00:00:00Z");
    }
}
