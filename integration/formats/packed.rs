//! Layers that somebody packed, in and out of every form. Not its job: what bombs and damaged ones do (security).

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{FORMS, bytes, identity};
use crate::security::archive::{config, docker_of};
use crate::support::image::tar;
use crate::support::image_store::ImageStore;
use crate::support::{claims, run};

claims![
    a_packed_layer_goes_round_as_it_is_in_every_form: [Dhow, Tool("gzip"), Tool("xz"), Tool("zstd")],
];

const IMAGE: &str = "evil:latest";

fn a_packed_layer_goes_round_as_it_is_in_every_form() {
    let layers = ["one", "two"].map(|name| tar(&[(name, &name.repeat(5000))]));
    let config = config(&layers);
    for program in ["gzip", "zstd -q", "xz"] {
        let first = ImageStore::new();
        let pack = |layer: &Vec<u8>| {
            let (plain, packed) = (first.path("plain"), first.path("packed"));
            fs::write(&plain, layer).unwrap();
            let line = format!("{program} < {} > {}", plain.display(), packed.display());
            run(Command::new("sh").args(["-c", &line])).success();
            fs::read(packed).unwrap()
        };
        let blobs: Vec<Vec<u8>> = layers.iter().map(pack).collect();
        let path = first.path("image.tar");
        fs::write(&path, docker_of(&config, &blobs)).unwrap();
        first.take(&path);
        let known = identity(&first, IMAGE);
        let save = |store: &ImageStore, form: &str| {
            let path = store.path(form);
            let out = path.to_str().unwrap();
            store
                .dhow(["save", "--format", form, "-o", out, IMAGE])
                .success();
            path
        };
        for form in FORMS {
            let saved = save(&first, form);
            let second = ImageStore::new();
            second.take(&saved);
            if form == "docker-archive" {
                // It holds layers as they are unpacked, and no manifest: the image is the same, and how it came is not.
                let id = known.split(' ').next().unwrap();
                assert!(identity(&second, IMAGE).starts_with(id), "{program}");
            } else {
                assert_eq!(identity(&second, IMAGE), known, "{program} {form}");
                assert!(holds(&saved, &blobs[1]), "{program} {form}");
            }
            assert!(
                bytes(&save(&second, form)) == bytes(&saved),
                "{program} {form}"
            );
        }
    }
}

/// Whether a saved image has this blob, byte for byte.
fn holds(saved: &Path, blob: &[u8]) -> bool {
    let all = bytes(saved);
    all.iter()
        .any(|(_, bytes)| bytes.windows(blob.len()).any(|window| window == blob))
}
