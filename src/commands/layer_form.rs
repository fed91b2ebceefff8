//! `--layers`: what a command that brings images keeps their layers as. Not its job: making either (image).

use image::{Form, Store};

use crate::global::Global;
use crate::report::{Failure, because};

/// How new layers are kept.
#[derive(Debug, clap::Args)]
pub(super) struct LayerForm {
    /// What new layers become: folder, or image (a file each: quicker to load and remove, slower to run)
    #[arg(long, value_name = "FORM", default_value = "folder", value_parser = form)]
    layers: Form,
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "folder" => Ok(Form::Folder),
        "image" => Ok(Form::Image),
        _ => Err(format!("{text:?} is no form; folder and image are")),
    }
}

impl LayerForm {
    /// The store of images, which keeps new layers as was asked for. Where images can't be had, that is told, and they
    /// become folders.
    pub(super) fn store(&self, global: &Global) -> Result<Store, Failure> {
        let mut store = Store::open(&global.image_store()?).map_err(because)?;
        if self.layers == Form::Image
            && let Err(why) = store.keep_images()
        {
            let why = because(why);
            eprintln!("{}: layers become folders: {why}", global.name);
        }
        Ok(store)
    }
}
