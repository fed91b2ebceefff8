//! Images from dhow to other people's tools, and back. Not its job: the forms themselves (formats), Docker (peers).

use std::fs;
use std::process::Command;

use super::{NAME, identity, image, save};
use crate::support::image_store::ImageStore;
use crate::support::{claims, run};

claims![
    podman_reads_what_dhow_saves_and_the_other_way: [Root, Dhow, FullSpeed, Tool("podman")],
    skopeo_and_umoci_read_what_dhow_saves_and_the_other_way: [Root, Dhow, FullSpeed, Tool("skopeo"), Tool("umoci")],
    buildah_reads_what_dhow_saves_and_the_other_way: [Root, Dhow, FullSpeed, Tool("buildah")],
];

/// A tool that keeps its images in a folder of its own.
fn tool(store: &ImageStore, name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(store.path("."));
    command
        .env("TMPDIR", store.path("."))
        .env("HOME", store.path("."));
    command
        .args(["--storage-driver", "vfs", "--root"])
        .arg(store.path("theirs"));
    command.arg("--runroot").arg(store.path("theirs-run"));
    command
}

fn podman_reads_what_dhow_saves_and_the_other_way() {
    let store = ImageStore::new();
    store.load(&image());
    for form in ["docker-archive", "oci-archive"] {
        save(&store, form);
        let mut podman = tool(&store, "podman");
        run(podman.args(["load", "-q", "-i", form])).success();
        let mut podman = tool(&store, "podman");
        let id = run(podman.args(["inspect", "-t", "image", "-f", "{{.Id}}", NAME]))
            .success()
            .stdout;
        assert_eq!(format!("sha256:{}", id.trim()), image().id(), "{form}");
    }
    for form in ["docker-archive", "oci-archive"] {
        let archive = store.path("by-podman.tar");
        let _ = fs::remove_file(&archive);
        let mut podman = tool(&store, "podman");
        run(podman.args(["save", "-q", "--format", form, "-o", "by-podman.tar", NAME])).success();
        let ours = ImageStore::new();
        ours.take(&archive);
        assert!(identity(&ours, NAME).starts_with(&image().id()), "{form}");
    }
}

fn skopeo_and_umoci_read_what_dhow_saves_and_the_other_way() {
    let store = ImageStore::new();
    store.load(&image());
    let skopeo = |from: &str, to: &str| {
        let mut skopeo = Command::new("skopeo");
        skopeo
            .current_dir(store.path("."))
            .env("TMPDIR", store.path("."));
        run(skopeo.args(["copy", "--quiet", from, to])).success();
    };
    for (form, source) in [
        ("docker-archive", "docker-archive:docker-archive"),
        ("oci-archive", "oci-archive:oci-archive"),
        ("oci-dir", "oci:oci-dir"),
    ] {
        save(&store, form);
        skopeo(source, &format!("oci:by-skopeo-{form}:{NAME}"));
        let ours = ImageStore::new();
        ours.take(&store.path(&format!("by-skopeo-{form}")));
        if form == "docker-archive" {
            // Its config becomes another, of OCI's fields alone; the layers stay.
            let words = ["inspect", "--format", "{RootFS}", NAME];
            let [theirs, mine] = [&ours, &store].map(|s| s.dhow(words).success().stdout);
            assert_eq!(theirs, mine);
            continue;
        }
        assert!(identity(&ours, NAME).starts_with(&image().id()), "{form}");
    }
    let mut umoci = Command::new("umoci");
    umoci.current_dir(store.path("."));
    run(umoci.args(["unpack", "--image", &format!("oci-dir:{NAME}"), "bundle"])).success();
    for name in ["one", "two"] {
        let text = fs::read_to_string(store.path("bundle/rootfs").join(name)).unwrap();
        assert_eq!(text, format!("the file {name}\n"));
    }
    fs::write(store.path("bundle/rootfs/three"), "new\n").unwrap();
    let mut umoci = Command::new("umoci");
    umoci.current_dir(store.path("."));
    run(umoci.args(["repack", "--image", "oci-dir:three", "bundle"])).success();
    // Two names of two images in one layout; the first has the layers of both but one.
    let ours = ImageStore::new();
    ours.take(&store.path("oci-dir"));
    assert!(identity(&ours, NAME).starts_with(&image().id()));
    let layers = ours.json(["inspect", "three"])[0]["Layers"].clone();
    assert_eq!(layers.as_array().map(Vec::len), Some(3));
    assert!(layers[2]["MediaType"].as_str().unwrap().ends_with("+gzip"));
}

fn buildah_reads_what_dhow_saves_and_the_other_way() {
    let store = ImageStore::new();
    store.load(&image());
    let saved = save(&store, "oci-archive");
    let mut buildah = tool(&store, "buildah");
    run(buildah.args(["pull", "-q", &format!("oci-archive:{}", saved.display())])).success();
    for form in ["docker-archive", "oci-archive"] {
        let mut buildah = tool(&store, "buildah");
        let target = format!("{form}:by-buildah-{form}:{NAME}");
        run(buildah.args(["push", "-q", NAME, &target])).success();
        let ours = ImageStore::new();
        ours.take(&store.path(&format!("by-buildah-{form}")));
        assert!(identity(&ours, NAME).starts_with(&image().id()), "{form}");
    }
}
