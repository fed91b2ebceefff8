//! For integration/bench/layers: loads an archive into a store with its layers as folders or as images, shows the image's
//! tree at a folder, and removes it. Not its job: being a command.
//!
//! `forms STORE load ARCHIVE folder|image`, `forms STORE mount DIR`, `forms STORE remove`

use std::error::Error;
use std::path::Path;

use dhow_image::{LoadOptions, Removal, Source, Store};
use sys::mount::{Attr, FsContext, attach};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let open = |path: &str| Store::open(Path::new(path));
    match words[..] {
        [path, "load", archive, form] => {
            let mut store = open(path)?;
            if form == "image" {
                store.keep_images()?;
            }
            store.load(Source::Path(archive.into()), &LoadOptions::default())?;
        }
        [path, "mount", dir] => {
            let overlay = FsContext::new("overlay")?;
            overlay.set("source", "overlay")?;
            // An overlay takes no layer whose own mount is gone: they are held until it is made.
            let mut layers = Vec::new();
            for image in open(path)?.images()? {
                for layer in image.lower() {
                    layers.push(layer.layer()?);
                }
            }
            for layer in &layers {
                overlay.set_fd("lowerdir+", layer)?;
            }
            // Overlay wants two layers: the folder below the mount is empty.
            overlay.set_fd("lowerdir+", sys::file::open_path(dir)?)?;
            attach(
                overlay.mount(Attr::MOUNT_ATTR_RDONLY)?,
                sys::file::open_path(dir)?,
            )?;
        }
        [path, "remove"] => {
            let store = open(path)?;
            for image in store.images()? {
                store.remove(&image.id.to_string(), Removal::Whole)?;
            }
        }
        _ => return Err("forms STORE load ARCHIVE folder|image, mount DIR, or remove".into()),
    }
    Ok(())
}
