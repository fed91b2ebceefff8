//! Two layers, one over the other → folders beside a canary: whatever they hold, the canary stays as it is.
#![no_main]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match seed % 4 {
        0 => {
            let size = fuzzer_mutate(data, size, max_size);
            mutate::checked(data, size)
        }
        _ => mutate::tar(data, size, max_size, seed),
    }
});

/// A folder of this process's own, in memory if there is such a place.
fn jail() -> &'static Path {
    static JAIL: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = JAIL.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let jail = tempfile::tempdir_in(above).expect("a folder can be made");
        fs::create_dir_all(jail.path().join("a/b")).expect("a folder can be made");
        fs::write(jail.path().join("a/f"), "precious").expect("a file can be made");
        jail
    });
    made.path()
}

/// All that a layer could change beside its folder.
fn look(jail: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    let mut pending = vec![jail.to_owned()];
    while let Some(path) = pending.pop() {
        let m = fs::symlink_metadata(&path).expect("it is there");
        if path != jail {
            let facts = (
                m.mode(),
                m.uid(),
                m.gid(),
                m.nlink(),
                m.mtime(),
                m.mtime_nsec(),
                m.ino(),
            );
            seen.push(format!("{path:?} {facts:?}"));
        }
        if m.is_dir() && !path.ends_with("layers") {
            let names = fs::read_dir(&path).expect("it can be read");
            pending.extend(names.map(|name| name.expect("it can be read").path()));
        }
    }
    seen.sort();
    seen.retain(|line| !line.contains("/layers\""));
    seen
}

fuzz_target!(|bytes: &[u8]| {
    let layers: PathBuf = jail().join("layers");
    let before = look(jail());
    fs::create_dir_all(&layers).expect("a folder can be made");
    let half = bytes.len() / 1024 * 512;
    for (name, part) in [("0", &bytes[..half]), ("1", &bytes[half..])] {
        fs::create_dir(layers.join(name)).expect("a folder can be made");
        let open = |name: &str| sys::file::open_dir(layers.join(name)).expect("it was just made");
        let below = || {
            if name == "1" {
                vec![open("0")]
            } else {
                Vec::new()
            }
        };
        let _taken_or_refused = image::fuzz::apply(part, open(name), &below);
    }
    assert_eq!(look(jail()), before);
    let jail = sys::file::open_dir(jail()).expect("it was made");
    sys::file::remove_tree(&jail, "layers").expect("it can be removed");
});
