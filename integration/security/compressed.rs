//! E8: what is compressed, by any program that people use, and what inflates to far more than it is.
//! Not its job: what the tars hold.

use std::path::PathBuf;
use std::process::Command;

use super::archive::{config, docker, docker_of, file, kept, put, tar};
use crate::build::Site;
use crate::support::{Output, claims, run};

claims![
    e08_what_is_packed_is_read_whatever_packed_it: [Root, Dhow, Tool("bzip2"), Tool("gzip"), Tool("xz"), Tool("zstd")],
    e08_a_bomb_ends_in_one_line_and_leaves_nothing: [Root, Dhow, Tool("gzip")],
];

fn pack(site: &Site, program: &str, bytes: &[u8]) -> Vec<u8> {
    let path: PathBuf = site.folder().join("plain");
    std::fs::write(&path, bytes).unwrap();
    let packed = site.folder().join("packed");
    let line = format!("{program} -c < {} > {}", path.display(), packed.display());
    run(Command::new("sh").args(["-c", &line])).success();
    std::fs::read(packed).unwrap()
}

fn load(site: &Site, archive: &[u8]) -> Output {
    let path = put(&site.sandbox, archive);
    run(site.dhow().args(["load", "--quiet", "--force", &path]))
}

fn e08_what_is_packed_is_read_whatever_packed_it() {
    let site = Site::bare();
    let layer = tar(&[file("f")]);
    let plain = docker(std::slice::from_ref(&layer));
    let id = load(&site, &plain).success().stdout;
    for program in ["gzip", "bzip2", "xz", "zstd"] {
        let blob = pack(&site, program, &layer);
        let of_layer = docker_of(&config(std::slice::from_ref(&layer)), &[blob]);
        let of_all = pack(&site, program, &plain);
        for archive in [of_layer, of_all] {
            run(site.dhow().args(["rmi", "evil:latest"])).success();
            assert_eq!(load(&site, &archive).success().stdout, id, "{program}");
        }
    }
}

/// 1.25 GiB of zeros in 80 members of gzip, behind a layer's end: nothing of it would be written.
fn e08_a_bomb_ends_in_one_line_and_leaves_nothing() {
    let site = Site::bare();
    let layer = tar(&[file("f")]);
    let zeros = pack(&site, "gzip -9", &vec![0; 16 << 20]);
    let blob = [pack(&site, "gzip", &layer), zeros.repeat(80)].concat();
    let told = load(&site, &docker_of(&config(&[layer]), &[blob]))
        .ends_with(1)
        .stderr;
    let words = "inflates to more than 1073741824 bytes";
    assert!(told.contains(words) && told.lines().count() == 1, "{told}");
    assert_eq!(kept(&site.folder().join("store")), Vec::<String>::new());
}
