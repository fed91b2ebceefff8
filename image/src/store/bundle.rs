//! Unpacks an image into a bundle that any runtime runs: a plain tree `rootfs` and a config.json. Not
//! its job: running it.

use std::path::Path;

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sys::beneath::Root;
use sys::file::{self, Durability};

use super::{Image, Layer, Store};
use crate::error::Doing;
use crate::layer::flatten::{Source, flatten};
use crate::to_spec::{RunOptions, spec};
use crate::{Digest, Error, Result, user};

impl Store {
    /// Makes the bundle `dir` of an image. `dir` must be missing or empty.
    ///
    /// # Errors
    /// Names the path that is in the way, or what the image's config lacks; nothing is left behind.
    pub fn unpack(&self, image: &Image, dir: &Path) -> Result<()> {
        let doing = || format!("unpack {} to {}", image.id, dir.display());
        let fresh = !file::exists(dir).doing(doing)?;
        if fresh {
            file::create_dir(dir, 0o755).doing(doing)?;
        } else if !file::list(file::open_dir(dir).doing(doing)?)
            .doing(doing)?
            .is_empty()
        {
            return Err(Error::refused(doing(), "the directory is not empty"));
        }
        let result = self.fill(image, dir).map_err(|e| e.inside(doing()));
        if result.is_err() {
            remove_again(dir, fresh);
        }
        result
    }

    fn fill(&self, image: &Image, dir: &Path) -> Result<()> {
        let _lease = self.hold(&image.layers)?;
        self.use_image(image)?;
        let layers = sources(&image.layers)?;
        let rootfs = dir.join("rootfs");
        let doing = || format!("make {}", rootfs.display());
        file::create_dir(&rootfs, 0o755).doing(doing)?;
        flatten(layers, file::open_dir(&rootfs).doing(doing)?)?;
        let root = Root::new(file::open_dir(&rootfs).doing(doing)?);
        let config = image.configuration.config().as_ref();
        let wanted = config
            .and_then(|config| config.user().as_deref())
            .unwrap_or("");
        let user = user::lookup(&root, wanted)?;
        let mut options = RunOptions::default();
        let has = |words: &Option<Vec<String>>| words.as_ref().is_some_and(|w| !w.is_empty());
        if !config.is_some_and(|config| has(config.entrypoint()) || has(config.cmd())) {
            // A bundle must name a program; people edit it anyway.
            options.args = vec!["/bin/sh".to_owned()];
        }
        let spec = spec(&image.configuration, &user, &options)?;
        let bytes = document(&spec)?;
        let fd = file::open_dir(dir).doing(doing)?;
        let beside = Beside { image: image.id };
        let mut beside = serde_json::to_vec(&beside).map_err(|e| Error::Json {
            what: BESIDE.to_owned(),
            fault: e.to_string(),
        })?;
        beside.push(b'\n');
        for (name, bytes) in [("config.json", bytes), (BESIDE, beside)] {
            file::replace(&fd, name, &bytes, 0o644, Durability::Memory)
                .doing(|| format!("write {}", dir.join(name).display()))?;
        }
        Ok(())
    }
}

/// What stands beside config.json, so that a changed bundle can be repacked.
pub(super) const BESIDE: &str = "dhow.json";

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Beside {
    /// The id of the image that the bundle was made of.
    pub(super) image: Digest,
}

/// The layers that show, top first.
pub(super) fn sources(layers: &[Layer]) -> Result<Vec<Source>> {
    let hidden = layers.iter().rposition(|layer| layer.covers).unwrap_or(0);
    let mut sources = Vec::new();
    for layer in layers[hidden..].iter().rev() {
        let fd = layer.tree().open();
        let fd = fd.doing(|| format!("open layer {}", layer.diff_id))?;
        sources.push(Source {
            root: Root::new(fd),
            states_root: layer.states_root,
        });
    }
    Ok(sources)
}

/// The bytes of config.json, the same for the same spec: capabilities are a set without an order there.
fn document(spec: &Spec) -> Result<Vec<u8>> {
    let json = |fault: serde_json::Error| Error::Json {
        what: "config.json".to_owned(),
        fault: fault.to_string(),
    };
    let mut value = serde_json::to_value(spec).map_err(json)?;
    let sets = value.pointer_mut("/process/capabilities");
    for set in sets
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|sets| sets.values_mut())
    {
        if let Some(set) = set.as_array_mut() {
            set.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    let mut bytes = serde_json::to_vec_pretty(&value).map_err(json)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Takes back what was made; what can't be removed is named by the error that is on its way already.
fn remove_again(dir: &Path, fresh: bool) {
    if let Ok(fd) = file::open_dir(dir) {
        for name in ["rootfs", "config.json", BESIDE] {
            let _left_over = file::remove_tree(&fd, name);
        }
    }
    if fresh {
        let _left_over = file::remove_dir(dir);
    }
}
