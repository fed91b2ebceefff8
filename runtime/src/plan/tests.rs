//! Claims on every plan: hundreds of specs, made of all combinations of what changes the order of a start.
//! No rights are needed. Who moves a line of build.rs to a wrong place reads here which rule it breaks.

mod cases;

use std::path::Path;

use namespaces::{Namespace, Rights};
use oci_spec::runtime::Spec;
use rootfs::Nodes;

use super::{ParentStep, Plan, Step};
use cases::{Way, cases, for_every_plan, request};

/// The words of a list of steps, to be compared with what is expected.
fn words(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

type Is = fn(&Step) -> bool;

macro_rules! is {
    ($($pattern:pat),+) => {
        &[$(|step: &Step| matches!(step, $pattern)),+] as &[Is]
    };
}

/// Each line is a chain: wherever both occur, every step of an earlier kind stands before every step of
/// the next kind in the chain that occurs.
const CHAINS: &[(&str, &[Is])] = &[
    (
        "whose maps are missing is nobody; who may be traced must enter nothing; what is made new comes last",
        is![
            Step::DieWithDhow,
            Step::AskIdMaps,
            Step::ForbidTracing,
            Step::Join(_) | Step::CloneInit(_),
            Step::Unshare(_),
            Step::Isolate
        ],
    ),
    (
        "mounts must not travel to the host, and the host must be in sight until hooks have seen both",
        is![
            Step::Isolate,
            Step::AttachRoot(_),
            Step::Mount(..),
            Step::Devices(..),
            Step::DeviceLinks,
            Step::AskHooks,
            Step::CreateContainerHooks(_),
            Step::Pivot
        ],
    ),
    (
        "protections lie over all mounts, the narrower over the wider, before rights go",
        is![
            Step::Pivot,
            Step::Sysctl(..),
            Step::ReadOnlyPath(_),
            Step::Mask(_),
            Step::ReadOnlyRoot,
            Step::Drop(_)
        ],
    ),
    (
        "what needs our rights is done before they go; descriptors go before the program's rights come",
        is![
            Step::Propagate(..) | Step::Console(_) | Step::Umask(_),
            Step::Limit(_) | Step::StdioOwner(_) | Step::RenewNull,
            Step::CloseDescriptors,
            Step::Drop(_),
            Step::FindProgram(_),
            Step::Ready,
            Step::AwaitStart,
            Step::StartContainerHooks(_),
            Step::Seccomp,
            Step::FinalCapabilities(_),
            Step::Exec
        ],
    ),
    (
        "the terminal becomes that of a session of the container's own, and is none of the host's",
        is![Step::NewSession, Step::Pivot, Step::Console(_)],
    ),
    (
        "a working directory is made while the root can be written",
        is![Step::WorkingDirectory(_), Step::ReadOnlyRoot],
    ),
];

#[test]
fn every_plan_keeps_the_order() {
    for_every_plan(|_, plan| {
        for (rule, chain) in CHAINS {
            for steps in [&plan.stage, &plan.init] {
                let places: Vec<usize> = steps
                    .iter()
                    .filter_map(|step| chain.iter().position(|is| is(step)))
                    .collect();
                assert!(places.is_sorted(), "{rule}");
            }
        }
    });
}

#[test]
fn the_first_step_is_to_die_with_dhow_and_the_last_is_the_exec() {
    for_every_plan(|_, plan| {
        assert_eq!(plan.init.first(), Some(&Step::DieWithDhow));
        assert_eq!(plan.init.last(), Some(&Step::Exec));
        if let Some(first) = plan.stage.first() {
            assert_eq!(first, &Step::DieWithDhow);
            assert!(matches!(plan.stage.last(), Some(Step::CloneInit(_))));
        }
    });
}

#[test]
fn nothing_but_dropping_what_it_needed_stands_between_the_filter_and_the_exec() {
    for_every_plan(|case, plan| {
        let place = plan.init.iter().position(|s| matches!(s, Step::Seccomp));
        let after = place.map(|place| words(&plan.init[place + 1..]));
        let drop = "drop the capabilities that loading the filter needed";
        let exec = "execute the program";
        let expected: Option<Vec<&str>> = match (case.filter, case.no_new_privileges) {
            (false, _) => None,
            (true, true) => Some(vec![exec]),
            (true, false) => Some(vec![drop, exec]),
        };
        assert!(after == expected.map(|list| list.into_iter().map(str::to_owned).collect()));
    });
}

#[test]
fn id_maps_are_asked_for_once_and_first_of_all() {
    for_every_plan(|case, plan| {
        let asks = |steps: &[Step]| steps.iter().filter(|s| **s == Step::AskIdMaps).count();
        let total = asks(&plan.stage) + asks(&plan.init);
        assert_eq!(total, usize::from(case.user == Way::Made));
        for steps in [&plan.stage, &plan.init] {
            if asks(steps) > 0 {
                assert_eq!(steps[1..3], [Step::AskIdMaps, Step::BecomeRoot]);
            }
        }
    });
}

#[test]
fn who_enters_a_user_namespace_becomes_its_root() {
    for_every_plan(|_, plan| {
        for steps in [&plan.stage, &plan.init] {
            for (place, step) in steps.iter().enumerate() {
                let Step::Join(list) = step else { continue };
                assert!(!list.is_empty());
                if list.iter().any(|join| join.namespace == Namespace::User) {
                    assert_eq!(steps[place + 1], Step::BecomeRoot);
                }
            }
        }
    });
}

#[test]
fn nobody_can_trace_a_process_that_is_born_into_a_foreign_pid_namespace() {
    for_every_plan(|case, plan| {
        if case.pid != Way::Joined || case.rights == Rights::Few {
            return;
        }
        let forbidden = plan.parent.contains(&ParentStep::ForbidTracing)
            || plan.stage.contains(&Step::ForbidTracing);
        assert!(forbidden);
    });
}

#[test]
fn a_middle_process_is_made_only_where_one_clone_does_not_do() {
    for_every_plan(|case, plan| {
        let forks = case.pid != Way::Kept || case.clocks;
        let needed = match (case.user, case.rights) {
            (Way::Kept, _) | (Way::Made, Rights::Full) => false,
            (Way::Made, Rights::Few) => case.pid == Way::Joined || case.clocks,
            (Way::Joined, Rights::Few) => forks,
            (Way::Joined, Rights::Full) => case.pid == Way::Made || case.clocks,
        };
        assert_eq!(!plan.stage.is_empty(), needed);
    });
}

#[test]
fn the_cgroup_namespace_is_made_inside_the_cgroup() {
    for_every_plan(|_, plan| {
        let flag = Namespace::Cgroup.flag();
        assert_eq!((plan.clone | plan.stage_clone) & flag, 0);
        let unshared = |step: &Step| matches!(step, Step::Unshare(flags) if flags & flag != 0);
        assert_eq!(plan.init.iter().filter(|step| unshared(step)).count(), 1);
    });
}

#[test]
fn limits_stand_before_the_first_process_and_the_record_after_all() {
    for_every_plan(|_, plan| {
        let place = |is: fn(&ParentStep) -> bool| plan.parent.iter().position(is).unwrap();
        let clone = place(|step| matches!(step, ParentStep::Clone { .. }));
        assert!(place(|step| matches!(step, ParentStep::Cgroup { .. })) < clone);
        if let Some(filter) = plan
            .parent
            .iter()
            .position(|s| *s == ParentStep::DeviceFilter)
        {
            assert!(filter < clone);
        }
        assert_eq!(plan.parent.last(), Some(&ParentStep::Save));
    });
}

#[test]
fn a_resource_limit_is_set_once_where_the_rights_are() {
    for_every_plan(|case, plan| {
        let inside = plan.init.iter().filter(|s| matches!(s, Step::Limit(_)));
        let outside = plan.parent.iter();
        let outside = outside.filter(|s| matches!(s, ParentStep::Limit(_)));
        let wanted = usize::from(case.rich);
        let made = usize::from(case.user == Way::Made);
        assert_eq!(
            (inside.count(), outside.count()),
            (wanted * (1 - made), wanted * made)
        );
    });
}

#[test]
fn devices_are_bound_where_they_can_not_be_made() {
    for_every_plan(|case, plan| {
        let nodes = plan.init.iter().find_map(|step| match step {
            Step::Devices(_, nodes) => Some(*nodes),
            _ => None,
        });
        let bound = case.user != Way::Kept || case.rights == Rights::Few;
        assert_eq!(nodes, Some(if bound { Nodes::Bind } else { Nodes::Make }));
    });
}

#[test]
fn nothing_that_a_spec_asks_for_is_lost() {
    for_every_plan(|case, plan| {
        let count = |is: Is| plan.init.iter().filter(|step| is(step)).count();
        let rich = usize::from(case.rich);
        let hooks = usize::from(case.hooks);
        assert_eq!(count(|s| matches!(s, Step::Mount(..))), 2);
        assert_eq!(count(|s| matches!(s, Step::Mask(_))), 2 * rich);
        assert_eq!(count(|s| matches!(s, Step::ReadOnlyPath(_))), 2 * rich);
        assert_eq!(count(|s| matches!(s, Step::ReadOnlyRoot)), rich);
        assert_eq!(count(|s| matches!(s, Step::Sysctl(..))), rich);
        assert_eq!(count(|s| matches!(s, Step::Console(_))), rich);
        assert_eq!(count(|s| matches!(s, Step::Propagate(..))), rich);
        assert_eq!(count(|s| matches!(s, Step::AskHooks)), hooks);
        assert_eq!(count(|s| matches!(s, Step::CreateContainerHooks(_))), hooks);
        assert_eq!(count(|s| matches!(s, Step::StartContainerHooks(_))), hooks);
        for once in is![
            Step::Isolate,
            Step::AttachRoot(_),
            Step::Pivot,
            Step::ForbidTracing,
            Step::CloseDescriptors,
            Step::Drop(_),
            Step::Ready,
            Step::AwaitStart
        ] {
            assert_eq!(count(*once), 1);
        }
    });
}

/// The same that `dhow create --plan` prints on a host with cgroup v2; here without one, and without rights.
#[test]
fn the_sample_bundles_plans_are_those_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    for name in [
        "hello",
        "sleep",
        "limits",
        "hooks",
        "rootless",
        "seccomp",
        "readonly",
        "shared-namespaces",
    ] {
        let text = |file: &str| {
            let bytes = sys::file::read(folder.join(name).join(file), 1 << 20).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let spec: Spec = serde_json::from_str(&text("config.json")).unwrap();
        let resources = spec.linux().as_ref().and_then(|l| l.resources().as_ref());
        let writes = cgroups::limits::writes(resources.unwrap()).unwrap();
        let writes = writes.iter().map(|w| format!("{}={}", w.file, w.value));
        let id = name.parse().unwrap();
        let mut request = request(&id, Path::new("BUNDLE"), Rights::Full);
        request.single_id = false;
        request.cgroup.as_mut().unwrap().writes = writes.collect();
        let plan = Plan::new(&spec, &request).unwrap();
        assert_eq!(plan.to_string(), text("plan.txt"), "{name}");
    }
}

/// What is refused is refused before the host is even asked, and all of it at once.
#[test]
fn a_spec_that_is_refused_makes_no_plan() {
    let mut case = cases()[0].spec();
    case.set_version("0.9".to_owned());
    case.set_root(None);
    let options = crate::CreateOptions::new(
        "c".parse().unwrap(),
        crate::Store::new("/nonexistent"),
        "/b".into(),
        case,
        crate::RootSource::Folder("/b/rootfs".into()),
    );
    match crate::plan(&options) {
        Err(crate::Error::Invalid(faults)) => {
            let text = faults.to_string();
            assert!(
                text.contains("ociVersion") && text.contains("root.path"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}
