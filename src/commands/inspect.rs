//! `dhow inspect`: all that is known of images, as JSON.

use std::ffi::OsString;

use image::{Image, Layer};
use serde_json::{Value, json};

use super::images::digests;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say};
use crate::template::Format;

/// Show all that is known of images as JSON
#[derive(Debug, clap::Parser)]
#[command(name = "inspect")]
struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// `json`, or a template: `{Id} {Config.Env[0]}`
    #[arg(short, long, value_parser = Format::parse, default_value = "json")]
    format: Format,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = image::Store::open(&global.image_store()?).map_err(because)?;
    let mut all = Vec::new();
    for wanted in &args.images {
        let image = store.find(wanted).map_err(because)?;
        all.push(describe(&image)?);
    }
    match args.format.for_programs(&all)? {
        Some(text) => say(format_args!("{text}")),
        None => return Err(Failure::new("--format table: an image is more than a line")),
    }
    Ok(0)
}

/// docker's names of fields, where docker has the field. The config's own words are as they came.
fn describe(image: &Image) -> Result<Value, Failure> {
    let config: Value = serde_json::from_slice(&image.config).map_err(because)?;
    let part = |name: &str| config.get(name).cloned().unwrap_or(Value::Null);
    Ok(json!({
        "Id": image.id,
        "Manifest": image.manifest,
        "RepoTags": image.names.iter().map(|name| name.familiar()).collect::<Vec<_>>(),
        "RepoDigests": digests(image),
        "Created": part("created"),
        "Author": part("author"),
        "Architecture": part("architecture"),
        "Variant": part("variant"),
        "Os": part("os"),
        "Size": image.size(),
        "Config": part("config"),
        "History": part("history"),
        "RootFS": {"Type": "layers", "Layers": diff_ids(&image.layers)},
        "Layers": image.layers.iter().map(layer).collect::<Vec<_>>(),
    }))
}

fn diff_ids(layers: &[Layer]) -> Vec<String> {
    layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect()
}

fn layer(layer: &Layer) -> Value {
    json!({
        "DiffId": layer.diff_id,
        "DiffSize": layer.tar_size,
        "Digest": layer.blob,
        "Size": layer.size,
        "MediaType": layer.media_type,
        "Path": layer.path,
    })
}
