//! The device filter, as the kernel takes it and as a process meets it.

use std::path::PathBuf;

use cgroups::Cgroup;
use cgroups::devices::Filter;
use sys::process::{CloneRequest, Cloned};

use crate::place::Place;

pub(crate) fn the_device_filter_denies_an_open(place: &Place) {
    // The kernel's log: no container's business, and there on every host.
    let dir = tempfile::tempdir().unwrap();
    let fd = sys::file::open_dir(dir.path()).unwrap();
    let mode = sys::at::Mode::from_raw_mode(0o600);
    let device = sys::at::makedev(1, 11);
    sys::at::mknodat(
        &fd,
        "kmsg",
        sys::at::FileType::CharacterDevice,
        mode,
        device,
    )
    .unwrap();
    let path = dir.path().join("kmsg");
    let allow = r#"[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]"#;
    for (rules, expected) in [(None, true), (Some(allow), true), (Some("[]"), false)] {
        let cgroup = place.cgroup();
        if let Some(rules) = rules {
            let rules: Vec<_> = serde_json::from_str(rules).unwrap();
            Filter::new(&rules).unwrap().attach(&cgroup).unwrap();
        }
        assert_eq!(opens(&cgroup, &path), expected, "with rules {rules:?}");
        assert!(opens(&cgroup, &PathBuf::from("/dev/null")));
        cgroups::delete(cgroup.path(), None).unwrap();
    }
}

/// The kernel refuses programs with code that nothing reaches or with jumps out of them.
pub(crate) fn the_kernel_takes_every_program(place: &Place) {
    let cgroup = place.cgroup();
    let mut state = 7_u64;
    let mut pick = |choices: &[&'static str]| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        choices[usize::try_from(state >> 33).unwrap() % choices.len()]
    };
    // No more fit on one cgroup.
    for rules in 0..64 {
        let rules: Vec<_> = (0..rules % 12)
            .map(|_| {
                format!(
                    r#"{{"allow":{},"type":"{}","major":{},"minor":{},"access":"{}"}}"#,
                    pick(&["true", "false"]),
                    pick(&["a", "b", "c"]),
                    pick(&["-1", "1", "4294967295"]),
                    pick(&["-1", "1", "2"]),
                    pick(&["r", "m", "rw", "rwm", "rwm"]),
                )
            })
            .collect();
        let json = format!("[{}]", rules.join(","));
        let filter = Filter::new(&serde_json::from_str::<Vec<_>>(&json).unwrap()).unwrap();
        if let Err(error) = filter.attach(&cgroup) {
            panic!("{json}: {:?}", std::error::Error::source(&error));
        }
    }
}

/// Whether a process born in the cgroup can open the file for reading.
pub(crate) fn opens(cgroup: &Cgroup, path: &std::path::Path) -> bool {
    let request = CloneRequest {
        cgroup: Some(cgroup.dir()),
        ..CloneRequest::default()
    };
    match sys::process::clone(&request).unwrap() {
        Cloned::Child => sys::process::exit(i32::from(std::fs::File::open(path).is_err())),
        Cloned::Parent(process) => sys::process::wait(&process.pidfd).unwrap().code() == 0,
    }
}
