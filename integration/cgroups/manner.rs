//! A container without a cgroup, one whose cgroup is its own to manage, and one in a cgroup below its own.

use std::path::Path;

use serde_json::json;

use super::file;
use crate::support::{Bundle, Output, Sandbox, claims};

claims![
    disabled_means_the_callers_cgroup: [Root, Cgroup2, Dhow],
    disabled_sets_no_limit_and_says_so: [Root, Cgroup2, Dhow],
    a_writable_cgroup_belongs_to_the_containers_user: [Root, Cgroup2, UserNamespaces],
    a_read_only_cgroup_stays_roots: [Root, Cgroup2, UserNamespaces],
    who_has_a_cgroup_manages_it_and_does_not_leave: [Root, Cgroup2, UserNamespaces],
    a_delegated_cgroup_is_below_the_limits: [Root, Controller("hugetlb"), Dhow],
    an_annotation_leads_nowhere_else: [Root, Cgroup2, Dhow],
    a_path_that_climbs_stays_in_the_tree: [Root, Cgroup2],
    the_root_of_the_tree_is_refused: [Root, Cgroup2, Dhow],
    processes_without_a_limit_are_not_limited: [Root, Controller("pids"), Dhow],
    cgroups_that_a_container_made_go_with_it: [Root, Cgroup2],
];

fn disabled(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    sandbox.runtime(&[&["--cgroup-manager", "disabled"], arguments].concat())
}

fn disabled_means_the_callers_cgroup() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    disabled(&sandbox, &["create", "--bundle", bundle.argument(), "c"]).success();
    let pid = sandbox.state("c")["pid"].to_string();
    let of = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(of(&pid), of("self"));
    assert!(!sandbox.cgroup("c").exists());
    sandbox.runtime(&["start", "c"]).success();
    for verb in ["pause", "events"] {
        let mut arguments = vec![verb, "c"];
        arguments.extend((verb == "events").then_some("--stats"));
        let output = sandbox.runtime(&arguments).ends_with(1);
        assert!(output.stderr.contains("no cgroup of its own"), "{output:?}");
    }
    sandbox.runtime(&["kill", "--all", "c", "KILL"]).success();
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn disabled_sets_no_limit_and_says_so() {
    let sandbox = Sandbox::new();
    let bundle = super::limits::limited(&sandbox, json!({"pids": {"limit": 5}}));
    let output = disabled(&sandbox, &["create", "--bundle", bundle.argument(), "c"]).ends_with(1);
    assert!(
        output.stderr.contains("linux.resources.pids.limit"),
        "{output:?}"
    );
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

/// A container with ids of nobody's, and the cgroup file system with these options.
fn mapped(sandbox: &Sandbox, options: &[&str]) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    sandbox.bundle("c").edit(|spec| {
        spec["linux"]["uidMappings"] = map.clone();
        spec["linux"]["gidMappings"] = map;
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
        if !namespaces.iter().any(|n| n["type"] == "cgroup") {
            namespaces.push(json!({"type": "cgroup"}));
        }
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": options,
        }));
    })
}

fn owner(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap())
}

fn a_writable_cgroup_belongs_to_the_containers_user() {
    let sandbox = Sandbox::new();
    let bundle = mapped(&sandbox, &["nosuid", "noexec", "nodev"]).args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let cgroup = sandbox.cgroup("c");
    assert_eq!(owner(&cgroup), 100_000);
    for name in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        assert_eq!(owner(&cgroup.join(name)), 100_000, "{name}");
    }
    // The limits stay with who set them.
    for name in ["cgroup.max.depth", "cgroup.freeze", "cgroup.kill"] {
        assert_eq!(owner(&cgroup.join(name)), 0, "{name}");
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_read_only_cgroup_stays_roots() {
    let sandbox = Sandbox::new();
    let bundle = mapped(&sandbox, &["nosuid", "noexec", "nodev", "ro"]).args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(owner(&sandbox.cgroup("c")), 0);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// D9: it makes cgroups of its own, and no way leads above its root.
fn who_has_a_cgroup_manages_it_and_does_not_leave() {
    let sandbox = Sandbox::new();
    let script =
        "cd /sys/fs/cgroup && mkdir own && echo $$ > own/cgroup.procs && grep ^0: /proc/self/cgroup
        echo 5 > cgroup.max.depth && echo limit changed
        echo $$ > ../cgroup.procs && echo left
        ls .. | grep -c cgroup.procs
        true";
    let bundle = mapped(&sandbox, &["nosuid", "noexec", "nodev"]).script(script);
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(output.success().stdout, "0::/own\n0\n");
}

fn a_delegated_cgroup_is_below_the_limits() {
    let sandbox = Sandbox::new();
    let limit = json!([{"pageSize": "2MB", "limit": 2_097_152}]);
    let bundle = super::limits::limited(&sandbox, json!({"hugepageLimits": limit}))
        .args(&["sleep", "1000"])
        .edit(|spec| spec["annotations"] = json!({"run.oci.delegate-cgroup": "inner"}));
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let pid = sandbox.state("c")["pid"].to_string();
    assert_eq!(file(&sandbox, "cgroup.procs"), "");
    assert_eq!(file(&sandbox, "inner/cgroup.procs"), pid);
    assert_eq!(file(&sandbox, "hugetlb.2MB.max"), "2097152");
    assert_ne!(file(&sandbox, "inner/hugetlb.2MB.max"), "2097152");
    sandbox.runtime(&["start", "c"]).success();
    sandbox.runtime(&["exec", "c", "true"]).success();
    sandbox.runtime(&["pause", "c"]).success();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert!(!sandbox.cgroup("c").exists());
}

/// D3, as crun had it in its delegate-cgroup.
fn an_annotation_leads_nowhere_else() {
    for name in [
        "..",
        "../other",
        "/",
        "/sys/fs/cgroup",
        "a/b",
        "cgroup.procs",
    ] {
        let sandbox = Sandbox::new();
        let bundle = sandbox
            .bundle("c")
            .edit(|spec| spec["annotations"] = json!({"run.oci.delegate-cgroup": name}));
        let output = sandbox
            .runtime(&["create", "--bundle", bundle.argument(), "c"])
            .ends_with(1);
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        assert!(output.stderr.contains("delegate-cgroup"), "{output:?}");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new());
    }
}

/// D3.
fn a_path_that_climbs_stays_in_the_tree() {
    let sandbox = Sandbox::new();
    let (own, before) = (sandbox.cgroups_path("c"), sandbox.cgroups_path("x"));
    let path = format!("../..{before}/.././/../../..{own}/");
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let bundle = bundle.edit(|spec| spec["linux"]["cgroupsPath"] = json!(path));
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let pid = sandbox.state("c")["pid"].to_string();
    assert_eq!(file(&sandbox, "cgroup.procs"), pid);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// D3.
fn the_root_of_the_tree_is_refused() {
    for path in ["/", "..", "/a/../../"] {
        let sandbox = Sandbox::new();
        let bundle = sandbox
            .bundle("c")
            .edit(|spec| spec["linux"]["cgroupsPath"] = json!(path));
        let output = sandbox
            .runtime(&["create", "--bundle", bundle.argument(), "c"])
            .ends_with(1);
        assert!(output.stderr.contains("linux.cgroupsPath"), "{output:?}");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new());
    }
}

/// runtime-spec 1.3: `limit` may be left out, and 0 is a limit.
fn processes_without_a_limit_are_not_limited() {
    for (pids, expected) in [
        (json!({}), "max"),
        (json!({"limit": -1}), "max"),
        (json!({"limit": 7}), "7"),
    ] {
        let sandbox = Sandbox::new();
        let bundle = super::limits::limited(&sandbox, json!({"pids": pids}));
        sandbox
            .runtime(&["create", "--bundle", bundle.argument(), "c"])
            .success();
        assert_eq!(file(&sandbox, "pids.max"), expected, "{pids}");
        sandbox.runtime(&["delete", "--force", "c"]).success();
    }
}

fn cgroups_that_a_container_made_go_with_it() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let inner = sandbox.cgroup("c").join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("cgroup.freeze"), "1").unwrap();
    let pid = sandbox.state("c")["pid"].to_string();
    std::fs::write(inner.join("cgroup.procs"), &pid).unwrap();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert!(!sandbox.cgroup("c").exists());
}
