//! config.json → validate → plan: whatever is in it, the answer is a plan whose order holds, or words.
#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use oci_spec::runtime::Spec;
use runtime::lsm::Modules;
use runtime::plan::{Plan, Request, RootPlace, Step};
use runtime::{Bundle, ContainerId, validate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 8 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    mutate::json(data, size, max_size, seed).unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

fuzz_target!(|bytes: &[u8]| {
    let spec = match Bundle::understand(Path::new("/b/config.json"), bytes) {
        Ok(spec) => spec,
        Err(e) => return said(&runtime::chain(&e)),
    };
    let judged = validate::validate(&spec);
    if let Err(faults) = &judged {
        assert!(!faults.0.is_empty());
        said(&faults.to_string());
    }
    for rights in [namespaces::Rights::Full, namespaces::Rights::Few] {
        match plan(&spec, rights) {
            Err(e) => said(&runtime::chain(&e)),
            Ok(plan) if judged.is_ok() => ordered(&plan, &spec),
            // What validate refuses is planned by nobody.
            Ok(_) => {}
        }
    }
});

/// A fault has words. What stands in the file may be among them; the printer of errors keeps it to one line.
fn said(text: &str) {
    assert!(!text.trim().is_empty());
}

fn plan(spec: &Spec, rights: namespaces::Rights) -> runtime::Result<Plan> {
    let id: ContainerId = "c".parse()?;
    Plan::new(
        spec,
        &Request {
            id: &id,
            bundle: Path::new("/b"),
            root: RootPlace::Folder(PathBuf::from("/b/rootfs")),
            cgroup: None,
            own_cgroup: PathBuf::from("/sys/fs/cgroup/x"),
            modules: Modules {
                apparmor: true,
                selinux: true,
            },
            rights,
            single_id: false,
            no_pivot: false,
            keep_keyring: false,
            given_stdio: false,
            begins_at_once: false,
            may_return: true,
        },
    )
}

/// The rules of order that a container's safety hangs on.
fn ordered(plan: &Plan, spec: &Spec) {
    let at = |found: fn(&Step) -> bool| plan.init.iter().position(found);
    let last = plan.init.len() - 1;
    assert_eq!(at(|s| matches!(s, Step::DieWithDhow)), Some(0));
    assert_eq!(at(|s| matches!(s, Step::Exec)), Some(last));
    let closed = at(|s| matches!(s, Step::CloseDescriptors)).expect("descriptors are closed");
    let dropped = at(|s| matches!(s, Step::Drop(_))).expect("rights are dropped");
    let ready = at(|s| matches!(s, Step::Ready)).expect("it says that it is ready");
    let inside = at(|s| matches!(s, Step::Pivot)).expect("it goes into its root");
    assert!(inside < closed && closed < dropped && dropped < ready);
    let workshop = at(|s| matches!(s, Step::Workshop));
    let left = at(|s| matches!(s, Step::LeaveWorkshop));
    assert_eq!(workshop.is_some(), left.is_some());
    assert!(left.is_none_or(|at| inside < at && at < closed));
    let mounts = spec.mounts().as_ref().map_or(0, Vec::len);
    let planned = plan.init.iter().filter(|s| matches!(s, Step::Mount(..)));
    assert_eq!(planned.count(), mounts);
    let wanted = spec.linux().as_ref().is_some_and(|l| l.seccomp().is_some());
    let filter = at(|s| matches!(s, Step::Seccomp));
    assert_eq!(filter.is_some(), wanted);
    assert!(filter.is_none_or(|at| at > ready && at + 2 >= last));
    for step in plan.parent.iter().map(ToString::to_string) {
        assert!(!step.is_empty());
    }
    assert!(plan.to_string().lines().count() >= plan.init.len());
}
