//! The specs for which plans are made: all combinations of what changes the order of a start.

use std::path::Path;

use namespaces::Rights;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use crate::ContainerId;
use crate::plan::{CgroupFacts, Plan, Request, RootPlace};

/// What a spec asks for; each combination makes one plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) user: Way,
    pub(super) pid: Way,
    pub(super) rights: Rights,
    pub(super) clocks: bool,
    pub(super) hooks: bool,
    pub(super) filter: bool,
    pub(super) no_new_privileges: bool,
    /// Protections, sysctls, limits, a terminal, a read-only root: either all or none.
    pub(super) rich: bool,
}

/// How the container comes to a namespace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    Kept,
    Made,
    Joined,
}

pub(super) fn cases() -> Vec<Case> {
    let ways = [Way::Kept, Way::Made, Way::Joined];
    let mut cases = Vec::new();
    for (user, pid) in ways.into_iter().flat_map(|u| ways.map(|p| (u, p))) {
        for bits in 0..64_u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            cases.push(Case {
                user,
                pid,
                rights: if bit(0) { Rights::Full } else { Rights::Few },
                clocks: bit(1),
                hooks: bit(2),
                filter: bit(3),
                no_new_privileges: bit(4),
                rich: bit(5),
            });
        }
    }
    cases
}

impl Case {
    pub(super) fn spec(self) -> Spec {
        let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
        for (kind, way) in [("user", self.user), ("pid", self.pid)] {
            match way {
                Way::Kept => {}
                Way::Made => namespaces.push(json!({"type": kind})),
                Way::Joined => {
                    namespaces.push(json!({"type": kind, "path": format!("/n/{kind}")}));
                }
            }
        }
        let mut spec = json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs", "readonly": self.rich},
            "process": {
                "args": ["sh"], "cwd": "/w", "user": {"uid": 7, "gid": 7},
                "noNewPrivileges": self.no_new_privileges, "terminal": self.rich,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {},
        });
        let linux = &mut spec["linux"];
        if self.clocks {
            namespaces.push(json!({"type": "time"}));
            linux["timeOffsets"] = json!({"boottime": {"secs": 9, "nanosecs": 0}});
        }
        linux["namespaces"] = Value::Array(namespaces);
        if self.user == Way::Made {
            let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
            linux["uidMappings"] = map.clone();
            linux["gidMappings"] = map;
        }
        if self.filter {
            linux["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        }
        if self.rich {
            linux["rootfsPropagation"] = json!("rslave");
            linux["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
            linux["readonlyPaths"] = json!(["/proc/sys", "/proc/bus"]);
            linux["maskedPaths"] = json!(["/proc/kcore", "/proc/keys"]);
            spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9}]);
        }
        if self.hooks {
            let hook = json!([{"path": "/bin/true"}]);
            spec["hooks"] = json!({
                "prestart": hook, "createRuntime": hook, "createContainer": hook,
                "startContainer": hook, "poststart": hook, "poststop": hook,
            });
        }
        serde_json::from_value(spec).unwrap()
    }

    fn plan(self) -> Plan {
        let id = "c".parse().unwrap();
        Plan::new(&self.spec(), &request(&id, Path::new("/b"), self.rights)).unwrap()
    }
}

/// The host and the caller for which plans are made here.
pub(super) fn request<'a>(id: &'a ContainerId, bundle: &'a Path, rights: Rights) -> Request<'a> {
    Request {
        id,
        bundle,
        root: RootPlace::Folder(bundle.join("rootfs")),
        cgroup: Some(CgroupFacts {
            path: format!("/{id}"),
            directory: Path::new("/sys/fs/cgroup").join(id.as_str()),
            writes: Vec::new(),
            device_filter: rights == Rights::Full,
        }),
        own_cgroup: "/sys/fs/cgroup".into(),
        rights,
        single_id: true,
        modules: crate::lsm::Modules::default(),
        no_pivot: false,
        keep_keyring: false,
        given_stdio: false,
        begins_at_once: false,
        may_return: true,
    }
}

/// Runs `claim` on every plan; a panic names the case.
pub(super) fn for_every_plan(claim: impl Fn(&Case, &Plan)) {
    for case in cases() {
        let plan = case.plan();
        let shown = format!("{case:?}\n{plan}");
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| claim(&case, &plan)));
        assert!(held.is_ok(), "{shown}");
    }
}
