//! A mount's option words (apart by commas) → what is done with them: no word is lost, later ones win.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oci_spec::runtime::MountBuilder;
use rootfs::options::MountOptions;
use rootfs::{CgroupView, Surroundings};

/// MOUNT_ATTR__ATIME: a value of several bits, taken away as a whole before one is set.
const ATIME: u64 = 0x70;

fuzz_target!(|text: &str| {
    let words: Vec<&str> = text.split(',').collect();
    let once = MountOptions::parse(&words);
    for change in [once.attr, once.recursive] {
        assert_eq!(change.set & change.clear & !ATIME, 0, "{text}");
        assert!(
            change.set & ATIME == 0 || change.clear & ATIME == ATIME,
            "{text}"
        );
    }
    // What wins wins again.
    let twice = MountOptions::parse(words.iter().chain(&words));
    assert_eq!(twice.attr, once.attr);
    assert_eq!(
        (twice.recursive, twice.bind, &twice.ids),
        (once.recursive, once.bind, &once.ids)
    );
    for word in words.iter().filter(|word| !word.is_empty()) {
        let known = rootfs::options::known().any(|known| known == *word);
        let mapped = word.starts_with("idmap=") || word.starts_with("ridmap=");
        let key = word.split('=').next().unwrap_or_default();
        let own = once.data.iter().any(|data| data.key == key);
        assert!(known || mapped || own, "{word} is lost");
    }
    let read_only = MountOptions::parse(words.iter().chain(&["ro"]));
    assert_ne!(read_only.attr.set & 1, 0, "the last word is ro");
    steps(text, &words);
});

fn steps(text: &str, words: &[&str]) {
    let around = Surroundings {
        bundle: Path::new("/b"),
        cgroup: CgroupView::Namespace,
        label: None,
        propagation: None,
    };
    let (kind, rest) = words.split_first().unwrap_or((&"", &[]));
    let options: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
    let mount = MountBuilder::default()
        .typ(*kind)
        .source("source")
        .destination(format!("/{kind}"))
        .options(options)
        .build();
    let Ok(mount) = mount else { return };
    match rootfs::steps(&[mount], &around) {
        Ok(steps) => {
            assert_eq!(steps.len(), 1, "{text}");
            assert!(steps[0].destination.is_absolute());
            assert!(!steps[0].to_string().is_empty());
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}
