//! E8: what is compressed, by any program that people use, and what inflates to far more than it is.
//! Not its job: what the tars hold.

use std::path::PathBuf;
use std::process::Command;

use super::archive::{config, digest, docker, docker_of, file, folder, kept, put, tar};
use crate::build::Site;
use crate::support::{Output, claims, run};

claims![
    e08_what_is_packed_is_read_whatever_packed_it: [Root, Dhow, Tool("bzip2"), Tool("gzip"), Tool("xz"), Tool("zstd")],
    e08_a_bomb_ends_in_one_line_and_leaves_nothing: [Root, Dhow, Tool("gzip")],
    e08_of_large_windows_there_is_one_at_a_time: [Root, Dhow, Tool("python3"), Tool("zstd")],
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

/// Memory is what gzip may take, and one window over 8 MiB.
fn e08_of_large_windows_there_is_one_at_a_time() {
    for (log, most) in [(23, 64), (27, 64 + 128)] {
        let site = Site::bare();
        let archive = windows(&site, log);
        for words in [&["load", "--quiet", &archive][..], &["store", "check"]] {
            let peak = peak(&site, words);
            let window = (1 << log) >> 20;
            assert!((window..most).contains(&peak), "{words:?}: {peak} MiB");
        }
    }
}

/// How many MiB of memory a command takes at most.
fn peak(site: &Site, words: &[&str]) -> u64 {
    let measure = "import resource, subprocess, sys\n\
        status = subprocess.run(sys.argv[1:]).returncode\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
        sys.exit(status)";
    let dhow = site.dhow();
    let mut command = Command::new("python3");
    command.args(["-c", measure]).arg(dhow.get_program());
    let output = run(command.args(dhow.get_args()).args(words)).success();
    let peak = output.stdout.lines().last().unwrap();
    peak.parse::<u64>().unwrap() >> 10
}

/// An archive of three layers, each with a window of 2^`log` bytes that its zeros fill, and each but the first leaning on
/// those below.
fn windows(site: &Site, log: usize) -> String {
    let length = (1 << log) + (2 << 20);
    let mut layer = vec![0; length];
    let names = ["d/0", "d/1", "d/2"];
    let parts = names.map(|name| match name {
        "d/0" => tar(&[folder("d"), file(name)]),
        _ => tar(&[file(name)]),
    });
    let mut blobs = Vec::new();
    let mut diff_ids = Vec::new();
    for part in &parts {
        layer[..part.len()].copy_from_slice(part);
        diff_ids.push(digest(&layer));
        layer[..part.len()].fill(0);
        let zeros = length - part.len();
        let packed = site.folder().join("zeros");
        let line = format!(
            "head -c {zeros} /dev/zero | zstd -q -1 --long={log} > {}",
            packed.display()
        );
        run(Command::new("sh").args(["-c", &line])).success();
        let small = pack(site, "zstd -q", part);
        blobs.push([small, std::fs::read(packed).unwrap()].concat());
    }
    let mut config = config(&[]);
    config["rootfs"]["diff_ids"] = diff_ids.into();
    put(&site.sandbox, &docker_of(&config, &blobs))
}
