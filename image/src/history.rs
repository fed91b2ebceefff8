//! How an image came about: its config's history, each entry with the layer that it made. Pure.
//! Not its job: showing it.

use crate::{Image, Layer};

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When, as the config says it: any text.
    pub created: String,
    /// By whom, as the config says it.
    pub author: String,
    /// The command, as the config says it.
    pub created_by: String,
    /// A remark of the builder's.
    pub comment: String,
    /// The layer that it made; none where it changed the config alone.
    pub layer: Option<Layer>,
}

/// The steps of `image`, the first one first. Nothing makes a history tell of as many layers as there are: a layer that
/// no entry tells of stands at the end with empty words, and an entry too many has no layer.
pub fn history(image: &Image) -> Vec<HistoryEntry> {
    let mut layers = image.layers.iter().cloned();
    let told = image.configuration.history().iter().flatten();
    let mut steps: Vec<HistoryEntry> = told
        .map(|entry| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            HistoryEntry {
                created: text(entry.created()),
                author: text(entry.author()),
                created_by: text(entry.created_by()),
                comment: text(entry.comment()),
                layer: match entry.empty_layer() {
                    Some(true) => None,
                    _ => layers.next(),
                },
            }
        })
        .collect();
    steps.extend(layers.map(|layer| HistoryEntry {
        layer: Some(layer),
        ..HistoryEntry::default()
    }));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, manifest};

    fn image(history: serde_json::Value, layers: &[&str]) -> Image {
        let layers: Vec<Layer> = layers
            .iter()
            .map(|name| Layer {
                diff_id: Digest::of(name.as_bytes()),
                tar_size: 1,
                blob: Digest::of(b"blob"),
                size: 1,
                media_type: String::new(),
                path: name.into(),
                form: crate::store::Form::Folder,
                covers: false,
                states_root: false,
            })
            .collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "history": history,
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| l.diff_id).collect::<Vec<_>>()},
        });
        let config = serde_json::to_vec(&config).unwrap();
        Image {
            id: Digest::of(&config),
            manifest: Digest::of(b"m"),
            names: Vec::new(),
            layers,
            configuration: manifest::configuration(&config).unwrap(),
            config,
        }
    }

    fn made(image: &Image) -> Vec<(String, Option<String>)> {
        let path = |layer: Layer| layer.path.display().to_string();
        let steps = history(image).into_iter();
        steps
            .map(|step| (step.created_by, step.layer.map(path)))
            .collect()
    }

    #[test]
    fn each_entry_has_the_layer_it_made() {
        let entries = serde_json::json!([
            {"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": true}, {"created_by": "RUN", "empty_layer": false},
        ]);
        let expected = [("ADD", Some("a")), ("ENV", None), ("RUN", Some("b"))];
        let expected = expected.map(|(by, layer)| (by.to_owned(), layer.map(str::to_owned)));
        assert_eq!(made(&image(entries, &["a", "b"])), expected);
    }

    #[test]
    fn a_history_that_does_not_fit_loses_no_layer() {
        let entries = serde_json::json!([{"created_by": "ADD"}]);
        let layers = |image: &Image| -> Vec<bool> {
            made(image)
                .iter()
                .map(|(_, layer)| layer.is_some())
                .collect()
        };
        assert_eq!(layers(&image(entries.clone(), &["a", "b"])), [true, true]);
        assert_eq!(layers(&image(entries, &[])), [false]);
        assert_eq!(layers(&image(serde_json::Value::Null, &["a"])), [true]);
    }
}
